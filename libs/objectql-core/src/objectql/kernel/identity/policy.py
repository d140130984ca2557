"""What can be set about identities."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class IdentityPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How long things last, and how much may fail."""

    access_s: Annotated[
        int, Meta(ge=10, le=86400, description="how long an access token is accepted")
    ] = 600
    session_days: Annotated[
        float, Meta(gt=0, le=400, description="after which one must sign in again")
    ] = 30.0
    min_password: Annotated[
        int, Meta(ge=8, le=64, description="characters that a new password has at least")
    ] = 10
    free_attempts: Annotated[
        int, Meta(ge=1, description="sign-ins that may fail before a name has to wait")
    ] = 5
    first_wait_s: Annotated[
        float, Meta(gt=0, description="that wait; it doubles with each further failure")
    ] = 2.0
    longest_wait_s: Annotated[float, Meta(gt=0)] = 900.0
    hash_workers: Annotated[
        int, Meta(ge=1, le=64, description="passwords that are looked at at once")
    ] = 1
    hash_waiting: Annotated[
        int, Meta(ge=1, description="sign-ins that may wait for that; more are 503")
    ] = 32
    signing_key_days: Annotated[
        float, Meta(gt=0, description="age at which the key that signs tokens is replaced")
    ] = 30.0
    publish_key_s: Annotated[
        float, Meta(ge=0, description="how long before its first signature it is published")
    ] = 30.0
