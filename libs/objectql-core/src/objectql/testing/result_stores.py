"""What every result store must do. The store in memory and the one in Redis run this one suite.

A subclass gives the fixture `store`, which is available and empty.
"""

from __future__ import annotations

from objectql.kernel.result_cache.store import ResultStore


class ResultStoreConformance:
    """Entries, tags, and that nothing forgotten comes back."""

    async def test_an_entry_is_found_again_with_the_tags_in_one_look(
        self, store: ResultStore
    ) -> None:
        (token,) = await store.claim(["t:a"]) or (None,)
        assert token is not None
        store.keep("e:1", b"\x00answer\xff", 60_000)
        assert await store.look(["e:1", "t:a", "t:none"]) == [b"\x00answer\xff", token, None]

    async def test_a_claim_keeps_what_is_in_force(self, store: ResultStore) -> None:
        first = await store.claim(["t:a", "t:b"])
        assert first is not None
        assert None not in first
        assert await store.claim(["t:b", "t:a"]) == [first[1], first[0]]

    async def test_no_token_is_ever_in_force_twice(self, store: ResultStore) -> None:
        seen: set[bytes | None] = set()
        for _ in range(50):
            seen.update(await store.claim(["t:a", "t:b"]) or ())
            assert await store.forget(["t:a", "t:b"])
        assert len(seen) == 100
        assert await store.look(["t:a", "t:b"]) == [None, None]

    async def test_many_tags_are_forgotten_at_once(self, store: ResultStore) -> None:
        tags = [f"t:{number}" for number in range(2500)]
        await store.claim(tags)
        assert await store.forget(tags)
        assert set(await store.look(tags) or ()) == {None}

    async def test_an_entry_replaces_the_one_before(self, store: ResultStore) -> None:
        store.keep("e:1", b"old", 60_000)
        store.keep("e:1", b"new", 60_000)
        assert await store.look(["e:1"]) == [b"new"]
