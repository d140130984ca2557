"""No operation tells one tenant of another, or lets it touch the other's data (S2).

Each attempt asks about data of another tenant and about data that do not exist: the two answers are
the same. That it is an attempt at all shows what the data's owner is answered to the same request.
"""

from __future__ import annotations

import statistics
import time

import httpx
import pytest

from objectql.ids import uuid7
from objectql_gateway_rest.application import ROUTES
from objectql_gateway_rest.routes import Route, Router
from tests.clusters import client
from tests.security.cross_tenant.asking import Ask, Known, Seen, build, seen
from tests.security.cross_tenant.attempts import ATTEMPTS, is_absent
from tests.security.cross_tenant.conftest import World
from tests.security.cross_tenant.victim import LABELS, of

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]

AIMED = [route for route in ROUTES if not is_absent(route)]
ON_RECORDS = [route for route in AIMED if "{object}" in route.pattern and route.surface == "api"]
"""The other surfaces lead to the same statements."""
TELLING = [
    route
    for route in ON_RECORDS
    if route.label in {"GET /api/{object}", "GET /api/{object}/{id}", "PATCH /api/{object}/{id}"}
]

both_walls = pytest.mark.parametrize("cluster", ["both walls"], indirect=True, scope="package")
second_wall = pytest.mark.parametrize("cluster", ["second wall"], indirect=True, scope="package")
no_wall = pytest.mark.parametrize("cluster", ["no wall"], indirect=True, scope="package")


def test_every_route_is_attempted() -> None:
    assert ATTEMPTS.keys() == {route.label for route in AIMED}


@both_walls
async def test_every_operation_that_is_published_is_a_route(world: World) -> None:
    async with client(world.cluster.env) as http:
        paths = (await http.get("/openapi.json")).json()["paths"]
    router = Router(ROUTES)
    found: set[str] = set()
    for path, operations in paths.items():
        for method in operations.keys() & {"get", "post", "put", "patch", "delete"}:
            route, values = router.match(method.upper(), path.split("/")[1:])
            assert route.label in ATTEMPTS
            if route.pattern.startswith("/api/{object}"):
                found.add(values[0])
    assert found == LABELS.keys()


@both_walls
@pytest.mark.parametrize("route", AIMED, ids=lambda route: route.label)
async def test_answer_about_foreign_data_is_that_about_none(route: Route, world: World) -> None:
    for ask in ATTEMPTS[route.label]:
        for object in ask.of if route.surface == "api" else ask.of[:1]:
            await _attempt(world, route, ask, object)


@both_walls
async def test_foreign_ids_take_as_long_as_those_of_nothing(world: World) -> None:
    """S17. Medians of interleaved samples: that the statements are the same is what they show."""
    made = await world.victim.tenant.http.post("/api/account", json={"name": "theirs"})
    assert made.status_code == 201, made.text
    took: dict[str, list[float]] = {"theirs": [], "nothing": []}
    for turn in range(60):
        for kind, id_ in (("theirs", made.json()["id"]), ("nothing", uuid7())):
            started = time.perf_counter()
            answer = await world.attacker.http.get(f"/api/account/{id_}")
            if turn >= 10:  # the first ones warm what is kept of plans and connections
                took[kind].append(time.perf_counter() - started)
            assert answer.status_code == 404
    theirs, nothing = (statistics.median(took[kind]) for kind in ("theirs", "nothing"))
    assert nothing / 2 < theirs < nothing * 2, (theirs, nothing)


@second_wall
@pytest.mark.parametrize("route", ON_RECORDS, ids=lambda route: route.label)
async def test_answer_is_the_same_without_the_condition_on_the_tenant(
    route: Route, world: World
) -> None:
    for ask in ATTEMPTS[route.label]:
        await _attempt(world, route, ask, ask.of[0])


@no_wall
@pytest.mark.parametrize("isolation", ["row"], indirect=True)
async def test_without_walls_the_probe_finds_what_is_to_be_found(world: World) -> None:
    for route in TELLING:
        with pytest.raises(AssertionError, match="the other tenant"):
            await _attempt(world, route, ATTEMPTS[route.label][0], "account")


@no_wall
@pytest.mark.parametrize(
    ("isolation", "routes"), [("schema", TELLING), ("database", ON_RECORDS)], indirect=["isolation"]
)
async def test_tables_of_ones_own_hide_everything_without_any_wall(
    world: World, routes: list[Route]
) -> None:
    for route in routes:
        for ask in ATTEMPTS[route.label]:
            await _attempt(world, route, ask, ask.of[0])


@both_walls
async def test_absent_services_say_the_same_to_everybody(world: World) -> None:
    for route in filter(is_absent, ROUTES):
        parameters = {"rest": "x", "type": "object", "name": "account", "share": "x"}
        request = build(
            world.attacker.http, route.method, route.pattern, Ask(path=parameters), _ANY
        )
        answer = await world.attacker.http.send(request)
        assert (answer.status_code, answer.json()["code"]) == (501, "NOT_IMPLEMENTED"), route.label


@both_walls
async def test_no_log_line_tells_a_tenants_data(world: World) -> None:
    known, _ = await world.victim.fresh(world.attacker, Ask())
    for text in ("'{email}' eq name", "name eq '{account_name}' and nothing eq '{email}'"):
        await world.attacker.http.get("/api/account", params={"filter": text.format(**known)})
    logs = [world.cluster.state.logs / f"{name}.log" for name in world.cluster.names]
    told = "".join(log.read_text() for log in logs)
    assert told
    for secret in (world.victim.secret, known["email"], known["account_name"]):
        assert secret not in told


_ANY: Known = {"object": "account", "id": "x"}


async def _attempt(world: World, route: Route, ask: Ask, object: str) -> None:
    owner, attacker = world.victim.tenant, world.attacker
    known, absent = await world.victim.fresh(attacker, ask)
    known, absent = of(object, known), of(object, absent)
    before = await world.victim.state(known)
    if ask.owner == "sees" and route.method == "GET":  # fills whatever remembers answers
        await _ask(owner.http, route, ask, known)
    for method in ("GET", "HEAD") if route.method == "GET" else (route.method,):
        told = await _ask(attacker.http, route, ask, known, method)
        assert world.victim.secret not in str(told), "data of the other tenant are told"
        of_none = await _ask(attacker.http, route, ask, absent, method)
        assert told == of_none, "it is told what the other tenant has"
    assert await world.victim.state(known) == before, "the other tenant's data are changed"
    told = await _ask(owner.http, route, ask, known)
    assert (told.status < httpx.codes.MULTIPLE_CHOICES) is (ask.owner != "may not"), told
    assert ask.owner != "sees" or world.victim.secret in told.body, told


async def _ask(
    http: httpx.AsyncClient, route: Route, ask: Ask, known: Known, method: str | None = None
) -> Seen:
    request = build(http, method or route.method, route.pattern, ask, known)
    return seen(await http.send(request), known)
