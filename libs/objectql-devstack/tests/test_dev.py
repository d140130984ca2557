"""`objectql dev` as a person uses it: in a terminal, beside an editor."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from pathlib import Path
from queue import Empty, SimpleQueue

import httpx
import psutil
import pytest

from objectql_devstack.dev_log import DevLog
from objectql_devstack.log_lines import readable

PRODUCT = "fields:\n  name: {type: text, required: true}\n"


class Terminal:
    """A running `objectql dev`, and what it has printed."""

    def __init__(self, folder: Path, *words: str) -> None:
        command = [str(Path(sys.executable).parent / "objectql"), "dev", *words, str(folder)]
        variables = {k: v for k, v in os.environ.items() if not k.startswith("OQL_")}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=variables
        )
        self.printed: list[str] = []
        self._lines: SimpleQueue[str] = SimpleQueue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self._lines.put(line.rstrip("\n"))

    def until(self, text: str, within_s: float = 60) -> list[str]:
        """The lines up to the first that contains `text`."""
        seen: list[str] = []
        while not seen or text not in seen[-1]:
            try:
                seen.append(self._lines.get(timeout=within_s))
            except Empty:
                raise AssertionError(f"{text!r} was not printed; but {seen}") from None
        self.printed += seen
        return seen

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        code = self.process.wait(30)
        self._reader.join()
        return code


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "product.object.yml").write_text(PRODUCT)
    return folder


@pytest.fixture
def terminals() -> Generator[list[Terminal]]:
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        if terminal.process.poll() is None:
            terminal.end(signal.SIGTERM)


def client(terminal: Terminal) -> httpx.Client:
    """A client that does as the printed curl line says."""
    line = next(line for line in terminal.printed if line.startswith("curl "))
    header = line.split("'")[1].removeprefix("Authorization: ")
    url = line.split("' ")[1].removesuffix("/api/product")
    return httpx.Client(base_url=url, headers={"Authorization": header}, timeout=10)


@pytest.mark.servers
def test_saves_are_reloaded_mistakes_are_told_and_ctrl_c_leaves_nothing(
    shop: Path, terminals: list[Terminal]
) -> None:
    terminals.append(terminal := Terminal(shop))
    terminal.until("every save is reloaded")
    with client(terminal) as http:
        assert http.get("/api/product").json()["items"] == []
        made = http.post("/api/product", json={"id": "tea", "name": "Tea"})
        assert made.status_code == 201, made.text

        (shop / "product.object.yml").write_text(PRODUCT + "  price: {type: curency}\n")
        told = terminal.until("1 problem")
        assert told[-2].startswith(f"{shop}/product.object.yml:3:")
        assert 'did you mean "currency"' in told[-2]
        assert "stays in force" in told[-1]
        assert http.get("/api/product/tea").json()["name"] == "Tea"

        (shop / "product.hook.py").write_text("def before_create(ctx): ctx.data['price'] = 7\n")
        assert terminal.until("1 problem")

        (shop / "product.object.yml").write_text(PRODUCT + "  price: {type: currency}\n")
        told = terminal.until("in the database")
        assert "reloaded: 1 change" in told
        assert "  product.fields.price: price is new" in told
        assert "add column product.price" in told[-1]
        with_price = http.post("/api/product", json={"name": "Coffee"})
        assert with_price.json()["price"] == 7

    children = terminal.children()
    assert len(children) >= 4
    assert terminal.end(signal.SIGINT) == 0
    assert not [child for child in children if child.is_running()]
    assert list((shop / ".objectql" / "run").iterdir()) == []
    assert not (shop / ".objectql" / "dev.env").exists()

    terminals.append(again := Terminal(shop))
    again.until("every save is reloaded")
    with client(again) as http:
        assert http.get("/api/product/tea").json()["name"] == "Tea"
    children = again.children()
    again.process.kill()
    again.process.wait()
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive


@pytest.mark.servers
def test_nothing_is_started_before_the_metadata_are_right(
    shop: Path, terminals: list[Terminal]
) -> None:
    (shop / "product.object.yml").write_text(PRODUCT.replace("text", "txet"))
    (shop / "product.hook.py").write_text("x = 1\n")
    terminals.append(terminal := Terminal(shop))
    told = terminal.until("waiting for a save")
    assert [line.partition(": ")[0].rpartition("/")[2] for line in told[:-1]] == [
        "product.hook.py:1",
        "product.object.yml:2:10",
    ]
    assert terminal.children() == []
    assert terminal.end(signal.SIGINT) == 0
    assert not (shop / ".objectql").exists()


def test_the_log_is_told_in_words_and_a_half_written_line_waits(tmp_path: Path) -> None:
    file = tmp_path / "kernel-1.log"
    file.write_text('{"event":"metadata_problems","issues":[]}\n')
    log = DevLog(file, tmp_path)
    refused = '{"level":"warning","event":"schema_change_refused","change":"drop column a.b"}\n'
    with file.open("a") as appended:
        appended.write(refused + refused)
        appended.write('{"level":"info","event":"bus_connected"}\n')
        appended.write('{"level":"error","event":"hook failed","hook":"f","stack":"a\\nb"}\n')
        appended.write(
            '{"level":"error","event":"seed_refused","issues":'
            '[{"path":"name","code":"required","message":"needed"}]}\n'
        )
        appended.write("Fatal Python error\n{")
    assert list(log.lines()) == [
        "left undone, because data would be lost: drop column a.b",
        "error: hook failed hook=f",
        "a",
        "b",
        "a record of the data files was refused:",
        "  name: needed",
        "Fatal Python error",
    ]
    with file.open("a") as appended:
        appended.write('"level":"error","event":"late"}\n')
    assert list(log.lines()) == ["error: late"]


def test_log_lines_are_readable_and_foreign_ones_untouched() -> None:
    line = (
        '{"ts":"2026-03-01T10:00:00.123456Z","level":"info","event":"bus_connected",'
        '"service":"kernel","instance":"kernel-1","url":"nats://x","tries":2,"why":"a b","stack":"s"}'
    )
    assert readable(line) == [
        '10:00:00.123 info    bus_connected url=nats://x tries=2 why="a b"',
        "s",
    ]
    for foreign in ("2026 LOG: ready", "{broken", "[1]", '{"a":1}', ""):
        assert readable(foreign) == [foreign]
