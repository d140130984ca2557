"""What services need of kernels."""

from __future__ import annotations

from typing import Protocol, TypeVar

import msgspec

from objectql.context import Context

T = TypeVar("T")


class Kernel(Protocol):
    """What is needed of `objectql.bus.client.KernelClient`."""

    async def call(
        self, verb: str, request: msgspec.Struct, context: Context, reply_type: type[T]
    ) -> T: ...
