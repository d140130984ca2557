from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectql.errors import InvalidRequest
from objectql.ids import DataSource
from objectql.wire.consistency import MAX_TOKEN_LENGTH, ConsistencyToken, parse_token

positions = st.none() | st.integers(0, 2**64 - 1)
names = st.text("abcdefgh_;:Ä ", min_size=1, max_size=8).map(DataSource)
tokens = st.dictionaries(names, positions, min_size=1, max_size=4).map(ConsistencyToken)


@given(tokens)
def test_a_token_reads_back_and_is_a_header_value(token: ConsistencyToken) -> None:
    assert parse_token(token.text) == token
    assert token.text.isascii()
    assert token.text.isprintable()
    assert not set(token.text) & set(' ,"')


@given(tokens, tokens)
def test_a_merged_token_promises_what_either_promises(
    one: ConsistencyToken, other: ConsistencyToken
) -> None:
    merged = one.merged(other)
    assert merged == other.merged(one)
    for token in (one, other):
        for source, position in token.positions.items():
            both = merged.positions[source]
            assert both is None or (position is not None and both >= position)


@given(st.text(max_size=40) | st.text("1.default:;p0AF", max_size=40))
def test_what_is_read_as_a_token_is_one(text: str) -> None:
    try:
        token = parse_token(text)
    except InvalidRequest:
        return
    assert parse_token(token.text) == token


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1.",
        "0/16B",
        "2.default:16B",
        "1.default",
        "1.default:",
        "1.default:-1",
        "1.default:16b",
        "1.default:11112222333344445",
        "1.default:1;default:2",
        "1.default:1;",
        "1.default:1\n",
        "1." + ";".join(f"source{n}:1" for n in range(MAX_TOKEN_LENGTH)),
    ],
)
def test_what_is_no_token(text: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_token(text)
