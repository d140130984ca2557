from __future__ import annotations

from objectql.bus.memory import matches
from objectql.wire.access import BUS_USERS, OPERATOR, BusUser, authorization
from objectql.wire.subjects import (
    PARTS_RPC_PREFIX,
    command,
    coordinator_rpc,
    heartbeat,
    inbox,
    is_inbox,
    kernel_rpc,
    parts_rpc,
    rpc_cancel,
    rpc_many,
)

KERNEL = "oql.v1.rpc.kernel"


def may_publish(user: BusUser, subject: str) -> bool:
    return any(matches(pattern, subject) for pattern in user.publish)


def may_hear(user: BusUser, subject: str, queue: str = "") -> bool:
    wanted = [subject, queue] if queue else [subject]
    allowed = [entry.split() for entry in user.subscribe]
    return any(matches(entry[0], subject) and entry[1:] in ([], wanted[1:]) for entry in allowed)


def test_gateways_alone_call_and_kernels_alone_answer() -> None:
    for user in BUS_USERS:
        for subject in (kernel_rpc("get"), rpc_many(KERNEL), rpc_cancel(KERNEL)):
            assert may_publish(user, subject) == user.name.startswith("gateway-")
        assert may_hear(user, rpc_many(KERNEL), "kernel") == (user.name == "kernel")
        assert not may_hear(user, rpc_many(KERNEL))


def test_no_user_hears_the_answers_to_another() -> None:
    for user in BUS_USERS:
        for other in BUS_USERS:
            if other.name != OPERATOR:
                heard = may_hear(user, f"{inbox(other.name)}.x.answers")
                assert heard == (user.name == other.name)


def test_no_pattern_opens_everything() -> None:
    for user in BUS_USERS:
        for pattern in (*user.publish, *user.subscribe):
            assert pattern.split(".")[0] not in {">", "*", "_INBOX_*"}


def test_the_server_is_told_of_those_users_who_have_a_password() -> None:
    block = authorization({"kernel": "a", "operator": "b"})
    assert [(u["user"], u["password"]) for u in block["users"]] == [
        ("kernel", "a"),
        ("operator", "b"),
    ]
    kernel = next(user for user in BUS_USERS if user.name == "kernel")
    permissions = block["users"][0]["permissions"]
    assert permissions["publish"] == {"allow": list(kernel.publish)}
    assert permissions["subscribe"] == {"allow": list(kernel.subscribe)}


def test_only_an_inbox_is_taken_for_one() -> None:
    assert is_inbox(f"{inbox('gateway-rest')}.x")
    assert is_inbox("_INBOX.x")
    assert not is_inbox("oql.v1.evt.kernel.metadata.published")
    assert not is_inbox("")


def test_coordinators_alone_command_and_each_service_hears_its_own_commands_only() -> None:
    for user in BUS_USERS:
        for service in ("kernel", "gateway-rest", "gateway-ws", "gateway-grpc", "coordinator"):
            drain = command(service, "one", "drain")
            assert may_publish(user, drain) == (user.name == "coordinator")
            assert may_hear(user, drain) == (user.name == service)


def test_kernels_alone_ask_coordinators_and_these_alone_end_parts_of_transactions() -> None:
    decide = coordinator_rpc("coordinator-1", "decide")
    finish = parts_rpc("finish")
    for user in BUS_USERS:
        for subject in (decide, rpc_many("oql.v1.rpc.coordinator.coordinator-1")):
            assert may_publish(user, subject) == (user.name == "kernel")
            assert may_hear(user, subject, "coordinator") == (user.name == "coordinator")
        for subject in (finish, rpc_many(PARTS_RPC_PREFIX), rpc_cancel(PARTS_RPC_PREFIX)):
            assert may_publish(user, subject) == (user.name == "coordinator")
        assert may_hear(user, finish, "kernel") == (user.name == "kernel")
        is_leader_heard = may_hear(user, heartbeat("coordinator", "coordinator-1"))
        assert is_leader_heard == (user.name in {"kernel", "coordinator", OPERATOR})
