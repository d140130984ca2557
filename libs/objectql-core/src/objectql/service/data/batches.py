"""Operations on any objects, in order: the body, and what is answered."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, cast

import msgspec

from objectql.errors import InvalidRequest, Issue
from objectql.service.bodies import first_byte
from objectql.service.data.answers import to_json
from objectql.service.data.bulk import check_size
from objectql.service.data.names import check_object
from objectql.service.data.row_errors import raise_first, row_error
from objectql.wire.messages import BatchOperation, BatchReply, BatchRequest, RowResult
from objectql.wire.transactions import TransactionReply

Isolation: TypeAlias = Literal["read_committed", "repeatable_read", "serializable"]


class BatchStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    object: str
    action: Literal["create", "update", "delete", "upsert"]
    id: Any = None
    data: msgspec.Raw = msgspec.Raw(b"{}")
    if_version: int | None = None


class BatchBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be done, and whether all or nothing of it."""

    operations: list[BatchStep]
    atomic: bool = True
    isolation: Isolation = "read_committed"

    def request(self, *, most: int) -> BatchRequest:
        """The message that asks for it.

        Raises:
            BatchTooLarge: there are more than `most` operations.
            InvalidRequest: one of them makes no sense.

        """
        check_size(len(self.operations), most)
        return BatchRequest(
            operations=tuple(_operation(index, step) for index, step in enumerate(self.operations)),
            atomic=self.atomic,
            isolation=self.isolation,
        )


def transaction_json(reply: TransactionReply) -> bytes:
    """`{"id", "state", "sources"}`."""
    return to_json({"id": reply.id, "state": reply.state, "sources": reply.sources})


def batch_json(body: BatchBody, reply: BatchReply, *, with_transaction: bool = True) -> bytes:
    """`{"results": [...], "transaction": {"id", "state"}}`.

    Raises:
        ObjectQLError: that of the first operation that failed, where one undoes them all.

    """
    if body.atomic:
        raise_first(reply.results, "operations")
    results = b",".join(
        _batch_result(step, result)
        for step, result in zip(body.operations, reply.results, strict=True)
    )
    text = b'{"results":[' + results + b"]"
    if with_transaction:
        transaction = {"id": reply.transaction_id, "state": reply.state}
        text += b',"transaction":' + to_json(transaction)
    return text + b"}"


def _operation(index: int, step: BatchStep) -> BatchOperation:
    problem = None
    if first_byte(bytes(step.data)) != b"{":
        problem = ("data", "must be a JSON object")
    elif not (step.id is None or isinstance(step.id, str) or _is_reference(step.id)):
        problem = ("id", 'must be a string or {"$ref": n}')
    elif step.action in {"update", "delete"} and step.id is None:
        problem = ("id", f"is needed to {step.action} a record")
    if problem is not None:
        key, reason = problem
        path = f"operations.{index}.{key}"
        issue = Issue(path=path, code="invalid_value", message=f"{key} {reason}")
        raise InvalidRequest(reason=f"{path} {reason}", issues=(issue,))
    return BatchOperation(
        object=check_object(step.object),
        action=step.action,
        id=step.id,
        data=bytes(step.data),
        if_version=step.if_version,
    )


def _is_reference(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    keys = cast("dict[str, Any]", value)
    return keys.keys() == {"$ref"} and type(keys["$ref"]) is int


def _batch_result(step: BatchStep, result: RowResult) -> bytes:
    if result.error is not None:
        return to_json({"error": row_error(result.error)})
    if result.record is not None:
        return result.record
    return to_json({"id": result.id, "deleted": step.action == "delete"})
