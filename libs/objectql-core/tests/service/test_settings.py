from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec
import pytest
from msgspec import Meta

from objectql.service.settings import (
    AuthSettings,
    Secret,
    ServiceSettings,
    SettingsInvalid,
    load_settings,
    redacted,
    require_context_key,
    settings_markdown,
)


class PoolSettings(msgspec.Struct, frozen=True, kw_only=True):
    max_size: Annotated[int, Meta(ge=1, description="connections at most")] = 16
    names: tuple[str, ...] = ()


class SourceSettings(msgspec.Struct, frozen=True, kw_only=True):
    url: Secret
    lag_s: float = 5.0


class DemoSettings(ServiceSettings, frozen=True, kw_only=True):
    service: ClassVar[str] = "demo-app"

    pool: PoolSettings = PoolSettings()
    auth: AuthSettings = AuthSettings()
    datasources: dict[str, str] = {}
    sources: dict[str, SourceSettings] = {}
    must: str


def load(**environ: str) -> DemoSettings:
    given = {f"OQL_DEMO_APP_{name}": value for name, value in environ.items()}
    return load_settings(DemoSettings, DemoSettings.prefix(), {"PATH": "x", **given})


def problems(**environ: str) -> dict[str, str]:
    with pytest.raises(SettingsInvalid) as caught:
        load(**environ)
    return {
        issue.path.removeprefix("OQL_DEMO_APP_"): issue.message for issue in caught.value.issues
    }


def test_variables_become_nested_fields_of_their_types() -> None:
    settings = load(
        MUST="x",
        POOL__MAX_SIZE="4",
        POOL__NAMES="a, b,,c",
        DRAIN_S="1.5",
        DATASOURCES__DEFAULT="postgres://h/d",
        DATASOURCES__EAST="postgres://e/d",
        SOURCES__WEST__URL="u",
        SOURCES__WEST__LAG_S="2",
    )
    assert settings.pool == PoolSettings(max_size=4, names=("a", "b", "c"))
    assert settings.drain_s == 1.5
    assert settings.datasources == {"default": "postgres://h/d", "east": "postgres://e/d"}
    assert settings.sources == {"west": SourceSettings(url="u", lag_s=2.0)}
    assert settings.auth.leeway_s == 30.0


def test_every_problem_is_reported_at_once_with_a_suggestion() -> None:
    found = problems(POOL__MAX_SIZE="0", POOL__MAXSIZE="4", DRAIN_S="soon", LOG__LEVEL="loud")
    assert found.keys() == {"MUST", "POOL__MAX_SIZE", "POOL__MAXSIZE", "DRAIN_S", "LOG__LEVEL"}
    assert '"OQL_DEMO_APP_POOL__MAX_SIZE"' in found["POOL__MAXSIZE"]
    assert found["MUST"] == "this setting is required"


def test_file_variables_are_read_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    settings = load(
        MUST="x",
        AUTH__JWT_SECRET_FILE=str(tmp_path / "secret"),
        DATASOURCES__EAST_FILE=str(tmp_path / "secret"),
    )
    assert settings.auth.jwt_secret == "s3cret"
    assert settings.datasources == {"east": "s3cret"}


def test_missing_file_and_value_beside_file_are_problems(tmp_path: Path) -> None:
    found = problems(MUST_FILE=str(tmp_path / "none"), INSTANCE="a", INSTANCE_FILE="b")
    assert "cannot read" in found["MUST_FILE"]
    assert found["INSTANCE_FILE"] == "OQL_DEMO_APP_INSTANCE is set too"


def test_redacted_shows_neither_secrets_nor_passwords_in_urls() -> None:
    settings = load(
        MUST="x",
        AUTH__JWT_SECRET="hush-hush",
        DATASOURCES__A="postgres://ann:hush-hush@h/d",
        SOURCES__W__URL="hush-hush",
        BUS__URL="nats://tok:hush-hush@h:1,nats://hush-hush@i:1",
    )
    text = json.dumps(redacted(settings))
    assert "hush" not in text
    assert "postgres://***@h/d" in text


@pytest.mark.parametrize(
    ("url", "is_local"),
    [
        ("nats://127.0.0.1:4222", True),
        ("nats://user:password@localhost:4222,tls://[::1]:4222", True),
        ("nats://127.0.0.1:4222,nats://10.0.0.7:4222", False),
        ("nats://nats:4222", False),
        ("nats://127.0.0.1.example.org:4222", False),
        ("nats://127.0.0.1@nats:4222", False),
    ],
)
def test_requests_are_signed_wherever_others_may_reach_the_bus(url: str, is_local: bool) -> None:
    unsigned = load(MUST="x", BUS__URL=url)
    if is_local:
        require_context_key(unsigned)
    else:
        with pytest.raises(SettingsInvalid, match="OQL_DEMO_APP_BUS__CONTEXT_KEY"):
            require_context_key(unsigned)
    signed = load(MUST="x", BUS__URL=url, BUS__CONTEXT_KEY=f"{'a' * 32}, {'hush' * 8}")
    require_context_key(signed)
    assert signed.bus.context_key == ("a" * 32, "hush" * 8)
    assert "hush" not in json.dumps(redacted(signed))


def test_a_short_key_is_named_and_not_shown() -> None:
    found = problems(MUST="x", BUS__CONTEXT_KEY=f"{'a' * 32},hush")
    assert "32" in found["BUS__CONTEXT_KEY"]
    assert "hush" not in found["BUS__CONTEXT_KEY"]


def test_variables_of_the_development_stack_are_no_settings() -> None:
    class CoordinatorSettings(ServiceSettings, frozen=True, kw_only=True):
        service: ClassVar[str] = "coordinator"

    environ = {"OQL_COORDINATOR_PORT": "1", "OQL_COORDINATOR_URL": "u"}
    load_settings(CoordinatorSettings, CoordinatorSettings.prefix(), environ)


def test_markdown_names_every_variable_with_default_and_meaning() -> None:
    text = settings_markdown(DemoSettings, DemoSettings.prefix())
    assert "| `OQL_DEMO_APP_POOL__MAX_SIZE` | int | `16` | connections at most |" in text
    assert "| `OQL_DEMO_APP_MUST` | str | required |" in text
    assert "`OQL_DEMO_APP_SOURCES__<NAME>__URL` | secret | required" in text
    assert "`OQL_DEMO_APP_DATASOURCES__<NAME>` | str" in text
