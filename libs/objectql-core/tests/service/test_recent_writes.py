from __future__ import annotations

from objectql.context import DEFAULT_TENANT
from objectql.ids import TenantId
from objectql.service.recent_writes import KEPT_S, RecentWrites

ACME = TenantId("acme")


def test_readers_of_the_tenant_see_every_write_of_late() -> None:
    writes = RecentWrites()
    writes.remember(ACME, "1.default:20", 1)
    writes.remember(ACME, "1.default:10;other:p", 2)  # answered later, committed earlier
    assert writes.token(ACME, 3) == "1.default:20;other:p"
    assert writes.token(DEFAULT_TENANT, 3) is None


def test_a_write_is_forgotten_after_a_while() -> None:
    writes = RecentWrites()
    writes.remember(ACME, "1.default:p", 0)
    assert writes.token(ACME, KEPT_S) == "1.default:p"
    writes.remember(ACME, "1.default:10", 2 * KEPT_S)
    assert writes.token(ACME, 2 * KEPT_S) == "1.default:10"


def test_the_memory_is_bounded() -> None:
    writes = RecentWrites(capacity=2)
    for number in range(3):
        writes.remember(TenantId(f"t{number}"), "1.default:1", 0)
    assert [writes.token(TenantId(f"t{n}"), 0) for n in range(3)] == [
        None,
        "1.default:1",
        "1.default:1",
    ]
