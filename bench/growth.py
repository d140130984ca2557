"""How the cost of a request grows with what it works on.

Cost is the processor time of all processes that serve a request, because it adds up whatever waits
for what. Each curve has a limit for its `order` (see `figures.order`): 0 means the size must not
matter, 1 that twice as much may cost twice as much.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path

from bench import processes, wrk
from bench.figures import median
from bench.model import METHOD, Curve, Growth, Machine, Point, now
from bench.place import ITEMS, METADATA, Place, Setup, place
from bench.scenarios import any_category, authorized, item_of, page_of

MOST_PER_PAGE = "10000"
FLAT = 0.15
"""What counts as not growing: less than twice the cost over a hundred times the size."""
SHARED = 0.5
"""Of kernels: what arrives together is split among them, so each saves less by answering at once."""
PER_PAGE = 20


@dataclass(frozen=True)
class Extent:
    """How far, and how long each point is measured."""

    rounds: int = 3
    seconds: int = 1
    rows: int = 100_000
    tables: tuple[int, ...] = (10, 1_000, 100_000)
    pages: tuple[int, ...] = (10, 100, 1_000, 10_000)
    terms: tuple[int, ...] = (1, 10, 50)
    connections: tuple[int, ...] = (1, 8, 32, 128)
    objects: tuple[int, ...] = (10, 2_000)
    kernels: tuple[int, ...] = (1, 2)


QUICK = Extent(
    rounds=1,
    rows=2_000,
    tables=(10, 100),
    pages=(10, 100),
    terms=(1, 10),
    connections=(1, 8),
    objects=(10, 20),
)


def table_of(size: int) -> str:
    """The object with a table of so many rows."""
    return f"grown{size}"


def metadata_of(folder: Path, objects: int, tables: Sequence[int]) -> Path:
    """A package with an object for each size of table, and as many more as make up `objects`."""
    folder.mkdir()
    (folder / "package.yml").write_text("name: grown\nversion: 1.0.0\n")
    item = (METADATA / "item.object.yml").read_text()
    more = range(objects - len(tables) - len(list(METADATA.glob("*.object.yml"))))
    for name in map(table_of, tables):
        (folder / f"{name}.object.yml").write_text(item)
    for n in more:  # of one field, because making their tables is most of the wait
        (folder / f"spare{n}.object.yml").write_text("fields:\n  name: {type: text}\n")
    return folder


def point(
    where: Place, extent: Extent, size: int, script: str, connections: int = wrk.CONNECTIONS
) -> Point:
    """The rounds at one size."""
    found = Point(size)
    roots = where.serving()
    wrk.ask(where.url, script, extent.seconds, connections)
    for _ in range(extent.rounds):
        before = sum(processes.cpu_of(roots).values())
        answer = wrk.ask(where.url, script, extent.seconds, connections)
        spent = sum(processes.cpu_of(roots).values()) - before
        found.rate.append(answer.rate)
        found.p50_ms.append(answer.p50_ms)
        found.cpu_s.append(spent / answer.requests)
    return found


def one_by_one(where: Place, extent: Extent, size: int, path: str) -> Point:
    """The rounds of requests that take turns, for large answers: a round ends with a whole one.

    What wrk has begun when its time is over costs processor time and is not counted, which
    matters where a round has only a few requests.
    """
    found, roots = Point(size), where.serving()
    connection = HTTPConnection(where.url.removeprefix("http://"))

    def ask() -> float:
        started = time.monotonic()
        connection.request("GET", path, headers={"Authorization": f"Bearer {where.token}"})
        answer = connection.getresponse()
        answer.read()
        if answer.status != HTTPStatus.OK:
            raise RuntimeError(f"{answer.status} from {path}")
        return time.monotonic() - started

    ask()
    for _ in range(extent.rounds):
        before, times = sum(processes.cpu_of(roots).values()), list[float]()
        while sum(times) < extent.seconds:
            times.append(ask())
        spent = sum(processes.cpu_of(roots).values()) - before
        found.rate.append(len(times) / sum(times))
        found.p50_ms.append(median(times) * 1000)
        found.cpu_s.append(spent / len(times))
    connection.close()
    return found


def told(curve: Curve) -> Curve:
    """`curve`, after a line of progress."""
    costs = " → ".join(f"{median(each.cpu_s) * 1e6:,.0f}" for each in curve.points)
    print(f"  {curve.name}: {costs} µs, order {curve.order:.2f}", flush=True)
    return curve


def with_terms(number: int, auth: str) -> str:
    """A query with a term on the indexed field and `number` more."""
    terms = [{"quantity": {"$ne": 2_000 + n}} for n in range(number)]
    body = json.dumps({"where": {"$and": [{"category": "CATEGORY"}, *terms]}, "limit": PER_PAGE})
    first, _, rest = body.partition("CATEGORY")
    return wrk.script(
        "POST", '"/api/item/query"', f"[=[{first}]=] .. {any_category()} .. [=[{rest}]=]", auth
    )


def in_one_place(where: Place, extent: Extent) -> Iterator[Curve]:
    """Everything but the registry."""
    auth = authorized(where.token)

    def get(rows: int, object: str = "item") -> str:
        return wrk.script("GET", f'"/api/{object}/" .. {item_of(rows)}', headers=auth)

    def page(size: int) -> str:
        category = any_category(max(1, size // 200))
        return wrk.script("GET", page_of(PER_PAGE, table_of(size), category), headers=auth)

    by_rows = extent.tables
    yield Curve(
        "get, by rows in the table",
        "rows",
        FLAT,
        [point(where, extent, size, get(size, table_of(size))) for size in by_rows],
    )
    yield Curve(
        f"list of {PER_PAGE}, by rows in the table",
        "rows",
        FLAT,
        [point(where, extent, size, page(size)) for size in by_rows],
    )
    yield Curve(
        "list, by rows in the page, one by one",
        "rows",
        1.0,
        [one_by_one(where, extent, size, f"/api/item?$top={size}") for size in extent.pages],
    )
    yield Curve(
        f"list of {PER_PAGE}, by terms of the filter",
        "terms",
        1.0,
        [point(where, extent, number, with_terms(number, auth)) for number in extent.terms],
    )
    yield Curve(
        "get, by connections",
        "connections",
        FLAT,
        [point(where, extent, n, get(extent.rows), n) for n in extent.connections],
    )
    found = Curve("get, by kernels", "kernels", SHARED)
    for kernels in extent.kernels:
        where.bring_about(replace(where.setup, kernels=kernels))
        found.points.append(point(where, extent, kernels, get(extent.rows)))
    yield found


def by_objects(folder: Path, extent: Extent) -> Curve:
    """The same get in clusters with more and more metadata."""
    found = Curve("get, by objects in the registry", "objects", FLAT)
    for objects in extent.objects:
        metadata = metadata_of(folder / f"with{objects}", objects, ())
        with place(Setup(metadata=(METADATA, metadata))) as where:
            where.fill_items(extent.rows)
            script = wrk.script(
                "GET", f'"/api/item/" .. {item_of(extent.rows)}', headers=authorized(where.token)
            )
            found.points.append(point(where, extent, objects, script))
    return found


def measure(folder: Path, extent: Extent) -> Growth:
    """Every curve, in clusters of its own; `folder` is for the metadata made."""
    machine = Machine.here()
    metadata = metadata_of(folder / "grown", 0, extent.tables)
    limits = {
        "kernel": {"OQL_KERNEL_MAX_PAGE": MOST_PER_PAGE},
        "gateway-rest": {"OQL_GATEWAY_REST_LIMITS__MAX_PAGE": MOST_PER_PAGE},
    }
    with place(Setup(metadata=(METADATA, metadata), env=limits)) as where:
        where.fill_items(extent.rows)
        for size in extent.tables:
            categories = max(1, size // 200)
            where.run_sql(ITEMS.format(table=table_of(size), rows=size, categories=categories))
        rows = [told(curve) for curve in in_one_place(where, extent)]
    rows.append(told(by_objects(folder, extent)))
    return Growth(machine, now(), METHOD, rows)
