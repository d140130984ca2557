from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import jsonschema_rs
import msgspec
import pytest
from msgspec import Meta

from objectql.service.settings import AuthSettings, Secret, ServiceSettings
from objectql.service.settings_schema import setting_paths, settings_schema


class PoolSettings(msgspec.Struct, frozen=True, kw_only=True):
    max_size: Annotated[int, Meta(ge=1, description="connections at most")] = 16
    ports: Annotated[tuple[int, ...], Meta(description="where")] = (443,)
    wait_s: Annotated[float, Meta(gt=0)] | None = None
    password: Secret | None = None


class SourceSettings(msgspec.Struct, frozen=True, kw_only=True):
    url: Secret
    lag_s: float = 5.0


class DemoSettings(ServiceSettings, frozen=True, kw_only=True):
    service: ClassVar[str] = "demo"

    pool: PoolSettings = PoolSettings()
    auth: AuthSettings = AuthSettings()
    kind: Literal["big", "small"] = "big"
    urls: dict[str, str] = {}
    sources: dict[str, SourceSettings] = {}


SCHEMA = settings_schema(DemoSettings, without={"bus", "auth.leeway_s"})


def problems(tree: dict[str, Any]) -> list[str]:
    return [error.message for error in jsonschema_rs.Draft202012Validator(SCHEMA).iter_errors(tree)]


@pytest.mark.parametrize(
    "tree",
    [
        {},
        {"pool": {"max_size": 4, "ports": [1, 2], "wait_s": 0.5}, "kind": "small"},
        {"urls": {"warehouse_2": "x"}, "sources": {"a": {"lag_s": 1}}},
        {"auth": {"issuers": {"corporate": {"issuer": "https://id", "tenants": ["a"]}}}},
    ],
)
def test_what_the_structs_take_is_accepted(tree: dict[str, Any]) -> None:
    assert problems(tree) == []


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"pool": {"max_sice": 4}}, "Additional properties are not allowed ('max_sice' was"),
        ({"pool": {"max_size": 0}}, "0 is less than the minimum of 1"),
        ({"pool": {"max_size": "many"}}, '"many" is not of type "integer"'),
        ({"pool": {"wait_s": None}}, 'null is not of type "number"'),
        ({"pool": {"ports": "443"}}, '"443" is not of type "array"'),
        ({"kind": "tall"}, '"tall" is not one of'),
        ({"urls": {"A-b": "x"}}, '"A-b" does not match'),
        ({"urls": {"a__b": "x"}}, '"a__b" does not match'),
    ],
)
def test_what_they_refuse_is_refused(tree: dict[str, Any], message: str) -> None:
    assert [text for text in problems(tree) if text.startswith(message)]


@pytest.mark.parametrize(
    "tree",
    [
        {"pool": {"password": "x"}},
        {"sources": {"a": {"url": "x"}}},
        {"auth": {"jwt_secret": "x" * 32}},
        {"bus": {"url": "x"}},
        {"auth": {"leeway_s": 1}},
    ],
)
def test_secrets_and_what_is_left_out_have_no_place(tree: dict[str, Any]) -> None:
    assert problems(tree)


def test_descriptions_and_defaults_are_kept() -> None:
    assert SCHEMA["properties"]["pool"]["properties"]["max_size"] == {
        "type": "integer",
        "minimum": 1,
        "description": "connections at most",
        "default": 16,
    }


def test_every_setting_has_a_path_that_tells_whether_it_is_secret() -> None:
    paths = dict(setting_paths(DemoSettings))
    assert {path for path, is_secret in paths.items() if is_secret} == {
        *("bus.password", "bus.context_key", "auth.jwt_secret", "pool.password", "sources.*.url"),
    }
    assert {"instance", "pool.max_size", "urls.*", "auth.issuers.*.audience"} <= paths.keys()
