"""One hop over NATS: a second process echoes what it is sent.

`python -m bench.hop URL` is that second process; it ends when its input is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

from objectql.bus.nats import NatsBus
from objectql.bus.port import Envelope

SUBJECT = "bench.echo"
BODY = b"x" * 200
HEADERS = {"Oql-Request-Id": "bench", "Oql-Tenant": "default"}


@contextlib.asynccontextmanager
async def echo(nats_url: str) -> AsyncGenerator[Callable[[], Awaitable[Envelope]]]:
    """A function that asks the other process once."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.hop", nats_url),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parent.parent,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        if await process.stdout.readline() != b"ready\n":
            raise RuntimeError("the echo did not start")
        bus = await NatsBus.connect(nats_url, name="bench")
        try:
            yield lambda: bus.request(SUBJECT, BODY, HEADERS, timeout_s=5)
        finally:
            await bus.close()
    finally:
        process.stdin.close()
        await process.wait()


async def serve(nats_url: str) -> None:
    """Answer until the input ends."""

    async def answer(envelope: Envelope) -> Envelope:  # noqa: RUF029 - the port's shape
        return Envelope(subject="", body=envelope.body)

    bus = await NatsBus.connect(nats_url, name="bench-echo")
    await bus.serve("bench", "bench", {SUBJECT: answer}, version="1.0.0")
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await bus.close()


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(sys.argv[1]))
