"""`objectql cluster`: what runs, who leads, and what operators may have it do, by a coordinator."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from objectql.cli.identity import Token, ask

cluster = typer.Typer(help="Members, leader, data sources, transactions.", no_args_is_help=True)

Url = Annotated[str, typer.Option(envvar="OQL_COORDINATOR_URL", help="Any coordinator.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_DEFAULT_URL: Final = "http://127.0.0.1:8090"

_ENDING: Final = frozenset(("draining", "drained"))
_WITHOUT_WORK: Final = frozenset(("drained", "dead", "gone"))
_LOOK_EVERY_S: Final = 0.3


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
    name, address = _leader(url)
    done = ask(address, token, "POST", "/cluster/step-down")
    typer.echo(f"{name} has led until the end of epoch {done['epoch']}")


@cluster.command()
def transactions(url: Url = _DEFAULT_URL, token: Token = "", as_json: AsJson = False) -> None:  # noqa: FBT002 - a flag
    """Print every transaction that is not in force in all of its data sources, the oldest first."""
    found = ask(_leader(url)[1], token, "GET", "/cluster/transactions")
    _print(found, "transactions", as_json=as_json)


@cluster.command()
def resolve(
    id: Annotated[str, typer.Argument(help="The transaction, as `transactions` names it.")],
    outcome: Annotated[str, typer.Argument(help="abort; commit only says what stands.")] = "abort",
    url: Url = _DEFAULT_URL,
    token: Token = "",
) -> None:
    """Give up a transaction that nobody has decided, now. What is decided stands."""
    asked = f"id={quote(id, safe='')}&outcome={quote(outcome, safe='')}"
    done = ask(_leader(url)[1], token, "POST", f"/cluster/resolve?{asked}")
    typer.echo(f"{done['id']} is decided: {done['outcome']}")


@cluster.command()
def drain(
    member: Annotated[str, typer.Argument(help="The process, as `members` names it.")],
    within: Annotated[float, typer.Option(help="How long to wait for it (s).")] = 60.0,
    url: Url = _DEFAULT_URL,
    token: Token = "",
) -> None:
    """Have a process end all its work and wait for that; it stays, not ready, until you end it."""
    url = _beside(url, member)
    until_s = time.monotonic() + within
    status = "ready"
    while status not in _WITHOUT_WORK:
        if time.monotonic() > until_s:
            typer.echo(f"{member} is {status} after {within:g} s", err=True)
            raise typer.Exit(1)
        if status not in _ENDING:  # not told yet, or it has not heard
            ask(url, token, "POST", f"/cluster/drain?member={quote(member, safe='')}")
        time.sleep(_LOOK_EVERY_S)
        found = ask(url, "", "GET", "/cluster")["members"]
        status = next((m["status"] for m in found if m["instance"] == member), "gone")
    typer.echo(f"{member} is {status}")


@cluster.command("upgrade-order")
def upgrade_order(
    to: Annotated[str, typer.Option(help="Leave out what has this version already.")] = "",
    url: Url = _DEFAULT_URL,
) -> None:
    """Print which process to replace after which, each when the one before it is ready."""
    found = ask(url, "", "GET", "/cluster")
    versions = {member["instance"]: member["version"] for member in found["members"]}
    for instance in found["upgrade_order"]:
        if versions[instance] != to:
            typer.echo(f"{instance}  {versions[instance] or 'not heard'}")


def _leader(url: str) -> tuple[str, str]:
    """Name and address of the coordinator that leads, or the end of the command."""
    found = ask(url, "", "GET", "/cluster")
    name = found["leader"]
    addresses = [m["address"] for m in found["members"] if m["instance"] == name and m["address"]]
    if not addresses:
        typer.echo("nobody leads" if name is None else f"{name} has not told where it is", err=True)
        raise typer.Exit(1)
    return name, addresses[0]


def _beside(url: str, member: str) -> str:
    """A coordinator to ask about `member`: another one where it is a coordinator itself."""
    found = ask(url, "", "GET", "/cluster")["members"]
    coordinators = {m["instance"]: m["address"] for m in found if m["service"] == "coordinator"}
    if member not in coordinators:
        return url
    others = (at for name, at in coordinators.items() if name != member and at)
    return next(others, url)


def _print(found: Mapping[str, Any], part: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found[part], indent=2))
        return
    for line in _LINES[part](found[part]):
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


def _transactions(found: list[Mapping[str, Any]]) -> Iterator[str]:
    for one in found:
        where = f"in {', '.join(one['sources'])}"
        yield f"{one['id']}  {one['state']}  {one['age_s']:.1f} s  {where}  tenant {one['tenant']}"


_LINES: Final[Mapping[str, Callable[[Any], Iterator[str]]]] = {
    "members": _members,
    "sources": _sources,
    "transactions": _transactions,
}
