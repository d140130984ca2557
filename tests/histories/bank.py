"""Money: transfers move it between accounts, and nothing makes or loses any."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from tests.histories.history import Outcome


class Transfer(msgspec.Struct, frozen=True):
    """One transfer, and whether it happened; accounts are named once for all databases."""

    id: str
    outcome: Outcome
    source: str
    target: str
    amount: int


class Fault(msgspec.Struct, frozen=True):
    """What a bank must not do.

    `sum`: a complete read did not find all the money. `overdrawn`: a balance below nothing. `balance`:
    not what the transfers make it, by `by`. `half`: one side of a transfer of which nobody knows is
    there, and the other is not. `unresolved`: nobody knows whether a transfer happened.
    """

    kind: Literal["sum", "overdrawn", "balance", "half", "unresolved"]
    what: str
    by: int = 0


def check_reads(reads: Iterable[Mapping[str, int]], total: int) -> list[Fault]:
    """The faults of reads that have seen every account at one moment."""
    faults: list[Fault] = []
    for number, balances in enumerate(reads):
        if (found := sum(balances.values())) != total:
            faults.append(Fault("sum", f"read {number}", found - total))
        faults += [
            Fault("overdrawn", account, balance)
            for account, balance in balances.items()
            if balance < 0
        ]
    return faults


def check_transfers(
    transfers: Sequence[Transfer], opened: Mapping[str, int], left: Mapping[str, int]
) -> list[Fault]:
    """Whether the balances `left` at the end are those `opened` with all that happened, and no more.

    Of transfers of which nobody knows, those are told apart that touch one account alone of each
    side: what is missing there must be missing on both.
    """
    expected: Counter[str] = Counter(opened)
    for transfer in transfers:
        if transfer.outcome == "ok":
            expected[transfer.source] -= transfer.amount
            expected[transfer.target] += transfer.amount
    unknown = [transfer for transfer in transfers if transfer.outcome == "info"]
    touched = Counter(name for t in unknown for name in (t.source, t.target))
    faults = [Fault("unresolved", transfer.id) for transfer in unknown]
    for transfer in unknown:
        if touched[transfer.source] == touched[transfer.target] == 1:
            took = left.get(transfer.source, 0) - expected[transfer.source] == -transfer.amount
            gave = left.get(transfer.target, 0) - expected[transfer.target] == transfer.amount
            if took != gave:
                faults.append(Fault("half", transfer.id, transfer.amount))
    faults += [
        Fault("balance", name, left.get(name, 0) - expected[name])
        for name in sorted(expected.keys() | left.keys())
        if name not in touched and left.get(name, 0) != expected[name]
    ]
    return faults
