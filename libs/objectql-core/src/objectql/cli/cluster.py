"""`objectql cluster`: what runs, who leads, and what operators may have it do, by a coordinator."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

import typer

from objectql.cli.identity import Token, ask

cluster = typer.Typer(help="Members, leader and data sources.", no_args_is_help=True)

Url = Annotated[str, typer.Option(envvar="OQL_COORDINATOR_URL", help="Any coordinator.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_DEFAULT_URL: Final = "http://127.0.0.1:8090"


@cluster.command()
def members(url: Url = _DEFAULT_URL, as_json: AsJson = False) -> None:  # noqa: FBT002 - a flag
    """Print every process: service, instance, role, state, version and when it was heard."""
    _print(ask(url, "", "GET", "/cluster"), "members", as_json=as_json)


@cluster.command()
def sources(url: Url = _DEFAULT_URL, as_json: AsJson = False) -> None:  # noqa: FBT002 - a flag
    """Print every data source: who reaches it, who relays its events, its replicas; exit 1 unless all are well."""
    found = ask(url, "", "GET", "/cluster")
    _print(found, "sources", as_json=as_json)
    if not all(map(_is_well, found["sources"].values())):
        raise typer.Exit(1)


@cluster.command()
def leader(url: Url = _DEFAULT_URL) -> None:
    """Print the coordinator that leads and its epoch; exit 1 if none is known."""
    found = ask(url, "", "GET", "/cluster")
    if found["leader"] is None:
        typer.echo(f"nobody leads; ZooKeeper: {found['zookeeper']}", err=True)
        raise typer.Exit(1)
    typer.echo(f"{found['leader']}  epoch {found['epoch']}")


@cluster.command("step-down")
def step_down(url: Url = _DEFAULT_URL, token: Token = "") -> None:
    """Have the coordinator that leads stop leading, so that another one does."""
    found = ask(url, "", "GET", "/cluster")
    name = found["leader"]
    addresses = [m["address"] for m in found["members"] if m["instance"] == name and m["address"]]
    if not addresses:
        typer.echo("nobody leads" if name is None else f"{name} has not told where it is", err=True)
        raise typer.Exit(1)
    done = ask(addresses[0], token, "POST", "/cluster/step-down")
    typer.echo(f"{name} has led until the end of epoch {done['epoch']}")


def _print(found: Mapping[str, Any], part: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found[part], indent=2))
        return
    lines = _members(found[part]) if part == "members" else _sources(found[part])
    for line in lines:
        typer.echo(line)


def _members(found: list[Mapping[str, Any]]) -> Iterator[str]:
    for member in found:
        seen = member["last_seen_ms"]
        heard = "never heard" if seen is None else f"heard {seen / 1000:.1f} s ago"
        words = (member["instance"], member["role"], member["status"], member["version"], heard)
        yield "  ".join(word for word in words if word)


def _sources(found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for name, source in found.items():
        state = "well" if _is_well(source) else "NOT WELL"
        yield f"{name}  {state}  relayed by {', '.join(source['relays']) or 'nobody'}"
        if source["not_reached_by"]:
            yield f"  not reached by {', '.join(source['not_reached_by'])}"
        for replica, seen in source["replicas"].items():
            use = "in use" if seen["is_in_use"] else "NOT IN USE"
            yield f"  {replica}  {use}  {seen['lag_s']:.1f} s behind"


def _is_well(source: Mapping[str, Any]) -> bool:
    replicas = source["replicas"].values()
    is_relayed = len(source["relays"]) == 1
    return not source["not_reached_by"] and is_relayed and all(r["is_in_use"] for r in replicas)
