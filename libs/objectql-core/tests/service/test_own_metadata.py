"""What tenants have of their own, as a gateway knows it."""

from __future__ import annotations

from typing import Any

import pytest

from objectql.errors import Unavailable
from objectql.ids import ObjectName, TenantId
from objectql.metadata.build import build_snapshot
from objectql.metadata.document import Document
from objectql.metadata.overlay import TenantMetadata, own_document
from objectql.metadata.registry import MetadataSnapshot
from objectql.metadata.transfer import encode_own
from objectql.service.own_metadata import CAPACITY, FRESH_S, OwnMetadataView
from objectql.wire.messages import SnapshotReply
from objectql.wire.tenants import TenantSnapshotRequest

ACME = TenantId("acme")


def published(version: int = 1) -> MetadataSnapshot:
    content = {"fields": {"name": {"type": "text"}}}
    return build_snapshot([Document("app", "object", "account", content)], version)


class HandClock:
    """Shows what it is set to."""

    def __init__(self) -> None:
        self.at_s = 0.0

    def now_ms(self) -> int:
        return int(self.at_s * 1000)

    def monotonic_s(self) -> float:
        return self.at_s

    async def sleep(self, seconds: float) -> None:
        self.at_s += seconds


class Kernels:
    """Answers as kernels do; `own` is what tenants have."""

    def __init__(self) -> None:
        self.own: dict[str, TenantMetadata] = {}
        self.asked: list[TenantSnapshotRequest] = []
        self.is_there = True

    def give(self, tenant: str, number: int, *fields: str) -> None:
        content = {"fields": {name: {"type": "text"} for name in fields}}
        self.own[tenant] = TenantMetadata(number, (own_document("object", "account", content),))

    async def ask(self, request: TenantSnapshotRequest) -> SnapshotReply:
        self.asked.append(request)
        if not self.is_there:
            raise Unavailable(what="every kernel")
        known = self.own.get(request.tenant)
        if known is None:
            return SnapshotReply(0)
        is_news = known.digest != request.digest
        return SnapshotReply(known.number, encode_own(known) if is_news else None)


@pytest.fixture
def kernels() -> Kernels:
    return Kernels()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def view(kernels: Kernels, clock: HandClock) -> OwnMetadataView:
    return OwnMetadataView(kernels.ask, clock)


def fields(snapshot: MetadataSnapshot) -> set[Any]:
    return {name for name in snapshot.objects[ObjectName("account")].fields if "__c" in name}


async def test_who_has_nothing_sees_what_is_published(view: OwnMetadataView) -> None:
    base = published()
    assert await view.over(base, ACME) is base


async def test_a_kernel_is_asked_once_a_moment_and_told_what_is_known(
    view: OwnMetadataView, kernels: Kernels, clock: HandClock
) -> None:
    base = published()
    kernels.give("acme", 3, "a__c")
    snapshot = await view.over(base, ACME)
    assert fields(snapshot) == {"a__c"}
    assert await view.over(base, ACME) is snapshot
    await clock.sleep(FRESH_S)
    assert await view.over(base, ACME) is snapshot
    told = [request.digest for request in kernels.asked]
    assert told == [TenantMetadata().digest, kernels.own["acme"].digest]
    kernels.give("acme", 4, "b__c")
    await clock.sleep(FRESH_S)
    assert fields(await view.over(base, ACME)) == {"b__c"}
    del kernels.own["acme"]
    await clock.sleep(FRESH_S)
    assert await view.over(base, ACME) is base


async def test_id_that_is_used_again_shows_nothing_of_its_former_tenant(
    view: OwnMetadataView, kernels: Kernels, clock: HandClock
) -> None:
    base = published()
    kernels.give("acme", 1, "former__c")
    assert fields(await view.over(base, ACME)) == {"former__c"}
    kernels.give("acme", 1, "new__c")
    await clock.sleep(FRESH_S)
    assert fields(await view.over(base, ACME)) == {"new__c"}


async def test_what_was_changed_here_is_asked_for_at_once(
    view: OwnMetadataView, kernels: Kernels
) -> None:
    base = published()
    await view.over(base, ACME)
    kernels.give("acme", 1, "a__c")
    assert await view.over(base, ACME) is base
    view.forget(ACME)
    assert fields(await view.over(base, ACME)) == {"a__c"}


async def test_a_publication_for_all_is_seen_at_once(
    view: OwnMetadataView, kernels: Kernels
) -> None:
    kernels.give("acme", 1, "a__c")
    first = await view.over(published(1), ACME)
    second = await view.over(published(2), ACME)
    assert (first.version, second.version) == (1, 2)
    assert fields(second) == {"a__c"}


async def test_nobody_is_shown_another_tenants_own(view: OwnMetadataView, kernels: Kernels) -> None:
    base = published()
    kernels.give("acme", 1, "a__c")
    kernels.give("globex", 1, "g__c")
    assert fields(await view.over(base, ACME)) == {"a__c"}
    assert fields(await view.over(base, TenantId("globex"))) == {"g__c"}
    assert await view.over(base, TenantId("plain")) is base


async def test_the_memory_is_bounded(view: OwnMetadataView, kernels: Kernels) -> None:
    base = published()
    for number in range(CAPACITY + 1):
        await view.over(base, TenantId(f"t{number}"))
    await view.over(base, TenantId(f"t{CAPACITY}"))
    assert len(kernels.asked) == CAPACITY + 1
    await view.over(base, TenantId("t0"))
    assert len(kernels.asked) == CAPACITY + 2


async def test_without_kernels_nothing_is_guessed(view: OwnMetadataView, kernels: Kernels) -> None:
    kernels.is_there = False
    with pytest.raises(Unavailable):
        await view.over(published(), ACME)
