"""From a change to a signed request: nothing is lost, and each record is told of in order."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from objectql.clock import SystemClock
from objectql.context import DEFAULT_TENANT, Context
from objectql.errors import (
    ObjectQLError,
    PermissionDenied,
    QuotaExceeded,
    RecordNotFound,
    UniqueViolation,
    ValidationFailed,
)
from objectql.ids import TenantId
from objectql.kernel.features import KernelSettings
from objectql.kernel.kernel import Kernel
from objectql.kernel.relay import Relay
from objectql.kernel.webhooks.policy import WebhookPolicy
from objectql.testing.receivers import Received, Receiver, Reply, receiving
from objectql.wire import webhooks as w
from objectql.wire.identity import UserCreateRequest, UserUpdateRequest
from objectql.wire.stream import Stored
from objectql.wire.tenants import TenantChangeRequest, TenantCreateRequest, TenantExportRequest
from objectql.wire.webhook_signatures import verify

Ask = Callable[..., Context]


@pytest.fixture
def settings() -> KernelSettings:
    policy = WebhookPolicy(
        insecure=True, ports=(), allow=("127.0.0.1",), first_pause_s=0.05, longest_pause_s=0.2
    )
    return KernelSettings(webhooks=policy)


@pytest.fixture
async def receiver() -> AsyncGenerator[Receiver]:
    async with receiving() as found:
        yield found


@asynccontextmanager
async def delivering(kernel: Kernel, *holders: str) -> AsyncGenerator[Relay]:
    """A relay that queues, and workers that deliver."""
    driver = kernel.engine.system_driver

    async def publish(messages: Any) -> Stored:
        return Stored("s", [1] * len(messages))

    relay = Relay(
        "default", driver.outbox, driver.leases, publish,
        holder="r", queue=kernel.webhooks.queueing,
    )  # fmt: skip
    workers = [kernel.webhooks.deliverer(holder) for holder in holders or ("w1",)]

    def wake(webhooks: Collection[str]) -> None:
        for worker in workers:
            worker.wake(webhooks)

    kernel.webhooks.queueing.on_queued = wake
    kernel.pipeline.observe(lambda _: relay.nudge())
    tasks = [asyncio.create_task(work.run()) for work in (relay, *workers)]
    try:
        yield relay
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def declare(kernel: Kernel, ask: Ask, receiver: Receiver, **more: Any) -> dict[str, Any]:
    document = {
        "name": "crm", "url": receiver.url, "objects": ["account"],
        "run_as": {"roles": ["viewer"]}, **more,
    }  # fmt: skip
    request = w.WebhookCreateRequest(msgspec.json.encode(document))
    reply = await kernel.webhooks.handle_create(request, ask("admin"))
    return msgspec.json.decode(reply.body)


async def call(kernel: Kernel, ask: Ask, verb: str, request: Any) -> Any:
    handle = getattr(kernel.webhooks, f"handle_{verb}")
    return msgspec.json.decode((await handle(request, ask("admin"))).body)


async def log_of(kernel: Kernel, ask: Ask, state: str | None = None) -> list[dict[str, Any]]:
    request = w.WebhookDeliveriesRequest("crm", state)
    return (await call(kernel, ask, "deliveries", request))["items"]


async def until_log(
    kernel: Kernel, ask: Ask, enough: Callable[[list[dict[str, Any]]], bool]
) -> list[dict[str, Any]]:
    async with asyncio.timeout(30):
        while not enough(found := await log_of(kernel, ask)):
            await asyncio.sleep(0.02)
    return found


async def test_change_is_told_signed_and_in_the_words_of_live_queries(
    kernel: Kernel, ask: Ask, receiver: Receiver
) -> None:
    hook = await declare(kernel, ask, receiver, where={"stage": "won"}, fields=["name", "stage"])
    async with delivering(kernel):
        await kernel.create("account", {"name": "Aé", "stage": "new"})
        won = await kernel.create("account", {"name": "B", "stage": "won"})
        await kernel.update("account", won["id"], {"name": "B2"})
        await kernel.update("account", won["id"], {"stage": "lost"})
        await kernel.update("account", won["id"], {"stage": "won"})
        await kernel.delete("account", won["id"])
        await receiver.until(lambda got: len(got) == 5)
    messages = [request.message for request in receiver.received]
    data = [message["data"] for message in messages]
    assert [message["type"] for message in messages] == [
        "account.created", "account.updated", "account.deleted",
        "account.updated", "account.deleted",
    ]  # fmt: skip
    assert [one.get("match") for one in data] == [None, None, "left", "entered", None]
    assert data[0]["record"] == {"id": won["id"], "name": "B", "stage": "won"}
    assert data[1]["previous"] == {"name": "B"}
    assert "record" not in data[2]
    assert "record" not in data[4]
    for request in receiver.received:
        now_s = SystemClock().now_ms() / 1000
        assert verify(request.headers, request.body, [hook["secret"]], now_s=now_s) == request.id
        assert request.headers["content-type"] == "application/json"
    assert len({request.id for request in receiver.received}) == 5


async def test_failed_delivery_is_repeated_and_holds_its_record_back(
    kernel: Kernel, ask: Ask, receiver: Receiver
) -> None:
    await declare(kernel, ask, receiver)
    failures = itertools.count()

    async def answer(request: Received) -> Reply:
        if request.message["data"]["record"]["name"].startswith("A") and next(failures) < 3:
            return Reply(503)
        return Reply()

    receiver.answer = answer
    async with delivering(kernel):
        first = await kernel.create("account", {"name": "A1"})
        await kernel.update("account", first["id"], {"name": "A2"})
        await kernel.create("account", {"name": "B"})
        found = await until_log(kernel, ask, lambda log: [d["state"] for d in log] == ["done"] * 3)
    names = [request.message["data"]["record"]["name"] for request in receiver.received]
    assert [name for name in names if name.startswith("A")] == ["A1"] * 4 + ["A2"]
    assert sorted(d["attempts"] for d in found) == [1, 1, 4]
    assert len({r.id for r in receiver.received}) == 3


async def test_refused_message_is_dead_at_once_and_the_next_one_goes_on(
    kernel: Kernel, ask: Ask, receiver: Receiver
) -> None:
    await declare(kernel, ask, receiver)

    async def answer(request: Received) -> Reply:
        is_bad = request.message["data"]["operation"] == "created"
        return Reply(422, body=b"no such\nfield") if is_bad else Reply()

    receiver.answer = answer
    async with delivering(kernel):
        made = await kernel.create("account", {"name": "A"})
        await kernel.update("account", made["id"], {"name": "A2"})
        found = await until_log(
            kernel, ask, lambda log: [d["state"] for d in log] == ["done", "dead"]
        )
        assert (found[1]["status"], found[1]["reason"]) == (422, "422 no such field")
        assert found[1]["attempts"] == 1
        receiver.answer = accepting
        replay = w.WebhookReplayRequest("crm", b'{"dead":true}')
        assert await call(kernel, ask, "replay", replay) == {"replayed": 1}
        await until_log(kernel, ask, lambda log: [d["state"] for d in log] == ["done", "done"])
    assert receiver.received[-1].id == receiver.received[0].id


async def accepting(_request: Received) -> Reply:
    return Reply()


async def test_what_fails_too_often_is_dead(kernel: Kernel, ask: Ask, receiver: Receiver) -> None:
    await declare(kernel, ask, receiver, max_attempts=3)

    async def cut(_request: Received) -> Reply:
        return Reply(is_cut=True)

    receiver.answer = cut
    async with delivering(kernel):
        await kernel.create("account", {"name": "A"})
        (dead,) = await until_log(kernel, ask, lambda log: [d["state"] for d in log] == ["dead"])
    assert (dead["attempts"], dead["status"]) == (3, None)
    assert len(receiver.received) == 3


async def test_redirect_is_not_followed(kernel: Kernel, ask: Ask, receiver: Receiver) -> None:
    await declare(kernel, ask, receiver, max_attempts=1)
    async with receiving() as elsewhere:

        async def answer(_request: Received) -> Reply:
            return Reply(307, {"Location": elsewhere.url})

        receiver.answer = answer
        async with delivering(kernel):
            await kernel.create("account", {"name": "A"})
            (dead,) = await until_log(
                kernel, ask, lambda log: [d["state"] for d in log] == ["dead"]
            )
        assert dead["status"] == 307
        assert elsewhere.connections == 0


async def test_endpoint_that_is_gone_is_switched_off_and_loses_nothing(
    kernel: Kernel, ask: Ask, receiver: Receiver
) -> None:
    await declare(kernel, ask, receiver)

    async def gone(_request: Received) -> Reply:
        return Reply(410)

    receiver.answer = gone
    async with delivering(kernel):
        await kernel.create("account", {"name": "A"})
        async with asyncio.timeout(30):
            while (await call(kernel, ask, "get", w.WebhookGetRequest("crm")))["active"]:
                await asyncio.sleep(0.02)
        (waiting,) = await log_of(kernel, ask)
        assert waiting["state"] == "pending"
        told = await call(kernel, ask, "get", w.WebhookGetRequest("crm"))
        assert "410" in told["disabled_because"]
        receiver.answer = accepting
        change = w.WebhookChangeRequest("crm", b'{"active":true}')
        assert "disabled_because" not in await call(kernel, ask, "change", change)
        await until_log(kernel, ask, lambda log: [d["state"] for d in log] == ["done"])


async def test_slow_endpoint_is_given_up_in_time(
    kernel: Kernel, ask: Ask, receiver: Receiver
) -> None:
    await declare(kernel, ask, receiver, timeout_s=0.1, max_attempts=1)
    never = asyncio.Event()

    async def hang(_request: Received) -> Reply:
        await never.wait()
        return Reply()

    receiver.answer = hang
    async with delivering(kernel):
        await kernel.create("account", {"name": "A"})
        (dead,) = await until_log(kernel, ask, lambda log: [d["state"] for d in log] == ["dead"])
    assert dead["reason"] == "no answer within 0.1 s"
    never.set()


async def test_every_record_is_told_of_in_order_while_workers_come_and_go(
    kernel: Kernel, ask: Ask, receiver: Receiver
) -> None:
    await declare(kernel, ask, receiver)
    failing = itertools.count()

    async def answer(_request: Received) -> Reply:
        return Reply(500) if next(failing) % 7 == 0 else Reply()

    receiver.answer = answer
    versions: dict[str, int] = {}
    async with delivering(kernel, "w1", "w2"):
        made = [await kernel.create("account", {"name": f"n{n}"}) for n in range(6)]
        for turn in range(5):
            for record in made:
                await kernel.update("account", record["id"], {"balance": turn + 1})
    async with delivering(kernel, "w3"):
        await until_log(
            kernel, ask, lambda log: len(log) == 36 and {d["state"] for d in log} == {"done"}
        )
    order: dict[str, list[int]] = defaultdict(list)
    for request in receiver.received:
        data = request.message["data"]
        order[data["id"]].append(data["version"])
    versions = {id_: len(set(seen)) for id_, seen in order.items()}
    assert set(versions.values()) == {6}
    for seen in order.values():
        assert list(dict.fromkeys(seen)) == [1, 2, 3, 4, 5, 6], seen


async def test_webhook_sees_what_its_roles_may_read_when_it_is_told(
    kernel: Kernel, ask: Ask, receiver: Receiver
) -> None:
    with pytest.raises(ValidationFailed) as caught:
        await declare(kernel, ask, receiver, run_as={"roles": ["stranger"]})
    assert [issue.path for issue in caught.value.issues] == ["run_as"]
    await declare(kernel, ask, receiver, run_as={"roles": ["viewer"]}, active=True)
    receiver.answer = accepting
    async with delivering(kernel):
        change = {"run_as": {"roles": ["sales"]}}
        request = w.WebhookChangeRequest("crm", msgspec.json.encode(change))
        assert (await call(kernel, ask, "change", request))["run_as"] == change["run_as"]
        await kernel.create("account", {"name": "A"})
        await receiver.until(lambda got: len(got) == 1)


async def test_only_administrators_of_the_tenant_see_its_webhooks(
    kernel: Kernel, ask: Ask, receiver: Receiver
) -> None:
    made = await declare(kernel, ask, receiver, headers={"Authorization": "Bearer hidden-value"})
    for context in (ask("sales"), ask(), ask("admin", tenant="other")):
        with pytest.raises(ObjectQLError) as caught:
            await kernel.webhooks.handle_get(w.WebhookGetRequest("crm"), context)
        is_other = context.tenant != DEFAULT_TENANT
        assert isinstance(caught.value, RecordNotFound if is_other else PermissionDenied)
    told = await call(kernel, ask, "get", w.WebhookGetRequest("crm"))
    assert told["headers"] == {"Authorization": "***"}
    text = msgspec.json.encode(told).decode()
    assert "hidden-value" not in text
    assert made["secret"] not in text


async def test_declaration_is_refused_with_every_mistake(
    kernel: Kernel, ask: Ask, receiver: Receiver
) -> None:
    with pytest.raises(ValidationFailed) as caught:
        await declare(
            kernel, ask, receiver,
            name="No!", url="http://10.0.0.1/", objects=["account", "account"], run_as={},
            secret="short", headers={"Host": "x", "X-A": "a\r\nb"},
        )  # fmt: skip
    paths = {issue.path for issue in caught.value.issues}
    assert paths == {"name", "url", "objects", "run_as", "secret", "headers.Host", "headers.X-A"}
    for wrong, error in (
        ({"objects": ["nothing"]}, "OBJECT_NOT_FOUND"),
        ({"fields": ["nothing"]}, "INVALID_FIELD"),
        ({"where": {"nothing": 1}}, "INVALID_FIELD"),
        ({"timeout_s": 0}, "INVALID_REQUEST"),
        ({"surprise": 1}, "INVALID_REQUEST"),
    ):
        with pytest.raises(ObjectQLError) as refused:
            await declare(kernel, ask, receiver, **wrong)
        assert refused.value.code == error or error in {i.code for i in refused.value.issues}, wrong
    await declare(kernel, ask, receiver)
    with pytest.raises(UniqueViolation):
        await declare(kernel, ask, receiver)


async def test_two_secrets_sign_while_one_is_replaced(
    kernel: Kernel, ask: Ask, receiver: Receiver
) -> None:
    old = (await declare(kernel, ask, receiver))["secret"]
    new = (await call(kernel, ask, "rotate", w.WebhookRotateRequest("crm", b"{}")))["secret"]
    assert (await call(kernel, ask, "test", w.WebhookTestRequest("crm")))["ok"]
    now = w.WebhookRotateRequest("crm", b'{"overlap_s":0}')
    newest = (await call(kernel, ask, "rotate", now))["secret"]
    assert (await call(kernel, ask, "test", w.WebhookTestRequest("crm")))["ok"]
    first, second = receiver.received
    now_s = SystemClock().now_ms() / 1000
    for request, secrets in ((first, (old, new)), (second, (newest,))):
        for secret in secrets:
            verify(request.headers, request.body, [secret], now_s=now_s)
    for secret in (old, new):
        with pytest.raises(ValueError, match="somebody else"):
            verify(second.headers, second.body, [secret], now_s=now_s)


async def test_webhook_hears_every_change_after_its_declaration(
    kernel: Kernel, ask: Ask, receiver: Receiver
) -> None:
    wanted: set[tuple[str, str]] = set()
    paths: list[str] = []
    async with delivering(kernel):
        for number in range(5):
            await declare(kernel, ask, receiver, name=f"h{number}", url=f"{receiver.url}?{number}")
            paths.append(f"/hook?{number}")
            made = await kernel.create("account", {"name": f"A{number}"})
            wanted |= {(path, made["id"]) for path in paths}
        await receiver.until(
            lambda got: wanted <= {(one.path, one.message["data"]["id"]) for one in got}
        )


async def test_tenant_has_no_more_webhooks_than_agreed(
    kernel: Kernel, ask: Ask, receiver: Receiver
) -> None:
    new = TenantCreateRequest(b'{"id":"acme","quotas":{"webhooks":2}}')
    await kernel.tenancy.handle_create(new, ask("admin", "system"))
    there = ask("admin", tenant=TenantId("acme"))
    document = {"url": receiver.url, "objects": ["account"], "run_as": {"roles": ["viewer"]}}

    async def declared(name: str) -> None:
        request = w.WebhookCreateRequest(msgspec.json.encode(document | {"name": name}))
        await kernel.webhooks.handle_create(request, there)

    for name in ("a", "b"):
        await declared(name)
    with pytest.raises(QuotaExceeded):
        await declared("c")
    await declare(kernel, ask, receiver, name="c")


async def test_export_of_a_tenant_tells_its_webhooks_and_no_secret(
    kernel: Kernel, ask: Ask, receiver: Receiver
) -> None:
    made = await declare(kernel, ask, receiver, headers={"X-Token": "hidden-value"})
    reply = await kernel.tenancy.handle_export(
        TenantExportRequest(DEFAULT_TENANT), ask("admin", "system")
    )
    lines = [msgspec.json.decode(line) for line in reply.lines.splitlines()]
    assert [next(iter(line)) for line in lines] == ["tenant", "webhook"]
    assert lines[1]["webhook"]["url"] == receiver.url
    assert made["secret"].encode() not in reply.lines
    assert b"hidden-value" not in reply.lines


async def test_suspended_tenant_is_told_nothing_until_it_may_act_again(
    kernel: Kernel, ask: Ask, receiver: Receiver
) -> None:
    async def suspended(is_so: bool) -> None:
        change = TenantChangeRequest("acme", msgspec.json.encode({"suspended": is_so}))
        await kernel.tenancy.handle_change(change, ask("admin", "system"))

    new = TenantCreateRequest(b'{"id":"acme"}')
    await kernel.tenancy.handle_create(new, ask("admin", "system"))
    there = ask("admin", tenant=TenantId("acme"))
    document = {
        "name": "crm", "url": receiver.url, "objects": ["account"],
        "run_as": {"roles": ["viewer"]},
    }  # fmt: skip
    request = w.WebhookCreateRequest(msgspec.json.encode(document))
    await kernel.webhooks.handle_create(request, there)
    await kernel.create("account", {"name": "A"}, context=there)
    await suspended(True)
    async with delivering(kernel):
        async with asyncio.timeout(30):
            while not (await kernel.webhooks.directory.store.counts()).pending:
                await asyncio.sleep(0.02)
        await kernel.create("account", {"name": "elsewhere"})
        assert receiver.received == []
        await suspended(False)
        await receiver.until(lambda got: len(got) == 1)
    assert receiver.received[0].message["data"]["tenant"] == "acme"


async def test_user_whom_a_webhook_stands_for_decides_what_it_sees(
    kernel: Kernel, ask: Ask, receiver: Receiver
) -> None:
    given = UserCreateRequest(name="robot", roles=("viewer",), is_service=True)
    made = await kernel.identity.handle_user_create(given, ask("admin"))
    id_ = msgspec.json.decode(made.body)["id"]
    with pytest.raises(RecordNotFound):
        await declare(kernel, ask, receiver, run_as={"user": "nobody"})
    await declare(kernel, ask, receiver, run_as={"user": id_})
    async with delivering(kernel):
        await kernel.create("account", {"name": "A"})
        await receiver.until(lambda got: len(got) == 1)
    off = UserUpdateRequest(id_, is_active=False)
    await kernel.identity.handle_user_update(off, ask("admin"))
    await kernel.create("account", {"name": "B"})
    told = await call(kernel, ask, "get", w.WebhookGetRequest("crm"))
    assert told["problem"]
    async with asyncio.timeout(30):
        while kernel.webhooks.directory.subscription(told["id"], "account") is not None:
            await kernel.webhooks.directory.refresh()
            await asyncio.sleep(0.05)
    async with delivering(kernel):
        await kernel.create("account", {"name": "C"})
        relayed = kernel.engine.system_driver.outbox
        async with asyncio.timeout(30):
            while await relayed.pending(1):
                await asyncio.sleep(0.02)
    assert len(receiver.received) == 1


async def test_what_may_not_be_told_any_more_is_not_told_though_it_was_queued(
    kernel: Kernel, ask: Ask, receiver: Receiver
) -> None:
    await declare(kernel, ask, receiver)
    await kernel.create("account", {"name": "A", "stage": "new"})
    pending = await kernel.engine.system_driver.outbox.pending(100)
    await kernel.webhooks.queueing([event for _, event in pending])
    change = w.WebhookChangeRequest("crm", b'{"where":{"stage":"won"}}')
    await call(kernel, ask, "change", change)
    async with delivering(kernel):
        (found,) = await until_log(kernel, ask, lambda log: [d["state"] for d in log] == ["done"])
    assert found["reason"].startswith("not told")
    assert receiver.received == []
