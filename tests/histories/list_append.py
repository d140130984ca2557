"""Isolation, judged by lists to which transactions append values that nobody appends twice.

A list shows its whole past: whoever reads it tells in which order all before it were written. From
that follow, without guessing, who wrote before whom (ww), who read whose write (wr), and who read
what somebody then overwrote (rw); a cycle is an anomaly, and its edges tell which one. Within one
transaction reads come before appends.

Source: K. Kingsbury, P. Alvaro, "Elle: Inferring Isolation Anomalies from Experimental
Observations", 2020; the names of the anomalies are A. Adya's, 1999.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, TypeAlias

import msgspec

from tests.histories.history import Outcome

Kind: TypeAlias = Literal[
    "G0",
    "G1a",
    "G1b",
    "G1c",
    "G-single",
    "G2",
    "lost_update",
    "fractured_read",
    "missing_write",
    "incompatible_order",
    "repeated_value",
    "unwritten_value",
]
Edges: TypeAlias = Mapping[str, set[str]]
Value: TypeAlias = tuple[str, int]
"""A list and a value in it."""


class Transaction(msgspec.Struct, frozen=True):
    """What a transaction read, then what it appended, each to lists by name.

    `began_ns` and `ended_ns` count only where it is `ok`.
    """

    id: str
    outcome: Outcome
    reads: Mapping[str, tuple[int, ...]] = {}
    appends: Mapping[str, tuple[int, ...]] = {}
    began_ns: float = 0
    ended_ns: float = 0


class Anomaly(msgspec.Struct, frozen=True, order=True):
    """What cannot be, and whose doing it is."""

    kind: Kind
    transactions: tuple[str, ...]
    what: str = ""


def check(transactions: Sequence[Transaction]) -> list[Anomaly]:
    """All anomalies, without those that follow from worse ones on the same transactions."""
    book = _Book(transactions)
    return sorted({*book.broken(), *book.dirty(), *book.torn(), *book.missing(), *book.cycles()})


class _Book:
    """What is known of all lists."""

    def __init__(self, transactions: Sequence[Transaction]) -> None:
        self._all = {transaction.id: transaction for transaction in transactions}
        self._writer: dict[Value, str] = {
            (name, value): transaction.id
            for transaction in transactions
            for name, values in transaction.appends.items()
            for value in values
        }
        self._readers = [t for t in transactions if t.outcome == "ok" and t.reads]
        self._longest: dict[str, tuple[int, ...]] = defaultdict(tuple)
        for reader in self._readers:
            for name, values in reader.reads.items():
                self._longest[name] = max(self._longest[name], values, key=len)
        seen = {
            self._writer[name, value]
            for name, values in self._longest.items()
            for value in values
            if (name, value) in self._writer
        }
        # Nobody knows of an `info`, unless somebody has seen what it wrote.
        self._committed = [
            t for t in transactions if t.outcome == "ok" or (t.outcome == "info" and t.id in seen)
        ]
        self._later = self._unread()

    def broken(self) -> Iterator[Anomaly]:
        """Lists that no order of appends explains."""
        for reader in self._readers:
            for name, values in reader.reads.items():
                if values != self._longest[name][: len(values)]:
                    yield Anomaly("incompatible_order", (reader.id,), name)
                if len(set(values)) < len(values):
                    yield Anomaly("repeated_value", (reader.id,), name)
                for value in values:
                    if (name, value) not in self._writer:
                        yield Anomaly("unwritten_value", (reader.id,), f"{name} {value}")

    def dirty(self) -> Iterator[Anomaly]:
        """Reads of what was never committed (G1a), or not yet (G1b)."""
        for reader in self._readers:
            for name, values in reader.reads.items():
                for value in values:
                    writer = self._all.get(self._writer.get((name, value), ""))
                    if writer is not None and writer.outcome == "fail":
                        yield Anomaly("G1a", (reader.id, writer.id), f"{name} {value}")
                last = self._writer.get((name, values[-1])) if values else None
                if last is not None and values[-1] != self._all[last].appends[name][-1]:
                    yield Anomaly("G1b", (reader.id, last), name)

    def torn(self) -> Iterator[Anomaly]:
        """Updates of what another had changed unseen, and reads of half a transaction."""
        by_base: dict[tuple[str, int], list[str]] = defaultdict(list)
        for writer in self._committed:
            for name in writer.appends:
                if name in writer.reads:
                    by_base[name, len(writer.reads[name])].append(writer.id)
        for (name, _), writers in by_base.items():
            if len(writers) > 1:
                yield Anomaly("lost_update", tuple(sorted(writers)), name)
        for reader in self._readers:
            seen = {
                self._writer[name, value]
                for name, values in reader.reads.items()
                for value in values
                if (name, value) in self._writer
            }
            present = {name: set(values) for name, values in reader.reads.items()}
            for id_ in seen - {reader.id}:
                lacking = [
                    name
                    for name, values in self._all[id_].appends.items()
                    if name in present and present[name].isdisjoint(values)
                ]
                if lacking:
                    yield Anomaly("fractured_read", (reader.id, id_), min(lacking))

    def missing(self) -> Iterator[Anomaly]:
        """Writes that were acknowledged, and not there for one who asked later."""
        writers: dict[str, list[Transaction]] = defaultdict(list)
        for transaction in self._all.values():
            for name in transaction.appends if transaction.outcome == "ok" else ():
                writers[name].append(transaction)
        for reader in self._readers:
            for name, values in reader.reads.items():
                present = set(values)
                for writer in writers[name]:
                    is_before = writer.ended_ns < reader.began_ns
                    if is_before and not present.issuperset(writer.appends[name]):
                        yield Anomaly("missing_write", (reader.id, writer.id), name)

    def cycles(self) -> Iterator[Anomaly]:
        """The orders in which nobody can have been first."""
        ww, wr, rw = self._ww(), self._wr(), self._rw()
        told: set[str] = set()
        firm = _union(ww, wr)
        writes: tuple[tuple[Kind, Edges], ...] = (("G0", ww), ("G1c", firm))
        for kind, edges in writes:
            for component in components(edges):
                if not told & component:
                    told |= component
                    yield Anomaly(kind, tuple(sorted(component)))
        for component in components(_union(firm, rw)):
            if told & component:
                continue
            single = any(
                start in _reachable(firm, end)
                for start in component
                for end in rw.get(start, set[str]()) & component
            )
            yield Anomaly("G-single" if single else "G2", tuple(sorted(component)))

    def _unread(self) -> dict[str, set[str]]:
        """By list, those who have appended to it after all that was ever read of it."""
        found: dict[str, set[str]] = defaultdict(set)
        read = {name: set(values) for name, values in self._longest.items()}
        for transaction in self._committed:
            for name, values in transaction.appends.items():
                if not read.get(name, set[int]()).issuperset(values):
                    found[name].add(transaction.id)
        return found

    def _lists(self) -> set[str]:
        return {name for name, _ in self._writer}

    def _ww(self) -> Edges:
        edges: dict[str, set[str]] = defaultdict(set)
        for name in self._lists():
            writers = self._order(name)
            for before, after in itertools.pairwise(writers):
                edges[before].add(after)
            if writers:
                edges[writers[-1]] |= self._later[name]
        return _without_loops(edges)

    def _wr(self) -> Edges:
        edges: dict[str, set[str]] = defaultdict(set)
        for reader in self._readers:
            for name, values in reader.reads.items():
                writer = self._writer.get((name, values[-1])) if values else None
                if writer is not None:
                    edges[writer].add(reader.id)
        return _without_loops(edges)

    def _rw(self) -> Edges:
        edges: dict[str, set[str]] = defaultdict(set)
        for reader in self._readers:
            for name, values in reader.reads.items():
                after = self._longest[name][len(values) :]
                if not after:
                    edges[reader.id] |= self._later[name]
                elif (name, after[0]) in self._writer:
                    edges[reader.id].add(self._writer[name, after[0]])
        return _without_loops(edges)

    def _order(self, name: str) -> list[str]:
        """Who wrote a list, in order; a transaction that appends twice in a row stands once."""
        order: list[str] = []
        for value in self._longest[name]:
            writer = self._writer.get((name, value))
            if writer is not None and order[-1:] != [writer]:
                order.append(writer)
        return order


def _without_loops(edges: Edges) -> Edges:
    return {start: ends - {start} for start, ends in edges.items()}


def _union(*graphs: Edges) -> Edges:
    edges: dict[str, set[str]] = defaultdict(set)
    for graph in graphs:
        for start, ends in graph.items():
            edges[start] |= ends
    return edges


def _reachable(edges: Edges, start: str) -> set[str]:
    found, todo = {start}, [start]
    while todo:
        new = edges.get(todo.pop(), set[str]()) - found
        found |= new
        todo += new
    return found


def components(edges: Edges) -> Iterator[set[str]]:
    """The strongly connected components of more than one node; each holds a cycle.

    Source: R. Tarjan, "Depth-First Search and Linear Graph Algorithms", 1972; without recursion.
    """
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    path: list[str] = []
    on_path: set[str] = set()
    for root in sorted(edges):
        if root in number:
            continue
        work: list[tuple[str, Iterator[str]]] = [(root, _enter(root, edges, number, low, path))]
        on_path.add(root)
        while work:
            node, ends = work[-1]
            end = next(ends, None)
            if end is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == number[node]:
                    at = path.index(node)
                    component, path[at:] = set(path[at:]), []
                    on_path -= component
                    if len(component) > 1:
                        yield component
            elif end not in number:
                work.append((end, _enter(end, edges, number, low, path)))
                on_path.add(end)
            elif end in on_path:
                low[node] = min(low[node], number[end])


def _enter(
    node: str, edges: Edges, number: dict[str, int], low: dict[str, int], path: list[str]
) -> Iterator[str]:
    number[node] = low[node] = len(number)
    path.append(node)
    return iter(sorted(edges.get(node, ())))


def kinds(anomalies: Iterable[Anomaly]) -> set[Kind]:
    """Which there are."""
    return {anomaly.kind for anomaly in anomalies}
