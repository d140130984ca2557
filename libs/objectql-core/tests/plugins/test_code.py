from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Literal

import pytest

from objectql.errors import PluginInvalid
from objectql.plugins.actions import ActionRegistry
from objectql.plugins.code import CodeFile, register_code
from objectql.plugins.hooks import HookRegistry


def load(
    path: Path, text: str, kind: Literal["hook", "action"] = "hook"
) -> tuple[HookRegistry, ActionRegistry]:
    file = path / f"invoice.{kind}.py"
    file.write_text(dedent(text))
    hooks, actions = HookRegistry(), ActionRegistry()
    register_code(CodeFile(kind, "invoice", file), hooks, actions, package="crm")
    return hooks, actions


def test_functions_named_after_a_hook_point_or_decorated_are_hooks(tmp_path: Path) -> None:
    hooks, _ = load(
        tmp_path,
        """
        from objectql.plugins.code import hook

        def before_create(ctx): ...
        def helper(): ...

        @hook("afterUpdate", object="*", priority=5)
        @hook("afterDelete")
        def note(ctx): ...
        """,
    )
    found = {(h.event, *h.objects, h.priority) for h in hooks.describe()}
    assert found == {
        ("beforeCreate", "invoice", 100),
        ("afterUpdate", "*", 5),
        ("afterDelete", "invoice", 100),
    }
    assert {h.package for h in hooks.describe()} == {"crm"}


def test_public_functions_of_an_action_file_are_actions(tmp_path: Path) -> None:
    _, actions = load(
        tmp_path,
        """
        from objectql.plugins.code import action

        def send(ctx): ...
        def _private(ctx): ...

        @action("void")
        def cancel(ctx): ...
        """,
        "action",
    )
    assert actions.names("invoice") == ("send", "void")


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("x = 1\ndef broken(:\n", "code_error", 2),
        ("\nraise RuntimeError('boom')\n", "code_error", 2),
        ("x = 1\n", "no_hooks", 1),
        (
            "from objectql.plugins.code import hook\n\n@hook('beforeMagic')\ndef f(ctx): ...\n",
            "unknown_hook_point",
            3,
        ),
    ],
)
def test_a_bad_file_is_reported_with_its_line(
    tmp_path: Path, text: str, code: str, line: int
) -> None:
    with pytest.raises(PluginInvalid) as caught:
        load(tmp_path, text)
    (issue,) = caught.value.issues
    assert (issue.code, issue.line) == (code, line)
    assert issue.file == str(tmp_path / "invoice.hook.py")


def test_an_action_registered_twice_is_reported_and_packages_can_be_removed() -> None:
    actions = ActionRegistry()
    actions.register("invoice", "send", print, package="crm")
    with pytest.raises(PluginInvalid):
        actions.register("invoice", "send", print)
    assert actions.unregister_package("crm") == 1
    assert actions.get("invoice", "send") is None
