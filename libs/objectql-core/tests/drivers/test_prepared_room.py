"""How full a server may be of prepared parts before it takes no more."""

from __future__ import annotations

import pytest

from objectql.drivers.sql.transactions import check_room
from objectql.errors import TransactionUnavailable


@pytest.mark.parametrize(("count", "most"), [(0, 1), (47, 64), (0, 0)])
def test_a_server_with_room_takes_a_part(count: int, most: int) -> None:
    check_room(count, most)  # and where it can keep none, `check_ready` says so


@pytest.mark.parametrize(("count", "most"), [(1, 1), (48, 64), (64, 64)])
def test_a_server_that_is_nearly_full_takes_no_more(count: int, most: int) -> None:
    with pytest.raises(TransactionUnavailable, match=f"{count} of at most {most}"):
        check_room(count, most)
