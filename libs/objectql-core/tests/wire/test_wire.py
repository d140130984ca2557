"""Messages survive the bus, and the context survives the headers."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectql.context import Actor, Context, ReadPolicy
from objectql.errors import InvalidRequest
from objectql.ids import TenantId
from objectql.query.ast import And, Compare, Expand, Not, Op, Or, Query, Sort
from objectql.wire import subjects
from objectql.wire.codec import decode, encode
from objectql.wire.headers import TENANT, from_headers, parse_read_policy, to_headers
from objectql.wire.messages import FindRequest, RecordReply

QUERY = Query(
    object="flight",
    fields=(("id",), ("origin", "tz")),
    where=And(
        (
            Compare(("dep_delay",), Op.GT, 60, at="where.dep_delay"),
            Or(
                (Compare(("carrier",), Op.IN, ["UA", None]), Not(Compare(("dest",), Op.NULL, True)))
            ),
            Compare(("arr_time",), Op.LT, ref=("dep_time",)),
        )
    ),
    order_by=(Sort(("dep_delay",), descending=True),),
    expand=(Expand("origin", Query(object="airport", fields=(("name",),))),),
    limit=10,
)


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**30])
def test_a_number_that_the_wire_cannot_carry_is_the_callers_fault(number: int) -> None:
    query = msgspec.structs.replace(QUERY, where=Compare(("n",), Op.EQ, number))
    with pytest.raises(InvalidRequest):
        encode(FindRequest(query))


def test_a_query_round_trips_the_wire() -> None:
    assert decode(FindRequest, encode(FindRequest(QUERY))) == FindRequest(QUERY)


def test_fields_of_a_newer_version_are_ignored() -> None:
    newer = msgspec.msgpack.encode({"record": b"{}", "id": "1", "version": 2, "novel": [1, 2]})
    assert decode(RecordReply, newer) == RecordReply(b"{}", "1", 2)


TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
CONTEXTS = st.builds(
    Context,
    actor=st.builds(
        Actor,
        id=TEXTS,
        tenant=st.from_regex(r"[a-z][a-z0-9_-]{0,10}", fullmatch=True).map(TenantId),
        roles=st.lists(TEXTS, max_size=3).map(tuple),
        claims=st.dictionaries(TEXTS, TEXTS | st.integers(-1000, 1000), max_size=3),
    ),
    deadline_ms=st.integers(0, 2**50),
    request_id=st.uuids().map(str),
    idempotency_key=st.none() | st.from_regex(r"[!-~]{1,40}", fullmatch=True),
    trace=st.dictionaries(
        st.just("traceparent"), st.just("00-" + "a" * 32 + "-" + "b" * 16 + "-01")
    ),
)


@given(CONTEXTS)
def test_a_context_round_trips_the_headers(context: Context) -> None:
    headers = to_headers(context)
    assert all(value.isascii() and "\n" not in value for value in headers.values())
    assert from_headers(headers) == context


def test_a_forged_tenant_header_is_refused() -> None:
    headers = to_headers(Context(actor=Actor(id="u"), deadline_ms=1, request_id="r"))
    with pytest.raises(InvalidRequest, match="contradict"):
        from_headers({**headers, TENANT: "other"})


def test_missing_headers_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="incomplete"):
        from_headers({})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("primary", (ReadPolicy.PRIMARY, None)),
        ("bounded:2.5", (ReadPolicy.BOUNDED, 2500)),
        ("any", (ReadPolicy.ANY, None)),
        ("atomic", (ReadPolicy.ATOMIC, None)),
    ],
)
def test_read_policies(text: str, expected: tuple[ReadPolicy, int | None]) -> None:
    assert parse_read_policy(text) == expected


@pytest.mark.parametrize(
    "text", ["", "bounded", "bounded:x", "bounded:1e999", "bounded:-1", "any:5", "fast"]
)
def test_what_is_not_a_read_policy(text: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_read_policy(text)


def test_subjects_are_the_documented_ones() -> None:
    assert subjects.kernel_rpc("find") == "oql.v1.rpc.kernel.find"
    assert subjects.heartbeat("kernel", "kernel-1") == "oql.v1.hb.kernel.kernel-1"
    assert subjects.kernel_event("kernel:started") == "oql.v1.evt.kernel.kernel.started"
