"""Environment variables to one frozen struct per service, every problem reported at once.

`OQL_KERNEL_POOL__MAX_SIZE` is `pool.max_size` of the settings with the prefix `OQL_KERNEL`;
`..._FILE` reads the value from a file; lists are separated by commas; a group of the type
`dict[str, T]` takes any names. A variable with the prefix that means nothing stops the start.
"""

from __future__ import annotations

import difflib
import os
import re
import socket
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    TypeAlias,
    TypeVar,
    cast,
    get_args,
    get_origin,
)
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from objectql.errors import Issue, plural, suggestion_text
from objectql.service.setting_types import bare, is_secret, is_struct, metas
from objectql.wire.trust import MIN_KEY_CHARACTERS

S = TypeVar("S", bound=msgspec.Struct)

Secret: TypeAlias = Annotated[str, Meta(extra={"secret": True})]
"""A value that is never printed."""

HIDDEN = "***"

OF_THE_DEVELOPMENT_STACK = frozenset({"OQL_COORDINATOR_PORT", "OQL_COORDINATOR_URL"})
"""Variables of `make up` that only look like a service's settings."""

_PASSWORD_IN_URL = re.compile(r"(?<=://)[^/@\s]*@")


class SettingsInvalid(Exception):
    """The environment does not describe the settings; `issues` lists every problem."""

    def __init__(self, issues: tuple[Issue, ...]) -> None:
        super().__init__(
            "\n".join([f"{plural(len(issues), 'problem')} in the settings", *map(str, issues)])
        )
        self.issues = issues


class BusSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where NATS is, and who we are there."""

    url: Annotated[
        str,
        Meta(description="servers, separated by commas; `tls://` refuses what is not encrypted"),
    ] = "nats://127.0.0.1:4222"
    user: Annotated[str | None, Meta(description="in place of the one in the address")] = None
    password: Secret | None = None
    credentials: Annotated[str | None, Meta(description="path of a NATS credentials file")] = None
    ca: Annotated[
        str | None,
        Meta(description="path of the authorities of the servers' certificates; requires TLS"),
    ] = None
    certificate: Annotated[str | None, Meta(description="path of our own certificate")] = None
    key: Annotated[str | None, Meta(description="path of its key")] = None
    context_key: Annotated[
        tuple[Annotated[str, Meta(min_length=MIN_KEY_CHARACTERS)], ...],
        Meta(
            extra={"secret": True},
            description="keys of at least 32 characters, separated by commas, that gateways and"
            " kernels share: the first signs who asks, all are believed; required unless NATS is"
            " on this machine",
        ),
    ] = ()

    @property
    def is_local(self) -> bool:
        """Whether every server is on this machine."""
        return all(_is_loopback(server) for server in self.url.split(","))


class AdminSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where `/live`, `/ready` and `/metrics` are served."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="0 takes any free port")] = 0


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where clients are served."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080


class LogSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is logged."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class IssuerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """An issuer of tokens: whose keys, for whom, and where in its claims things stand."""

    jwks_url: Annotated[str | None, Meta(description="where the issuer's public keys are")] = None
    issuer: Annotated[str | None, Meta(description="required `iss`")] = None
    discovery: Annotated[
        bool, Meta(description="find the keys by the issuer's `/.well-known/openid-configuration`")
    ] = False
    audience: Annotated[
        str | None, Meta(description="required `aud`; must be set with public keys")
    ] = None
    algorithms: Annotated[
        tuple[Literal["RS256", "RS384", "RS512", "ES256", "ES384", "EdDSA"], ...],
        Meta(description="accepted with the issuer's keys"),
    ] = ("RS256", "ES256")
    tenant_claim: Annotated[
        str, Meta(description="claim with the tenant; a dot leads into an object")
    ] = "tenant"
    roles_claim: Annotated[str, Meta(description="claim with the list of roles, likewise")] = (
        "roles"
    )
    tenants: Annotated[
        tuple[str, ...], Meta(description="tenants it may speak for; none named: all")
    ] = ()

    def __post_init__(self) -> None:
        """Refuse an issuer whose tokens for other services would be good here.

        Raises:
            ValueError: there is no audience.

        """
        if self.has_keys and self.audience is None:
            raise ValueError(
                "AUDIENCE is required with JWKS_URL or DISCOVERY: the `aud` of tokens that the"
                " issuer gives for this service; what it gives for others must not be good here"
            )

    @property
    def has_keys(self) -> bool:
        """Whether there are public keys to be had."""
        return self.jwks_url is not None or (self.discovery and self.issuer is not None)


class AuthSettings(IssuerSettings, frozen=True, kw_only=True):
    """Which tokens are accepted beside the cluster's own."""

    jwt_secret: Annotated[
        Secret | None, Meta(description="HS256 key, at least 32 characters; for development")
    ] = None
    issuers: Annotated[
        dict[str, IssuerSettings], Meta(description="further issuers, by any name")
    ] = {}
    leeway_s: Annotated[float, Meta(ge=0, le=600, description="clock difference allowed")] = 30.0
    refresh_s: Annotated[float, Meta(gt=0, description="age at which keys are fetched anew")] = 300
    refetch_s: Annotated[
        float, Meta(gt=0, description="least time between fetches for unknown keys")
    ] = 10.0


class ServiceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What every service is told. A subclass names its `service`."""

    service: ClassVar[str] = ""

    instance: Annotated[
        str, Meta(pattern=r"^[A-Za-z0-9_-]*$", description="name of this process; default: made up")
    ] = ""
    bus: BusSettings = BusSettings()
    admin: AdminSettings = AdminSettings()
    log: LogSettings = LogSettings()
    drain_s: Annotated[
        float, Meta(ge=0, description="how long requests in flight may take after SIGTERM")
    ] = 20.0

    @classmethod
    def prefix(cls) -> str:
        """How the service's variables begin, as `OQL_GATEWAY_REST`."""
        return "OQL_" + cls.service.upper().replace("-", "_")


def instance_name(settings: ServiceSettings) -> str:
    """The configured name, or one of service, host and process id that fits into a subject."""
    if settings.instance:
        return settings.instance
    host = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())
    return f"{settings.service}-{host}-{os.getpid()}"


def require_context_key(settings: ServiceSettings) -> None:
    """Return if what comes over the bus can be believed.

    Raises:
        SettingsInvalid: others may reach the bus, and requests are not signed.

    """
    if not settings.bus.context_key and not settings.bus.is_local:
        text = "required where NATS is not on this machine: whoever reaches it could be anybody"
        path = f"{settings.prefix()}_BUS__CONTEXT_KEY"
        raise SettingsInvalid((Issue(path=path, code="MISSING_SETTING", message=text),))


def load_settings(type_: type[S], prefix: str, environ: Mapping[str, str] | None = None) -> S:
    """The settings that `environ` (default: the process's own) describes.

    Raises:
        SettingsInvalid: unknown variables, malformed values, missing ones, unreadable files.

    """
    if environ is None:
        environ = os.environ  # noqa: TID251 - home of the environment
    start = prefix + "_"
    given = {
        name: value
        for name, value in environ.items()
        if name.startswith(start) and name not in OF_THE_DEVELOPMENT_STACK
    }
    reader = _Reader(given, prefix)
    settings = reader.struct(type_, prefix, separator="_")
    reader.report_unknown()
    if reader.issues or settings is None:
        raise SettingsInvalid(tuple(reader.issues))
    return settings


def redacted(settings: msgspec.Struct) -> dict[str, Any]:
    """`settings` as plain values, without secrets and without passwords in URLs."""
    plain: dict[str, Any] = {}
    for field in msgspec.structs.fields(settings):
        value = getattr(settings, field.name)
        if value and is_secret(field.type):
            plain[field.name] = HIDDEN
        else:
            plain[field.name] = _redacted_value(value)
    return plain


def without_passwords(text: str) -> str:
    """`text` with the user part of every URL hidden."""
    return _PASSWORD_IN_URL.sub(HIDDEN + "@", text)


def settings_markdown(type_: type[msgspec.Struct], prefix: str) -> str:
    """A table of every variable: name, type, default, meaning."""
    lines = ["| Variable | Type | Default | Meaning |", "|---|---|---|---|"]
    for variable, field_type, default, text in _walk(type_, prefix, "_"):
        lines.append(f"| `{variable}` | {_type_text(field_type)} | {default} | {text} |")
    return "\n".join(lines) + "\n"


# --- reading ---------------------------------------------------------------------------------


class _Reader:
    """Reads structs out of variables and notes which of them were understood."""

    def __init__(self, given: Mapping[str, str], prefix: str) -> None:
        self._given = given
        self._prefix = prefix
        self._used: set[str] = set()
        self._known: set[str] = set()
        self.issues: list[Issue] = []

    def struct(self, type_: type[S], prefix: str, separator: str) -> S | None:
        values: dict[str, Any] = {}
        before = len(self.issues)
        for field in msgspec.structs.fields(type_):
            variable = f"{prefix}{separator}{field.name.upper()}"
            self._field(variable, field, values)
        if len(self.issues) > before:
            return None
        try:
            return type_(**values)
        except ValueError as exc:  # values that exclude each other
            self._problem(prefix, "INVALID_SETTING", str(exc))
            return None

    def report_unknown(self) -> None:
        for variable in sorted(self._given.keys() - self._used):
            close = difflib.get_close_matches(variable, sorted(self._known), n=2, cutoff=0.7)
            self._problem(
                variable, "UNKNOWN_SETTING", "no such setting" + suggestion_text(tuple(close))
            )

    def _field(
        self, variable: str, field: msgspec.structs.FieldInfo, values: dict[str, Any]
    ) -> None:
        inner = bare(field.type)
        if is_struct(inner):
            values[field.name] = self.struct(inner, variable, "__")
            return
        if get_origin(inner) is dict:
            values[field.name] = self._group(variable, get_args(inner)[1])
            return
        self._known.add(variable)
        text = self._text(variable)
        if text is not None:
            values[field.name] = self._value(variable, text, field.type)
        elif field.required:
            self._problem(variable, "MISSING_SETTING", "this setting is required")

    def _group(self, prefix: str, type_: Any) -> dict[str, Any]:
        start = prefix + "__"
        names = {
            name.removeprefix(start).split("__")[0]
            for name in self._given
            if name.startswith(start)
        }
        group: dict[str, Any] = {}
        for name in sorted(names):
            variable = start + name
            inner = bare(type_)
            if is_struct(inner):
                group[name.lower()] = self.struct(inner, variable, "__")
                continue
            variable = variable.removesuffix("_FILE")
            text = self._text(variable)
            if text is not None:
                key = variable.removeprefix(start).lower()
                group[key] = self._value(variable, text, type_)
        return group

    def _text(self, variable: str) -> str | None:
        """The value of `variable`, or the content of the file that `<variable>_FILE` names."""
        file_variable = variable + "_FILE"
        text = self._given.get(variable)
        if text is not None:
            self._used.add(variable)
        path = self._given.get(file_variable)
        if path is None:
            return text
        self._used.add(file_variable)
        if text is not None:
            self._problem(file_variable, "AMBIGUOUS_SETTING", f"{variable} is set too")
            return None
        try:
            return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as exc:
            self._problem(file_variable, "UNREADABLE_FILE", f"cannot read {path}: {exc}")
            return None

    def _value(self, variable: str, text: str, type_: Any) -> Any:
        raw: Any = text
        if get_origin(bare(type_)) in (tuple, list):
            raw = [part.strip() for part in text.split(",") if part.strip()]
        try:
            return msgspec.convert(raw, type_, strict=False)
        except msgspec.ValidationError as exc:
            self._problem(variable, "INVALID_SETTING", str(exc))
            return None

    def _problem(self, variable: str, code: str, message: str) -> None:
        self.issues.append(Issue(path=variable, code=code, message=message))


# --- telling ---------------------------------------------------------------------------------


def _redacted_value(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return redacted(value)
    if isinstance(value, dict):
        return {k: _redacted_value(v) for k, v in cast("dict[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_redacted_value(item) for item in cast("list[Any]", value)]
    return without_passwords(value) if isinstance(value, str) else value


def _walk(
    type_: type[msgspec.Struct], prefix: str, separator: str
) -> list[tuple[str, Any, str, str]]:
    rows: list[tuple[str, Any, str, str]] = []
    for field in msgspec.structs.fields(type_):
        variable = f"{prefix}{separator}{field.name.upper()}"
        inner = bare(field.type)
        text = " ".join(meta.description for meta in metas(field.type) if meta.description)
        if is_struct(inner):
            rows += _walk(inner, variable, "__")
        elif get_origin(inner) is dict:
            value_type = get_args(inner)[1]
            if is_struct(bare(value_type)):
                rows += _walk(bare(value_type), f"{variable}__<NAME>", "__")
            else:
                rows.append((f"{variable}__<NAME>", value_type, "", text))
        else:
            rows.append((variable, field.type, _default_text(field), text))
    return rows


def _default_text(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    if field.default is msgspec.NODEFAULT:
        return "empty"
    default = field.default
    if default is None or default in ("", ()):
        return "none"
    if isinstance(default, tuple):
        default = ",".join(str(part) for part in cast("tuple[object, ...]", default))
    return f"`{default}`"


def _is_loopback(server: str) -> bool:
    host = urlsplit(server.strip() if "//" in server else f"//{server.strip()}").hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _type_text(type_: Any) -> str:
    inner = bare(type_)
    if get_origin(inner) is Literal:
        return ", ".join(str(choice) for choice in get_args(inner))
    if is_secret(type_):
        return "secret"
    if get_origin(inner) in (tuple, list):
        return f"list of {_type_text(get_args(inner)[0])}"
    return getattr(inner, "__name__", str(inner))
