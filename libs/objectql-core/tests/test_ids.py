"""Names are safe wherever they go."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectql.ids import is_name, is_record_id, tenant_id, uuid7


def test_uuid7_is_version_7_and_increases() -> None:
    made = [uuid7() for _ in range(10_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    parsed = uuid.UUID(made[0])
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)


@given(st.text())
def test_a_name_is_a_safe_sql_identifier_and_subject_token(text: str) -> None:
    if is_name(text):
        assert text.isascii()
        assert text.isidentifier()
        assert len(text) < 63


@pytest.mark.parametrize("text", ["", "1a", "A", "a-b", "a.b", "a b", "a*", "é", "a" * 49, "a\n"])
def test_what_is_not_a_name(text: str) -> None:
    assert not is_name(text)


@pytest.mark.parametrize("text", ["", "a.b", "a>b", "*", "a b", "_x", "ü", "a" * 64, "a\n"])
def test_what_is_not_a_tenant(text: str) -> None:
    with pytest.raises(ValueError, match="tenant id"):
        tenant_id(text)


def test_record_ids_hold_no_controls() -> None:
    assert is_record_id("N14228")
    assert is_record_id("a/b c")
    assert not is_record_id("a\0")
    assert not is_record_id("")
    assert not is_record_id("x" * 256)
