"""Actions: a declared operation of an object (or of none) with a handler in code."""

from __future__ import annotations

import asyncio
import inspect
from difflib import get_close_matches
from typing import Any, NamedTuple, NoReturn

from objectql.context import Actor, Context
from objectql.drivers.protocol import Idempotency
from objectql.errors import (
    ActionUnknown,
    DeadlineExceeded,
    InvalidRequest,
    NotSupported,
    ValidationFailed,
)
from objectql.ids import FieldName, ObjectName
from objectql.kernel.access import RecordAccess
from objectql.kernel.api import DataApi
from objectql.kernel.change import Moment, idempotency_of
from objectql.kernel.engine import Engine
from objectql.kernel.json import decode_json, decode_object, encode_json
from objectql.kernel.planning import Scope
from objectql.kernel.read import Reader
from objectql.kernel.unit import Unit
from objectql.kernel.validate import RecordValidator, compile_validator
from objectql.kernel.write import OwnTransactions, Writer
from objectql.metadata.model import ActionDef, ObjectDef
from objectql.metadata.registry import MetadataSnapshot
from objectql.plugins.actions import GLOBAL, ActionHandler
from objectql.plugins.context import Api, HookAbort
from objectql.plugins.hooks import typed_failure
from objectql.query.ast import Filter
from objectql.wire.messages import ActionRequest, GetRequest, JsonReply


class ActionContext:
    """What an action's handler is given. `record` is the stored record of a record action."""

    __slots__ = (
        "action_name",
        "api",
        "id",
        "input",
        "object_name",
        "record",
        "request_id",
        "state",
        "user",
    )

    def __init__(
        self,
        request: ActionRequest,
        user: Actor,
        *,
        input: dict[str, Any],
        record: dict[str, Any] | None,
        api: Api,
        request_id: str,
    ) -> None:
        self.object_name = request.object
        self.action_name = request.action
        self.id = request.id
        self.user = user
        self.input = input
        self.record = record
        self.api = api
        self.request_id = request_id
        self.state: dict[str, Any] = {}

    def abort(self, message: str, *, code: str = "", http: int = 400) -> NoReturn:
        """Refuse to go on.

        Raises:
            HookAbort: always.

        """
        raise HookAbort(message, code=code, http=http)


class _Call(NamedTuple):
    handler: ActionHandler
    request: ActionRequest
    scope: Scope
    params: dict[str, Any]
    condition: Filter | None


class ActionRunner:
    """Runs actions."""

    def __init__(self, engine: Engine, reader: Reader, writer: Writer) -> None:
        self._engine = engine
        self._reader = reader
        self._writer = writer
        self._validators: dict[tuple[int | str, str, str], RecordValidator] = {}
        engine.registry.on_publish(self._forget)

    def _forget(self, _old: MetadataSnapshot, _new: MetadataSnapshot) -> None:
        self._validators.clear()

    async def run(self, request: ActionRequest, context: Context) -> JsonReply:
        """What the handler returns, as JSON.

        Raises:
            ActionUnknown, PermissionDenied, InvalidRequest: a record action without an id, or a
                global one with it.
            RecordNotFound: there is no such record for the caller.
            ValidationFailed: the parameters are not what the action declares.
            RateLimited: the caller has run it too often lately.
            HookAborted, HookFailed: the handler refused or failed.

        """
        scope = self._reader.scope(context)
        object_ = None if request.object == GLOBAL else scope.model.object(request.object)
        handler, definition = self._find(request, object_)
        scope.policy.check_action(request.object, request.action)
        self._check_kind(request, definition)
        params = self._params(request, definition, scope)
        conditions = scope.policy.access(request.object).action_conditions
        condition = None if request.id is None else conditions.get(request.action)
        call = _Call(handler, request, scope, params, condition)
        idempotency = idempotency_of(
            scope, "action", request.object, request.action, request.id, params
        )
        if idempotency is not None:
            return await self._once(call, object_, idempotency)
        await self._count(request, scope)
        # A condition must still hold when the handler writes, so it takes a transaction as well.
        is_whole = condition is not None or (definition is not None and definition.transaction)
        if is_whole and object_ is not None:
            async with self._writer.unit(self._engine.driver(object_), scope) as unit:
                return await self._inside(call, object_, unit)
        record = await self._record(request, scope)
        own = OwnTransactions(self._writer, scope)
        return await self._call(call, record, DataApi(self._reader, scope, own, 1))

    async def _once(
        self, call: _Call, object_: ObjectDef | None, idempotency: Idempotency
    ) -> JsonReply:
        """The answer to a request with a key: effects and answer are one transaction."""
        engine = self._engine
        driver = engine.system_driver if object_ is None else engine.driver(object_)
        async with self._writer.unit(driver, call.scope) as unit:
            stored = await self._writer.remembered(unit, idempotency, call.scope.context)
            if stored is not None:
                return JsonReply(body=stored)
            await self._count(call.request, call.scope)
            reply = await self._inside(call, object_, unit)
            await unit.session.remember(idempotency, reply.body)
            return reply

    async def _count(self, request: ActionRequest, scope: Scope) -> None:
        """Count a run, where each caller may run the action so often only; not a repeated request.

        Raises:
            RateLimited: this is one too many.

        """
        rules = scope.model.permissions.rules.get(ObjectName(request.object))
        rule = None if rules is None else rules.actions.get(request.action)
        actor = scope.context.actor
        if rule is None or actor.is_system:
            return
        # What the shorter time refuses must not use up the longer one.
        for rate in rule.rates:
            of = f"{request.object}.{request.action}/{rate.window_s:.0f}"
            taken_s = await self._engine.limiter.ask(("action", actor.tenant, of, actor.id), rate)
            rate.check(taken_s)

    async def _inside(self, call: _Call, object_: ObjectDef | None, unit: Unit) -> JsonReply:
        """Run the handler in a transaction; where there is a condition, on the locked record."""
        request, condition = call.request, call.condition
        if condition is not None and object_ is not None and request.id is not None:
            # Two calls at once would both find it satisfied, and both change the record.
            await unit.lock(object_, request.id)
        record = await self._record(request, unit.scope)
        if condition is not None and object_ is not None and request.id is not None:
            access = RecordAccess(self._reader, unit.scope)
            await access.check_condition(object_, request.id, condition, request.action)
        return await self._call(call, record, unit.api(1))

    def _find(
        self, request: ActionRequest, object_: ObjectDef | None
    ) -> tuple[ActionHandler, ActionDef | None]:
        definition = None if object_ is None else object_.actions.get(request.action)
        entry = self._engine.actions.get(request.object, request.action)
        if entry is None:
            if definition is not None:
                feature = f"{request.object}.{request.action} (it has no handler here)"
                raise NotSupported(feature=feature)
            names = set(self._engine.actions.names(request.object))
            names |= set(object_.actions) if object_ is not None else set()
            near = tuple(get_close_matches(request.action, sorted(names), n=2))
            raise ActionUnknown(object=request.object, action=request.action, suggestions=near)
        return entry.handler, definition

    def _check_kind(self, request: ActionRequest, definition: ActionDef | None) -> None:
        if definition is None:
            return
        if definition.type == "record" and request.id is None:
            raise InvalidRequest(reason=f"{request.action} needs the id of a record")
        if definition.type == "global" and request.id is not None:
            raise InvalidRequest(reason=f"{request.action} does not take the id of a record")

    def _params(
        self, request: ActionRequest, definition: ActionDef | None, scope: Scope
    ) -> dict[str, Any]:
        given = decode_object(request.params)
        if definition is None:
            return given  # registered by code only: the handler knows what it takes
        key = (scope.model.edition, request.object, request.action)
        validator = self._validators.get(key)
        if validator is None:
            fields = {FieldName(name): field for name, field in definition.params.items()}
            shape = ObjectDef(name=ObjectName(request.action), fields=fields)
            validator = self._validators[key] = compile_validator(shape)
        context = scope.context
        now = Moment.of(context, self._engine.clock.now_ms()).now
        checked = validator.check_create(given, now=now, actor=context.actor)
        if checked.issues:
            raise ValidationFailed(object=request.action, issues=checked.issues)
        return dict(checked.values)

    async def _record(self, request: ActionRequest, scope: Scope) -> dict[str, Any] | None:
        if request.id is None or request.object == GLOBAL:
            return None
        reply = await self._reader.get(GetRequest(request.object, request.id), scope)
        return decode_json(reply.record)

    async def _call(self, call: _Call, record: dict[str, Any] | None, api: Api) -> JsonReply:
        request, context = call.request, call.scope.context
        ctx = ActionContext(
            request,
            context.actor,
            input=call.params,
            record=record,
            api=api,
            request_id=context.request_id,
        )
        left_s = (context.deadline_ms - self._engine.clock.now_ms()) / 1000
        limit = asyncio.timeout(left_s)
        try:
            async with limit:
                answer: Any = call.handler(ctx)
                if inspect.isawaitable(answer):
                    answer = await answer
            return JsonReply(body=encode_json(answer))
        except Exception as exc:
            if limit.expired():
                raise DeadlineExceeded from exc
            raise typed_failure(f"{request.object}.{request.action}", exc) from exc


def parse_action_reference(reference: str) -> tuple[str, str]:
    """`object.action`, `object:action`, or `action` of no object, as object and action."""
    for mark in (".", ":"):
        object_name, found, action = reference.partition(mark)
        if found:
            return object_name, action
    return GLOBAL, reference
