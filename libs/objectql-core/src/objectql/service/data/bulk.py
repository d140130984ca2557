"""The same operation on many records of one object: the body, and what is answered."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from objectql.errors import BatchTooLarge, InvalidRequest, Issue
from objectql.service.bodies import decoder, first_byte
from objectql.service.data.answers import to_json
from objectql.service.data.names import check_object
from objectql.service.data.row_errors import row_error
from objectql.wire.messages import BulkReply, BulkRequest, BulkRow, RowResult

BulkOperation: TypeAlias = Literal["create", "update", "upsert", "delete"]


class BulkBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """See `read_rows` for what a record may look like."""

    operation: BulkOperation
    records: list[msgspec.Raw]
    atomic: bool = False
    continue_on_error: bool = False
    return_records: bool = True
    match: tuple[str, ...] = ()

    def request(self, object: str, *, most: int) -> BulkRequest:
        """The message that asks for it.

        Raises:
            BatchTooLarge: there are more than `most` records.
            InvalidRequest: with every record that is none.

        """
        check_size(len(self.records), most)
        return BulkRequest(
            object=check_object(object),
            operation=self.operation,
            rows=read_rows(self.records, self.operation),
            atomic=self.atomic,
            continue_on_error=self.continue_on_error,
            return_records=self.return_records,
            match=self.match,
        )


class WrappedRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row whose values stand under `data`."""

    data: msgspec.Raw = msgspec.Raw(b"{}")
    id: str | None = None
    external_id: str | None = None
    if_version: int | None = None


def bulk_json(reply: BulkReply) -> bytes:
    """`{"results": [...], "succeeded": n, "failed": n}`."""
    failed = sum(result.error is not None for result in reply.results)
    rows = b",".join(_row(index, result) for index, result in enumerate(reply.results))
    counts = b',"succeeded":%d,"failed":%d}' % (len(reply.results) - failed, failed)
    return b'{"results":[' + rows + b"]" + counts


def check_size(count: int, most: int) -> None:
    """Return if one request may hold `count` records.

    Raises:
        BatchTooLarge: it may not.

    """
    if count > most:
        raise BatchTooLarge(count=count, max=most)


def creations(object: str, records: list[msgspec.Raw], *, most: int) -> BulkRequest:
    """The message that creates all of `records`, or none.

    Raises:
        BatchTooLarge: there are more than `most`.
        InvalidRequest: one of them is no JSON object.

    """
    check_size(len(records), most)
    for index, record in enumerate(records):
        if first_byte(bytes(record)) != b"{":
            raise InvalidRequest(reason=f"item {index} is not a JSON object")
    return BulkRequest(
        object=object,
        operation="create",
        rows=tuple(BulkRow(data=bytes(record)) for record in records),
        atomic=True,
    )


def created_json(reply: BulkReply) -> bytes:
    """`{"items": [...], "count": n}` of what `creations` asked for."""
    items = b",".join(result.record or b"{}" for result in reply.results)
    return b'{"items":[' + items + b'],"count":%d}' % len(reply.results)


def read_rows(records: list[msgspec.Raw], operation: BulkOperation) -> tuple[BulkRow, ...]:
    """The rows of a bulk request.

    A row is the record itself, with its `id` among the values; or, to say more about it,
    `{"id"?, "external_id"?, "if_version"?, "data": {...}}`; for `delete` also a bare id.

    Raises:
        InvalidRequest: with every row that is none of these.

    """
    issues: list[Issue] = []
    rows: list[BulkRow] = []
    for index, raw in enumerate(records):
        try:
            rows.append(_read_row(bytes(raw), operation))
        except msgspec.ValidationError as exc:
            issues.append(Issue(path=f"records.{index}", code="invalid_type", message=str(exc)))
    if issues:
        raise InvalidRequest(reason=f"records.{issues[0].path}", issues=tuple(issues))
    return tuple(rows)


def _read_row(text: bytes, operation: BulkOperation) -> BulkRow:
    if operation == "delete" and first_byte(text) == b'"':
        return BulkRow(id=decoder(str).decode(text))
    keys = decoder(dict[str, msgspec.Raw]).decode(text)
    if keys.keys() <= _WRAPPED_KEYS and (
        operation == "delete" or first_byte(bytes(keys.get("data", b""))) == b"{"
    ):
        row = decoder(WrappedRow).decode(text)
        return BulkRow(bytes(row.data), row.id, row.external_id, row.if_version)
    id = decoder(str).decode(keys["id"]) if "id" in keys else None
    return BulkRow(text, id)


_WRAPPED_KEYS = frozenset(WrappedRow.__struct_fields__)


def _row(index: int, result: RowResult) -> bytes:
    text = b'{"index":%d,"id":%s,"action":"%s"' % (
        index,
        to_json(result.id),
        result.action.encode(),
    )
    if result.version:
        text += b',"version":%d' % result.version
    if result.record is not None:
        text += b',"record":' + result.record
    if result.error is not None:
        text += b',"error":' + to_json(row_error(result.error))
    return text + b"}"
