"""A process is known by id and start time, and only then touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from objectql_devstack import DevStackError, ServerFailedError
from objectql_devstack.processes import ManagedProcess, ProcessRecord, identify, wait_until
from objectql_devstack.spawning import Launch

IDLE = (sys.executable, "-c", "import threading; threading.Event().wait()")
DEAF = "import signal, threading; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
STUBBORN = (sys.executable, "-c", f"{DEAF}; print('deaf', flush=True); threading.Event().wait()")


def managed(folder: Path, *, tethered: bool = True) -> ManagedProcess:
    return ManagedProcess("thing-1", run=folder, log=folder / "log", tier=0, tethered=tethered)


@pytest.fixture
def stranger() -> Iterator[psutil.Process]:
    with subprocess.Popen(IDLE) as process:
        yield psutil.Process(process.pid)
        process.kill()


def record_of(process: psutil.Process, *, age_s: float = 0) -> bytes:
    created = process.create_time() - age_s
    return msgspec.json.encode(ProcessRecord(process.pid, created, 0, "", int(signal.SIGTERM)))


def lives(process: psutil.Process) -> bool:
    return identify(process.pid, process.create_time()) is not None  # a zombie does not


def test_a_recycled_pid_is_left_alone(tmp_path: Path, stranger: psutil.Process) -> None:
    (tmp_path / "thing-1.json").write_bytes(record_of(stranger, age_s=60))
    (tmp_path / "thing-1.pid").write_text(f"{stranger.pid}\n")
    thing = managed(tmp_path)
    assert not thing.is_alive()
    thing.stop()
    thing.kill()
    assert lives(stranger)
    assert list(tmp_path.iterdir()) == []


def test_an_edited_pid_file_is_not_believed(tmp_path: Path, stranger: psutil.Process) -> None:
    thing = managed(tmp_path)
    thing.launch(Launch(IDLE, {}), {})
    own = thing.running().pid
    (tmp_path / "thing-1.pid").write_text(f"{stranger.pid}\n")
    thing.stop()
    assert lives(stranger)
    assert not psutil.pid_exists(own)


def test_a_stale_record_counts_as_dead_and_is_replaced(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        record = record_of(psutil.Process(ended.pid))
    (tmp_path / "thing-1.json").write_bytes(record)
    thing = managed(tmp_path)
    assert not thing.is_alive()
    thing.launch(Launch(IDLE, {}), {})
    assert thing.running().pid != ended.pid
    assert (tmp_path / "thing-1.pid").read_text() == f"{thing.running().pid}\n"
    thing.stop()


def test_a_damaged_record_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "thing-1.json").write_text("{")
    assert managed(tmp_path).record() is None
    assert list(tmp_path.iterdir()) == []


def test_this_process_is_known_by_its_start_time() -> None:
    created = psutil.Process().create_time()
    assert identify(os.getpid(), created) is not None
    assert identify(os.getpid(), created - 10) is None


def test_a_deaf_process_is_stopped_by_force(tmp_path: Path) -> None:
    thing = managed(tmp_path)
    thing.launch(Launch(STUBBORN, {}), {})
    assert wait_until(lambda: b"deaf" in (tmp_path / "log").read_bytes(), 5)
    pid = thing.running().pid
    thing.stop(timeout_s=0.2)
    assert not psutil.pid_exists(pid)


def test_a_frozen_process_is_stopped(tmp_path: Path) -> None:
    thing = managed(tmp_path)
    thing.launch(Launch(IDLE, {}), {})
    pid = thing.running().pid
    thing.freeze()
    assert wait_until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, 2)
    thing.stop(timeout_s=2)
    assert not psutil.pid_exists(pid)


@pytest.mark.parametrize("tethered", [True, False])
def test_children_go_with_a_killed_leader(tmp_path: Path, tethered: bool) -> None:
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import threading; threading.Event().wait()'])\n"
        "print(child.pid, flush=True); child.wait()"
    )
    thing = managed(tmp_path, tethered=tethered)
    thing.launch(Launch((sys.executable, "-c", code), {}), {})
    assert wait_until(lambda: (tmp_path / "log").read_bytes().endswith(b"\n"), 5)
    child = psutil.Process(int((tmp_path / "log").read_text()))
    thing.running().kill()  # by somebody else: the child is an orphan now
    assert wait_until(lambda: not thing.is_alive(), 5)
    assert lives(child)
    thing.kill()
    assert not lives(child)


def test_the_session_of_a_recycled_pid_is_left_alone(tmp_path: Path) -> None:
    child_code = "import threading; threading.Event().wait()"
    leader_code = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {child_code!r}])\n"
        "print(child.pid, flush=True)"
    )
    command = [sys.executable, "-c", leader_code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as leader:
        record = record_of(psutil.Process(leader.pid), age_s=60)
        assert leader.stdout
        child = psutil.Process(int(leader.stdout.readline()))
        leader.wait()
    (tmp_path / "thing-1.json").write_bytes(record)
    managed(tmp_path).kill()
    assert lives(child)
    child.kill()


def test_a_process_that_ends_early_tells_why(tmp_path: Path) -> None:
    thing = managed(tmp_path)
    thing.launch(Launch((sys.executable, "-c", "import sys; sys.exit('no licence')"), {}), {})
    with pytest.raises(ServerFailedError, match=r"thing-1 ended .*exit code 1(.|\n)*no licence"):
        thing.wait_ready(lambda: False, 10)


def test_an_exit_code_outlives_the_question_whether_the_process_is_alive(tmp_path: Path) -> None:
    thing = managed(tmp_path)
    thing.launch(Launch((sys.executable, "-c", "import sys; sys.exit(3)"), {}), {})

    def asked_by_somebody_else_first() -> bool:
        assert wait_until(lambda: not thing.is_alive(), 10)
        return False

    with pytest.raises(ServerFailedError, match="exit code 3"):
        thing.wait_ready(asked_by_somebody_else_first, 10)


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(DevStackError, match="no-such-program is not installed"):
        managed(tmp_path).launch(Launch(("no-such-program",), {}), {})


def test_another_command_or_variable_changes_the_fingerprint(tmp_path: Path) -> None:
    thing = managed(tmp_path)
    thing.launch(Launch(IDLE, {}), {"A": "1"})
    assert thing.matches(IDLE, {"A": "1"})
    assert not thing.matches(IDLE, {"A": "2"})
    assert not thing.matches(STUBBORN, {"A": "1"})
    thing.stop()
