"""What a mask tells of a value, and what it never tells."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectql.metadata.masks import Mask, Piece, parse_mask

words = st.text(st.characters(exclude_characters="{}", exclude_categories=["C", "Z"]), max_size=5)
pieces = st.builds(Piece, st.sampled_from(["first", "last"]), st.integers(1, 9))


@st.composite
def masks(draw: st.DrawFn) -> tuple[str, Mask]:
    """A mask as it is written, and as it is meant."""
    parts = [part for part in draw(st.lists(words | pieces, min_size=1, max_size=5)) if part]
    written = "".join(p if isinstance(p, str) else f"{{{p.end}{p.count}}}" for p in parts)
    merged: list[str | Piece] = []
    for part in parts:
        if isinstance(part, str) and merged and isinstance(last := merged[-1], str):
            merged[-1] = last + part
        else:
            merged.append(part)
    return written or "x", Mask(tuple(merged or ["x"]))


@given(masks())
def test_a_mask_is_read_as_it_is_written(case: tuple[str, Mask]) -> None:
    written, meant = case
    assert parse_mask(written) == meant


@given(masks(), st.text(max_size=30))
def test_a_value_is_never_told_as_a_whole(case: tuple[str, Mask], value: str) -> None:
    _, mask = case
    shown = mask.of(value)
    assert shown is not None
    if len(value) <= mask.told:
        assert shown == mask.text
    else:
        assert len(shown) == len(mask.text) + mask.told


@given(masks(), st.text(max_size=30))
def test_what_a_mask_has_made_is_known_for_a_mask(case: tuple[str, Mask], value: str) -> None:
    _, mask = case
    assert mask.may_have_made(mask.of(value)) is bool(mask.text)


def test_a_missing_value_stays_missing_and_is_no_mask() -> None:
    mask = parse_mask("****-{last4}")
    assert mask.of(None) is None
    assert not mask.may_have_made(None)
    assert mask.of("4111-1111-1111-1234") == "****-1234"
    assert mask.of("1234") == "****-"
    assert not mask.may_have_made("4111-1111-1111-1234")
    assert not mask.may_have_made("****-12345")


@pytest.mark.parametrize(
    "text",
    ["", "{", "a}", "{last}", "{last0}", "{last100}", "{middle2}", "x" * 101, "a\nb", "{{a}}"],
)
def test_what_is_no_mask_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"mask has|in braces"):
        parse_mask(text)
