"""`objectql user`, `key` and `token`: who may act on a running installation, by its API.

Passwords are asked for or read from a file, never taken from the command line, which other users of
the machine can read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from objectql.cli.requests import Refused, send

users = typer.Typer(help="Users and service accounts.", no_args_is_help=True)
keys = typer.Typer(help="API keys.", no_args_is_help=True)
tokens = typer.Typer()

Url = Annotated[str, typer.Option(envvar="OQL_REST_URL", help="The gateway.")]
Token = Annotated[str, typer.Option(envvar="OQL_ADMIN_TOKEN", help="An administrator's token.")]
Role = Annotated[list[str] | None, typer.Option(help="A role; repeat for more.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The user's name or id.")]
PasswordFile = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="A file with the password; default: ask."),
]

DEFAULT_URL: Final = "http://127.0.0.1:8080"
_PAGE: Final = 1000


def ask(url: str, token: str, method: str, path: str, body: Any = None) -> Any:
    """What the gateway answers, or the end of the command with what it refuses."""
    try:
        return send(url, token, method, path, body)
    except Refused as exc:
        typer.echo(str(exc), err=True)
        raise typer.Exit(1) from exc


@users.command("create")
def create_user(
    name: Annotated[str, typer.Argument(help="What the user signs in with.")],
    role: Role = None,
    email: Annotated[str | None, typer.Option(help="Also good for signing in.")] = None,
    service: Annotated[bool, typer.Option("--service", help="Keys only, no password.")] = False,
    must_change: Annotated[
        bool, typer.Option("--must-change", help="The first sign-in must set another password.")
    ] = False,
    password_file: PasswordFile = None,
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Make a user and print the id."""
    body = {"name": name, "email": email, "roles": role or [], "service": service}
    if not service:
        body |= {"password": _password(password_file), "must_change": must_change}
    typer.echo(ask(url, token, "POST", "/api/auth/users", body)["id"])


@users.command("list")
def list_users(url: Url = DEFAULT_URL, token: Token = "") -> None:
    """Print id, name, state and roles of every user."""
    for user in _all(url, token, "users"):
        state = "active" if user["active"] else "disabled"
        typer.echo(f"{user['id']}  {user['name']}  {state}  {','.join(user['roles'])}")


@users.command("disable")
def disable_user(name: Name, url: Url = DEFAULT_URL, token: Token = "") -> None:
    """Cut a user off, everywhere and at once."""
    _change(url, token, name, {"active": False})


@users.command("enable")
def enable_user(name: Name, url: Url = DEFAULT_URL, token: Token = "") -> None:
    """Let a user sign in again; what was issued before stays void."""
    _change(url, token, name, {"active": True})


@users.command("roles")
def set_roles(
    name: Name,
    role: Annotated[list[str] | None, typer.Argument(help="All roles the user shall have.")] = None,
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Set a user's roles."""
    _change(url, token, name, {"roles": role or []})


@users.command("password")
def set_password(
    name: Name,
    must_change: Annotated[
        bool, typer.Option("--must-change", help="The next sign-in must set another password.")
    ] = False,
    password_file: PasswordFile = None,
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Set a user's password and end all sessions."""
    change = {"password": _password(password_file), "must_change": must_change}
    _change(url, token, name, change)


@users.command("revoke")
def revoke_tokens(name: Name, url: Url = DEFAULT_URL, token: Token = "") -> None:
    """Void every token issued to a user until now, whoever issued it; NAME may be any `sub`."""
    body = {"kind": "user", "id": _id(url, token, name, or_itself=True)}
    ask(url, token, "POST", "/api/auth/revoke", body)


@tokens.command("revoke")
def revoke_token(
    id: Annotated[
        str | None, typer.Argument(metavar="JTI", help="The claim `jti`, not the token.")
    ] = None,
    subject: Annotated[
        str | None, typer.Option(metavar="SUB", help="All that name this subject until now.")
    ] = None,
    session: Annotated[
        str | None, typer.Option(metavar="SID", help="All of a session, by the claim `sid`.")
    ] = None,
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Void tokens everywhere, whoever issued them."""
    given = {"token": id, "user": subject, "session": session}
    named = [{"kind": kind, "id": value} for kind, value in given.items() if value is not None]
    if len(named) != 1:
        raise typer.BadParameter("name one of JTI, --subject and --session")
    ask(url, token, "POST", "/api/auth/revoke", named[0])


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    user: Annotated[str, typer.Option(help="Whose key it is: name or id.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="OBJECT:OPERATION; repeat. Default: no limit.")
    ] = None,
    role: Role = None,
    expires: Annotated[
        str | None, typer.Option(metavar="INSTANT", help="As 2030-01-31T12:00:00Z.")
    ] = None,
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Make a key and print it; it is never shown again."""
    body = {
        "name": name,
        "user": _id(url, token, user),
        "scopes": scope,
        "roles": role,
        "expires_at": expires,
    }
    typer.echo(ask(url, token, "POST", "/api/auth/keys", body)["key"])


@keys.command("list")
def list_keys(url: Url = DEFAULT_URL, token: Token = "") -> None:
    """Print id, user, name, scopes and last use of every key."""
    for key in _all(url, token, "keys"):
        scopes = ",".join(key["scopes"]) if key["scopes"] else "*"
        typer.echo(f"{key['id']}  {key['user']}  {key['name']}  {scopes}  {key['used_at'] or '-'}")


@keys.command("revoke")
def revoke_key(
    id: Annotated[str, typer.Argument(help="The key's id, not the key.")],
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """End a key, everywhere and at once."""
    ask(url, token, "DELETE", f"/api/auth/keys/{quote(id, safe='')}")


def _password(file: Path | None) -> str:
    if file is not None:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))


def _all(url: str, token: str, what: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    page = [{"id": ""}]
    while page:
        after = quote(str(page[-1]["id"]), safe="")
        page = ask(url, token, "GET", f"/api/auth/{what}?$top={_PAGE}&$after={after}")["items"]
        found += page
    return found


def _id(url: str, token: str, name: str, *, or_itself: bool = False) -> str:
    for user in _all(url, token, "users"):
        if name.lower() in {user["id"].lower(), user["name"], user["email"]}:
            return str(user["id"])
    if or_itself:
        return name
    typer.echo(f'there is no user "{name}"', err=True)
    raise typer.Exit(1)


def _change(url: str, token: str, name: str, change: dict[str, Any]) -> None:
    id_ = quote(_id(url, token, name), safe="")
    ask(url, token, "PATCH", f"/api/auth/users/{id_}", change)
