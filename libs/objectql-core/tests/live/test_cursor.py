from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectql.errors import InvalidQuery
from objectql.live.commits import Place
from objectql.live.cursor import Cursors, Position

CURSORS = Cursors(b"a secret of the cluster")

numbers = st.integers(0, 2**63)


@given(numbers, numbers)
def test_a_cursor_is_read_as_it_was_written(cut: int, at: int) -> None:
    text = CURSORS.write(Position("one", Place(cut, at)), "acme")
    assert CURSORS.read(text, "acme", epoch="one") == Place(cut, at)
    assert text == CURSORS.write(Position("one", Place(cut, at)), "acme")


def test_a_cursor_of_another_stream_is_known_as_such() -> None:
    text = CURSORS.write(Position("one", Place(1, 2)), "acme")
    assert CURSORS.read(text, "acme", epoch="two") is None


@given(st.text(max_size=60))
def test_what_nobody_has_given_is_refused(text: str) -> None:
    with pytest.raises(InvalidQuery):
        CURSORS.read(text, "acme", epoch="one")


def test_a_cursor_of_another_tenant_cluster_or_with_a_changed_letter_is_refused() -> None:
    text = CURSORS.write(Position("one", Place(1, 2)), "acme")
    with pytest.raises(InvalidQuery):
        CURSORS.read(text, "rival", epoch="one")
    with pytest.raises(InvalidQuery):
        Cursors(b"another secret").read(text, "acme", epoch="one")
    for index, letter in enumerate(text):
        changed = text[:index] + ("A" if letter != "A" else "B") + text[index + 1 :]
        with pytest.raises(InvalidQuery):
            CURSORS.read(changed, "acme", epoch="one")


def test_a_cursor_does_not_tell_how_much_was_written() -> None:
    near = [CURSORS.write(Position("one", Place(n, n)), "acme") for n in range(50)]
    pairs = (zip(one, two, strict=True) for one, two in pairwise(near))
    shared = sum(a == b for pair in pairs for a, b in pair)
    assert shared / (49 * 48) < 0.1
