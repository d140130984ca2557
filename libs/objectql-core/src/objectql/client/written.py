"""What this client has written, as the consistency tokens that its reads present.

A token that is presented with a write is contained in the one that is answered. So one token
stands for everything written before; several are needed only for writes that overlapped.
"""

from __future__ import annotations


class Written:
    """The tokens that no other token contains."""

    def __init__(self) -> None:
        self._tokens: tuple[str, ...] = ()

    @property
    def header(self) -> str | None:
        """What a request presents; None before the first write."""
        return ",".join(self._tokens) or None

    def answered(self, presented: str | None, token: str) -> None:
        """A write that presented `presented` was answered with `token`."""
        contained = (presented or "").split(",")
        others = (each for each in self._tokens if each not in contained and each != token)
        self._tokens = (*others, token)
