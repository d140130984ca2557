"""Names of prepared parts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectql.ids import MAX_NAME, DataSource, TenantId, uuid7
from objectql.txn.names import UNNAMED_KERNEL, PartName, kernel_name, parse_part_name

NAMES = st.builds(
    PartName,
    st.integers(0, 2**31 - 1),
    st.integers(0, 10**14 - 1),
    st.builds(kernel_name, st.text(), st.integers()),
    st.builds(uuid7),
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", fullmatch=True).map(TenantId),
    st.from_regex(rf"[a-z][a-z0-9_-]{{0,{MAX_NAME - 1}}}", fullmatch=True).map(DataSource),
)


@given(NAMES)
def test_a_name_tells_what_it_was_made_of_and_fits(name: PartName) -> None:
    assert parse_part_name(name.text) == name
    assert len(name.text.encode()) <= 194


@pytest.mark.parametrize(
    "text",
    [
        "",
        "oql",
        "oql:1:2:t:acme",
        "oql:1:2:-:t:acme:default",
        "oql:1:2:k:t:acme:default:more",
        "oql:one:2:k:t:acme:default",
        "oql:01:2:k:t:acme:default",
        "oql: 1:2:k:t:acme:default",
        "oql:1:2:k::acme:default",
        "citus_0_1_2",
    ],
)
def test_what_others_have_prepared_is_nobodys(text: str) -> None:
    assert parse_part_name(text) is None


def test_a_name_that_tells_no_kernel_is_read_and_written_back_as_it_was_found() -> None:
    text = "oql:3:1000:0199:default:ledger"
    name = PartName(3, 1000, UNNAMED_KERNEL, "0199", TenantId("default"), DataSource("ledger"))
    assert parse_part_name(text) == name
    assert name.text == text


@given(st.text())
def test_whatever_is_read_as_a_name_is_written_like_that(text: str) -> None:
    name = parse_part_name(text)
    assert name is None or name.text == text
