from __future__ import annotations

import pytest

from objectql.plugins.manifest import parse_range, parse_version, split_reference


@pytest.mark.parametrize(
    ("text", "accepted", "refused"),
    [
        ("^1.2.3", ["1.2.3", "1.9.0"], ["1.2.2", "2.0.0", "2.0.0-rc.1", "1.3.0-rc.1"]),
        ("^0.2.3", ["0.2.3", "0.2.9"], ["0.3.0", "1.0.0"]),
        ("^0.0.3", ["0.0.3"], ["0.0.4"]),
        ("^1", ["1.0.0", "1.9.9"], ["2.0.0"]),
        ("^0", ["0.0.0", "0.9.0"], ["1.0.0"]),
        ("^1.2.3-beta.2", ["1.2.3-beta.2", "1.2.3", "1.3.0"], ["1.2.3-beta.1", "1.2.4-beta.3"]),
        ("~1.2.3", ["1.2.3", "1.2.9"], ["1.3.0"]),
        ("~1.2", ["1.2.0"], ["1.3.0"]),
        ("~1", ["1.9.0"], ["2.0.0"]),
        (">=1.2.3 <2", ["1.2.3", "1.99.0"], ["2.0.0", "1.0.0", "2.0.0-alpha"]),
        (">= 1.2.3", ["1.2.3", "5.0.0"], ["1.2.2", "5.0.0-rc.1"]),
        (">1.2", ["1.3.0"], ["1.2.9"]),
        ("<=1.2", ["1.2.9"], ["1.3.0"]),
        ("<1.2", ["1.1.9"], ["1.2.0"]),
        ("1.2.3 - 2.3", ["1.2.3", "2.3.9"], ["2.4.0", "1.2.2"]),
        ("1.x || >=2.5.0", ["1.0.0", "2.5.0"], ["2.4.0"]),
        ("1.2.*", ["1.2.7"], ["1.3.0"]),
        ("*", ["0.0.0", "9.9.9"], ["1.0.0-rc.1"]),
        ("latest", ["3.0.0"], []),
        ("", ["1.0.0"], []),
        ("=1.0.0", ["1.0.0"], ["1.0.1"]),
        ("v1.0.0", ["1.0.0"], ["1.0.1"]),
    ],
)
def test_ranges_accept_what_npm_accepts(text: str, accepted: list[str], refused: list[str]) -> None:
    accepts = parse_range(text).accepts
    assert [v for v in accepted if not accepts(parse_version(v))] == []
    assert [v for v in refused if accepts(parse_version(v))] == []


def test_versions_order_as_semver_says() -> None:
    texts = "1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0 1.0.1"
    versions = [parse_version(text) for text in texts.split()]
    shuffled = [versions[i] for i in (3, 0, 6, 2, 5, 1, 4)]
    assert sorted(shuffled) == versions
    assert str(versions[1]) == "1.0.0-alpha.1"


@pytest.mark.parametrize("text", ["1.2", "a.b.c", "01.2.3", "1.2.3-", ""])
def test_a_malformed_version_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="semantic version"):
        parse_version(text)


@pytest.mark.parametrize("text", ["^^1", "one", ">", "1.2.3.4", "1 -"])
def test_a_malformed_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="version range"):
        parse_range(text)


def test_a_scoped_name_keeps_its_at_sign() -> None:
    assert split_reference("@acme/audit@<2") == ("@acme/audit", "<2")
    assert split_reference("@acme/audit") == ("@acme/audit", "*")
