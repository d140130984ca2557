from __future__ import annotations

from pathlib import Path

import jwt
import pytest
from typer.testing import CliRunner

from objectql.cli.main import app
from objectql.service.auth import TokenVerifier
from objectql.service.settings import AuthSettings

SECRET = "a-secret-of-the-tests-that-is-long-enough"
EXAMPLES = Path(__file__).parents[4] / "examples"


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(words))
    return result.exit_code, result.output


@pytest.mark.parametrize("command", [(), ("validate",), ("token",), ("version",), ("cluster",)])
def test_every_command_explains_itself(command: tuple[str, ...]) -> None:
    code, text = run(*command, "--help")
    assert code == 0
    assert "Usage:" in text


@pytest.mark.parametrize("example", ["flights", "crm", "bank"])
def test_validate_accepts_the_examples(example: str) -> None:
    code, text = run("validate", str(EXAMPLES / example))
    assert code == 0, text
    assert "no problems" in text


def test_validate_prints_every_problem_with_file_and_line_and_exits_with_one(
    tmp_path: Path,
) -> None:
    (tmp_path / "task.object.yml").write_text(
        "label: Task\nfields:\n  title:\n    type: txet\n  owner:\n    type: lookup\n"
        "    reference_to: nobody\n"
    )
    code, text = run("validate", str(tmp_path))
    assert code == 1
    assert f"{tmp_path / 'task.object.yml'}:4" in text
    assert f"{tmp_path / 'task.object.yml'}:7" in text


async def test_token_is_accepted_by_a_gateway_with_the_same_secret() -> None:
    words = ["--user", "ann", "--tenant", "acme", "--role", "sales", "--claim", "level=3"]
    code, text = run("token", "--secret", SECRET, *words)
    assert code == 0
    actor = await TokenVerifier(AuthSettings(jwt_secret=SECRET)).verify(text.strip())
    assert (actor.id, actor.tenant, actor.roles) == ("ann", "acme", ("sales",))
    assert actor.claims == {"level": 3}


def test_token_takes_the_secret_from_the_environment_and_is_admin_by_default() -> None:
    result = CliRunner().invoke(app, ["token"], env={"OQL_JWT_SECRET": SECRET})
    assert jwt.decode(result.output.strip(), SECRET, algorithms=["HS256"])["roles"] == ["admin"]


@pytest.mark.parametrize("bad", [("--claim", "x"), ("--claim", "sub=1"), ("--tenant", "a.b")])
def test_token_refuses_what_no_gateway_would_take(bad: tuple[str, ...]) -> None:
    code, _ = run("token", "--secret", SECRET, *bad)
    assert code == 2


def test_version_names_the_package() -> None:
    code, text = run("version")
    assert code == 0
    assert text.startswith("objectql ")


def test_commands_of_installed_packages_are_listed_and_found() -> None:
    assert "Run the smallest cluster" in run("--help")[1]
    code, text = run("dev", "--help")
    assert code == 0
    assert "--port" in text
    assert run("dve")[0] == 2


def test_explain_of_metadata_files_shows_stages_and_sql() -> None:
    files = ("--metadata", str(EXAMPLES / "flights"))
    code, text = run("explain", "flight", "--filter", "origin/id eq 'JFK'", *files)
    assert code == 0, text
    assert "origin.id = $1" in text
    assert "optimized" in text
    assert "SELECT" in text
    assert "JFK" not in text
    code, text = run("explain", "flight", "--filter", "orign eq 'JFK'", *files)
    assert code == 1
    assert 'did you mean "origin"' in text


def test_explain_says_when_no_gateway_answers() -> None:
    code, text = run("explain", "flight", "--url", "http://127.0.0.1:1")
    assert code == 1
    assert "cannot be reached" in text
