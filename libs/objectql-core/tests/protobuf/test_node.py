"""The Node example, with `.proto` files as they are written: every type of field goes there and back."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from tests.every_type import NUMBERS, TASK

from objectql.cli.proto import write_imports
from objectql.protobuf.calls import CreateCall
from objectql.protobuf.objects import proto_file
from objectql.protobuf.services import ObjectCodec
from objectql.protobuf.text import text_of

EXAMPLE = Path(__file__).parents[4] / "clients" / "node-grpc"

pytestmark = pytest.mark.skipif(shutil.which("npm") is None, reason="needs Node.js with npm")

SENT = {
    "id": "t1",
    "title": "ü",
    "count": "-9007199254740992",
    "rate": 0.1,
    "price": {"value": "12345678901234567.89"},
    "done": False,
    "due": {"year": 2026, "month": 8, "day": 22},
    "seen_at": {"seconds": "-1", "nanos": 250_000_000},
    "starts": {"hours": 14, "minutes": 30, "nanos": 500_000_000},
    "level": "LEVEL_VERY_HIGH",
    "colors": ["COLORS_GREEN", "COLORS_RED"],
    "words": ["", "a"],
    "extra": {"listValue": {"values": [{"numberValue": 1.5}, {"boolValue": True}]}},
    "owner": "t2",
    "owners": ["t3", "t4"],
}
JSON = {
    "id": "t1",
    "title": "ü",
    "count": -9007199254740992,
    "rate": 0.1,
    "price": 12345678901234567.89,
    "done": False,
    "due": "2026-08-22",
    "seen_at": "1969-12-31T23:59:59.250000000Z",
    "starts": "14:30:00.500000",
    "level": "very high",
    "colors": ["green", "red"],
    "words": ["", "a"],
    "extra": [1.5, True],
    "owner": "t2",
    "owners": ["t3", "t4"],
}


class Echo(grpc.GenericRpcHandler):
    """Answers `CreateTask` with what was sent, as a kernel would say it."""

    def __init__(self) -> None:
        self.codec = ObjectCodec(TASK, NUMBERS)
        self.data: list[bytes] = []

    def service(self, handler_call_details: Any) -> grpc.RpcMethodHandler[bytes, bytes]:
        assert handler_call_details.method == f"/{self.codec.service}/CreateTask"
        return grpc.unary_unary_rpc_method_handler(self.create)

    async def create(self, body: bytes, _context: Any) -> bytes:  # noqa: RUF029 - as handlers are
        call = self.codec.rpcs["CreateTask"].read(body)
        assert isinstance(call, CreateCall)
        self.data.append(call.data)
        return self.codec.record(call.data)


async def test_a_client_in_node_sends_and_reads_every_type_of_field(tmp_path: Path) -> None:
    assert (EXAMPLE / "node_modules").is_dir(), "run `make setup`"
    file = proto_file(TASK, NUMBERS)
    (tmp_path / file.path).parent.mkdir(parents=True)
    (tmp_path / file.path).write_text(text_of(file))
    write_imports(tmp_path)
    record = tmp_path / "record.json"
    record.write_text(json.dumps(SENT))
    echo = Echo()
    server = grpc.aio.server(handlers=(echo,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        running = await asyncio.create_subprocess_exec(
            "node",
            "roundtrip.mjs",
            str(tmp_path),
            str(record),
            f"127.0.0.1:{port}",
            cwd=EXAMPLE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said, complained = await running.communicate()
    finally:
        await server.stop(None)
    assert running.returncode == 0, complained.decode()
    assert json.loads(said) == SENT
    assert [json.loads(each) for each in echo.data] == [JSON]
