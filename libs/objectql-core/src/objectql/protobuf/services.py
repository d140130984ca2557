"""The service of one object as a codec: request bytes to calls, JSON of kernels to answer bytes.

Records are never made into message objects on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from typing import Any, Final

from objectql.errors import FieldUnknown
from objectql.ids import ObjectName
from objectql.metadata.field_numbers import ObjectNumbers, plural
from objectql.metadata.model import ObjectDef
from objectql.protobuf.calls import (
    ActionCall,
    Call,
    CreateCall,
    DeleteCall,
    Fields,
    GetCall,
    ListCall,
    QueryCall,
    UpdateCall,
    Verb,
    WatchCall,
)
from objectql.protobuf.kinds import KINDS, Kind
from objectql.protobuf.messages import codecs_of
from objectql.protobuf.objects import (
    PACKAGE,
    beside,
    numbered_actions,
    proto_file,
    shown_fields,
    snake,
)
from objectql.protobuf.records import RecordCodec, encode_json
from objectql.protobuf.rpcs import (
    Rpc,
    list_call,
    missing,
    read_mask,
    reader,
    result_bytes,
    watch_call,
)
from objectql.protobuf.wire import DELIMITED


def service_names(numbers: Mapping[ObjectName, ObjectNumbers]) -> dict[str, ObjectName]:
    """The objects by the whole names of their services."""
    return {f"{PACKAGE}.{each.message}Service": name for name, each in numbers.items()}


class ObjectCodec:
    """The service of one object, for callers who may read the same fields."""

    def __init__(
        self, definition: ObjectDef, numbers: ObjectNumbers, readable: Collection[str] | None = None
    ) -> None:
        """`readable` are the fields that its messages have beside the id; None: all."""
        self.file: Final = proto_file(definition, numbers, readable)
        self.service: Final = self.file.service_name
        self._object: Final = definition.name
        self._records: Final = RecordCodec(shown_fields(definition, readable), numbers)
        message = numbers.message
        many = plural(message)
        self._plural: Final = snake(many)
        record = _kind_of(self._records)
        kinds = {**KINDS, message: record, f"{PACKAGE}.{message}": record}
        actions = numbered_actions(definition, numbers)
        for action, known in actions:
            parameters = RecordCodec(list(action.params.values()), known)
            kinds[f"{known.message}Parameters"] = _kind_of(parameters)
        codecs = codecs_of((each for each in self.file.messages if each.name not in kinds), kinds)
        self._list: Final = codecs[f"List{many}Response"]
        self._chunk: Final = codecs[f"Query{many}Response"]
        self._change: Final = codecs[f"Watch{many}Response"]
        declared = {each.name for each in self.file.service.methods}
        calls: dict[str, tuple[Verb, Callable[[dict[str, Any]], Call]]] = {
            f"Get{message}": ("get", self._get),
            f"List{many}": ("list", self._list_call),
            f"Create{message}": ("create", self._create),
            f"Update{message}": ("update", self._update),
            f"Delete{message}": ("delete", self._delete),
            f"Query{many}": ("query", self._query),
            f"Export{many}": ("export", self._query),
            f"Watch{many}": ("watch", self._watch),
            **{known.message: ("action", self._action(action.name)) for action, known in actions},
        }
        self.rpcs: Final[Mapping[str, Rpc]] = {
            name: Rpc(verb, reader(codecs[f"{name}Request"], make))
            for name, (verb, make) in calls.items()
            if name in declared
        }

    # --- answers -------------------------------------------------------------------------------

    def record(self, record: bytes) -> bytes:
        """The answer that is one record."""
        return self._records.message(record)

    def page(self, items: bytes, next: str | None, total: int | None) -> bytes:
        """The answer of a list; `items` is a JSON array."""
        records = self._records.messages(items)
        return self._list.write(
            {self._plural: records, "next_page_token": next, "total_size": total}
        )

    def chunk(self, items: bytes) -> bytes:
        """A message of a stream of records; `items` is a JSON array."""
        return self._chunk.write({self._plural: self._records.messages(items)})

    def result(self, body: bytes) -> bytes:  # noqa: PLR6301 - as the generic service's
        """What an action returned, as JSON."""
        return result_bytes(body)

    def deleted(self, id: str) -> bytes:  # noqa: ARG002, PLR6301 - as the generic service's
        """The answer of a deletion."""
        return b""

    def change(
        self, type: str, id: str, record: bytes | None, cursor: str, match: str | None
    ) -> bytes:
        """What a live query tells, in the words of its frames."""
        told = None if record is None else self._records.message(record)
        return self._change.write(
            {"type": type, "id": id, "record": told, "cursor": cursor, "match": match}
        )

    # --- requests ------------------------------------------------------------------------------

    def _mask(self, values: Mapping[str, Any]) -> Fields:
        """The mask; kernels know which names are of fields, but answers hold no fields of others."""
        fields = read_mask(values)
        for name in fields or ():
            if "." in name:
                raise self._unknown(name)
        return fields

    def _unknown(self, name: str) -> FieldUnknown:
        near = get_close_matches(name, list(self._records.names), n=3)
        return FieldUnknown(object=self._object, field=name[:100], suggestions=tuple(near))

    def _get(self, values: dict[str, Any]) -> GetCall:
        return GetCall(self._object, values.get("id", ""), self._mask(values))

    def _list_call(self, values: dict[str, Any]) -> ListCall:
        return list_call(self._object, values, self._mask(values))

    def _create(self, values: dict[str, Any]) -> CreateCall:
        return CreateCall(self._object, encode_json(values.get(self._object, {})))

    def _update(self, values: dict[str, Any]) -> UpdateCall:
        record = values.get(beside(self._object), {})
        id = record.pop("id", None)
        if not id:
            raise missing("id")
        mask: tuple[str, ...] = values.get("update_mask", ())
        replace = mask == ("*",)
        if mask and not replace:
            for name in mask:
                if name not in self._records.names:
                    raise self._unknown(name)
            record = {name: record.get(name) for name in mask if name != "id"}
        return UpdateCall(self._object, id, encode_json(record), replace, values.get("if_version"))

    def _delete(self, values: dict[str, Any]) -> DeleteCall:
        return DeleteCall(self._object, values.get("id", ""), values.get("if_version"))

    def _query(self, values: dict[str, Any]) -> QueryCall:
        return QueryCall(self._object, values.get("query", {}))

    def _watch(self, values: dict[str, Any]) -> WatchCall:
        return watch_call(self._object, values, self._mask(values))

    def _action(self, name: str) -> Callable[[dict[str, Any]], ActionCall]:
        def call(values: dict[str, Any]) -> ActionCall:
            parameters = encode_json(values.get("parameters", {}))
            return ActionCall(self._object, name, values.get("id") or None, parameters)

        return call


def _kind_of(codec: RecordCodec) -> Kind:
    """A field that holds such a message. Paths in it are its own, as in what kernels say of it."""

    def read(message: bytes, _path: str) -> dict[str, Any]:
        return codec.values(message)

    return Kind(DELIMITED, bytes, read, is_message=True)
