"""The order in which plugins start, or every reason why they cannot.

The order is topological and stable (Kahn 1962, ties by registration), so that the same list of
components always starts the same way. Problems are collected and reported together.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Sequence
from difflib import get_close_matches

import msgspec

from objectql.errors import Issue, PluginInvalid, suggestion_text
from objectql.plugins.manifest import (
    PluginManifest,
    Version,
    VersionRange,
    parse_range,
    parse_version,
    split_reference,
)


class Provider(msgspec.Struct, frozen=True):
    """Something a plugin offers under a name: itself, or a capability."""

    name: str
    version: Version
    plugin: int


def resolve_order(manifests: Sequence[PluginManifest]) -> tuple[int, ...]:
    """Indexes of `manifests` in start order: each after everything it depends on.

    Raises:
        PluginInvalid: with an issue for every missing dependency, version mismatch, cycle,
            conflict, duplicate name, malformed version and second provider of an exclusive
            capability.

    """
    resolver = _Resolver(manifests)
    order = resolver.resolve()
    if resolver.issues:
        raise PluginInvalid(issues=tuple(resolver.issues))
    return order


class _Resolver:
    def __init__(self, manifests: Sequence[PluginManifest]) -> None:
        self.manifests = manifests
        self.issues: list[Issue] = []
        self.offers: dict[str, list[Provider]] = defaultdict(list)
        self.needs: list[set[int]] = [set() for _ in manifests]

    def resolve(self) -> tuple[int, ...]:
        self._check_duplicates()
        for index, manifest in enumerate(self.manifests):
            self._collect_offers(index, manifest)
        self._check_exclusive()
        for index, manifest in enumerate(self.manifests):
            self._link(index, manifest)
            self._check_conflicts(index, manifest)
        order = self._topological()
        if len(order) < len(self.manifests):
            self._report_cycles(set(range(len(self.manifests))) - set(order))
        return order

    def _problem(self, plugin: str, code: str, message: str) -> None:
        self.issues.append(Issue(path=plugin, code=code, message=message))

    def _check_duplicates(self) -> None:
        counts = Counter(manifest.name for manifest in self.manifests)
        for name, count in counts.items():
            if count > 1:
                self._problem(name, "duplicate_plugin", f"{count} plugins have this name")

    def _collect_offers(self, index: int, manifest: PluginManifest) -> None:
        own = self._version(manifest.name, manifest.version)
        self.offers[manifest.name].append(Provider(manifest.name, own, index))
        for reference in manifest.provides:
            name, text = split_reference(reference)
            version = own if text == "*" else self._version(manifest.name, _completed(text))
            if name != manifest.name:
                self.offers[name].append(Provider(name, version, index))

    def _version(self, plugin: str, text: str) -> Version:
        try:
            return parse_version(text)
        except ValueError as exc:
            self._problem(plugin, "invalid_version", str(exc))
            return Version(0, 0, 0)

    def _range(self, plugin: str, text: str) -> VersionRange | None:
        try:
            return parse_range(text)
        except ValueError as exc:
            self._problem(plugin, "invalid_range", str(exc))
            return None

    def _check_exclusive(self) -> None:
        exclusive = sorted({name for manifest in self.manifests for name in manifest.exclusive})
        for name in exclusive:
            providers = [self.manifests[offer.plugin].name for offer in self.offers.get(name, ())]
            if len(providers) > 1:
                self._problem(
                    name,
                    "exclusive_capability",
                    f"only one plugin may provide it: {', '.join(providers)}",
                )

    def _link(self, index: int, manifest: PluginManifest) -> None:
        wanted = [(n, r, True) for n, r in manifest.dependencies.items()]
        wanted += [(n, r, False) for n, r in manifest.optional_dependencies.items()]
        for name, text, is_required in wanted:
            accepted = self._range(manifest.name, text)
            offers = [offer for offer in self.offers.get(name, ()) if offer.plugin != index]
            if name == manifest.name:
                self._problem(manifest.name, "dependency_cycle", f"{name} → {name}")
            elif not offers:
                if is_required:
                    near = tuple(get_close_matches(name, self.offers, n=2))
                    hint = suggestion_text(near)
                    self._problem(
                        manifest.name,
                        "missing_dependency",
                        f'needs "{name}" {text}, which nothing provides{hint}',
                    )
            elif accepted is not None:
                fitting = [offer for offer in offers if accepted.accepts(offer.version)]
                if not fitting:
                    found = ", ".join(str(offer.version) for offer in offers)
                    self._problem(
                        manifest.name,
                        "version_mismatch",
                        f'needs "{name}" {text}, found {found}',
                    )
                self.needs[index].update(offer.plugin for offer in fitting)

    def _check_conflicts(self, index: int, manifest: PluginManifest) -> None:
        for reference in manifest.conflicts:
            name, text = split_reference(reference)
            accepted = self._range(manifest.name, text)
            for offer in self.offers.get(name, ()):
                is_hit = text == "*" or (accepted is not None and accepted.accepts(offer.version))
                if offer.plugin != index and is_hit:
                    other = self.manifests[offer.plugin].name
                    through = "" if other == name else f' (as "{name}")'
                    self._problem(
                        manifest.name,
                        "plugin_conflict",
                        f'conflicts with "{other}" {offer.version}{through}',
                    )

    def _topological(self) -> tuple[int, ...]:
        waiting = [set(needs) for needs in self.needs]
        dependents: dict[int, list[int]] = defaultdict(list)
        for index, needs in enumerate(self.needs):
            for need in needs:
                dependents[need].append(index)
        ready = [index for index, needs in enumerate(waiting) if not needs]
        heapq.heapify(ready)
        order: list[int] = []
        while ready:
            index = heapq.heappop(ready)
            order.append(index)
            for dependent in dependents[index]:
                waiting[dependent].discard(index)
                if not waiting[dependent]:
                    heapq.heappush(ready, dependent)
        return tuple(order)

    def _report_cycles(self, left: set[int]) -> None:
        """One issue per cycle found by walking dependencies among the plugins left over."""
        reported: set[frozenset[int]] = set()
        for start in sorted(left):
            path = [start]
            while True:
                step = min((n for n in self.needs[path[-1]] if n in left), default=None)
                if step is None:
                    break
                if step in path:
                    cycle = path[path.index(step) :]
                    if frozenset(cycle) not in reported:
                        reported.add(frozenset(cycle))
                        first = cycle.index(min(cycle))
                        turned = [*cycle[first:], *cycle[:first], cycle[first]]
                        names = [self.manifests[i].name for i in turned]
                        self._problem(names[0], "dependency_cycle", " → ".join(names))
                    break
                path.append(step)


def _completed(text: str) -> str:
    """`1` and `1.0` as full versions: capabilities are often written short."""
    parts = text.split(".")
    short = all(part.isdigit() for part in parts)
    return ".".join([*parts, "0", "0"][:3]) if short and len(parts) < 3 else text
