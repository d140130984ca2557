"""`objectql`: validate metadata, make development tokens, and what other packages add.

A package adds a group of commands by an entry point of the group `objectql.commands` that names a
`typer.Typer`, or one command by one that names a function; its name becomes the command's. It is
imported when it is asked for.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from typer.core import TyperGroup
from typer.main import get_command

from objectql.cli.audit import audit
from objectql.cli.cluster import cluster
from objectql.cli.identity import keys, tokens, users
from objectql.cli.problems import problem_lines
from objectql.cli.proto import proto
from objectql.cli.token import development_token
from objectql.cli.webhooks import webhooks
from objectql.clock import SystemClock
from objectql.context import DEFAULT_TENANT
from objectql.errors import Issue, MetadataInvalid, ObjectQLError, plural
from objectql.ids import tenant_id

if TYPE_CHECKING:  # Typer carries its own click, and has no public names for these two
    from typer._click.core import (  # pyright: ignore[reportPrivateUsage]
        Command,
        Context,
    )

COMMANDS = "objectql.commands"


class _Commands(TyperGroup):
    """Our commands and those that installed packages offer."""

    def list_commands(self, ctx: Context) -> list[str]:
        """See `click.Group`."""
        return [*super().list_commands(ctx), *sorted(entry_points(group=COMMANDS).names)]

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        """See `click.Group`; a command that cannot be loaded says so."""
        own = super().get_command(ctx, cmd_name)
        points = entry_points(group=COMMANDS, name=cmd_name)
        if own is not None or not points:
            return own
        try:
            found = next(iter(points)).load()
        except ImportError as exc:
            typer.echo(f"the command {cmd_name} cannot be loaded: {exc}", err=True)
            return None
        if not isinstance(found, typer.Typer):
            group = typer.Typer(add_completion=False)
            group.command(cmd_name)(found)
            found = group
        command = get_command(found)
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=_Commands,
    help="Declare business objects in YAML, serve them everywhere.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


app.add_typer(users, name="user")
app.add_typer(keys, name="key")
app.add_typer(audit, name="audit")
app.add_typer(cluster, name="cluster")
app.add_typer(tokens, name="token")
app.add_typer(webhooks, name="webhook")
app.add_typer(proto, name="proto")


@app.command()
def validate(
    directories: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR...", exists=True, file_okay=False, help="Folders of metadata files."
        ),
    ],
) -> None:
    """Check metadata and print every problem with its file and line; exit 1 if there is one.

    Several folders are checked together: they may refer to each other.
    """
    from objectql.kernel.meanings import check_meanings
    from objectql.metadata.build import build_snapshot
    from objectql.metadata.document import Document
    from objectql.metadata.loader import load_directory

    documents: list[Document] = []
    issues: list[Issue] = []
    for directory in directories:
        try:
            package = load_directory(directory)
        except MetadataInvalid as exc:
            issues += exc.issues
        else:
            documents += package.items
            for line in problem_lines(directories, package.warnings):
                typer.echo(f"warning: {line}", err=True)
    if not issues:  # what could not be read would only be missed again
        try:
            snapshot = build_snapshot(documents, version=1)
        except MetadataInvalid as exc:
            issues += exc.issues
        else:
            issues += check_meanings(snapshot)
            if not issues:
                typer.echo(f"{plural(len(snapshot.objects), 'object')}, no problems")
                return
    for line in problem_lines(directories, issues):
        typer.echo(line)
    typer.echo(plural(len(issues), "problem"), err=True)
    raise typer.Exit(1)


@app.command("types")
def print_types(
    directories: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[DIR]...",
            exists=True,
            file_okay=False,
            help="Folders of metadata files. Default: the objects of the gateway.",
        ),
    ] = None,
    url: Annotated[
        str, typer.Option(envvar="OQL_REST_URL", help="The gateway.")
    ] = "http://127.0.0.1:8080",
    token: Annotated[
        str, typer.Option(envvar="OQL_ADMIN_TOKEN", help="Who asks; see `objectql token`.")
    ] = "",
) -> None:
    """Print TypeScript types of all objects, for the client in JavaScript."""
    from objectql.cli.types import types_of_files, types_of_server

    try:
        text = types_of_files(directories) if directories else types_of_server(url, token)
    except MetadataInvalid as exc:
        for line in problem_lines(directories or [], exc.issues):
            typer.echo(line, err=True)
        raise typer.Exit(1) from exc
    except ValueError as exc:
        typer.echo(str(exc), err=True)
        raise typer.Exit(1) from exc
    typer.echo(text, nl=False)


@tokens.callback(invoke_without_command=True)
def token(  # noqa: PLR0917 - the options of the command
    ctx: typer.Context,
    secret: Annotated[
        str,
        typer.Option(
            envvar="OQL_JWT_SECRET", help="The development secret that the gateways were given."
        ),
    ] = "",
    user: Annotated[str, typer.Option(help="Who the caller is.")] = "dev",
    tenant: Annotated[str, typer.Option(help="Whose data.")] = DEFAULT_TENANT,
    role: Annotated[
        list[str] | None, typer.Option(help="A role; repeat for more. Default: admin.")
    ] = None,
    hours: Annotated[float, typer.Option(min=0.01, help="How long it is accepted.")] = 24,
    claim: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A further claim; repeat.")
    ] = None,
) -> None:
    """Print a token for development, signed with the shared secret; or revoke what was issued."""
    if ctx.invoked_subcommand is not None:
        return
    if not secret:
        raise typer.BadParameter("--secret and OQL_JWT_SECRET are missing")
    try:
        made = development_token(
            secret,
            user=user,
            tenant=tenant_id(tenant),
            roles=tuple(role if role is not None else ["admin"]),
            now_s=SystemClock().now_ms() // 1000,
            seconds=round(hours * 3600),
            claims=dict(_claim(text) for text in claim or ()),
        )
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from exc
    typer.echo(made)


@app.command("explain")
def explain_query(  # noqa: PLR0917 - the options of the command
    object_name: Annotated[str, typer.Argument(metavar="OBJECT", help="The object asked for.")],
    filter: Annotated[str, typer.Option(help="As $filter of a request.")] = "",
    select: Annotated[str, typer.Option(help="As $select.")] = "",
    orderby: Annotated[str, typer.Option(help="As $orderby.")] = "",
    expand: Annotated[str, typer.Option(help="As $expand.")] = "",
    search: Annotated[str, typer.Option(help="As $search.")] = "",
    top: Annotated[int, typer.Option(min=0, help="As $top.")] = 100,
    analyze: Annotated[bool, typer.Option(help="Also run it; for administrators.")] = False,  # noqa: FBT002 - a flag
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,  # noqa: FBT002 - a flag
    url: Annotated[
        str, typer.Option(envvar="OQL_REST_URL", help="The gateway.")
    ] = "http://127.0.0.1:8080",
    token: Annotated[
        str, typer.Option(envvar="OQL_ADMIN_TOKEN", help="Who asks; see `objectql token`.")
    ] = "",
    metadata: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True, file_okay=False, help="Ask these metadata files, and no gateway; repeat."
        ),
    ] = None,
) -> None:
    """Print what becomes of a query: each stage, the SQL, the database's plan and the times."""
    from objectql.cli.explain import explain_offline, explain_online

    given = {"filter": filter, "select": select, "orderby": orderby, "expand": expand}
    given |= {"search": search, "top": str(top)}
    parameters = {f"${name}": text for name, text in given.items() if text}
    try:
        if metadata:
            found = explain_offline(metadata, object_name, parameters)
        else:
            found = explain_online(url, token, object_name, parameters, analyze=analyze)
    except (ObjectQLError, ValueError) as exc:
        typer.echo(str(exc), err=True)
        raise typer.Exit(1) from exc
    typer.echo(json.dumps(found.stages, indent=2) if as_json else found.as_text())


@app.command("can")
def can(  # noqa: PLR0917 - the options of the command
    user: Annotated[str, typer.Argument(metavar="USER", help="The id of the user.")],
    action: Annotated[
        str, typer.Argument(metavar="ACTION", help="create, read, update, delete, export.")
    ],
    object_name: Annotated[str, typer.Argument(metavar="OBJECT", help="The object.")],
    record: Annotated[str | None, typer.Argument(metavar="ID", help="One record of it.")] = None,
    role: Annotated[
        list[str] | None,
        typer.Option(help="A role of the user; repeat. Default: those of the built-in user."),
    ] = None,
    claim: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A fact of the user; repeat.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,  # noqa: FBT002 - a flag
    url: Annotated[
        str, typer.Option(envvar="OQL_REST_URL", help="The gateway.")
    ] = "http://127.0.0.1:8080",
    token: Annotated[
        str, typer.Option(envvar="OQL_ADMIN_TOKEN", help="An administrator's token.")
    ] = "",
) -> None:
    """Tell whether a user may do something, and which grants and rules decide."""
    from objectql.cli.can import decision_lines, explain_access

    try:
        question = {
            "object": object_name,
            "operation": action,
            "recordId": record,
            "userId": user,
            "roles": role,
            "claims": dict(_claim(text) for text in claim or ()),
        }
        found = explain_access(url, token, question)
    except ValueError as exc:
        typer.echo(str(exc), err=True)
        raise typer.Exit(1) from exc
    typer.echo(json.dumps(found, indent=2) if as_json else "\n".join(decision_lines(found)))
    if not found["allowed"]:
        raise typer.Exit(3)


@app.command("version")
def show_version() -> None:
    """Print the versions of ObjectQL and Python."""
    python = ".".join(map(str, sys.version_info[:3]))
    typer.echo(f"objectql {version('objectql-core')} (Python {python})")


def _claim(text: str) -> tuple[str, Any]:
    """`name=value`, where the value is JSON or else plain text."""
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise ValueError(f'"{text}" is not NAME=VALUE')
    try:
        return name, msgspec.json.decode(value)
    except msgspec.DecodeError:
        return name, value
