"""What is declared of a webhook, and what is told of it.

Secrets and the values of headers go in and never come out again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from objectql.drivers.webhooks import Webhook
from objectql.errors import InvalidRequest, Issue
from objectql.events import ChangeKind
from objectql.ids import is_name
from objectql.kernel.json import decode_object
from objectql.wire.webhook_signatures import secret_bytes

T = TypeVar("T", bound=msgspec.Struct)

HIDDEN: Final = "***"
MAX_OBJECTS: Final = 50
MAX_HEADERS: Final = 20

_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}\Z")  # RFC 9110 §5.6.2: token
_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,998}[\x21-\x7e])?\Z")
_OURS: Final = frozenset(
    "connection content-length content-type expect host keep-alive proxy-connection te trailer"
    " traceparent tracestate transfer-encoding upgrade user-agent".split()
)

_Attempts = Annotated[int, Meta(ge=1, le=50)]
_Seconds = Annotated[float, Meta(ge=0.1, le=60.0)]


class RunAs(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """As whom the webhook sees: a user of the tenant by id, or somebody with these roles."""

    user: str | None = None
    roles: tuple[str, ...] = ()


class Declaration(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True
):
    """A webhook as it is declared, by the API or in a file."""

    name: str
    url: str
    objects: tuple[str, ...]
    run_as: RunAs
    events: tuple[ChangeKind, ...] = ("created", "updated", "deleted")
    where: Any = None
    fields: tuple[str, ...] = ()
    secret: str | None = None
    headers: dict[str, str] = {}
    active: bool = True
    max_attempts: _Attempts = 12
    timeout_s: _Seconds = 10.0


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What may be changed of a webhook; its secret is another verb's."""

    url: str | UnsetType = UNSET
    objects: tuple[str, ...] | UnsetType = UNSET
    run_as: RunAs | UnsetType = UNSET
    events: tuple[ChangeKind, ...] | UnsetType = UNSET
    where: Any | UnsetType = UNSET
    fields: tuple[str, ...] | UnsetType = UNSET
    headers: dict[str, str] | UnsetType = UNSET
    active: bool | UnsetType = UNSET
    max_attempts: _Attempts | UnsetType = UNSET
    timeout_s: _Seconds | UnsetType = UNSET


def decode(document: bytes, type_: type[T]) -> T:
    """A request's JSON object as a struct.

    Raises:
        InvalidRequest: it is none.

    """
    return converted(decode_object(document), type_)


def converted(value: Mapping[str, Any], type_: type[T]) -> T:
    """`value` as a struct.

    Raises:
        InvalidRequest: it is none.

    """
    try:
        return msgspec.convert(value, type_)
    except msgspec.ValidationError as exc:
        raise InvalidRequest(reason=str(exc)) from exc


def declared_fields(given: Declaration | Change) -> dict[str, Any]:
    """What `given` says, as fields of a `Webhook`, without what is secret."""
    said = {n: v for n, v in msgspec.structs.asdict(given).items() if v is not UNSET}
    run_as = said.pop("run_as", None)
    if run_as is not None:
        said |= {"user": run_as.user, "roles": run_as.roles}
    said.pop("secret", None)
    said.pop("headers", None)
    return said


def problems_of(webhook: Webhook, headers: Mapping[str, str]) -> list[Issue]:
    """What cannot be, beyond the types; URL, filter and fields are looked at elsewhere."""
    issues: list[Issue] = []

    def fail(path: str, code: str, message: str) -> None:
        issues.append(Issue(path=path, code=code, message=message))

    if not is_name(webhook.name):
        fail("name", "invalid_name", "a name has up to 48 small letters, digits and underscores")
    if not 0 < len(webhook.objects) <= MAX_OBJECTS:
        fail("objects", "length", f"a webhook hears of 1 to {MAX_OBJECTS} objects")
    if not webhook.events:
        fail("events", "length", "name at least one of created, updated, deleted")
    for path, names in (("objects", webhook.objects), ("events", webhook.events)):
        if len(set(names)) < len(names):
            fail(path, "repeated", "a name occurs twice")
    if (webhook.user is None) == (not webhook.roles):
        fail("run_as", "required", "name either a user or roles: as whom the webhook sees")
    issues += _header_problems(headers)
    return issues


def _header_problems(headers: Mapping[str, str]) -> Iterable[Issue]:
    if len(headers) > MAX_HEADERS:
        message = f"a webhook has {MAX_HEADERS} headers at most"
        yield Issue(path="headers", code="length", message=message)
    for name, value in headers.items():
        path, lower = f"headers.{name[:100]}", name.lower()
        if _HEADER.match(name) is None:
            yield Issue(path=path, code="invalid_name", message="this cannot name a header")
        elif lower in _OURS or lower.startswith("webhook-"):
            yield Issue(path=path, code="reserved", message="this header is set by the sender")
        if _VALUE.match(value) is None:
            message = "a value has up to 1000 visible characters of ASCII"
            yield Issue(path=path, code="invalid_value", message=message)


def secret_problem(secret: str) -> Issue | None:
    """What is wrong with a secret that somebody has chosen; it is not repeated."""
    try:
        secret_bytes(secret)
    except ValueError as exc:
        return Issue(path="secret", code="invalid_secret", message=str(exc))
    return None


def described(webhook: Webhook, problem: str = "") -> dict[str, Any]:
    """A webhook as its administrators see it."""
    told: dict[str, Any] = {
        "name": webhook.name,
        "id": webhook.id,
        "url": webhook.url,
        "objects": webhook.objects,
        "events": webhook.events,
        "where": webhook.where,
        "fields": webhook.fields,
        "run_as": {"roles": webhook.roles} if webhook.user is None else {"user": webhook.user},
        "headers": dict.fromkeys(webhook.headers, HIDDEN),
        "active": webhook.active,
        "max_attempts": webhook.max_attempts,
        "timeout_s": webhook.timeout_s,
        "secrets": len(webhook.secrets),
        "created_at": webhook.created_at,
        "updated_at": webhook.updated_at,
    }
    if webhook.package:
        told["package"] = webhook.package
    if webhook.disabled_because:
        told["disabled_because"] = webhook.disabled_because
    if problem:
        told["problem"] = problem
    return told
