"""No change of what was sealed goes unnoticed, whatever it is."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectql.drivers.chains import Chain, Entry, Head
from objectql.kernel.audit.links import (
    Break,
    Place,
    ends_at,
    first_place,
    follow,
    hash_of,
    seal_after,
)

CHAIN = Chain("acme", "history", "account")

_values = st.one_of(st.none(), st.integers(-5, 5), st.text(max_size=3))
_contents = st.lists(st.lists(_values, min_size=1, max_size=4), min_size=1, max_size=8)


@dataclass
class Stored:
    """A chain as the store holds it."""

    entries: list[Entry]
    head: Head

    def verdict(self, page: int = 3, anchor: str | None = None) -> Place | Break:
        """What following it comes to; the store reads it in the order of its places."""
        self.entries.sort(key=lambda entry: (entry.sequence or 0, entry.position))
        place = first_place(self.head)
        for start in range(0, len(self.entries), page):
            found = follow(place, self.entries[start : start + page], anchor)
            if isinstance(found, Break):
                return found
            place = found
        place = follow(place, (), anchor)
        assert isinstance(place, Place)
        return ends_at(place, self.head) or place


def entry_of(position: int, content: list[str | int | None]) -> Entry:
    return Entry(CHAIN, position, f"e{position}", "", (position, f"e{position}", "", *content))


def sealed(contents: list[list[str | int | None]], batch: int = 3) -> Stored:
    head = Head(CHAIN)
    entries: list[Entry] = []
    for start in range(0, len(contents), batch):
        fresh = [
            entry_of(start + number, content)
            for number, content in enumerate(contents[start : start + batch], 1)
        ]
        seal = seal_after(head, fresh)
        entries += [
            msgspec.structs.replace(entry, sequence=link.sequence, hash=link.hash)
            for entry, link in zip(fresh, seal.links, strict=True)
        ]
        head = seal.after
    return Stored(entries, head)


@given(_contents, st.integers(1, 4), st.integers(1, 4))
def test_what_was_sealed_holds_in_whatever_batches_and_pages(
    contents: list[list[str | int | None]], batch: int, page: int
) -> None:
    stored = sealed(contents, batch)
    verdict = stored.verdict(page)
    assert isinstance(verdict, Place)
    assert (verdict.entries, verdict.sequence) == (len(contents), len(contents))
    assert stored.head == sealed(contents, batch=1).head


@given(_contents, st.data())
def test_every_tampering_is_found_at_the_first_place_it_touches(
    contents: list[list[str | int | None]], data: st.DataObject
) -> None:
    stored = sealed(contents)
    entries = stored.entries
    at = data.draw(st.integers(0, len(entries) - 1))
    victim = entries[at]
    how = data.draw(
        st.sampled_from(["alter", "hash", "delete", "swap", "repeat", "insert", "append", "unseal"])
    )
    expected = at + 1
    match how:
        case "alter":
            place = data.draw(st.integers(0, len(victim.content) - 1))
            other = data.draw(_values.filter(lambda v: not _is_same(v, victim.content[place])))
            content = (*victim.content[:place], other, *victim.content[place + 1 :])
            entries[at] = msgspec.structs.replace(victim, content=content)
        case "hash":
            entries[at] = msgspec.structs.replace(victim, hash="f" * 64)
        case "delete":
            del entries[at]
        case "unseal":
            entries[at] = msgspec.structs.replace(victim, sequence=0)
            expected = 0
        case "swap":
            to = data.draw(st.integers(0, len(entries) - 1).filter(lambda n: n != at or n == 0))
            other = entries[to]
            entries[at] = msgspec.structs.replace(victim, sequence=other.sequence, hash=other.hash)
            entries[to] = msgspec.structs.replace(other, sequence=victim.sequence, hash=victim.hash)
            if to == at:
                return
            expected = min(at, to) + 1
        case "repeat":
            entries.append(msgspec.structs.replace(victim, position=victim.position + 100))
        case "insert":
            entries.append(
                msgspec.structs.replace(
                    entry_of(500, ["new"]), sequence=victim.sequence, hash=victim.hash
                )
            )
        case _:
            seal = seal_after(stored.head, [entry_of(500, ["new"])])
            (link,) = seal.links
            entries.append(
                msgspec.structs.replace(
                    entry_of(500, ["new"]), sequence=link.sequence, hash=link.hash
                )
            )
            expected = len(contents) + 1
    verdict = stored.verdict()
    assert isinstance(verdict, Break), how
    assert verdict.sequence == expected or how in {"repeat", "insert"}


def _is_same(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other


@given(_contents, st.data())
def test_a_chain_made_anew_does_not_have_the_head_that_was_kept(
    contents: list[list[str | int | None]], data: st.DataObject
) -> None:
    kept = sealed(contents).head.hash
    genuine = sealed([*contents, ["later"]]).verdict(anchor=kept)
    assert isinstance(genuine, Place)
    assert genuine.is_anchored
    at = data.draw(st.integers(0, len(contents) - 1))
    forged = sealed([*contents[:at], ["forged", 99], *contents[at + 1 :], ["later"]])
    verdict = forged.verdict(anchor=kept)
    assert isinstance(verdict, Place)  # it holds in itself, which only the anchor tells apart
    assert not verdict.is_anchored
    shortened = sealed(contents[:at]).verdict(anchor=kept) if at else None
    assert shortened is None or (isinstance(shortened, Place) and not shortened.is_anchored)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["ab", "c"], ["a", "bc"]),
        (["1"], [1]),
        ([None], [""]),
        (["a", None], ["a"]),
    ],
)
def test_no_two_entries_have_the_same_bytes(
    one: list[str | int | None], other: list[str | int | None]
) -> None:
    assert hash_of(entry_of(1, one), 1, "x") != hash_of(entry_of(1, other), 1, "x")


def test_an_entry_has_another_hash_in_another_chain_place_or_company() -> None:
    entry = entry_of(1, ["a"])
    elsewhere = msgspec.structs.replace(entry, chain=Chain("zoo", "history", "account"))
    hashes = {
        hash_of(entry, 1, "x"),
        hash_of(elsewhere, 1, "x"),
        hash_of(entry, 2, "x"),
        hash_of(entry, 1, "y"),
    }
    assert len(hashes) == 4


def test_what_lies_before_a_checkpoint_is_not_asked_for_and_must_not_be_there() -> None:
    stored = sealed([["a"], ["b"], ["c"]])
    second = stored.entries[1]
    assert second.hash is not None
    purged = msgspec.structs.replace(stored.head, purged_sequence=2, purged_hash=second.hash)
    assert isinstance(Stored(stored.entries[2:], purged).verdict(), Place)
    assert Stored(stored.entries[1:], purged).verdict() == Break(2, "inserted", "e2")
    forged = msgspec.structs.replace(purged, purged_hash="f" * 64)
    assert Stored(stored.entries[2:], forged).verdict() == Break(3, "altered", "e3")
