from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectql.context import Actor, Context, ReadPolicy
from objectql.errors import CallerUntrusted
from objectql.wire.headers import CONTEXT, from_headers, to_headers
from objectql.wire.trust import SIGNATURE, ContextKeys

OLD, NEW = "the old key, of enough characters", "the new key, of enough characters"
SUBJECT = "oql.v1.rpc.kernel.get"
FULL = Context(
    actor=Actor(id="u", roles=("admin",)),
    deadline_ms=1,
    request_id="r",
    idempotency_key="k",
    consistency_token="c",
    recent_token="t",
    read_policy=ReadPolicy.ANY,
    trace={"traceparent": "00", "tracestate": "a=b", "baggage": "c=d"},
    origin="browser 203.0.113.7",
)

texts = st.text(alphabet='ab:,"\0\x01é|', max_size=4)
requests = st.tuples(
    st.sampled_from([SUBJECT, "oql.v1.rpc.kernel.find", ""]),
    st.dictionaries(st.sampled_from(CONTEXT), texts),
    st.binary(max_size=6),
)


def is_believed(keys: ContextKeys, subject: str, headers: Mapping[str, str], body: bytes) -> bool:
    try:
        keys.check(subject, headers, body)
    except CallerUntrusted:
        return False
    return True


@given(signed=requests, sent=requests)
def test_a_signature_is_good_for_the_request_it_was_made_for_and_no_other(
    signed: tuple[str, dict[str, str], bytes], sent: tuple[str, dict[str, str], bytes]
) -> None:
    keys = ContextKeys([OLD])
    signature = keys.sign(*signed)
    subject, headers, body = sent
    believed = is_believed(keys, subject, {**headers, SIGNATURE: signature}, body)
    assert believed == (signed == sent)


class Recording(Mapping[str, str]):
    """Notes which headers are looked at."""

    def __init__(self, headers: dict[str, str]) -> None:
        self._headers = headers
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.read.add(name)
        return self._headers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._headers)

    def __len__(self) -> int:
        return len(self._headers)


def test_whatever_a_kernel_believes_is_signed() -> None:
    headers = Recording(to_headers(FULL))
    assert from_headers(headers) == FULL
    assert headers.read == set(CONTEXT)
    assert set(to_headers(FULL)) == set(CONTEXT)


@pytest.mark.parametrize("signature", [None, "", "0" * 32, "é", "\udcff", "0" * 100_000])
def test_what_is_not_a_signature_is_refused_alike(signature: str | None) -> None:
    headers = to_headers(FULL)
    if signature is not None:
        headers[SIGNATURE] = signature
    with pytest.raises(CallerUntrusted) as caught:
        ContextKeys([OLD]).check(SUBJECT, headers, b"")
    assert caught.value.to_info() == CallerUntrusted().to_info()


def test_headers_that_are_no_text_are_refused() -> None:
    headers = {**to_headers(FULL), "Oql-Tenant": "\udcff", SIGNATURE: "0" * 32}
    assert not is_believed(ContextKeys([OLD]), SUBJECT, headers, b"")


def test_a_key_is_replaced_without_a_request_being_refused() -> None:
    steps = [[OLD], [OLD, NEW], [NEW, OLD], [NEW]]
    for before, after in itertools.pairwise(steps):
        for ours, theirs in ((before, after), (after, before)):
            headers = to_headers(FULL)
            headers[SIGNATURE] = ContextKeys(ours).sign(SUBJECT, headers, b"x")
            assert is_believed(ContextKeys(theirs), SUBJECT, headers, b"x")
    headers = to_headers(FULL)
    headers[SIGNATURE] = ContextKeys([OLD]).sign(SUBJECT, headers, b"x")
    assert not is_believed(ContextKeys([NEW]), SUBJECT, headers, b"x")


@pytest.mark.parametrize("keys", [[], [""], [OLD, "short"]])
def test_a_short_key_is_no_key(keys: list[str]) -> None:
    with pytest.raises(ValueError, match="32"):
        ContextKeys(keys)
