"""What the driver port promises about chains of entries."""

from __future__ import annotations

import msgspec
import pytest

from objectql.drivers.chains import Chain, Entry, Head, Link, Seal
from objectql.drivers.protocol import Driver
from objectql.errors import WriteConflict
from objectql.testing.driver_history import TRACKED
from objectql.testing.driver_samples import (
    ACME,
    OBJECTS,
    ZOO,
    insert,
    scope,
    update,
    write,
)

CUSTOMERS_OF_ACME = Chain(ACME, "history", "customers")
_BEGINNING = (-1, 0)


def seal_of(head: Head, *entries: Entry) -> Seal:
    """Links with hashes that only look like some."""
    links = tuple(
        Link(entry.position, head.sequence + number, f"{number:064x}")
        for number, entry in enumerate(entries, 1)
    )
    last = links[-1]
    return Seal(head, msgspec.structs.replace(head, sequence=last.sequence, hash=last.hash), links)


async def entries_of(driver: Driver, chain: Chain = CUSTOMERS_OF_ACME) -> list[Entry]:
    """What is sealed of a chain."""
    return list(await driver.chains.sealed(chain, _BEGINNING, 100))


class ChainPromises:
    """Entries wait to be sealed, are sealed once and all or none, and are read in their order."""

    async def test_entry_says_from_where_it_came_and_its_event_does_not(
        self, driver: Driver
    ) -> None:
        came = msgspec.structs.replace(scope(), origin="browser 203.0.113.7")
        await driver.write([insert(TRACKED, "c1")], came)
        await driver.write([update(TRACKED, "c1", name="x"), update(TRACKED, "c1", name="y")], came)
        entries = await driver.history.of_record(ACME, "customers", "c1", limit=9)
        assert [event.origin for _, event in entries] == ["browser 203.0.113.7"] * 3
        assert {event.origin for _, event in await driver.outbox.pending(9)} == {""}

    async def test_committed_entries_wait_with_all_that_is_stored_of_them(
        self, driver: Driver
    ) -> None:
        await write(driver, insert(TRACKED, "c1", name="Ann"))
        (entry,) = await driver.chains.unsealed("history", 10)
        ((position, event),) = await driver.history.of_record(ACME, "customers", "c1", limit=1)
        assert (entry.chain, entry.position, entry.id) == (CUSTOMERS_OF_ACME, position, event.id)
        assert (entry.sequence, entry.hash) == (None, None)
        stored = [
            value.decode() if isinstance(value, bytes) else value
            for value in msgspec.structs.astuple(event)
        ]
        assert not [value for value in stored if value not in entry.content]
        assert await driver.chains.count_unsealed(CUSTOMERS_OF_ACME) == 1

    async def test_sealed_entries_have_their_place_and_wait_no_more(self, driver: Driver) -> None:
        await write(driver, insert(TRACKED, "c1"), insert(TRACKED, "c2"), insert(TRACKED, "c3"))
        one, two, three = await driver.chains.unsealed("history", 10)
        head = await driver.chains.head(CUSTOMERS_OF_ACME)
        assert head == Head(CUSTOMERS_OF_ACME)
        seal = seal_of(head, one, two)
        await driver.chains.seal([seal])
        assert await driver.chains.unsealed("history", 10) == (three,)
        assert await driver.chains.head(CUSTOMERS_OF_ACME) == seal.after
        sealed = await entries_of(driver)
        assert [(e.position, e.sequence, e.hash) for e in sealed] == list(seal.links)
        assert [e.content for e in sealed] == [one.content, two.content]
        assert await driver.chains.sealed(CUSTOMERS_OF_ACME, (1, one.position), 9) == (sealed[1],)

    async def test_chains_are_of_a_tenant_and_an_object(self, driver: Driver) -> None:
        for tenant in (ACME, ZOO):
            await write(driver, insert(TRACKED, "c1"), tenant=tenant)
        entries = await driver.chains.unsealed("history", 10)
        for chain, others in ((entries[0].chain, entries[1:]), (entries[1].chain, entries[:1])):
            assert await driver.chains.unsealed("history", 10, besides={chain}) == others
        zoo = Chain(ZOO, "history", "customers")
        assert [entry.chain for entry in entries] == [CUSTOMERS_OF_ACME, zoo]
        assert await driver.chains.chains(ACME) == (CUSTOMERS_OF_ACME,)
        await driver.chains.seal([seal_of(Head(entry.chain), entry) for entry in entries])
        assert [len(await entries_of(driver, entry.chain)) for entry in entries] == [1, 1]
        await driver.delete_tenant(ACME, OBJECTS)
        assert await driver.chains.chains(ACME) == ()
        assert await driver.chains.head(CUSTOMERS_OF_ACME) == Head(CUSTOMERS_OF_ACME)
        assert await driver.chains.chains(ZOO) == (zoo,)

    async def test_entry_is_sealed_once(self, driver: Driver) -> None:
        await write(driver, insert(TRACKED, "c1"), insert(TRACKED, "c2"))
        one, two = await driver.chains.unsealed("history", 10)
        first = seal_of(Head(CUSTOMERS_OF_ACME), one)
        await driver.chains.seal([first])
        with pytest.raises(WriteConflict):  # by a sealer that knows nothing of the first
            await driver.chains.seal([seal_of(Head(CUSTOMERS_OF_ACME), one, two)])
        with pytest.raises(WriteConflict):  # at the right place, but again
            await driver.chains.seal([seal_of(first.after, one)])
        assert [entry.id for entry in await entries_of(driver)] == [one.id]
        assert await driver.chains.head(CUSTOMERS_OF_ACME) == first.after
        await driver.chains.seal([seal_of(first.after, two)])

    async def test_heads_are_told_in_the_order_of_their_chains(self, driver: Driver) -> None:
        for tenant in (ZOO, ACME):
            await write(driver, insert(TRACKED, "c1"), tenant=tenant)
        zoo, acme = await driver.chains.unsealed("history", 10)
        seals = [seal_of(Head(entry.chain), entry) for entry in (zoo, acme)]
        await driver.chains.seal(seals)
        first, second = await driver.chains.heads(None, 10)
        assert (first, second) == (seals[1].after, seals[0].after)
        assert await driver.chains.heads(None, 1) == (first,)
        assert await driver.chains.heads(first.chain, 10) == (second,)
        assert await driver.chains.heads(second.chain, 10) == ()

    async def test_the_beginning_of_a_chain_is_purged_and_its_end_is_kept(
        self, driver: Driver
    ) -> None:
        chains = driver.chains
        await write(driver, *(insert(TRACKED, f"c{number}") for number in range(4)))
        await write(driver, insert(TRACKED, "c1"), tenant=ZOO)
        *acme, zoo = await chains.unsealed("history", 10)
        sealed = seal_of(Head(CUSTOMERS_OF_ACME), *acme[:3])
        await chains.seal([sealed, seal_of(Head(zoo.chain), zoo)])
        purged = msgspec.structs.replace(
            sealed.after, purged_sequence=2, purged_hash=sealed.links[1].hash
        )
        await chains.purge(sealed.after, purged)
        assert await chains.head(CUSTOMERS_OF_ACME) == purged
        assert [entry.sequence for entry in await entries_of(driver)] == [3]
        assert await chains.unsealed("history", 10) == (acme[3],)
        assert len(await entries_of(driver, zoo.chain)) == 1
        assert await driver.history.of_record(ACME, "customers", "c0", limit=9) == ()
        assert len(await driver.history.of_record(ACME, "customers", "c2", limit=9)) == 1
        await chains.seal([seal_of(purged, acme[3])])
        head = await chains.head(CUSTOMERS_OF_ACME)
        assert (head.sequence, head.purged_sequence) == (4, 2)

    async def test_a_purge_is_all_or_nothing(self, driver: Driver) -> None:
        chains = driver.chains
        await write(driver, insert(TRACKED, "c1"), insert(TRACKED, "c2"))
        entries = await chains.unsealed("history", 10)
        sealed = seal_of(Head(CUSTOMERS_OF_ACME), *entries)
        await chains.seal([sealed])
        one = msgspec.structs.replace(sealed.after, purged_sequence=1)
        beyond = msgspec.structs.replace(sealed.after, purged_sequence=3)
        with pytest.raises(WriteConflict):  # an entry that is not there any more
            await chains.purge(sealed.after, beyond)
        assert await chains.head(CUSTOMERS_OF_ACME) == sealed.after
        assert len(await entries_of(driver)) == 2
        await chains.purge(sealed.after, one)
        with pytest.raises(WriteConflict):  # by somebody who knows nothing of the first
            await chains.purge(sealed.after, one)
        assert [entry.sequence for entry in await entries_of(driver)] == [2]

    async def test_a_sealer_that_slept_through_a_purge_seals_nothing(self, driver: Driver) -> None:
        chains = driver.chains
        await write(driver, insert(TRACKED, "c1"), insert(TRACKED, "c2"))
        one, two = await chains.unsealed("history", 10)
        sealed = seal_of(Head(CUSTOMERS_OF_ACME), one)
        await chains.seal([sealed])
        purged = msgspec.structs.replace(sealed.after, purged_sequence=1)
        await chains.purge(sealed.after, purged)
        with pytest.raises(WriteConflict):  # whose place is free again
            await chains.seal([seal_of(Head(CUSTOMERS_OF_ACME), two)])
        assert await chains.head(CUSTOMERS_OF_ACME) == purged
        assert await chains.unsealed("history", 10) == (two,)

    async def test_a_seal_leaves_a_checkpoint_that_was_moved_meanwhile(
        self, driver: Driver
    ) -> None:
        chains = driver.chains
        await write(driver, insert(TRACKED, "c1"), insert(TRACKED, "c2"))
        one, two = await chains.unsealed("history", 10)
        sealed = seal_of(Head(CUSTOMERS_OF_ACME), one)
        await chains.seal([sealed])
        await chains.purge(sealed.after, msgspec.structs.replace(sealed.after, purged_sequence=1))
        await chains.seal([seal_of(sealed.after, two)])
        head = await chains.head(CUSTOMERS_OF_ACME)
        assert (head.sequence, head.purged_sequence) == (2, 1)

    async def test_seals_are_all_or_none(self, driver: Driver) -> None:
        for tenant in (ACME, ZOO):
            await write(driver, insert(TRACKED, "c1"), tenant=tenant)
        acme, zoo = await driver.chains.unsealed("history", 10)
        gone = msgspec.structs.replace(zoo, position=zoo.position + 1000)
        with pytest.raises(WriteConflict):
            await driver.chains.seal(
                [seal_of(Head(acme.chain), acme), seal_of(Head(zoo.chain), gone)]
            )
        assert await driver.chains.unsealed("history", 10) == (acme, zoo)
        assert await driver.chains.head(acme.chain) == Head(acme.chain)
