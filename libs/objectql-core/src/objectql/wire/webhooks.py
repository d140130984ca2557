"""Requests about webhooks; all need an administrator of the tenant. See `messages`."""

from __future__ import annotations

from objectql.wire.messages import Message


class WebhookListRequest(Message, frozen=True):
    """Verb `webhook_list`; answered by `JsonReply` with the tenant's webhooks by name."""


class WebhookGetRequest(Message, frozen=True):
    """Verb `webhook_get`; answered by `JsonReply` with the webhook."""

    name: str


class WebhookCreateRequest(Message, frozen=True):
    """Verb `webhook_create`: `document` is JSON; the answer (`JsonReply`) tells its secret, once."""

    document: bytes


class WebhookChangeRequest(Message, frozen=True):
    """Verb `webhook_change`: `document` holds what changes; answered by `JsonReply`."""

    name: str
    document: bytes


class WebhookDeleteRequest(Message, frozen=True):
    """Verb `webhook_delete`; answered by `JsonReply` with nothing."""

    name: str


class WebhookRotateRequest(Message, frozen=True):
    """Verb `webhook_rotate`: another secret; the answer (`JsonReply`) tells it, once."""

    name: str
    document: bytes


class WebhookTestRequest(Message, frozen=True):
    """Verb `webhook_test`; answered by `JsonReply` with what the endpoint answered."""

    name: str


class WebhookDeliveriesRequest(Message, frozen=True):
    """Verb `webhook_deliveries`: the latest first, those before a position; `JsonReply`."""

    name: str
    state: str | None = None
    before: int | None = None
    limit: int = 100


class WebhookReplayRequest(Message, frozen=True):
    """Verb `webhook_replay`: `document` says which; answered by `JsonReply` with how many."""

    name: str
    document: bytes


class WebhooksQueued(Message, frozen=True):
    """On `kernel_event("webhooks")`: by their ids, who has something to be told."""

    webhooks: tuple[str, ...]
    origin: str
