"""The request context as NATS headers, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping

import msgspec

from objectql.context import Actor, Context, ReadPolicy
from objectql.errors import InvalidRequest

REQUEST_ID = "Oql-Request-Id"
TENANT = "Oql-Tenant"
ACTOR = "Oql-Actor"
DEADLINE = "Oql-Deadline"
IDEMPOTENCY_KEY = "Oql-Idempotency-Key"
CONSISTENCY_TOKEN = "Oql-Consistency-Token"  # noqa: S105 - a position, not a secret
RECENT_TOKEN = "Oql-Recent-Token"  # noqa: S105 - likewise
READ_POLICY = "Oql-Read-Policy"
ORIGIN = "Oql-Origin"
MESSAGE_ID = "Nats-Msg-Id"
ERROR = "Nats-Service-Error"
ERROR_CODE = "Nats-Service-Error-Code"
CHUNK = "Oql-Chunk"
TRACE = ("traceparent", "tracestate", "baggage")
CONTEXT = (
    REQUEST_ID,
    TENANT,
    ACTOR,
    DEADLINE,
    IDEMPOTENCY_KEY,
    CONSISTENCY_TOKEN,
    RECENT_TOKEN,
    READ_POLICY,
    ORIGIN,
    *TRACE,
)
"""What `from_headers` reads, in the order in which it is signed (`wire.trust`)."""

_actor_encoder = msgspec.json.Encoder()
_actor_decoder = msgspec.json.Decoder(Actor)


def read_policy_text(policy: ReadPolicy, max_lag_ms: int | None) -> str:
    """`primary`, `any`, `atomic` or `bounded:<seconds>`."""
    if policy is ReadPolicy.BOUNDED:
        return f"bounded:{(max_lag_ms or 0) / 1000:g}"
    return str(policy)


def parse_read_policy(text: str) -> tuple[ReadPolicy, int | None]:
    """The inverse of `read_policy_text`.

    Raises:
        InvalidRequest: not a policy.

    """
    name, _, bound = text.partition(":")
    try:
        policy = ReadPolicy(name.strip().lower())
        lag = int(float(bound) * 1000) if policy is ReadPolicy.BOUNDED else None
        if (lag or 0) < 0 or (bound and lag is None):
            raise ValueError(bound)
    except (ValueError, OverflowError) as exc:
        reason = f'"{text}" is not a read policy: use primary, bounded:<seconds>, any or atomic'
        raise InvalidRequest(reason=reason) from exc
    return policy, lag


def _actor_text(actor: Actor) -> str:
    """JSON in ASCII, as header values must be."""
    text = _actor_encoder.encode(actor).decode()
    return text if text.isascii() else json.dumps(json.loads(text), separators=(",", ":"))


def to_headers(context: Context) -> dict[str, str]:
    """Headers that carry `context`; only a gateway may set the actor."""
    headers = {
        REQUEST_ID: context.request_id,
        TENANT: context.tenant,
        ACTOR: _actor_text(context.actor),
        DEADLINE: str(context.deadline_ms),
        **context.trace,
    }
    if context.origin:
        headers[ORIGIN] = context.origin
    if context.idempotency_key is not None:
        headers[IDEMPOTENCY_KEY] = context.idempotency_key
    if context.recent_token is not None:
        headers[RECENT_TOKEN] = context.recent_token
    if context.consistency_token is not None:
        headers[CONSISTENCY_TOKEN] = context.consistency_token
    if context.read_policy is not None:
        headers[READ_POLICY] = read_policy_text(context.read_policy, context.max_lag_ms)
    return headers


def from_headers(headers: Mapping[str, str]) -> Context:
    """The context of a received request.

    Raises:
        InvalidRequest: a required header is missing or malformed, or the tenant header does not
            agree with the actor's tenant.

    """
    try:
        actor = _actor_decoder.decode(headers[ACTOR])
        context = Context(
            actor=actor,
            deadline_ms=int(headers[DEADLINE]),
            request_id=headers[REQUEST_ID],
            idempotency_key=headers.get(IDEMPOTENCY_KEY),
            consistency_token=headers.get(CONSISTENCY_TOKEN),
            recent_token=headers.get(RECENT_TOKEN),
            trace={name: headers[name] for name in TRACE if name in headers},
            origin=headers.get(ORIGIN, ""),
        )
    except (KeyError, ValueError, msgspec.MsgspecError) as exc:
        raise InvalidRequest(reason="the message's headers are incomplete") from exc
    if headers.get(TENANT) != actor.tenant:
        raise InvalidRequest(reason="the message's headers contradict each other")
    if READ_POLICY in headers:
        policy, lag = parse_read_policy(headers[READ_POLICY])
        context = msgspec.structs.replace(context, read_policy=policy, max_lag_ms=lag)
    return context
