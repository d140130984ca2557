"""The `.proto` files of objects, judged by `buf`: they lint, and growing metadata break nobody."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import google.type
import pytest

from objectql.ids import FieldName, ObjectName
from objectql.metadata.build import build_snapshot
from objectql.metadata.field_numbers import ObjectNumbers, allocate
from objectql.metadata.loader import load_directory
from objectql.metadata.model import FieldDef, ObjectDef, Option, system_fields
from objectql.metadata.types import FIELD_TYPES
from objectql.protobuf.objects import proto_file, proto_files
from objectql.protobuf.text import text_of

ROOT = Path(__file__).parents[4]
BUF = Path(sys.executable).parent / "buf"
TASK = ObjectName("task")

CONFIGURATION = """\
version: v2
modules:
  - path: ours
  - path: theirs
lint:
  use: [STANDARD]
  # Google's proposals answer with the record itself, which several methods share.
  except: [RPC_RESPONSE_STANDARD_NAME, RPC_REQUEST_RESPONSE_UNIQUE]
  ignore: [theirs]
breaking:
  use: [FILE]
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A folder with `buf.yaml` and the types of others."""
    (tmp_path / "buf.yaml").write_text(CONFIGURATION)
    (tmp_path / "ours").mkdir()
    theirs = tmp_path / "theirs" / "google" / "type"
    theirs.mkdir(parents=True)
    for name in ("date", "decimal", "timeofday"):
        shutil.copy(Path(next(iter(google.type.__path__))) / f"{name}.proto", theirs)
    return tmp_path


def buf(workspace: Path, *arguments: str) -> str:
    """What `buf` complains of."""
    command = [BUF, *arguments]
    done = subprocess.run(command, cwd=workspace, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode in {0, 100}, done.stderr
    return done.stdout


def write(
    folder: Path, objects: Sequence[ObjectDef], numbers: Mapping[ObjectName, ObjectNumbers]
) -> None:
    for each in proto_files(objects, numbers).values():
        path = folder / each.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text_of(each))


def options(*values: str) -> tuple[Option, ...]:
    return tuple(Option(value=value, label=value.title()) for value in values)


def field(name: str, type: str, *values: str) -> FieldDef:
    return FieldDef(name=FieldName(name), type=type, options=options(*values))


def task(*fields: FieldDef) -> ObjectDef:
    known = {each.name: each for each in (*system_fields(), *fields)}
    return ObjectDef(name=TASK, fields=known, description='What is to be done; a "task"\n*/')


def test_the_examples_lint_and_are_formatted(workspace: Path) -> None:
    folders = (ROOT / "examples" / "flights", ROOT / "examples" / "crm")
    documents = [item for folder in folders for item in load_directory(folder).items]
    objects = list(build_snapshot(documents, 1).objects.values())
    write(workspace / "ours", objects, allocate(objects, {}))
    assert len(list((workspace / "ours").rglob("*.proto"))) == len(objects)
    assert not buf(workspace, "lint")
    assert not buf(workspace, "format", "--diff", "ours")


def test_every_type_of_field_has_a_type(workspace: Path) -> None:
    fields = [field(f"f_{name}", name) for name in FIELD_TYPES]
    odd = field("odd", "multiselect", "on time", "on-time", "ü", "", "1")
    objects = [task(*fields, field("level", "select", "low", "high"), odd)]
    write(workspace / "ours", objects, allocate(objects, {}))
    assert not buf(workspace, "lint")
    assert not buf(workspace, "format", "--diff", "ours")


def test_what_is_added_breaks_nobody(workspace: Path) -> None:
    before = [task(field("title", "text"), field("level", "select", "low", "high"))]
    numbers = allocate(before, {})
    write(workspace / "ours", before, numbers)
    shutil.copytree(workspace, workspace.parent / "before")
    grown = task(
        field("due", "date"),
        field("level", "select", "none", "low", "high"),
        field("title", "text"),
    )
    after = [ObjectDef(name=ObjectName("area"), fields=before[0].fields), grown]
    write(workspace / "ours", after, allocate(after, numbers))
    assert not buf(workspace, "breaking", "--against", str(workspace.parent / "before"))
    write(workspace / "ours", after, allocate(after, {}))  # numbers that nobody kept
    assert buf(workspace, "breaking", "--against", str(workspace.parent / "before"))


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
