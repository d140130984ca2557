"""What a plugin says about itself, with semantic versions and npm's version ranges.

Versions follow SemVer 2.0.0. Ranges follow npm's grammar (node-semver): `^ ~ > >= < <= =`,
`a - b`, `||`, `x`/`*`, `latest`. A pre-release matches only when a comparator of the same
alternative names a pre-release of the same major.minor.patch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

import msgspec

_NUMBER = r"(?:0|[1-9]\d*)"
_VERSION = re.compile(
    rf"[v=]?({_NUMBER})\.({_NUMBER})\.({_NUMBER})"
    r"(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]+)?\Z"
)
_PART = rf"(?:{_NUMBER}|[xX*])"
_COMPARATOR = re.compile(
    rf"(\^|~>?|>=|<=|>|<|=)?\s*v?({_PART})(?:\.({_PART}))?(?:\.({_PART}))?"
    r"(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]+)?\Z"
)
_HYPHEN = re.compile(r"(\S+)\s+-\s+(\S+)\Z")
_OPERATOR_GAP = re.compile(r"(\^|~>?|>=|<=|>|<|=)\s+")


class Version(msgspec.Struct, frozen=True):
    """A semantic version; ordered as SemVer §11 says. Build metadata is dropped."""

    major: int
    minor: int
    patch: int
    prerelease: tuple[str, ...] = ()

    def __lt__(self, other: Version) -> bool:
        return self._key < other._key

    def __le__(self, other: Version) -> bool:
        return self._key <= other._key

    def __gt__(self, other: Version) -> bool:
        return self._key > other._key

    def __ge__(self, other: Version) -> bool:
        return self._key >= other._key

    def __str__(self) -> str:
        text = f"{self.major}.{self.minor}.{self.patch}"
        return f"{text}-{'.'.join(self.prerelease)}" if self.prerelease else text

    @property
    def release(self) -> tuple[int, int, int]:
        """Major, minor and patch."""
        return (self.major, self.minor, self.patch)

    @property
    def _key(self) -> tuple[tuple[int, int, int], bool, tuple[tuple[bool, int, str], ...]]:
        # A release sorts after its pre-releases; numeric identifiers before the others.
        identifiers = tuple(
            (False, int(part), "") if part.isdigit() else (True, 0, part)
            for part in self.prerelease
        )
        return (self.release, not self.prerelease, identifiers)


def parse_version(text: str) -> Version:
    """`text` as a version.

    Raises:
        ValueError: it is not `major.minor.patch` with an optional pre-release.

    """
    match = _VERSION.match(text.strip())
    if match is None:
        raise ValueError(f'"{text}" is not a semantic version')
    prerelease = tuple(match[4].split(".")) if match[4] else ()
    return Version(int(match[1]), int(match[2]), int(match[3]), prerelease)


class Comparator(msgspec.Struct, frozen=True):
    """`operator version`, the operator being one of `>= > <= < =`."""

    operator: str
    version: Version

    def accepts(self, version: Version) -> bool:
        """Whether the comparison holds, pre-release rule aside."""
        match self.operator:
            case ">=":
                return version >= self.version
            case ">":
                return version > self.version
            case "<=":
                return version <= self.version
            case "<":
                return version < self.version
            case _:
                return version == self.version


class VersionRange(msgspec.Struct, frozen=True):
    """Alternatives of comparators that must all hold; an empty alternative accepts releases."""

    text: str
    alternatives: tuple[tuple[Comparator, ...], ...]

    def accepts(self, version: Version) -> bool:
        """Whether `version` satisfies the range."""
        return any(_satisfies(version, alternative) for alternative in self.alternatives)


def _satisfies(version: Version, comparators: tuple[Comparator, ...]) -> bool:
    if not all(comparator.accepts(version) for comparator in comparators):
        return False
    return not version.prerelease or any(
        c.version.prerelease and c.version.release == version.release for c in comparators
    )


@cache
def parse_range(text: str) -> VersionRange:
    """`text` as a range.

    Raises:
        ValueError: it is not one.

    """
    alternatives = tuple(_alternative(part.strip(), text) for part in text.split("||"))
    return VersionRange(text, alternatives)


def _alternative(part: str, text: str) -> tuple[Comparator, ...]:
    if part in ("", "*", "x", "X", "latest"):
        return ()
    hyphen = _HYPHEN.match(part)
    if hyphen is not None:
        return (*_comparators(">=" + hyphen[1], text), *_comparators("<=" + hyphen[2], text))
    words = _OPERATOR_GAP.sub(r"\1", part).split()
    return tuple(comparator for word in words for comparator in _comparators(word, text))


def _comparators(word: str, text: str) -> tuple[Comparator, ...]:
    """One word of a range as plain comparators; partial versions are opened up."""
    match = _COMPARATOR.match(word)
    if match is None:
        raise ValueError(f'"{text}" is not a version range: "{word}" is not understood')
    operator = match[1] or "="
    given: list[int] = []
    for part in (match[2], match[3], match[4]):
        if part is None or part in "xX*":
            break
        given.append(int(part))
    prerelease = tuple(match[5].split(".")) if match[5] and len(given) == 3 else ()
    major, minor, patch, *_ = (*given, 0, 0, 0)
    low = Version(major, minor, patch, prerelease)
    if operator == "^":
        return _between(low, given, _caret_level(given))
    if operator.startswith("~"):
        return _between(low, given, min(1, len(given) - 1))
    if len(given) == 3:
        return (Comparator(operator, low),)
    return _partial(operator, low, given)


def _caret_level(given: list[int]) -> int:
    """Which number `^` raises: the first that is not zero, else the last given."""
    return next((i for i, number in enumerate(given) if number), len(given) - 1)


def _between(low: Version, given: list[int], level: int) -> tuple[Comparator, ...]:
    if not given:
        return ()
    return (Comparator(">=", low), Comparator("<", _raised(given, level)))


def _raised(given: list[int], level: int) -> Version:
    """The least version beyond every one that shares the numbers up to `level`.

    Its pre-releases are beyond as well, hence the lowest pre-release `0`.
    """
    major, minor, patch, *_ = (*given[:level], given[level] + 1, 0, 0, 0)
    return Version(major, minor, patch, ("0",))


def _partial(operator: str, low: Version, given: list[int]) -> tuple[Comparator, ...]:
    """A comparator on `1`, `1.2` or `*`: it stands for all versions that begin so."""
    if not given:
        return (Comparator("<", Version(0, 0, 0, ("0",))),) if operator in "<>" else ()
    beyond = _raised(given, len(given) - 1)
    match operator:
        case ">":
            return (Comparator(">=", Version(*beyond.release)),)
        case "<=":
            return (Comparator("<", beyond),)
        case ">=":
            return (Comparator(">=", low),)
        case "<":
            return (Comparator("<", Version(*low.release, ("0",))),)
        case _:
            return (Comparator(">=", low), Comparator("<", beyond))


class PluginManifest(msgspec.Struct, frozen=True, omit_defaults=True):
    """The name, version and relations of a plugin.

    `dependencies` and `optional_dependencies` map a plugin's or a capability's name to a range;
    an optional one only orders the start and must fit where it is present. `conflicts` are names,
    `name@range` where only some versions clash. `provides` are capabilities, `name@version` or a
    bare name (then the plugin's own version); those in `exclusive` may have one provider only.
    """

    name: str
    version: str = "0.0.0"
    dependencies: Mapping[str, str] = {}
    optional_dependencies: Mapping[str, str] = {}
    conflicts: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    exclusive: tuple[str, ...] = ()


def split_reference(reference: str) -> tuple[str, str]:
    """`name@range` as its two parts; the range is `*` where there is none.

    A leading `@` belongs to a scoped name (`@acme/audit@<2`).
    """
    at = reference.find("@", 1)
    return (reference, "*") if at < 0 else (reference[:at], reference[at + 1 :])
