"""What a state directory remembers, and who may change it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from objectql_devstack import DevStackError, PortTakenError, ports
from objectql_devstack.ports import free_port, holder, is_free
from objectql_devstack.state import StateDirectory


def test_a_second_command_waits_and_then_gives_up(tmp_path: Path) -> None:
    first, second = StateDirectory(tmp_path), StateDirectory(tmp_path)
    with (
        first.locked(),
        pytest.raises(DevStackError, match="another command is still at work"),
        second.locked(timeout_s=0.1),
    ):
        pytest.fail("two commands at once")
    with second.locked(timeout_s=0.1):
        pass


def test_ports_and_secrets_are_remembered(tmp_path: Path) -> None:
    port, secret = StateDirectory(tmp_path).port("nats-1"), StateDirectory(tmp_path).secret("jwt")
    again = StateDirectory(tmp_path)
    assert again.port("nats-1") == again.known_port("nats-1") == port
    assert again.secret("jwt") == secret
    assert again.secret("jwt", is_good=lambda text: text != secret, make=lambda: "new") == "new"
    assert (tmp_path / "state.json").stat().st_mode & 0o077 == 0


def test_a_taken_port_is_replaced_kept_or_refused(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    port = state.port("nats-1")
    with socket.create_server(("127.0.0.1", port)):
        assert not is_free(port)
        assert f"process {os.getpid()}" in holder(port)
        assert state.port("nats-1", in_use=True) == port
        with pytest.raises(PortTakenError, match=f"port {port} for nats-1"):
            state.port("nats-1", keep=True)
        with pytest.raises(PortTakenError, match="set OQL_X to another port"):
            state.claim("gateway-1", port, in_use=False, variable="OQL_X")
        assert state.port("nats-1") != port


def test_no_other_process_is_given_a_port_before_its_server_has_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, last = 31_900, 31_990
    monkeypatch.setattr(ports, "_FIRST", first)
    monkeypatch.setattr(ports, "_LAST", last)
    mine = {free_port() for _ in range(20)}
    program = """
from objectql_devstack import ports
ports._FIRST, ports._LAST = 31_900, 31_990
try:
    while True:
        print(ports.free_port())
except ports.DevStackError:
    pass
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)  # noqa: S603
    theirs = {int(line) for line in told.stdout.split()}
    assert theirs
    assert not mine & theirs


def test_free_ports_are_given_once() -> None:
    assert len({free_port() for _ in range(50)}) == 50


def test_purge_keeps_logs_and_removes_the_rest(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "state")
    elsewhere = tmp_path / "elsewhere"
    for folder in (elsewhere, state.data / "nats-1"):
        folder.mkdir()
    (state.logs / "nats-1.log").write_text("said\n")
    state.adopt(elsewhere)
    state.secret("jwt")
    state.purge()
    assert not elsewhere.exists()
    assert not (state.path / "state.json").exists()
    assert list(state.data.iterdir()) == []
    assert (state.logs / "nats-1.log").exists()
