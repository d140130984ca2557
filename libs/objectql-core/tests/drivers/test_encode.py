"""Canonical values in native form: what compares the same, and what cannot be stored."""

from __future__ import annotations

from decimal import Decimal

import pytest

from objectql.drivers.sql.encode import Kind, column_encoder, comparand_encoder
from objectql.errors import ValidationFailed
from objectql.metadata.types import Storage
from objectql.query.bound import TestOp
from objectql.testing.samples import field

WHOLE = Kind(Storage.INTEGER)


@pytest.mark.parametrize(
    ("op", "native"),
    [(TestOp.GT, 10), (TestOp.LTE, 10), (TestOp.GTE, 11), (TestOp.LT, 11), (TestOp.EQ, None)],
)
def test_fraction_becomes_the_whole_number_that_compares_alike(op: TestOp, native: object) -> None:
    assert comparand_encoder(WHOLE, op, "postgres")(10.5) == native


def test_number_beyond_64_bits_equals_nothing_and_is_the_greatest() -> None:
    assert comparand_encoder(WHOLE, TestOp.EQ, "postgres")(10**30) is None
    assert comparand_encoder(WHOLE, TestOp.LT, "postgres")(10**30) == 2**63 - 1


def test_sqlite_keeps_decimals_in_units_of_their_last_place() -> None:
    encode = column_encoder(field("pay", "currency"), "sqlite")
    assert encode(Decimal("12345678901234.56")) == 1234567890123456
    assert encode(0.1) == 10


def test_text_with_a_null_character_is_refused_in_a_column_and_equals_nothing() -> None:
    with pytest.raises(ValidationFailed):
        column_encoder(field("name", "text"), "postgres")("a\0b")
    assert comparand_encoder(Kind(Storage.TEXT), TestOp.EQ, "postgres")("a\0b") is None


def test_number_too_large_for_a_column_is_refused_by_name() -> None:
    with pytest.raises(ValidationFailed) as failed:
        column_encoder(field("pay", "currency"), "sqlite")(Decimal(10) ** 19)
    assert [issue.path for issue in failed.value.issues] == ["pay"]


def test_members_that_the_column_cannot_hold_are_left_out_of_a_list() -> None:
    assert comparand_encoder(WHOLE, TestOp.IN, "postgres")([1, 2.5, None, 3]) == [1, 3]
    assert comparand_encoder(WHOLE, TestOp.IN, "sqlite")([1, 2.5, None, 3]) == "[1,3]"
