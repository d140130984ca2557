"""Hook and action files: `invoice.hook.py`, `invoice.action.py`.

Functions of a hook file that are named after a hook point (`before_create`) are hooks of the
file's object; others become hooks by the decorator `hook`. Every public function of an action
file is the action of its name; `action` gives another name.
"""

from __future__ import annotations

import importlib.util
import traceback
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, Literal, TypeVar, cast

import msgspec

from objectql.errors import Issue, PluginInvalid
from objectql.plugins.actions import ActionHandler, ActionRegistry
from objectql.plugins.hooks import HookHandler, HookRegistry, OnError, canonical_event

F = TypeVar("F", bound=Callable[..., Any])

_HOOKS = "__objectql_hooks__"
_ACTION = "__objectql_action__"


class HookMark(msgspec.Struct, frozen=True):
    """What the decorator `hook` leaves on a function."""

    event: str
    object: str | None = None
    priority: int = 100
    parallel: bool = False
    on_error: OnError = "throw"


def hook(
    event: str,
    *,
    object: str | None = None,
    priority: int = 100,
    parallel: bool = False,
    on_error: OnError = "throw",
) -> Callable[[F], F]:
    """A decorator that makes a function of a hook file a hook; may be given several times."""

    def mark(function: F) -> F:
        marks = cast("tuple[HookMark, ...]", getattr(function, _HOOKS, ()))
        setattr(function, _HOOKS, (*marks, HookMark(event, object, priority, parallel, on_error)))
        return function

    return mark


def action(name: str) -> Callable[[F], F]:
    """A decorator that makes a function of an action file the action `name`."""

    def mark(function: F) -> F:
        setattr(function, _ACTION, name)
        return function

    return mark


class CodeFile(msgspec.Struct, frozen=True):
    """A file of code that belongs to an object."""

    kind: Literal["hook", "action"]
    object: str
    path: Path


def register_code(
    file: CodeFile, hooks: HookRegistry, actions: ActionRegistry, *, package: str | None = None
) -> int:
    """Load a file and register what it holds; how many hooks or actions that were.

    Raises:
        PluginInvalid: the file cannot be loaded, or holds nothing to register; with its line.

    """
    module = _load(file)
    functions = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, FunctionType) and value.__module__ == module.__name__
    }
    if file.kind == "hook":
        count = _register_hooks(file, functions, hooks, package)
    else:
        count = _register_actions(file, functions, actions, package)
    if not count:
        raise _problem(file.path, f"no_{file.kind}s", f"the file defines no {file.kind}s", 1)
    return count


def _register_hooks(
    file: CodeFile, functions: dict[str, FunctionType], hooks: HookRegistry, package: str | None
) -> int:
    count = 0
    for name, function in functions.items():
        marks = cast("tuple[HookMark, ...]", getattr(function, _HOOKS, ()))
        if not marks:
            try:
                marks = (HookMark(canonical_event(name)),)
            except ValueError:
                continue  # a function of the file's own
        for mark in marks:
            try:
                hooks.register(
                    mark.event,
                    mark.object or file.object,
                    cast("HookHandler", function),
                    priority=mark.priority,
                    parallel=mark.parallel,
                    on_error=mark.on_error,
                    name=f"{file.path.name}:{name}",
                    package=package,
                )
            except PluginInvalid as exc:
                line = function.__code__.co_firstlineno
                first = exc.issues[0]
                raise _problem(file.path, first.code, first.message, line) from exc
            count += 1
    return count


def _register_actions(
    file: CodeFile, functions: dict[str, FunctionType], actions: ActionRegistry, package: str | None
) -> int:
    count = 0
    for name, function in functions.items():
        marked = cast("str | None", getattr(function, _ACTION, None))
        if marked is None and name.startswith("_"):
            continue
        try:
            actions.register(
                file.object, marked or name, cast("ActionHandler", function), package=package
            )
        except PluginInvalid as exc:
            line = function.__code__.co_firstlineno
            raise _problem(file.path, exc.issues[0].code, exc.issues[0].message, line) from exc
        count += 1
    return count


class _FromSource(SourceFileLoader):
    """Compiles the text that is there now.

    A cached bytecode file is known by its seconds and size alone, so that two saves within a second
    could be taken for one; and a reader of metadata should not leave files behind.
    """

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _load(file: CodeFile) -> ModuleType:
    name = f"objectql_code_{file.kind}_{file.object}_{abs(hash(str(file.path))):x}"
    loader = _FromSource(name, str(file.path))
    spec = importlib.util.spec_from_file_location(name, file.path, loader=loader)
    if spec is None or spec.loader is None:
        raise _problem(file.path, "unreadable_code", "the file is no Python module", 1)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as exc:
        raise _problem(
            file.path, "code_error", f"{type(exc).__name__}: {exc}", _line(exc, file)
        ) from exc
    return module


def _line(exc: Exception, file: CodeFile) -> int:
    """The line of `file` where `exc` arose."""
    if isinstance(exc, SyntaxError) and exc.lineno is not None:
        return exc.lineno
    frames = [f for f in traceback.extract_tb(exc.__traceback__) if f.filename == str(file.path)]
    return frames[-1].lineno or 1 if frames else 1


def _problem(path: Path, code: str, message: str, line: int) -> PluginInvalid:
    issue = Issue(path="", code=code, message=message, file=str(path), line=line)
    return PluginInvalid(issues=(issue,))
