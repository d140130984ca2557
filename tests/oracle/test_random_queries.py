"""`interpret == sqlite == postgres`, and `optimize` changes nothing: 20,000 random queries."""

from __future__ import annotations

import pytest

from tests.oracle.running import run_queries

pytestmark = [pytest.mark.servers, pytest.mark.timeout(1200)]

QUERIES = 20_000
MAX_REFUSED = 0.01
"""The share of queries that may turn out to be mistakes: they would prove nothing."""


def test_databases_answer_random_queries_as_the_oracle_does(postgres_url: str) -> None:
    done = run_queries(postgres_url, first_seed=1, queries=QUERIES)
    answered = sum(tally.answered for tally in done)
    refused = sum(tally.refused for tally in done)
    assert answered + refused >= QUERIES
    assert refused < MAX_REFUSED * answered
    # Every statement was also shown to hold nothing but names and parameters.
    assert sum(tally.statements for tally in done) > QUERIES // 4
