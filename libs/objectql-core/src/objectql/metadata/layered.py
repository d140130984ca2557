"""A mapping laid over another one, which it shares and never copies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Layered(Mapping[K, V]):
    """`own` over `base`: what costs memory is `own` alone. Those of `base` come first, in order."""

    __slots__ = ("_added", "_base", "_own")

    def __init__(self, own: Mapping[K, V], base: Mapping[K, V]) -> None:
        self._own = own
        self._base = base
        self._added = sum(key not in base for key in own)

    def __getitem__(self, key: K) -> V:
        return self._own[key] if key in self._own else self._base[key]

    def __contains__(self, key: object) -> bool:
        return key in self._own or key in self._base

    def __iter__(self) -> Iterator[K]:
        yield from self._base
        yield from (key for key in self._own if key not in self._base)

    def __len__(self) -> int:
        return len(self._base) + self._added
