"""External services and containers: what is asked for, and what is said when it is not there."""

from __future__ import annotations

import os
import socket
import stat
import sys
from pathlib import Path

import pytest

from objectql_devstack import DataStack, DevStackError, engine, environment, folders, programs
from objectql_devstack.containers import (
    ContainerServer,
    NatsContainer,
    PostgresContainer,
    ZooKeeperContainer,
)
from objectql_devstack.ports import free_port
from objectql_devstack.servers import Terms
from objectql_devstack.spawning import RunUser
from objectql_devstack.state import StateDirectory


def reachable(_host: str, _port: int) -> bool:
    return True


def barred(_folder: Path, _user: RunUser | None) -> bool:
    return False


def test_an_unknown_mode_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OQL_STACK", "cloud")
    with pytest.raises(DevStackError, match="use local, containers or external"):
        environment.stack_mode()


@pytest.mark.parametrize("text", ["0", "70000", "x", "-1"])
def test_a_bad_port_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("OQL_REST_PORT", text)
    with pytest.raises(DevStackError, match="OQL_REST_PORT"):
        environment.port_setting("OQL_REST_PORT", 8080)


def test_a_hermetic_environment_has_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OQL_KERNEL_X", "1")
    assert "OQL_KERNEL_X" not in environment.inherited(hermetic=True)
    assert environment.inherited(hermetic=False)["OQL_KERNEL_X"] == "1"


def test_external_mode_names_the_missing_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OQL_NATS_URL", raising=False)
    with pytest.raises(DevStackError, match="needs OQL_NATS_URL"):
        DataStack.start(tmp_path, need={"nats"}, mode="external")


def test_external_mode_says_what_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("objectql_devstack.external._REACHABLE_WITHIN_S", 0.2)
    port = free_port()
    monkeypatch.setenv("OQL_NATS_URL", f"nats://user:secret@127.0.0.1:{port}")
    with pytest.raises(DevStackError, match=f"does not answer at 127.0.0.1:{port}") as caught:
        DataStack.start(tmp_path, need={"nats"}, mode="external")
    assert "secret" not in str(caught.value)


def test_external_mode_gives_the_addresses_as_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"nats://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("OQL_NATS_URL", url)
        monkeypatch.setattr(
            "objectql_devstack.external.QUESTIONS",
            {"nats": ("OQL_NATS_URL", 4222, reachable)},
        )
        with DataStack.start(tmp_path, need={"nats"}, mode="external") as stack:
            assert stack.nats_url == url
            with pytest.raises(DevStackError, match="is external"):
                stack.kill("nats")


TERMS = Terms(tethered=False, durable=False)


def test_containers_publish_on_loopback_and_are_labelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OQL_IMAGE_NATS", "registry.example/nats:test")
    state = StateDirectory(tmp_path)
    nats = ContainerServer(state, "nats", TERMS)
    nats.port = 14222
    command = nats.run_command()
    assert command[:2] == ("run", "--detach")
    assert command[command.index("--publish") + 1] == "127.0.0.1:14222:4222"
    assert command[command.index("--label") + 1] == f"objectql.stack={state.path}"
    image = command.index("registry.example/nats:test")
    assert command[image + 1 :] == ("--jetstream", "--store_dir", "/tmp/jetstream")


def test_a_guarded_bus_in_a_container_reads_who_may_enter_from_a_file_of_ours(
    tmp_path: Path,
) -> None:
    nats = NatsContainer(StateDirectory(tmp_path), TERMS, {"kernel": "the kernel's password"})
    command = nats.run_command()
    source, inside, mode = command[command.index("--volume") + 1].split(":")
    assert "the kernel's password" in Path(source).read_text()
    assert Path(source).stat().st_mode & 0o077 == 0
    assert (command[-2:], mode) == (("--config", inside), "ro")
    assert "the kernel's password" not in " ".join(command)


@pytest.mark.parametrize(
    ("terms", "named"),
    [
        (Terms(tethered=True, durable=False), True),
        (Terms(tethered=True, durable=True), False),
        (Terms(tethered=False, durable=True), False),
    ],
)
def test_only_containers_that_nobody_wants_again_name_their_owner(
    tmp_path: Path, terms: Terms, named: bool
) -> None:
    words = ContainerServer(StateDirectory(tmp_path), "nats", terms).run_command()
    assert any(f"/{os.getpid()}/" in word for word in words) is named


def test_a_replica_in_a_container_has_the_limits_of_its_primary(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    primary = PostgresContainer(state, TERMS, ("objectql",))
    replica = PostgresContainer(state, TERMS, primary=primary)
    limits = {word for word in primary.run_command() if word.startswith("max_")}
    assert "max_prepared_transactions=64" in limits
    assert limits == {word for word in replica.run_command() if word.startswith("max_")}


def test_zookeeper_nodes_in_containers_know_each_other_by_name(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    node = ZooKeeperContainer(state, TERMS, index=2, nodes=3)
    words = node.run_command()
    assert "ZOO_MY_ID=2" in words
    (servers,) = [word for word in words if word.startswith("ZOO_SERVERS=")]
    assert servers.split()[1] == "server.2=zookeeper-2:2888:3888;2181"
    assert words[words.index("--network-alias") + 1] == "zookeeper-2"
    alone = ZooKeeperContainer(state, TERMS, index=1, nodes=1).run_command()
    assert not any(word.startswith("ZOO_SERVERS=") for word in alone)


def test_a_missing_docker_program_or_engine_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DevStackError, match="needs the docker program"):
        engine.docker("ps")
    fake = tmp_path / "docker"
    fake.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('Is the docker daemon running?')\n")
    fake.chmod(0o755)
    with pytest.raises(DevStackError, match="no Docker engine answers"):
        DataStack.start(tmp_path / "state", need={"nats"}, mode="containers")


def test_another_mode_waits_until_the_first_has_stopped(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    state.enter("containers")
    with pytest.raises(DevStackError, match="OQL_STACK=containers runs"):
        state.enter("local")
    assert state.leave() == "containers"
    state.enter("local")


OTHER = RunUser("other", 4_000_000, 4_000_000)


def test_a_private_folder_is_not_used_for_another_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    monkeypatch.setattr(folders, "_DISK", shared)
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    assert folders.reachable_folder(private / "pg", None) == private / "pg"
    moved = folders.reachable_folder(private / "pg", OTHER)
    assert shared in moved.parents
    assert folders.reachable_folder(private / "pg", OTHER) == moved


@pytest.mark.parametrize(("room", "place"), [(2**40, "memory"), (2**20, "disk")])
def test_what_nobody_wants_again_lies_in_memory_where_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, place: str
) -> None:
    def lies(path: Path) -> str:
        return path.relative_to(tmp_path).parts[0]

    def is_memory(path: Path) -> bool:
        return path == tmp_path / "memory"

    for name in ("disk", "memory"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(folders, f"_{name.upper()}", tmp_path / name)
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    monkeypatch.setattr(Path, "is_mount", is_memory)
    monkeypatch.setattr(folders, "_room_bytes", lambda: room)
    folder = folders.fleeting_folder(private / "pg", OTHER)
    assert lies(folder) == place
    assert lies(folders.reachable_folder(private / "pg", OTHER)) == "disk"
    folder.mkdir(parents=True)
    monkeypatch.setattr(folders, "_room_bytes", lambda: 2**40 - room)
    assert folders.fleeting_folder(private / "pg", OTHER) == folder


def test_a_shared_folder_of_somebody_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("objectql_devstack.folders.os.geteuid", lambda: 4_000_000)
    monkeypatch.setattr("objectql_devstack.folders._DISK", tmp_path)
    with pytest.raises(DevStackError, match="belongs to somebody else"):
        folders.shared_folder()


def test_postgres_is_copied_to_where_its_account_can_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    monkeypatch.setattr(programs, "shared_folder", lambda: shared)
    monkeypatch.setattr(programs, "may_enter", barred)
    copied = programs.postgres_programs(RunUser("other", 4_000_000, 4_000_000))
    assert shared in copied.parents
    assert (copied / "postgres").stat().st_mode & stat.S_IXOTH
    assert programs.postgres_programs(RunUser("other", 4_000_000, 4_000_000)) == copied


def test_the_folder_of_a_dead_process_is_swept_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "_MEMORY", tmp_path / "none")
    monkeypatch.setattr(folders, "_DISK", tmp_path)
    own = folders.shared_folder()
    for name in ("ours", "theirs", "kept"):
        (own / name).mkdir()
    folders.claim(own / "ours")
    (own / "theirs" / "postgres-1").mkdir()
    (own / "theirs" / "owner.json").write_text(f'{{"pid": {os.getpid()}, "created": 1.5}}')
    folders.sweep()
    assert sorted(path.name for path in own.iterdir()) == ["kept", "ours"]
