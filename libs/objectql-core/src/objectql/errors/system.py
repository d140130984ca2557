"""The system itself: what it does not do, cannot do now, or does wrongly."""

from __future__ import annotations

from dataclasses import dataclass

from objectql.errors.base import Category, ObjectQLError, plural


@dataclass(eq=False, kw_only=True)
class NotSupported(ObjectQLError, code="NOT_IMPLEMENTED", category=Category.UNSUPPORTED):
    """The request is understood and this system does not do it."""

    feature: str

    @property
    def message(self) -> str:
        return f"{self.feature} is not supported"


@dataclass(eq=False, kw_only=True)
class RateLimited(ObjectQLError, code="RATE_LIMIT_EXCEEDED", category=Category.RATE_LIMITED):
    """Too many requests."""

    @property
    def message(self) -> str:
        return "too many requests"


@dataclass(eq=False, kw_only=True)
class QuotaExceeded(
    ObjectQLError, code="QUOTA_EXCEEDED", category=Category.RATE_LIMITED, retryable=False
):
    """The tenant has, or has asked for, as much as was agreed; nothing was done."""

    quota: str
    limit: int

    @property
    def message(self) -> str:
        return f"the quota of {self.limit} {self.quota.replace('_', ' ')} is used up"


@dataclass(eq=False, kw_only=True)
class Unavailable(ObjectQLError, code="SERVICE_UNAVAILABLE", category=Category.UNAVAILABLE):
    """A part of the system that is needed does not answer; nothing was done."""

    what: str

    @property
    def message(self) -> str:
        return f"{self.what} is unavailable"


@dataclass(eq=False, kw_only=True)
class Overloaded(ObjectQLError, code="OVERLOADED", category=Category.UNAVAILABLE):
    """Refused at the door because too much is in flight; nothing was done."""

    @property
    def message(self) -> str:
        return "too much is in flight; try again"


@dataclass(eq=False, kw_only=True)
class PoolExhausted(ObjectQLError, code="POOL_EXHAUSTED", category=Category.UNAVAILABLE):
    """No database connection became free in time; nothing was done."""

    pool: str

    @property
    def message(self) -> str:
        return f'no connection of "{self.pool}" became free in time'


@dataclass(eq=False, kw_only=True)
class KernelNotStarted(ObjectQLError, code="KERNEL_NOT_STARTED", category=Category.UNAVAILABLE):
    """An operation before `start` or after `stop`."""

    @property
    def message(self) -> str:
        return "the kernel is not started"


@dataclass(eq=False, kw_only=True)
class DeadlineExceeded(
    ObjectQLError, code="DEADLINE_EXCEEDED", category=Category.DEADLINE_EXCEEDED
):
    """The request's deadline passed before its work was done; nothing was written."""

    @property
    def message(self) -> str:
        return "the deadline passed"


@dataclass(eq=False, kw_only=True)
class OutcomeUnknown(ObjectQLError, code="OUTCOME_UNKNOWN", category=Category.OUTCOME_UNKNOWN):
    """A write was sent and no answer came: it may or may not have happened."""

    @property
    def message(self) -> str:
        return "no answer came; repeat with the same idempotency key to learn the outcome"


@dataclass(eq=False, kw_only=True)
class MetadataInvalid(ObjectQLError, code="INVALID_METADATA", category=Category.INVALID_REQUEST):
    """Metadata that cannot be published; `issues` lists every problem with its place."""

    @property
    def message(self) -> str:
        return f"{plural(len(self.issues), 'problem')} in the metadata"


@dataclass(eq=False, kw_only=True)
class SchemaChangeRefused(
    ObjectQLError, code="DESTRUCTIVE_CHANGE", category=Category.CONFLICT, retryable=False
):
    """A schema change that would lose data and was not asked for; `issues` lists each."""

    @property
    def message(self) -> str:
        return f"{plural(len(self.issues), 'change')} would lose data"


@dataclass(eq=False, kw_only=True)
class HookAborted(ObjectQLError, code="HOOK_ABORTED", category=Category.INVALID_REQUEST):
    """A hook refused the operation, on purpose; `status` is the HTTP status that it chose."""

    hook: str
    reason: str
    hook_code: str = ""
    status: int = 400

    @property
    def message(self) -> str:
        return self.reason

    @property
    def http(self) -> int:
        return self.status


@dataclass(eq=False, kw_only=True)
class HookFailed(ObjectQLError, code="HOOK_ERROR", category=Category.INTERNAL):
    """A hook or action raised something unexpected; the operation was rolled back."""

    hook: str

    @property
    def message(self) -> str:
        return f"{self.hook} failed"


@dataclass(eq=False, kw_only=True)
class HookRecursion(ObjectQLError, code="HOOK_RECURSION", category=Category.INTERNAL):
    """Hooks and actions called each other too deeply; the operation was rolled back."""

    object: str
    depth: int

    @property
    def message(self) -> str:
        return f"hooks and actions on {self.object} are nested {self.depth} deep"


@dataclass(eq=False, kw_only=True)
class MiddlewareMisused(ObjectQLError, code="MIDDLEWARE_ERROR", category=Category.INTERNAL):
    """A middleware broke the rules of the onion."""

    middleware: str
    reason: str

    @property
    def message(self) -> str:
        return f"middleware {self.middleware}: {self.reason}"


@dataclass(eq=False, kw_only=True)
class PluginFailed(ObjectQLError, code="PLUGIN_ERROR", category=Category.INTERNAL):
    """A plugin's phase raised or ran out of time; what had started was stopped again."""

    plugin: str
    phase: str
    reason: str

    @property
    def message(self) -> str:
        return f"{self.plugin} failed to {self.phase}: {self.reason}"


@dataclass(eq=False, kw_only=True)
class PluginInvalid(ObjectQLError, code="INVALID_PLUGIN", category=Category.INTERNAL):
    """Components that cannot be loaded together; `issues` lists every problem."""

    @property
    def message(self) -> str:
        return f"{plural(len(self.issues), 'problem')} with the components"


@dataclass(eq=False, kw_only=True)
class DatabaseFailed(ObjectQLError, code="DATABASE_ERROR", category=Category.INTERNAL):
    """The database refused a statement for a reason that is ours to mend; the log has it."""

    @property
    def message(self) -> str:
        return "the database refused the statement"


@dataclass(eq=False, kw_only=True)
class PlaceForbidden(ObjectQLError, code="TENANT_PLACE_FORBIDDEN", category=Category.INTERNAL):
    """The data source's user may not make schemas or databases for tenants."""

    kind: str
    right: str

    @property
    def message(self) -> str:
        return f"the data source's user may not make a {self.kind}: it lacks the right {self.right}"


@dataclass(eq=False, kw_only=True)
class Internal(ObjectQLError, code="INTERNAL_ERROR", category=Category.INTERNAL):
    """A bug. The log has the stack under the request id."""

    @property
    def message(self) -> str:
        return "internal error"
