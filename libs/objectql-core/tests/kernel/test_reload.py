from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from textwrap import dedent

import pytest

from objectql.drivers.memory import MemoryDriver
from objectql.errors import FieldUnknown, MetadataInvalid, ObjectQLError
from objectql.kernel.kernel import Kernel
from objectql.kernel.reload import check_applications

PRODUCT = """
    fields:
      name: {type: text, required: true}
    actions:
      price: {type: record}
"""


def put(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(dedent(text))


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    put(folder, "product.object.yml", PRODUCT)
    put(folder, "product.hook.py", "def before_create(ctx): ctx.data['name'] += ' one'\n")
    put(folder, "product.action.py", "def price(ctx): return 1\n")
    return folder


@pytest.fixture
async def kernel(shop: Path) -> AsyncGenerator[Kernel]:
    kernel = Kernel([MemoryDriver(), shop])
    await kernel.start()
    yield kernel
    await kernel.stop()


async def created_name(kernel: Kernel) -> str:
    return (await kernel.create("product", {"name": "tea"}))["name"]


async def test_a_reload_without_a_change_changes_nothing(kernel: Kernel) -> None:
    before = kernel.engine.model.version
    reloaded = await kernel.reload()
    assert (reloaded.version, reloaded.changes, reloaded.schema) == (before, (), ())
    assert await created_name(kernel) == "tea one"


async def test_new_metadata_hooks_and_actions_come_into_force_together(
    kernel: Kernel, shop: Path
) -> None:
    put(
        shop,
        "product.object.yml",
        PRODUCT.replace("actions:", "  price: {type: currency}\n    actions:"),
    )
    put(shop, "product.hook.py", "def before_create(ctx): ctx.data['name'] += ' two'\n")
    put(shop, "product.action.py", "def price(ctx): return 2\n")
    reloaded = await kernel.reload()
    assert [change.path for change in reloaded.changes] == ["product.fields.price"]
    assert reloaded.schema
    record = await kernel.create("product", {"name": "tea", "price": 3})
    assert record["name"] == "tea two"
    assert await kernel.action("product.price", id=record["id"]) == 2


async def test_saves_within_a_second_and_of_one_size_are_told_apart(
    kernel: Kernel, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    for word in ("abc", "def", "ghi"):
        put(shop, "product.hook.py", f"def before_create(ctx): ctx.data['name'] += ' {word}'\n")
        await kernel.reload()
        assert await created_name(kernel) == f"tea {word}"
    assert not list(shop.rglob("*.pyc"))


async def test_every_problem_is_told_and_what_was_in_force_stays(
    kernel: Kernel, shop: Path
) -> None:
    put(shop, "product.object.yml", PRODUCT.replace("text", "txet"))
    put(shop, "product.hook.py", "def before_create(ctx:\n")
    put(shop, "product.action.py", "x = 1\n")
    with pytest.raises(MetadataInvalid) as caught:
        await kernel.reload()
    places = {(Path(issue.file or "").name, issue.line) for issue in caught.value.issues}
    assert places == {
        ("product.object.yml", 3),
        ("product.hook.py", 1),
        ("product.action.py", 1),
    }
    assert await created_name(kernel) == "tea one"


async def test_code_waits_for_metadata_that_is_wrong(kernel: Kernel, shop: Path) -> None:
    put(shop, "product.object.yml", PRODUCT.replace("text", "txet"))
    put(shop, "product.hook.py", "def before_create(ctx): ctx.data['name'] += ' two'\n")
    with pytest.raises(MetadataInvalid):
        await kernel.reload()
    assert await created_name(kernel) == "tea one"
    put(shop, "product.object.yml", PRODUCT)
    await kernel.reload()
    assert await created_name(kernel) == "tea two"


async def test_hooks_of_a_removed_file_are_gone_and_those_of_others_stay(
    kernel: Kernel, shop: Path
) -> None:
    seen: list[str] = []
    kernel.engine.hooks.register(
        "afterCreate", "product", lambda context: seen.append(context.data["name"]), package="audit"
    )
    (shop / "product.hook.py").unlink()
    await kernel.reload()
    assert await created_name(kernel) == "tea"
    assert seen == ["tea"]


async def test_an_action_that_another_package_has_is_refused_with_its_place(
    kernel: Kernel, shop: Path
) -> None:
    kernel.engine.actions.register("product", "cost", lambda _context: 0, package="audit")
    put(shop, "product.action.py", "def price(ctx): ...\n\ndef cost(ctx): ...\n")
    with pytest.raises(MetadataInvalid) as caught:
        await kernel.reload()
    assert [(issue.code, issue.line) for issue in caught.value.issues] == [("duplicate_action", 3)]


async def test_a_renamed_package_asks_for_a_new_start(kernel: Kernel, shop: Path) -> None:
    put(shop, "package.yml", "name: store\n")
    with pytest.raises(MetadataInvalid) as caught:
        await kernel.reload()
    assert [issue.code for issue in caught.value.issues] == ["package_renamed"]


async def test_a_removed_field_is_unknown_after_the_reload(kernel: Kernel, shop: Path) -> None:
    put(shop, "product.object.yml", PRODUCT.replace("name:", "title:"))
    (shop / "product.hook.py").unlink()
    await kernel.reload()
    with pytest.raises(ObjectQLError) as caught:
        await kernel.find("product", {"where": {"name": "tea"}})
    assert isinstance(caught.value, FieldUnknown)


def test_applications_are_checked_with_their_code(shop: Path) -> None:
    assert list(check_applications([shop]).objects) == ["product"]
    put(shop, "product.hook.py", "import nowhere_at_all\n")
    with pytest.raises(MetadataInvalid) as caught:
        check_applications([shop])
    assert [issue.code for issue in caught.value.issues] == ["code_error"]
