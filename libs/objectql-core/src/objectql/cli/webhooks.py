"""`objectql webhook`: the webhooks of a tenant, by the API of a running installation."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer

from objectql.cli.identity import DEFAULT_URL, Token, Url, ask

webhooks = typer.Typer(help="Webhooks and their deliveries.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The webhook's name.")]

_PAGE = 1000


@webhooks.command("list")
def list_webhooks(url: Url = DEFAULT_URL, token: Token = "") -> None:
    """Print name, state, objects and URL of every webhook."""
    for hook in ask(url, token, "GET", "/api/admin/webhooks")["items"]:
        state = "active" if hook["active"] else "off"
        state = "broken" if "problem" in hook else state
        typer.echo(f"{hook['name']}  {state}  {','.join(hook['objects'])}  {hook['url']}")
        for reason in ("disabled_because", "problem"):
            if reason in hook:
                typer.echo(f"  {hook[reason]}")


@webhooks.command("test")
def send_test(name: Name, url: Url = DEFAULT_URL, token: Token = "") -> None:
    """Send a message that tells nothing; exit 1 unless the endpoint accepts it."""
    told = ask(url, token, "POST", f"{_path(name)}/test", {})
    if told["ok"]:
        typer.echo(f"{told['status']} in {told['duration_ms']} ms")
        return
    typer.echo(f"{told['status'] or 'no answer'}: {told['reason']}", err=True)
    raise typer.Exit(1)


@webhooks.command("dead")
def dead_deliveries(name: Name, url: Url = DEFAULT_URL, token: Token = "") -> None:
    """Print the deliveries that were given up, the latest first: event, record, attempts, reason."""
    after: str | None = None
    while True:
        place = {} if after is None else {"after": after}
        query = urlencode({"state": "dead", "limit": _PAGE} | place)
        page = ask(url, token, "GET", f"{_path(name)}/deliveries?{query}")
        for one in page["items"]:
            record = f"{one['object']}/{one['record']}"
            typer.echo(f"{one['event']}  {record}  {one['attempts']}  {one['reason']}")
        after = page["meta"].get("next")
        if after is None:
            return


@webhooks.command("replay")
def replay(
    name: Name,
    event: Annotated[str | None, typer.Option(help="One event, by its id.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="INSTANT", help="All since then, delivered or not.")
    ] = None,
    dead: Annotated[bool, typer.Option("--dead", help="All that were given up.")] = False,  # noqa: FBT002 - a flag
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Deliver again, and print how many deliveries that are."""
    if [event is not None, since is not None, dead].count(True) != 1:
        raise typer.BadParameter("name one of --event, --since and --dead")
    body: dict[str, Any] = {"dead": True} if dead else {"event": event}
    if since is not None:
        body = {"since": since}
    typer.echo(ask(url, token, "POST", f"{_path(name)}/replay", body)["replayed"])


def _path(name: str) -> str:
    return f"/api/admin/webhooks/{quote(name, safe='')}"
