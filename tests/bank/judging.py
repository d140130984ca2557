"""What the history of a run comes to: every anomaly that the checkers find in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec
from examples.bank.load import TOTAL

from tests.bank.workload import LOCAL, Move, Seen
from tests.histories import bank, list_append, versions
from tests.histories.history import Operation
from tests.histories.list_append import Transaction

Balances = Mapping[str, tuple[int, int]]
"""Balance and version by account."""


_WITHOUT_ISOLATION: frozenset[list_append.Kind] = frozenset({"fractured_read", "G-single", "G2"})


class Verdict(msgspec.Struct, frozen=True):
    """What was done, and what is wrong with it: nothing, if `faults` is empty."""

    transfers: Mapping[str, int]
    """How many, by how they ended."""
    across: int
    """How many of those that happened were between two databases."""
    reads: int
    faults: tuple[str, ...]


def judge(history: Sequence[Operation], opened: Balances, left: Balances) -> Verdict:
    """Check everything that can be checked of a run that began with `opened` and ended with `left`."""
    transfers = [operation for operation in history if operation.op == "transfer"]
    sides = [o for o in history if o.op == "look_at_all" and o.outcome == "ok"]
    counts: dict[str, int] = defaultdict(int)
    for transfer in transfers:
        counts[transfer.outcome] += 1
    faults: list[str] = []
    faults += map(repr, versions.check(accesses(history)))
    # Between two databases a read has no isolation.
    graph = transactions(history, opened)
    faults += [repr(a) for a in list_append.check(graph) if a.kind not in _WITHOUT_ISOLATION]
    faults += map(repr, list_append.check([within(t, _is_local) for t in graph]))
    for side in sides:
        found = {seen.account: seen.balance for seen in told(side) if _is_local(seen.account)}
        total = sum(opened[name][0] for name in found)
        faults += map(repr, bank.check_reads([found], total))
    final = {name: balance for name, (balance, _) in left.items()}
    faults += map(repr, bank.check_reads([final], TOTAL))
    faults += map(
        repr,
        bank.check_transfers(
            [_transfer(operation) for operation in transfers],
            {name: balance for name, (balance, _) in opened.items()},
            final,
        ),
    )
    reads = sum(o.op != "transfer" and o.outcome == "ok" for o in history)
    across = sum(o.outcome == "ok" and _moved(o).is_across for o in transfers)
    return Verdict(dict(counts), across, reads, tuple(faults))


def seen_by_clients(history: Iterable[Operation]) -> list[Operation]:
    """A history without the faults that were made."""
    return [operation for operation in history if operation.process != "chaos"]


def told(operation: Operation) -> list[Seen]:
    """The accounts in an answer."""
    return msgspec.convert(operation.answer or [], list[Seen])


def _is_local(account: str) -> bool:
    return int(account[1:]) in LOCAL


def _moved(operation: Operation) -> Move:
    return msgspec.convert(operation.asked, Move)


def _transfer(operation: Operation) -> bank.Transfer:
    move = _moved(operation)
    return bank.Transfer(move.id, operation.outcome, move.source, move.target, move.amount)


def accesses(history: Iterable[Operation]) -> Iterator[versions.Access]:
    """Every version of every account that an answer has told."""
    for operation in history:
        if operation.outcome == "ok":
            for seen in told(operation):
                yield versions.Access(
                    seen.account,
                    operation.op == "transfer",
                    seen.version,
                    seen.balance,
                    operation.began_ns,
                    operation.ended_ns,
                )


def transactions(history: Iterable[Operation], opened: Balances) -> list[Transaction]:
    """The history as transactions on lists: an account is the list of the versions written to it.

    So a read of version 9 of an account that was opened at 4 has read the list 5, 6, 7, 8, 9.
    """
    made: list[Transaction] = []
    for number, operation in enumerate(history):
        if operation.outcome != "ok":
            continue
        is_transfer = operation.op == "transfer"
        seen = told(operation)
        made.append(
            Transaction(
                id=f"{operation.op} {number}",
                outcome="ok",
                reads={}
                if is_transfer
                else {
                    s.account: tuple(range(opened[s.account][1] + 1, s.version + 1)) for s in seen
                },
                appends={s.account: (s.version,) for s in seen} if is_transfer else {},
                began_ns=operation.began_ns,
                ended_ns=operation.ended_ns,
            )
        )
    return made


def within(transaction: Transaction, is_in: Callable[[str], bool]) -> Transaction:
    """What a transaction did with some of the accounts alone."""
    return msgspec.structs.replace(
        transaction,
        reads={name: values for name, values in transaction.reads.items() if is_in(name)},
        appends={name: values for name, values in transaction.appends.items() if is_in(name)},
    )
