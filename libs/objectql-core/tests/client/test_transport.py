"""What the client sends again, with what, and what it makes of the answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectql.client.backoff import Backoff, Patience
from objectql.client.credentials import Credentials, FetchedToken, SignIn, StaticToken
from objectql.client.problems import problem_error
from objectql.client.repeating import Times
from objectql.client.transport import Transport
from objectql.client.written import Written
from objectql.errors import (
    ObjectQLError,
    OutcomeUnknown,
    RecordNotFound,
    RemoteError,
    Unauthenticated,
    Unavailable,
    ValidationFailed,
)

Answer = httpx.Response | Exception


class Network:
    """Answers requests from a list, and remembers them."""

    def __init__(self, *answers: Answer | Callable[[httpx.Request], Answer]) -> None:
        self._answers = list(answers)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if not isinstance(answer, httpx.Response | Exception):
            answer = answer(request)
        if isinstance(answer, Exception):
            raise answer
        return answer


def transport(
    network: Network, credentials: Credentials | None = None, call_s: float = 30.0
) -> Transport:
    return Transport(
        "http://gateway",
        credentials or StaticToken("t"),
        times=Times(call_s=call_s),
        patience=Patience(first_s=0.0001, most_s=0.001),
        network=httpx.MockTransport(network),
    )


def ok(body: Any = None, token: str | None = None) -> httpx.Response:
    headers = {} if token is None else {"Oql-Consistency-Token": token}
    return httpx.Response(200, json=body or {}, headers=headers)


def problem(status: int, code: str, **more: Any) -> httpx.Response:
    body: dict[str, Any] = {"code": code, "detail": "no", "errors": [], **more}
    return httpx.Response(status, content=json.dumps(body))


LOST = httpx.ReadError("gone")
NEVER_SENT = httpx.ConnectError("refused")


async def test_a_write_whose_answer_is_lost_is_sent_again_with_the_same_key() -> None:
    network = Network(
        LOST, problem(503, "SERVICE_UNAVAILABLE", details={"what": "x"}), ok({"a": 1})
    )
    assert await transport(network).write("POST", "/api/a", {"b": 2}) == {"a": 1}
    keys = {request.headers["idempotency-key"] for request in network.asked}
    assert len(network.asked) == 3
    assert len(keys) == 1
    assert {request.content for request in network.asked} == {b'{"b":2}'}


async def test_each_write_has_a_key_of_its_own_and_reads_have_none() -> None:
    network = Network(ok())
    client = transport(network)
    await client.write("POST", "/api/a", {})
    await client.write("POST", "/api/a", {})
    await client.write("POST", "/api/a", {}, key="mine")
    await client.read("GET", "/api/a")
    first, second, third, read = (r.headers.get("idempotency-key") for r in network.asked)
    assert first != second
    assert (third, read) == ("mine", None)


async def test_a_write_that_may_have_happened_is_never_called_unavailable() -> None:
    network = Network(LOST, NEVER_SENT)
    with pytest.raises(OutcomeUnknown):
        await transport(network, call_s=0.05).write("POST", "/api/a", {})
    with pytest.raises(Unavailable):
        await transport(Network(NEVER_SENT), call_s=0.05).write("POST", "/api/a", {})
    with pytest.raises(Unavailable):
        await transport(Network(LOST), call_s=0.05).read("GET", "/api/a")


async def test_what_the_caller_did_wrong_is_told_at_once() -> None:
    issue = {"path": "name", "code": "required", "message": "name is required"}
    refused = problem(400, "VALIDATION_FAILED", details={"object": "a"}, errors=[issue])
    network = Network(refused)
    with pytest.raises(ValidationFailed) as caught:
        await transport(network).write("POST", "/api/a", {})
    assert [(i.path, i.code) for i in caught.value.issues] == [("name", "required")]
    assert len(network.asked) == 1


async def test_reads_present_what_was_written_and_what_overlapped() -> None:
    network = Network(ok(token="1.d:1"), ok(token="1.d:2"), ok())
    client = transport(network)
    await client.write("POST", "/api/a", {})
    await client.write("POST", "/api/a", {})
    await client.read("GET", "/api/a")
    told = [request.headers.get("oql-consistency-token") for request in network.asked]
    assert told == [None, "1.d:1", "1.d:2"]


@given(st.lists(st.integers(0, 9), max_size=30), st.randoms(use_true_random=False))
def test_what_is_presented_contains_every_write_that_was_answered(
    order: list[int], random: Any
) -> None:
    """Tokens stand for sets of writes; the server adds the write to what was presented."""
    written, answered = Written(), set[str]()
    open_: dict[int, str | None] = {}
    for number, slot in enumerate(order):
        if slot not in open_:
            open_[slot] = written.header
            continue
        presented = open_.pop(slot)
        contained = set((presented or "").replace(",", "+").split("+")) - {""}
        answered.add(str(number))
        written.answered(presented, "+".join(sorted(contained | {str(number)})))
        header = written.header
        assert header is not None
        assert set(header.replace(",", "+").split("+")) == answered


async def test_a_refused_token_is_replaced_once() -> None:
    tokens = iter(["old", "new", "newer"])

    async def fetch() -> str:
        return next(tokens)

    def judge(request: httpx.Request) -> Answer:
        good = request.headers["authorization"] == "Bearer new"
        return ok() if good else problem(401, "UNAUTHENTICATED")

    network = Network(judge)
    client = transport(network, FetchedToken(fetch))
    await client.read("GET", "/api/a")
    assert [r.headers["authorization"] for r in network.asked] == ["Bearer old", "Bearer new"]
    with pytest.raises(Unauthenticated):
        await transport(Network(problem(401, "UNAUTHENTICATED"))).read("GET", "/api/a")


async def test_a_session_is_refreshed_and_begun_anew_when_its_refresh_is_refused() -> None:
    sessions = iter(range(9))
    paths: list[str] = []

    def judge(request: httpx.Request) -> Answer:
        paths.append(request.url.path)
        if request.url.path == "/api/a":
            good = request.headers["authorization"] in {"Bearer a1", "Bearer a2"}
            return ok() if good else problem(401, "UNAUTHENTICATED")
        if (
            request.url.path.endswith("refresh")
            and json.loads(request.content)["refresh_token"] == "r1"
        ):
            return problem(401, "UNAUTHENTICATED")
        number = next(sessions)
        return ok({"access_token": f"a{number}", "refresh_token": f"r{number}", "expires_in": 600})

    who = SignIn("ann", "secret")
    client = transport(Network(judge), who)
    await client.read("GET", "/api/a")
    assert paths == ["/api/auth/sign-in", "/api/a", "/api/auth/refresh", "/api/a"]
    await who.renew("a1")
    await client.read("GET", "/api/a")
    assert paths[4:] == ["/api/auth/refresh", "/api/auth/sign-in", "/api/a"]


@pytest.mark.parametrize(
    ("status", "body", "error", "retryable"),
    [
        (
            404,
            b'{"code":"RECORD_NOT_FOUND","details":{"object":"a","id":"1"}}',
            RecordNotFound,
            False,
        ),
        (400, b'{"code":"OF_TOMORROW","detail":"no"}', RemoteError, False),
        (502, b"<html>", RemoteError, True),
        (503, b"", RemoteError, True),
        (418, b"[]", RemoteError, False),
        (500, b'{"code":1}', RemoteError, False),
    ],
)
def test_every_answer_becomes_an_error(
    status: int, body: bytes, error: type[ObjectQLError], retryable: bool
) -> None:
    made = problem_error(status, body)
    assert (type(made), made.retryable) == (error, retryable)


@given(st.integers(0, 200), st.floats(0, 0.999))
def test_pauses_stay_within_their_bounds(failures: int, chance: float) -> None:
    backoff = Backoff(Patience(first_s=0.1, most_s=5.0), lambda: chance)
    pauses = [backoff.failed() for _ in range(failures + 1)]
    assert all(0 <= pause <= 5.0 for pause in pauses)
    assert pauses == sorted(pauses)
    assert backoff.failed(at_least_s=3.0) >= 3.0
    backoff.succeeded()
    assert backoff.failed() <= 0.1
