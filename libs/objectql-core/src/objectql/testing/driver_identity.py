"""What the driver port promises about identities: users, sessions, keys, revocations, attempts."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from objectql.drivers.identity import (
    ApiKey,
    AttemptLimits,
    Delete,
    Insert,
    Replace,
    Revocation,
    Session,
    SigningKey,
    User,
)
from objectql.drivers.protocol import Driver
from objectql.errors import UniqueViolation, WriteConflict

LIMITS = AttemptLimits(free=3, first_ms=1000, longest_ms=5000)


def user(id_: str, name: str, **more: Any) -> User:
    """A user of the tenant acme, unless told otherwise."""
    given: dict[str, Any] = {"tenant": "acme", "created_ms": 1, "updated_ms": 1, **more}
    return User(id=id_, name=name, **given)


def session(id_: str, user_: str, expires_ms: int) -> Session:
    """A session of the tenant acme."""
    return Session(
        id=id_,
        tenant="acme",
        user=user_,
        family=b"\x00family",
        refresh=b"\xffrefresh",
        created_ms=1,
        expires_ms=expires_ms,
    )


class IdentityPromises:
    """Users, sessions, keys, revocations, attempts."""

    async def test_identities_come_back_as_they_were_given(self, driver: Driver) -> None:
        store = driver.identity
        rows = (
            user("u1", "ann", email="a@x", password="$h", roles=("admin", "é"), must_change=True),  # noqa: S106
            user("u2", "bot", is_service=True, is_active=False),
            session("s1", "u1", 2**41),
            ApiKey(id="k1", tenant="acme", user="u2", name="ci", secret=b"\x01", created_ms=5),
            ApiKey(
                id="k2",
                tenant="acme",
                user="u2",
                name="ci",
                secret=b"\x02",
                roles=(),
                scopes=("account:read",),
                created_ms=5,
                expires_ms=6,
                used_ms=7,
            ),
            SigningKey(id="g1", tenant="", private=b"\x03", created_ms=8, signs_from_ms=9),
        )
        assert await store.apply([Insert(row) for row in rows]) == 0
        for row in rows:
            assert row in await store.find(type(row), {"tenant": row.tenant, "id": row.id})
        assert await store.find(ApiKey, {"tenant": "acme", "user": "u2"}) == rows[3:5]
        assert await store.find(ApiKey, after="k1") == rows[4:5]
        assert await store.find(User, limit=1) == rows[:1]
        assert await store.find(User, {"tenant": "other", "name": "ann"}) == ()

    async def test_names_and_addresses_are_unique_within_a_tenant(self, driver: Driver) -> None:
        store = driver.identity
        ann, bob = user("u1", "ann", email="a@x"), user("u2", "bob")
        await store.apply([Insert(ann), Insert(bob), Insert(user("u1", "ann", tenant="t2"))])
        for change, field in (
            (Insert(user("u3", "ann")), "name"),
            (Insert(user("u3", "eve", email="a@x")), "email"),
            (Insert(user("u1", "eve")), "id"),
            (Replace(msgspec.structs.replace(bob, name="ann")), "name"),
            (Replace(msgspec.structs.replace(bob, email="a@x")), "email"),
        ):
            with pytest.raises(UniqueViolation) as caught:
                await store.apply([change])
            assert (caught.value.object, caught.value.fields) == ("user", (field,))
        assert await store.find(User, {"tenant": "acme"}) == (ann, bob)

    async def test_only_one_of_concurrent_changes_of_a_row_wins(self, driver: Driver) -> None:
        store = driver.identity
        ann = user("u1", "ann")
        await store.apply([Insert(ann)])
        changes = [
            store.apply([Replace(msgspec.structs.replace(ann, roles=(f"r{n}",)))]) for n in range(4)
        ]
        answers = await asyncio.gather(*changes, return_exceptions=True)
        assert sum(answer == 0 for answer in answers) == 1
        assert sum(isinstance(answer, WriteConflict) for answer in answers) == 3
        (stored,) = await store.find(User, {"tenant": "acme", "id": "u1"})
        assert stored.version == 2
        await store.apply([Delete(stored)])
        with pytest.raises(WriteConflict):
            await store.apply([Replace(stored)])

    async def test_changes_and_revocations_are_all_or_nothing(self, driver: Driver) -> None:
        store = driver.identity
        ann, bob = user("u1", "ann"), user("u2", "ann")
        revoked = Revocation("user", "acme", "u1", 5)
        with pytest.raises(UniqueViolation):
            await store.apply([Insert(ann), Insert(bob)], [revoked])
        assert await store.find(User) == ()
        assert await store.revocations(0) == (0, ())

    async def test_revocations_are_told_in_order_and_the_last_one_counts(
        self, driver: Driver
    ) -> None:
        store = driver.identity
        first = Revocation("user", "acme", "u1", 5, 90)
        second = Revocation("session", "acme", "s1", 2**53, 50)
        assert await store.apply([], [first]) == 1
        assert await store.apply([], [second, msgspec.structs.replace(first, before_ms=7)]) == 2
        version, news = await store.revocations(1)
        assert version == 2
        assert sorted(one.kind for one in news) == ["session", "user"]
        assert {one.version for one in news} == {2}
        assert next(one for one in news if one.kind == "user").before_ms == 7
        assert await store.revocations(2) == (2, ())
        await store.purge(60, 0)
        assert [one.kind for one in (await store.revocations(0))[1]] == ["user"]

    async def test_concurrent_revocations_leave_no_gap(self, driver: Driver) -> None:
        store = driver.identity
        made = await asyncio.gather(
            *(store.apply([], [Revocation("token", "acme", f"t{n}", 1)]) for n in range(8))
        )
        assert sorted(made) == list(range(1, 9))
        assert len((await store.revocations(0))[1]) == 8

    async def test_failed_sign_ins_lock_a_name_for_longer_each_time(self, driver: Driver) -> None:
        store = driver.identity
        now_ms = 1_000_000
        for _ in range(3):
            assert await store.attempt("acme", "ann", now_ms, LIMITS) == 0
        assert await store.attempt("acme", "ann", now_ms + 999, LIMITS) == now_ms + 1000
        assert await store.attempt("acme", "bob", now_ms, LIMITS) == 0
        assert await store.attempt("t2", "ann", now_ms, LIMITS) == 0
        for wait_ms in (1000, 2000, 4000, 5000, 5000):
            now_ms += wait_ms
            assert await store.attempt("acme", "ann", now_ms - 1, LIMITS) == now_ms
            assert await store.attempt("acme", "ann", now_ms, LIMITS) == 0
        await store.forget_attempts("acme", "ann")
        assert await store.attempt("acme", "ann", now_ms, LIMITS) == 0

    async def test_many_attempts_at_once_are_no_way_around_the_limit(self, driver: Driver) -> None:
        attempts = (driver.identity.attempt("acme", "ann", 1000, LIMITS) for _ in range(12))
        assert sum(locked == 0 for locked in await asyncio.gather(*attempts)) == 3

    async def test_purge_takes_what_has_expired(self, driver: Driver) -> None:
        store = driver.identity
        kept = session("s2", "u1", 200)
        await store.apply([Insert(session("s1", "u1", 100)), Insert(kept)])
        for _ in range(3):
            await store.attempt("acme", "ann", 50, LIMITS)
        await store.purge(100, 51)
        assert await store.find(Session) == (kept,)
        assert await store.attempt("acme", "ann", 51, LIMITS) == 0
