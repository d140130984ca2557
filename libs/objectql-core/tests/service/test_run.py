"""A service process from start to exit, as its supervisor sees it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import pytest

from objectql.service.run import YOUNG_OBJECTS
from objectql_devstack.ports import free_port

pytestmark = pytest.mark.servers

PROGRAM = """
import asyncio, gc, sys
from typing import ClassVar
from objectql.service.health import Page, json_page
from objectql.service.run import Process, run_service
from objectql.service.settings import AuthSettings, ServiceSettings

class DemoSettings(ServiceSettings, frozen=True, kw_only=True):
    service: ClassVar[str] = "demo"
    auth: AuthSettings = AuthSettings()
    work_s: float = 0.0
    crash: bool = False
    drain: bool = False

async def build(process: Process[DemoSettings]) -> None:
    async def collector() -> Page:
        return json_page({"frozen": gc.get_freeze_count(), "young": gc.get_threshold()[0]})

    process.pages["/collector"] = collector

    async def finish() -> None:
        await asyncio.sleep(process.settings.work_s)
        print("drained", flush=True)

    async def crash() -> None:
        raise ZeroDivisionError

    process.on_drain(finish)
    if process.settings.crash:
        process.start(crash())
    if process.settings.drain:
        process.drain()

if __name__ == "__main__":
    sys.exit(run_service(DemoSettings, build))
"""


ADMIN_PORT = free_port()
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str, **settings: str) -> subprocess.Popen[str]:
        environ = {
            "PATH": os.environ["PATH"],  # noqa: TID251 - the child needs a path
            "OQL_DEMO_BUS__URL": f"nats://127.0.0.1:{free_port()}",
            "OQL_DEMO_ADMIN__PORT": str(ADMIN_PORT),
            **{f"OQL_DEMO_{name}": value for name, value in settings.items()},
        }
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def fetch(path: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{ADMIN_PORT}{path}", timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, exc.read()


def wait_live() -> None:
    end_s = time.monotonic() + 15
    while time.monotonic() < end_s:
        try:
            if fetch("/live")[0] == 200:
                return
        except OSError:
            continue
    raise AssertionError("the process did not come up")


def test_process_is_live_and_not_ready_while_the_bus_is_down_and_ends_with_zero(
    start: Start,
) -> None:
    process = start()
    wait_live()
    status, body = fetch("/ready")
    assert status == 503
    assert json.loads(body)["checks"]["bus"] == "not connected"
    assert b"oql_ready 0.0" in fetch("/metrics")[1]
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=10)
    assert process.returncode == 0
    assert out == "drained\n"
    lines = [json.loads(text) for text in err.splitlines()]
    assert [x["event"] for x in lines if x["event"].startswith("service_")] == [
        "service_starting",
        "service_stopping",
        "service_stopped",
    ]


def test_the_collector_spares_what_was_there_at_the_start(start: Start) -> None:
    start()
    wait_live()
    status, body = fetch("/collector")
    found = json.loads(body)
    assert status == 200
    assert found["frozen"] > 10_000
    assert found["young"] == YOUNG_OBJECTS


def test_drain_that_takes_too_long_is_cut_with_its_own_exit_code(start: Start) -> None:
    process = start(WORK_S="60", DRAIN_S="0.1")
    wait_live()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == 3


def test_second_signal_ends_at_once(start: Start) -> None:
    process = start(WORK_S="60", DRAIN_S="60")
    wait_live()
    process.send_signal(signal.SIGTERM)
    while fetch("/ready")[0] != 503 or b'"stopping":"draining"' not in fetch("/ready")[1]:
        pass
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == 3


def test_a_process_that_is_drained_stays_without_work_until_it_is_ended(start: Start) -> None:
    process = start(DRAIN="true")
    wait_live()
    end_s = time.monotonic() + 15
    while b'"stopping":"drained"' not in fetch("/ready")[1]:
        assert time.monotonic() < end_s
    assert fetch("/ready")[0] == 503
    assert fetch("/live")[0] == 200
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=10)
    assert process.returncode == 0
    assert out == "drained\n"
    lines = [json.loads(text) for text in err.splitlines()]
    assert [x["event"] for x in lines if x["event"].startswith("service_")] == [
        "service_starting",
        "service_stopping",
        "service_drained",
        "service_stopped",
    ]


def test_crash_of_a_background_task_ends_the_process_with_one(start: Start) -> None:
    process = start(CRASH="true")
    _, err = process.communicate(timeout=15)
    assert process.returncode == 1
    assert "ZeroDivisionError" in err


def test_wrong_settings_stop_the_start_with_two_and_name_the_variables(start: Start) -> None:
    process = start(DRAINS="1", WORK_S="x")
    _, err = process.communicate(timeout=15)
    assert process.returncode == 2
    assert "2 problems" in err
    assert 'did you mean "OQL_DEMO_DRAIN_S"' in err


def test_check_config_prints_the_settings_without_secrets(start: Start) -> None:
    process = start("--check-config", AUTH__JWT_SECRET="hush")
    out, _ = process.communicate(timeout=15)
    assert process.returncode == 0
    assert json.loads(out)["auth"]["jwt_secret"] == "***"
