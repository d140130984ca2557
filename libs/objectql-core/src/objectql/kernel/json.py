"""Records between JSON text and Python: one encoder and decoder for the whole kernel."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from objectql.errors import InvalidJson

_encoder = msgspec.json.Encoder(decimal_format="number")
_decoder = msgspec.json.Decoder()


def encode_json(value: Any) -> bytes:
    """`value` as JSON; decimals as numbers."""
    return _encoder.encode(value)


def decode_json(body: bytes) -> Any:
    """JSON that the system itself has made."""
    return _decoder.decode(body)


def decode_object(body: bytes) -> dict[str, Any]:
    """The JSON object that a caller sent.

    Raises:
        InvalidJson: it is not JSON, or not an object.

    """
    try:
        value = _decoder.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as exc:
        raise InvalidJson(reason=str(exc)) from exc
    if not isinstance(value, dict):
        raise InvalidJson(reason="an object is expected")
    return cast("dict[str, Any]", value)
