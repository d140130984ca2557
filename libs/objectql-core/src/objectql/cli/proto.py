"""`objectql proto`: Protocol Buffers of the objects, with the numbers that the server has given."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Annotated

import typer

from objectql.cli.identity import DEFAULT_URL, Token, Url, ask
from objectql.errors import plural
from objectql.protobuf.model import FOREIGN

proto = typer.Typer(help="Protocol Buffers of the objects.", no_args_is_help=True)


@proto.callback()
def group() -> None:
    """Protocol Buffers of the objects."""


@proto.command("generate")
def generate(
    out: Annotated[
        Path, typer.Option(file_okay=False, help="The folder below which the files are written.")
    ] = Path("proto"),
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Write a .proto file for each object, with the fields that you may read, and what they import.

    Only a running gateway can tell: the numbers of the fields are kept with what is published.
    """
    written = ask(url, token, "GET", "/api/meta/proto")["items"]
    for each in written:
        path = out / PurePosixPath(each["path"])
        if not path.resolve().is_relative_to(out.resolve()):
            typer.echo(f"{each['path']} lies outside {out}: not written", err=True)
            raise typer.Exit(1)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(each["content"])
    write_imports(out)
    typer.echo(f"{plural(len(written), 'file')} in {out}")


def write_imports(out: Path) -> None:
    """Write the files of Google that ours import, but for those that every compiler brings."""
    for name in set(FOREIGN.values()):
        if name.startswith("google/protobuf/"):
            continue
        folder, _, file = name.rpartition("/")
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((files(folder.replace("/", ".")) / file).read_bytes())
