"""Requests and answers of both kinds of services, spoken to with the official library."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc.status_pb2 import Status

from objectql.errors import (
    Category,
    ErrorInfo,
    FieldUnknown,
    InvalidRequest,
    Issue,
    ValidationFailed,
)
from objectql.ids import FieldName, ObjectName
from objectql.metadata.field_numbers import allocate
from objectql.metadata.model import ActionDef, FieldDef, ObjectDef, Option, system_fields
from objectql.protobuf.calls import (
    ActionCall,
    AggregateCall,
    BatchCall,
    BulkCall,
    Call,
    CreateCall,
    DeleteCall,
    GetCall,
    ListCall,
    QueryCall,
    SessionFrame,
    TransactionCall,
    UpdateCall,
    WatchCall,
)
from objectql.protobuf.descriptors import pool_of
from objectql.protobuf.generic import FILE
from objectql.protobuf.generic_service import GENERIC
from objectql.protobuf.messages import codecs_of
from objectql.protobuf.services import ObjectCodec, service_names
from objectql.protobuf.status import error_of_status
from objectql.wire.messages import RowResult

LEVELS = (Option(value="low", label="Low"), Option(value="high", label="High"))
OWN = (
    FieldDef(name=FieldName("title"), type="text"),
    FieldDef(name=FieldName("level"), type="select", options=LEVELS),
    FieldDef(name=FieldName("price"), type="currency"),
    FieldDef(name=FieldName("secret"), type="text"),
)
FINISH = ActionDef(
    name="finish",
    params={
        "level": FieldDef(name=FieldName("level"), type="select", options=LEVELS),
        "cost": FieldDef(name=FieldName("cost"), type="currency"),
    },
)
ACTIONS = (FINISH, ActionDef(name="clean_up", type="global"), ActionDef(name="own", internal=True))
TASK = ObjectDef(
    name=ObjectName("task"),
    fields={each.name: each for each in (*system_fields(), *OWN)},
    actions={each.name: each for each in ACTIONS},
)
NUMBERS = allocate([TASK], {})
CODEC = ObjectCodec(TASK, NUMBERS[TASK.name])
POOL = pool_of([FILE, CODEC.file])


def message(name: str, **fields: Any) -> bytes:
    """A message as a client of the official library sends it."""
    made: Message = GetMessageClass(POOL.FindMessageTypeByName(name))()
    return json_format.ParseDict(fields, made).SerializeToString()


def shown(name: str, content: bytes) -> dict[str, Any]:
    """What such a client reads."""
    read = GetMessageClass(POOL.FindMessageTypeByName(name)).FromString(content)
    return json_format.MessageToDict(read, preserving_proto_field_name=True)


def asked(method: str, **fields: Any) -> Call:
    return CODEC.rpcs[method].read(message(f"objectql.app.v1.{method}Request", **fields))


def asked_generic(method: str, **fields: Any) -> Call:
    return GENERIC.rpcs[method].read(message(f"objectql.v1.{method}Request", **fields))


def test_every_method_that_is_declared_is_read() -> None:
    for codec in (CODEC, GENERIC):
        assert codec.rpcs.keys() == {each.name for each in codec.file.service.methods}
    assert service_names(NUMBERS) == {CODEC.service: "task"}


def test_an_empty_request_that_must_say_more_is_told_what() -> None:
    for method in ("Get", "List", "Create", "Query", "Aggregate", "Action", "Watch"):
        with pytest.raises(InvalidRequest) as refused:
            GENERIC.rpcs[method].read(b"")
        assert [each.code for each in refused.value.issues] == ["required"]
    assert CODEC.rpcs["GetTask"].read(b"") == GetCall("task", "")


def test_requests_of_an_object_say_what_clients_said() -> None:
    assert asked("GetTask", id="t1", read_mask="title,level") == GetCall(
        "task", "t1", ("title", "level")
    )
    assert asked("GetTask", id="t1", read_mask="*") == GetCall("task", "t1")
    listed = asked(
        "ListTasks", page_size=5, page_token="p", filter="a eq 1", order_by="a", count=True
    )
    assert listed == ListCall("task", "a eq 1", "a", page_size=5, page_token="p", count=True)
    assert asked("DeleteTask", id="t1") == DeleteCall("task", "t1")
    assert asked("DeleteTask", id="t1", if_version=0) == DeleteCall("task", "t1", 0)
    query = {"where": {"a": {"$gt": 5}}, "limit": 7}
    assert asked("QueryTasks", query=query) == QueryCall("task", query)
    assert asked("ExportTasks") == QueryCall("task", {})
    watch = asked("WatchTasks", where={"a": 1}, read_mask="title", snapshot=True, since="c")
    assert watch == WatchCall("task", {"a": 1}, ("title",), snapshot=True, since="c")
    assert asked("WatchTasks") == WatchCall("task")


def test_a_new_record_is_json_with_exact_numbers() -> None:
    task = {
        "id": "t1",
        "title": "x",
        "level": "LEVEL_HIGH",
        "price": {"value": "12345678901234567.89"},
    }
    assert asked("CreateTask", task=task) == CreateCall(
        "task", b'{"id":"t1","title":"x","level":"high","price":12345678901234567.89}'
    )
    assert asked("CreateTask") == CreateCall("task", b"{}")


def test_an_update_without_a_mask_changes_what_is_set() -> None:
    update = asked("UpdateTask", task={"id": "t1", "title": ""}, if_version=3)
    assert update == UpdateCall("task", "t1", b'{"title":""}', if_version=3)


def test_an_update_with_a_mask_changes_what_it_names() -> None:
    update = asked("UpdateTask", task={"id": "t1", "title": "x"}, update_mask="level,id")
    assert update == UpdateCall("task", "t1", b'{"level":null}')
    every = asked("UpdateTask", task={"id": "t1", "title": "x"}, update_mask="*")
    assert every == UpdateCall("task", "t1", b'{"title":"x"}', replace=True)


def test_an_update_names_its_record() -> None:
    for fields in ({}, {"task": {"title": "x"}}, {"task": {"id": ""}}):
        with pytest.raises(InvalidRequest, match='"id" is missing'):
            asked("UpdateTask", **fields)


def test_masks_name_fields_that_the_caller_has() -> None:
    codec = ObjectCodec(TASK, NUMBERS[TASK.name], {"title"})
    request = "objectql.app.v1.UpdateTaskRequest"
    for name in ("secret", "nothing"):
        body = message(request, task={"id": "t1"}, update_mask=name)
        with pytest.raises(FieldUnknown) as refused:
            codec.rpcs["UpdateTask"].read(body)
        assert (refused.value.field, refused.value.suggestions) == (name, ())
    with pytest.raises(FieldUnknown) as refused:
        asked("UpdateTask", task={"id": "t1"}, update_mask="secre")
    assert refused.value.suggestions == ("secret",)
    for method in ("GetTask", "ListTasks", "WatchTasks"):  # no message could hold it
        with pytest.raises(FieldUnknown):
            asked(method, read_mask="owner.name")


def test_paths_in_records_are_those_of_the_record() -> None:
    body = message("objectql.app.v1.CreateTaskRequest", task={"level": 77})
    with pytest.raises(InvalidRequest) as refused:
        CODEC.rpcs["CreateTask"].read(body)
    assert [each.path for each in refused.value.issues] == ["level"]


def test_answers_of_an_object_are_its_messages() -> None:
    task = b'{"id":"t1","title":"x","level":"low","price":1.50}'
    told = {"id": "t1", "title": "x", "level": "LEVEL_LOW", "price": {"value": "1.50"}}
    assert shown("objectql.app.v1.Task", CODEC.record(task)) == told
    page = CODEC.page(b"[" + task + b"]", "next", 7)
    assert shown("objectql.app.v1.ListTasksResponse", page) == {
        "tasks": [told],
        "next_page_token": "next",
        "total_size": "7",
    }
    assert CODEC.page(b"[]", None, None) == b""
    chunk = CODEC.chunk(b"[" + task + b"," + task + b"]")
    for name in ("Query", "Export"):
        assert shown(f"objectql.app.v1.{name}TasksResponse", chunk) == {"tasks": [told, told]}
    assert CODEC.deleted("t1") == b""
    change = CODEC.change("updated", "t1", task, "c1", "entered")
    assert shown("objectql.app.v1.WatchTasksResponse", change) == {
        "type": "CHANGE_TYPE_UPDATED",
        "id": "t1",
        "record": told,
        "cursor": "c1",
        "match": "CHANGE_MATCH_ENTERED",
    }
    gone = CODEC.change("deleted", "t1", None, "c1", None)
    assert "record" not in shown("objectql.app.v1.WatchTasksResponse", gone)


def test_actions_are_methods_with_typed_parameters() -> None:
    parameters = {"level": "LEVEL_HIGH", "cost": {"value": "1.50"}}
    call = asked("FinishTask", id="t1", parameters=parameters)
    assert call == ActionCall("task", "finish", "t1", b'{"level":"high","cost":1.50}')
    assert asked("CleanUpTask") == ActionCall("task", "clean_up", None, b"{}")
    assert not [name for name in CODEC.rpcs if "Own" in name]
    answer = CODEC.result(b'{"done":true}')
    assert shown("objectql.app.v1.FinishTaskResponse", answer) == {"result": {"done": True}}
    with pytest.raises(InvalidRequest) as refused:
        asked("FinishTask", id="t1", parameters={"level": 9})
    assert [each.path for each in refused.value.issues] == ["level"]


# --- the generic service ---------------------------------------------------------------------


def test_requests_of_the_generic_service_say_what_clients_said() -> None:
    get = asked_generic("Get", object="task", id="t1", read_mask="title", expand=["owner"])
    assert get == GetCall("task", "t1", ("title",), ("owner",))
    listed = asked_generic(
        "List", object="task", filter="a eq 1", read_mask="owner.name", page_size=5
    )
    assert listed == ListCall("task", "a eq 1", fields=("owner.name",), page_size=5)
    data = {"b": 0.5, "a": 1, "c": None, "d": [True, {"$inc": -2}], "e": "ü"}
    text = b'{"a":1,"b":0.5,"c":null,"d":[true,{"$inc":-2}],"e":"\xc3\xbc"}'
    assert asked_generic("Create", object="task", data=data) == CreateCall("task", text)
    update = asked_generic("Update", object="task", id="t1", data=data, if_version=2, replace=True)
    assert update == UpdateCall("task", "t1", text, replace=True, if_version=2)
    assert asked_generic("Delete", object="task", id="t1") == DeleteCall("task", "t1")
    assert asked_generic("Query", object="task", query={"limit": 2}) == QueryCall(
        "task", {"limit": 2}
    )
    groups = {"groupBy": ["level"]}
    assert asked_generic("Aggregate", object="task", query=groups) == AggregateCall("task", groups)
    action = asked_generic("Action", object="task", action="finish", id="t1", parameters={"n": 1})
    assert action == ActionCall("task", "finish", "t1", b'{"n":1}')
    assert asked_generic("Action", object="task", action="go") == ActionCall(
        "task", "go", None, b"{}"
    )
    assert asked_generic("GetTransaction", id="x") == TransactionCall("x")
    assert asked_generic("Watch", object="task", since="c") == WatchCall("task", since="c")
    frame = {"type": "ping", "id": "1"}
    assert asked_generic("Session", frame=frame) == SessionFrame(b'{"id":"1","type":"ping"}')


def test_many_writes_are_the_bodies_that_rest_takes() -> None:
    bulk = asked_generic(
        "BulkWrite", object="task", action="ACTION_UPSERT", records=[{"a": 1}], match=["a"]
    )
    assert bulk == BulkCall("task", "upsert", b'[{"a":1}]', match=("a",))
    more = asked_generic("BulkWrite", records=[{"a": 2}], atomic=True, report_all=True)
    assert more == BulkCall("", None, b'[{"a":2}]', atomic=True, report_all=True)
    operations = [
        {"object": "task", "action": "ACTION_CREATE", "data": {"title": "x"}},
        {
            "object": "task",
            "action": "ACTION_UPDATE",
            "id_of": 0,
            "data": {"n": {"$inc": 1}},
            "if_version": 1,
        },
        {"object": "task", "action": "ACTION_DELETE", "id": "t2"},
    ]
    batch = asked_generic(
        "Batch", operations=operations, isolation="ISOLATION_SERIALIZABLE", atomic=False
    )
    assert batch == BatchCall(
        b'{"operations":['
        b'{"object":"task","action":"create","data":{"title":"x"}},'
        b'{"object":"task","action":"update","data":{"n":{"$inc":1}},"if_version":1,"id":{"$ref":0}},'
        b'{"object":"task","action":"delete","id":"t2"}],'
        b'"atomic":false,"isolation":"serializable"}'
    )
    with pytest.raises(InvalidRequest, match=r"operations\.1\.object"):
        asked_generic("Batch", operations=[operations[0], {"action": "ACTION_CREATE"}])


def test_answers_of_the_generic_service_are_structures() -> None:
    record = b'{"id":"t1","n":2,"x":1.5,"list":[1,null],"owner":{"id":"u1"}}'
    told = {"id": "t1", "n": 2.0, "x": 1.5, "list": [1.0, None], "owner": {"id": "u1"}}
    for name in ("Get", "Create", "Update"):
        assert shown(f"objectql.v1.{name}Response", GENERIC.record(record)) == {"record": told}
    page = GENERIC.page(b"[" + record + b"]", "next", 9)
    assert shown("objectql.v1.ListResponse", page) == {
        "records": [told],
        "next_page_token": "next",
        "total_size": "9",
    }
    for name in ("Query", "Export"):
        answer = shown(f"objectql.v1.{name}Response", GENERIC.chunk(b"[" + record + b"]"))
        assert answer == {"records": [told]}
    groups = GENERIC.groups(b'[{"level":"low","count":2}]')
    assert shown("objectql.v1.AggregateResponse", groups) == {
        "groups": [{"level": "low", "count": 2}]
    }
    assert shown("objectql.v1.ActionResponse", GENERIC.result(b"[1]")) == {"result": [1.0]}
    assert shown("objectql.v1.ActionResponse", GENERIC.result(b"null")) == {}
    state = shown("objectql.v1.Transaction", GENERIC.transaction(b'{"id":"x","state":"in_doubt"}'))
    assert state["state"] == "STATE_IN_DOUBT"
    frame = GENERIC.frame(b'{"type":"pong"}')
    assert shown("objectql.v1.SessionResponse", frame) == {"frame": {"type": "pong"}}
    change = GENERIC.change("resync", "", None, "c", None)
    assert shown("objectql.v1.WatchResponse", change)["type"] == "CHANGE_TYPE_RESYNC"


def test_what_became_of_many_writes_is_told_with_their_errors() -> None:
    error = ErrorInfo(
        code="VALIDATION_FAILED",
        category=Category.INVALID_REQUEST,
        message="1 problem in task",
        details={"object": "task"},
        issues=(Issue("title", "required", "is missing"),),
    )
    rows = (
        RowResult(id="t1", action="created", version=1, record=b'{"id":"t1"}'),
        RowResult(id="t2", action="deleted"),
        RowResult(error=error),
    )
    bulk = shown("objectql.v1.BulkWriteResponse", GENERIC.bulk(enumerate(rows, 40), 2, 1))
    assert [each["index"] for each in bulk["results"]] == ["40", "41", "42"]
    assert bulk["results"][1]["outcome"] == "OUTCOME_DELETED"
    assert (bulk["succeeded"], bulk["failed"]) == ("2", "1")
    batch = codecs_of(FILE.messages)["BatchResponse"].read(GENERIC.batch(rows, "x1", "committed"))
    assert batch["transaction"] == {"id": "x1", "state": "committed"}
    first, second, third = batch["results"]
    assert (first, second) == (
        {"record": {"id": "t1"}, "deleted": False},
        {"record": {"id": "t2"}, "deleted": True},
    )
    told = error_of_status(Status.FromString(third["error"]))
    assert isinstance(told, ValidationFailed)
    assert told.to_info() == error
