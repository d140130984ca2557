"""What the original's data suites record, through the whole engine on every driver."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest
import pytest_asyncio
from tests.engines import HeldClock, MakeDriver, kernel_with
from tests.vectors import load_vectors, needs_vectors

from objectql.errors import InvalidFilter
from objectql.kernel.kernel import Kernel

pytestmark = needs_vectors
in_module_loop = pytest.mark.asyncio(loop_scope="module")

DATA = load_vectors("objectstack-spec-data-cases.json")
SUITES: dict[str, Any] = DATA.get("suites", {})

_PAGED = {"status": "text", "rank": "integer", "name": "text"}
FIELDS: dict[str, dict[str, str]] = {
    "filter_logic": dict.fromkeys("a b c d owner status parent_object parent_id".split(), "text"),
    "filter_text": {"name": "text"},
    "filter_comparand_type": {
        "qty": "integer", "label": "text", "active": "boolean", "note": "text",
    },
    "temporal": {"at": "datetime", "on": "date"},
    "temporal_time": {"at": "time"},
    "aggregation": {"region": "text", "stage": "text", "score": "integer"},
    "pagination": _PAGED,
    "pagination_unordered": _PAGED,
    "pagination_zero_limit": _PAGED,
}  # fmt: skip
"""The object of each suite; it is named after the suite."""

COMPARANDS: dict[str, Any] = {
    "string compiles and matches — operator form": {"label": {"$eq": "beta"}},
    "number compiles and matches — the #7956 control cell": {"qty": {"$eq": 100}},
    "bigint compiles and matches — the crash cell, dead (#7872)": {"qty": {"$eq": 100}},
    "bigint compiles and matches — implicit-equality form": {"qty": 250},
    "bigint compiles and matches — as an $in member": {"qty": {"$in": [100]}},
    "boolean compiles and matches — implicit-equality form": {"active": True},
    "null compiles and matches — the declared null predicate": {"note": None},
    "a function is refused": {"qty": {"$eq": len}},
    "a Symbol is refused": {"qty": {"$eq": Ellipsis}},
    "a Map is refused": {"qty": {"$eq": frozenset({1})}},
    "a class instance is refused": {"qty": {"$eq": object()}},
    "a class instance is refused — implicit-equality form": {"qty": object()},
    "a plain object in a scalar slot is refused": {"qty": {"$eq": {"v": 100}}},
    "a bigint beyond ±2^53 is refused — precision loss must not answer silently": {
        "qty": {"$eq": 2**53 + 1}
    },
}
"""The filters of `filter_comparand_type` are JavaScript values, so they are written again here."""

LEFT_OUT: dict[str, str] = {
    "Date compiles — row agreement is temporal-conformance's subject": "no Date in JSON; it asserts no rows",
    "undefined is refused — operator form": "JSON has no undefined",
    "undefined is refused — implicit-equality form (the mongo silent-edit worst cell, dead)": "JSON has no undefined",
    "undefined is refused — as an $in member": "JSON has no undefined",
}
"""Every case of the suites that is not asked, and why."""


def rows_of(suite: str) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in row.items() if key not in {"why", "writerForm"}}
        for row in SUITES[suite]["rows"]
    ]


def cases(*suites: str) -> list[Any]:
    return [
        pytest.param(suite, case, id=f"{suite}: {case['name']}")
        for suite in suites
        for case in SUITES.get(suite, {}).get("cases", [])
        if case["name"] not in LEFT_OUT
    ]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kernel(make_driver: MakeDriver) -> AsyncGenerator[Kernel]:
    objects = {
        suite: {"fields": {name: {"type": type_} for name, type_ in fields.items()}}
        for suite, fields in FIELDS.items()
    }
    rows = {suite: rows_of(suite) for suite in SUITES}
    async with kernel_with(make_driver("data"), objects, rows) as kernel:
        yield kernel


async def found_ids(kernel: Kernel, suite: str, where: Any) -> list[str]:
    return [row["id"] for row in (await kernel.find(suite, {"where": where})).value]


def test_every_suite_has_its_object() -> None:
    assert set(SUITES) == set(FIELDS)


def test_no_case_is_left_out_that_is_not_there() -> None:
    names = {case["name"] for suite in SUITES.values() for case in suite["cases"]}
    assert names >= set(LEFT_OUT)
    comparands = {case["name"] for case in SUITES["filter_comparand_type"]["cases"]}
    assert comparands == set(COMPARANDS) | set(LEFT_OUT)


@pytest.mark.parametrize(("suite", "case"), cases("filter_logic", "filter_text"))
@in_module_loop
async def test_filter_selects_the_recorded_rows(
    kernel: Kernel, suite: str, case: dict[str, Any]
) -> None:
    if case.get("expectRejection"):
        with pytest.raises(InvalidFilter) as caught:
            await found_ids(kernel, suite, case["filter"])
        assert caught.value.code == case["code"]
        for word in case["mustMention"]:
            assert word in str(caught.value)
    else:
        assert sorted(await found_ids(kernel, suite, case["filter"])) == case["expected"]


@pytest.mark.parametrize(("suite", "case"), cases("filter_comparand_type"))
@in_module_loop
async def test_comparand_matches_or_is_refused(
    kernel: Kernel, suite: str, case: dict[str, Any]
) -> None:
    where = COMPARANDS[case["name"]]
    if case["verdict"] == "matches":
        assert await found_ids(kernel, suite, where) == case["expected"]
    else:
        with pytest.raises(InvalidFilter):
            await found_ids(kernel, suite, where)


@pytest.mark.parametrize(
    ("suite", "case", "form"),
    [
        pytest.param(*param.values, form, id=f"{param.id} ({form})")
        for param in cases("temporal", "temporal_time")
        for form in ("filter", "tokenFilter")
        if form in param.values[1]
    ],
)
@in_module_loop
async def test_temporal_filter_selects_the_recorded_rows(
    kernel: Kernel, suite: str, case: dict[str, Any], form: str
) -> None:
    assert sorted(await found_ids(kernel, suite, case[form])) == case["expected"]


def test_the_clock_stands_where_the_tokens_were_resolved() -> None:
    assert DATA["temporal_now"] == "2026-07-28T12:00:00.000Z"
    assert HeldClock().now_ms() == 1_785_240_000_000


@pytest.mark.parametrize(("suite", "case"), cases("aggregation"))
@in_module_loop
async def test_aggregation_gives_the_recorded_groups(
    kernel: Kernel, suite: str, case: dict[str, Any]
) -> None:
    aggregate = {"function": case["function"], "field": case.get("field"), "alias": "value"}
    document: dict[str, Any] = {"aggregations": [aggregate]}
    key = case.get("groupByAlias", case.get("groupBy", "group"))
    if "groupBy" in case:
        document["groupBy"] = [{"field": case["groupBy"], "alias": case.get("groupByAlias")}]
    found = await kernel.aggregate(suite, document)
    assert [{"group": row.get(key), "value": row["value"]} for row in found] == case["expected"]


@pytest.mark.parametrize(("suite", "case"), cases("pagination", "pagination_unordered"))
@pytest.mark.parametrize("by", ["offset", "cursor"])
@in_module_loop
async def test_page_walk_sees_every_row_once(
    kernel: Kernel, suite: str, case: dict[str, Any], by: str
) -> None:
    order = {"orderBy": case.get("orderBy")}
    whole = [row["id"] for row in (await kernel.find(suite, order)).value]
    document: dict[str, Any] = {**order, "limit": case["pageSize"]}
    seen: list[str] = []
    while True:
        page = await kernel.find(suite, document)
        seen += [row["id"] for row in page.value]
        if not page.has_next:
            break
        assert page.next is not None
        document |= {"offset": len(seen)} if by == "offset" else {"after": page.next}
    assert seen == whole
    assert sorted(seen) == sorted(row["id"] for row in rows_of(suite))


@pytest.mark.parametrize(("suite", "case"), cases("pagination_zero_limit"))
@in_module_loop
async def test_limit_zero_is_none_not_all(kernel: Kernel, suite: str, case: dict[str, Any]) -> None:
    assert len((await kernel.find(suite, case["query"])).value) == case["expectedRowCount"]
