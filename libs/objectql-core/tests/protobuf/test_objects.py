"""The `.proto` files of objects, judged by `buf`: they lint, and growing metadata break nobody."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest
from tests.buf import Workspace

from objectql.ids import FieldName, ObjectName
from objectql.metadata.build import build_snapshot
from objectql.metadata.field_numbers import allocate
from objectql.metadata.loader import load_directory
from objectql.metadata.model import ActionDef, FieldDef, ObjectDef, Option, system_fields
from objectql.metadata.types import FIELD_TYPES
from objectql.protobuf.descriptors import descriptor_of, pool_of
from objectql.protobuf.generic import FILE
from objectql.protobuf.objects import proto_file, proto_files
from objectql.protobuf.text import text_of

ROOT = Path(__file__).parents[4]
TASK = ObjectName("task")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "now")


def options(*values: str) -> tuple[Option, ...]:
    return tuple(Option(value=value, label=value.title()) for value in values)


def field(name: str, type: str, *values: str) -> FieldDef:
    return FieldDef(name=FieldName(name), type=type, options=options(*values))


def task(*fields: FieldDef) -> ObjectDef:
    known = {each.name: each for each in (*system_fields(), *fields)}
    return ObjectDef(name=TASK, fields=known, description='What is to be done; a "task"\n*/')


def test_the_examples_lint_and_are_formatted(workspace: Workspace) -> None:
    folders = (ROOT / "examples" / "flights", ROOT / "examples" / "crm")
    documents = [item for folder in folders for item in load_directory(folder).items]
    objects = list(build_snapshot(documents, 1).objects.values())
    files = proto_files(objects, allocate(objects, {}))
    assert len(files) == len(objects)
    workspace.write([FILE, *files.values()])
    assert not workspace.buf("lint")
    assert not workspace.buf("format", "--diff", "ours")


def test_every_type_of_field_has_a_type(workspace: Workspace) -> None:
    fields = [field(f"f_{name}", name) for name in FIELD_TYPES]
    odd = field("odd", "multiselect", "on time", "on-time", "ü", "", "1")
    objects = [task(*fields, field("level", "select", "low", "high"), odd)]
    workspace.write(proto_files(objects, allocate(objects, {})).values())
    assert not workspace.buf("lint")
    assert not workspace.buf("format", "--diff", "ours")


def test_what_is_added_breaks_nobody(workspace: Workspace) -> None:
    before = [task(field("title", "text"), field("level", "select", "low", "high"))]
    numbers = allocate(before, {})
    workspace.write(proto_files(before, numbers).values())
    shutil.copytree(workspace.folder, workspace.folder.parent / "before")
    grown = task(
        field("due", "date"),
        field("level", "select", "none", "low", "high"),
        field("title", "text"),
    )
    after = [ObjectDef(name=ObjectName("area"), fields=before[0].fields), grown]
    against = ("breaking", "--against", str(workspace.folder.parent / "before"))
    workspace.write(proto_files(after, allocate(after, numbers)).values())
    assert not workspace.buf(*against)
    workspace.write(proto_files(after, allocate(after, {})).values())  # numbers that nobody kept
    assert workspace.buf(*against)


@pytest.mark.parametrize(
    "name", ["type", "change_type", "change_match", "update_mask", "if_version", "timestamp", "id"]
)
def test_objects_may_be_called_like_what_is_ours(workspace: Workspace, name: str) -> None:
    known = {each.name: each for each in (*system_fields(), field("type", "select", "a"))}
    objects = [ObjectDef(name=ObjectName(name), fields=known)]
    files = proto_files(objects, allocate(objects, {}))
    workspace.write(files.values())
    assert workspace.descriptors()[files[ObjectName(name)].path]
    assert pool_of(files.values()).FindServiceByName(files[ObjectName(name)].service_name)


def test_names_that_json_does_not_tell_apart_do_not_break_reflection() -> None:
    definition = task(field("a1", "text"), field("a_1", "text"), field("b_c", "text"))
    file = proto_file(definition, allocate([definition], {})[TASK])
    fields = pool_of([file]).FindMessageTypeByName("objectql.app.v1.Task").fields
    told = {each.name: each.json_name for each in fields}
    assert (told["a1"], told["a_1"], told["b_c"]) == ("a1", "a_1", "bC")


def test_actions_have_messages_whose_names_and_numbers_stay(workspace: Workspace) -> None:
    level = field("level", "select", "low", "high")
    actions = [
        ActionDef(name="get", params={"level": level, "why": field("why", "text")}),
        ActionDef(name="clean_up", type="global", description="Puts it away."),
    ]
    before = msgspec.structs.replace(task(level), actions={each.name: each for each in actions})
    numbers = allocate([before], {})
    assert numbers[TASK].actions["get"].message == "GetTaskN2"
    workspace.write(proto_files([before], numbers).values())
    assert not workspace.buf("lint")
    assert not workspace.buf("format", "--diff", "ours")
    shutil.copytree(workspace.folder, workspace.folder.parent / "before")
    less = ActionDef(name="get", params={"new": field("new", "date"), "level": level})
    after = msgspec.structs.replace(before, actions={"get": less, "clean_up": actions[1]})
    known = allocate([after], allocate([task(level)], numbers))
    file = proto_file(after, known[TASK])
    workspace.write([file])
    found = workspace.buf("breaking", "--against", str(workspace.folder.parent / "before"))
    assert [line for line in found.splitlines() if '"why"' not in line] == []  # which has gone
    assert "  reserved 2;\n" in text_of(file)  # of `why`
    assert descriptor_of(file) == workspace.descriptors()[file.path]


def test_descriptors_are_what_a_compiler_makes_of_the_text(workspace: Workspace) -> None:
    before = task(
        field("gone", "text"), field("level", "select", "low", "gone"), field("t", "text")
    )
    numbers = allocate([before], {})
    fields = [field(f"f_{name}", name) for name in FIELD_TYPES]
    after = task(*fields, field("level", "select", "low", "high"), field("t", "number"))
    file = proto_file(after, allocate([after], numbers)[TASK])
    assert file.messages[0].retired
    workspace.write([FILE, file])
    compiled = workspace.descriptors()
    assert descriptor_of(file) == compiled[file.path]
    assert descriptor_of(FILE) == compiled[FILE.path]
    pool = pool_of([FILE, file])
    assert pool.FindServiceByName("objectql.v1.ObjectService").FindMethodByName("Session")
    assert pool.FindServiceByName("objectql.app.v1.TaskService").FindMethodByName("QueryTasks")


def test_what_has_gone_leaves_its_numbers_reserved() -> None:
    before = task(field("title", "text"), field("a", "text"), field("b", "text"))
    numbers = allocate([before], {})
    level = field("level", "select", "low")
    after = task(field("b", "number"), level)
    again = task(field("b", "number"), field("level", "select", "high"))
    numbers = allocate([again], allocate([after], numbers))
    text = text_of(proto_file(again, numbers[TASK]))
    first = len(system_fields()) + 1
    assert f"  reserved {first} to {first + 2};\n" in text
    assert f"  optional double b = {first + 3};\n" in text
    assert "    reserved 1;\n" in text
    assert "    LEVEL_HIGH = 2;\n" in text


def test_a_field_that_may_not_be_read_is_not_there_and_its_number_is_free_of_hints() -> None:
    definition = task(field("title", "text"), field("secret", "text"))
    numbers = allocate([definition], {})
    text = text_of(proto_file(definition, numbers[TASK], {"title"}))
    assert "title" in text
    assert "secret" not in text
    assert "reserved" not in text
    assert "string id = 1;" in text


def test_comments_stay_comments() -> None:
    definition = task(
        FieldDef(name=FieldName("a"), type="text", description="x\n}\r\u2028 message")
    )
    text = text_of(proto_file(definition, allocate([definition], {})[TASK]))
    said = [line for line in text.splitlines() if "} message" in line]
    assert said == ["  // x } message"]


def test_a_service_has_the_methods_that_its_object_offers() -> None:
    definition = task(field("title", "text"))
    enable = msgspec.structs.replace(definition.enable, api_methods=("get", "delete"))
    definition = msgspec.structs.replace(definition, enable=enable)
    found = proto_file(definition, allocate([definition], {})[TASK])
    assert [method.name for method in found.service.methods] == ["GetTask", "DeleteTask"]
