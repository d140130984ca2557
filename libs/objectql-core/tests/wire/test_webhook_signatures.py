"""The convention's own example, and what nobody gets through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectql.wire.webhook_signatures import (
    SignatureRefused,
    secret_bytes,
    secret_text,
    sign,
    verify,
)

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = secret_text(b"x" * 32)


def test_example_of_the_convention_is_signed_as_it_says() -> None:
    headers = sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', [SECRET])
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(st.binary(max_size=200), st.binary(min_size=24, max_size=64))
def test_what_was_signed_is_believed(body: bytes, key: bytes) -> None:
    headers = sign("e1", 1000, body, [secret_text(key), OTHER])
    assert verify(headers, body, [secret_text(key)], now_s=1000) == "e1"
    assert verify(headers, body, [OTHER], now_s=1299) == "e1"


@given(st.binary(max_size=50), st.integers(0, 10_000))
def test_nothing_of_a_request_can_be_changed(body: bytes, place: int) -> None:
    headers = sign("e1", 1000, body, [SECRET])
    changed = bytearray(body + b" ")
    changed[place % len(changed)] ^= 1
    for other, text in (
        (headers, bytes(changed)),
        (headers | {"webhook-id": "e2"}, body),
        (headers | {"webhook-timestamp": "1001"}, body),
        (headers | {"webhook-signature": "v1," + "A" * 43 + "="}, body),
    ):
        with pytest.raises(SignatureRefused):
            verify(other, text, [SECRET], now_s=1000)
    with pytest.raises(SignatureRefused):
        verify(headers, body, [OTHER], now_s=1000)


@pytest.mark.parametrize("now_s", [1301.0, 699.0])
def test_old_requests_and_those_of_the_future_are_refused(now_s: float) -> None:
    with pytest.raises(SignatureRefused):
        verify(sign("e1", 1000, b"", [SECRET]), b"", [SECRET], now_s=now_s)


@given(
    st.dictionaries(
        st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]), st.text()
    )
)
def test_any_headers_are_believed_or_refused(headers: dict[str, str]) -> None:
    with pytest.raises(SignatureRefused):
        verify(headers, b"", [SECRET], now_s=0)


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_!!", secret_text(b"short"), secret_text(b"x" * 65)]
)
def test_secret_of_another_form_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match="a secret"):
        secret_bytes(secret)
