"""The proof about statements can fail: each of these holds something that is not ours."""

from __future__ import annotations

import pytest

from objectql.testing.oracle.schemas import fixed_schema
from tests.oracle.statements import StatementProof

SOUND = """SELECT convert_to('[]', 'UTF8') AS items FROM (
    SELECT t0."word" AS word FROM item AS t0 WHERE t0."tenant_id" = $1::text LIMIT 3) AS p1"""


@pytest.fixture
def proof() -> StatementProof:
    return StatementProof(fixed_schema().objects)


def test_a_sound_statement_passes_and_is_counted_once(proof: StatementProof) -> None:
    proof.check(SOUND)
    proof.check(SOUND)
    assert proof.checked == 1


@pytest.mark.parametrize(
    ("part", "stranger"),
    [
        ("$1::text", "'acme'"),
        ("AS p1", "AS p1; DROP TABLE item"),
        ("$1::text", "$1::text AND t0.size = 7654321"),
        ("$1::text", "$1::text AND t0.ratio = 1.5"),
        ("$1::text", "$1::text OR pg_sleep(1) IS NULL"),
        ("$1::text", "$1::regclass"),
        ("item AS", "pg_authid AS"),
        ("item AS", "other.item AS"),
        ('t0."word" AS word', 't0."rolpassword" AS word'),
        ("AS word", 'AS "acme"'),
        ("LIMIT 3", "LIMIT 3 FOR UPDATE"),
    ],
)
def test_what_is_not_ours_is_found(proof: StatementProof, part: str, stranger: str) -> None:
    assert part in SOUND
    with pytest.raises(AssertionError):
        proof.check(SOUND.replace(part, stranger))
