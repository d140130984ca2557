"""`objectql audit`: whether the audit of a running installation holds, by its API."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer

from objectql.cli.identity import DEFAULT_URL, Token, Url, ask

audit = typer.Typer(help="What was done, and proof of it.", no_args_is_help=True)


@audit.callback()
def group() -> None:
    """What was done, and proof of it."""


@audit.command()
def verify(
    tenant: Annotated[
        str | None, typer.Option(help="Whose audit; for operators. Default: the caller's tenant.")
    ] = None,
    anchor: Annotated[
        str | None,
        typer.Option(
            metavar="HASH", help="A head that was kept elsewhere: it must be there still."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,  # noqa: FBT002 - a flag
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Follow every chain of entries and name the first link that is broken; exit 1 if there is one."""
    path = "/api/admin" if tenant is None else f"/api/admin/tenants/{quote(tenant, safe='')}"
    query = "" if anchor is None else "?" + urlencode({"anchor": anchor.strip().lower()})
    found = ask(url, token, "GET", f"{path}/audit/verify{query}")
    typer.echo(json.dumps(found, indent=2) if as_json else "\n".join(_lines(found)))
    if not found["intact"]:
        raise typer.Exit(1)


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    for chain in found["chains"]:
        state = "intact" if chain["intact"] else f"BROKEN {_fault(chain['broken'])}"
        yield f"{chain['source']}  {chain['chain']}  {chain['first']}..{chain['last']}  {state}"
        yield f"  head {chain['hash']}"
        if chain["unsealed"]:
            yield f"  {chain['unsealed']} not sealed yet"
    if found["anchor"] is not None and not found["anchor"]["known"]:
        yield f"the anchor is in no chain: {found['anchor']['hash']}"
    yield "intact" if found["intact"] else "NOT INTACT"


def _fault(broken: Mapping[str, Any]) -> str:
    entry = "" if broken["entry"] is None else f", entry {broken['entry']}"
    return f"at {broken['sequence']}: {broken['fault']}{entry}"
