"""What was withdrawn after a change was queued is not told, whoever queued it and whoever sends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.webhooks import Ask, call, declare, delivering, log_of, until_log

from objectql.drivers.memory import MemoryDriver
from objectql.drivers.sql.sqlite import SqliteDriver, SqliteSettings
from objectql.ids import TenantId
from objectql.kernel.features import KernelSettings
from objectql.kernel.kernel import Kernel
from objectql.kernel.webhooks.policy import WebhookPolicy
from objectql.testing.receivers import Receiver, receiving
from objectql.wire import webhooks as w
from objectql.wire.identity import UserCreateRequest, UserUpdateRequest
from objectql.wire.messages import DeleteRequest, ShareRequest
from objectql.wire.tenants import TenantCreateRequest, TenantMetadataPutRequest

APP: dict[str, Any] = {
    "name": "notes",
    "objects": {"note": {"fields": {"title": {"type": "text"}}}},
    "permissions": {
        "note": {
            "object": "note",
            "object_permissions": {"create": ["owner"], "read": ["owner", "sales"]},
            "record_rules": [
                {
                    "name": "own",
                    "condition": {"field": "created_by", "operator": "=", "value": "$current_user.id"},
                    "permissions": {"read": True, "update": True, "delete": True},
                }
            ],
            "sharing_rules": [{"name": "by_hand", "type": "manual"}],
        }
    },
}  # fmt: skip
SETTINGS = KernelSettings(
    webhooks=WebhookPolicy(
        insecure=True, ports=(), allow=("127.0.0.1",), first_pause_s=0.05, longest_pause_s=0.2
    )
)
ACME = TenantId("acme")


@pytest.fixture
async def kernel() -> AsyncGenerator[Kernel]:
    kernel = Kernel([MemoryDriver(), APP], settings=SETTINGS)
    await kernel.start()
    yield kernel
    await kernel.stop()


@pytest.fixture
async def receiver() -> AsyncGenerator[Receiver]:
    async with receiving() as found:
        yield found


async def queued(kernel: Kernel) -> None:
    """What has been committed is in the queue, and nobody has delivered it."""
    outbox = kernel.engine.system_driver.outbox
    while pending := await outbox.pending(1):
        await kernel.webhooks.queueing([event for _, event in pending])
        await outbox.mark_published("s", {position: 1 for position, _ in pending})


async def share(kernel: Kernel, ask: Ask, level: Any) -> None:
    await kernel.handle_share(ShareRequest("note", "n1", "role:sales", level), ask("admin"))


@pytest.mark.parametrize("what", ["kept", "taken back", "deleted"])
async def test_record_is_told_only_while_it_is_shared(
    kernel: Kernel, ask: Ask, receiver: Receiver, what: str
) -> None:
    await declare(kernel, ask, receiver, objects=["note"], run_as={"roles": ["sales"]})
    await kernel.create("note", {"id": "n1", "title": "x"}, context=ask("admin"))
    await share(kernel, ask, "read")
    await queued(kernel)
    assert [one["state"] for one in await log_of(kernel, ask)] == ["pending"]
    if what == "taken back":
        await share(kernel, ask, None)
    elif what == "deleted":
        await kernel.handle_delete(DeleteRequest("note", "n1"), ask("admin"))
    async with delivering(kernel):
        count = 1 if what == "kept" else 2
        found = await until_log(
            kernel, ask, lambda log: [one["state"] for one in log] == ["done"] * count
        )
    told = [
        (one.message["data"]["operation"], "record" in one.message["data"])
        for one in receiver.received
    ]
    if what == "kept":
        assert told == [("updated", True)]
    else:
        assert told == [("deleted", False)]
        assert found[-1]["reason"].startswith("not told")


async def test_user_who_lost_a_role_is_told_no_more_of_what_it_let_them_read(
    kernel: Kernel, ask: Ask, receiver: Receiver
) -> None:
    given = UserCreateRequest(name="robot", roles=("sales",), is_service=True)
    made = await kernel.identity.handle_user_create(given, ask("admin"))
    id_ = msgspec.json.decode(made.body)["id"]
    await declare(kernel, ask, receiver, objects=["note"], run_as={"user": id_})
    await kernel.create("note", {"id": "n1", "title": "x"}, context=ask("admin"))
    await share(kernel, ask, "read")
    await queued(kernel)
    await kernel.identity.handle_user_update(UserUpdateRequest(id_, roles=("other",)), ask("admin"))
    directory = kernel.webhooks.directory
    hook = (await call(kernel, ask, "get", w.WebhookGetRequest("crm")))["id"]
    async with asyncio.timeout(30):  # roles are looked at anew once a second
        while directory.subscription(hook, "note") is not None:
            await directory.refresh()
            await asyncio.sleep(0.05)
    async with delivering(kernel):
        await until_log(kernel, ask, lambda log: log[-1]["attempts"] > 0)
        assert receiver.received == []
        back = UserUpdateRequest(id_, roles=("sales",))
        await kernel.identity.handle_user_update(back, ask("admin"))
        await receiver.until(lambda got: len(got) == 1)
    assert receiver.received[0].message["data"]["record"]["title"] == "x"


async def test_kernels_agree_on_webhooks_and_on_what_tenants_have_of_their_own(
    tmp_path: Path, ask: Ask, receiver: Receiver
) -> None:
    path = str(tmp_path / "two.db")
    kernels = [Kernel([SqliteDriver(SqliteSettings(path)), APP], settings=SETTINGS) for _ in "12"]
    one, two = kernels
    for kernel in kernels:
        await kernel.start()
    try:
        await one.tenancy.handle_create(
            TenantCreateRequest(b'{"id":"acme"}'), ask("admin", "system")
        )
        document = b'{"fields":{"hue__c":{"type":"text"}}}'
        put = TenantMetadataPutRequest(ACME, "object", "note", document)
        await one.tenancy.handle_metadata_put(put, ask("admin", "system"))
        fields = ["title", "hue__c"]
        where = {"hue__c": "red"}
        run_as = {"roles": ["admin"]}
        await declare(
            one, ask, receiver, ACME, objects=["note"], run_as=run_as, fields=fields, where=where
        )
        by = ask("admin", tenant=ACME)
        for hue in ("red", "blue"):
            await one.create("note", {"title": hue, "hue__c": hue}, context=by)
        async with delivering(two):  # it has heard of neither but from the store
            await receiver.until(lambda got: len(got) == 1)
            await one.create("note", {"title": "again", "hue__c": "red"}, context=by)
            await receiver.until(lambda got: len(got) == 2)
            request = w.WebhookChangeRequest("crm", b'{"where":{"hue__c":"blue"}}')
            await one.webhooks.handle_change(request, by)
            await one.create("note", {"title": "last", "hue__c": "blue"}, context=by)
            await receiver.until(lambda got: len(got) == 3)
    finally:
        for kernel in kernels:
            await kernel.stop()
    told = [request.message["data"]["record"] for request in receiver.received]
    assert [(record["title"], record["hue__c"]) for record in told] == [
        ("red", "red"), ("again", "red"), ("last", "blue"),
    ]  # fmt: skip
