"""The list of guards that are taken out says what the code says now; `make mutations` takes them out."""

from __future__ import annotations

import ast
from collections import Counter

import pytest

from tests.security.mutations import ROOT, Mutation, mutations


@pytest.mark.parametrize("mutation", mutations(), ids=lambda mutation: mutation.name)
def test_guard_stands_once_where_the_list_takes_it_out(mutation: Mutation) -> None:
    text = (ROOT / mutation.path).read_text()
    assert text.count(mutation.old) == 1
    assert mutation.old != mutation.new
    ast.parse(text.replace(mutation.old, mutation.new))  # a mistake of grammar proves nothing


@pytest.mark.parametrize("mutation", mutations(), ids=lambda mutation: mutation.name)
def test_tests_that_are_to_fail_exist(mutation: Mutation) -> None:
    for node, name in zip(mutation.nodes, mutation.tests, strict=True):
        path = ROOT / node.partition("::")[0]
        function = name.rpartition("::")[2].partition("[")[0]
        inherited = (ROOT / "libs/objectql-core/src/objectql/testing").glob("*.py")
        texts = [path.read_text()]
        if name.count("::") == 2:  # a promise that the class of a driver inherits
            texts += [each.read_text() for each in inherited]
        assert any(f"def {function}(" in text for text in texts), node


def test_no_guard_is_taken_out_twice() -> None:
    counts = Counter((mutation.path, mutation.old, mutation.new) for mutation in mutations())
    assert [each for each, count in counts.items() if count > 1] == []
