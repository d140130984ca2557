"""The promises of `objectql.drivers.protocol` as tests.

Subclass `DriverSuite` and give it a `driver` fixture: a connected, empty driver with tables for
`OBJECTS`. The memory driver, SQLite and Postgres pass the same suite; `PlaceSuite` is the part of it
that the places of tenants pass too. Beside it a driver passes `PreparePromises` or `NoPreparePromises`.
"""

from __future__ import annotations

from objectql.testing.driver_chains import ChainPromises
from objectql.testing.driver_history import HistoryPromises
from objectql.testing.driver_identity import IdentityPromises
from objectql.testing.driver_named import MarkPromises, NoPreparePromises, PreparePromises
from objectql.testing.driver_records import RecordPromises
from objectql.testing.driver_samples import OBJECTS
from objectql.testing.driver_security_log import SecurityLogPromises
from objectql.testing.driver_stores import ClusterPromises, StorePromises
from objectql.testing.driver_tenants import TenantPromises
from objectql.testing.driver_transactions import TransactionPromises
from objectql.testing.driver_webhooks import WebhookPromises

__all__ = ["OBJECTS", "DriverSuite", "NoPreparePromises", "PlaceSuite", "PreparePromises"]


class PlaceSuite(
    RecordPromises, TransactionPromises, MarkPromises, StorePromises, HistoryPromises, ChainPromises
):
    """What holds wherever a tenant's records are."""


class DriverSuite(
    PlaceSuite,
    ClusterPromises,
    SecurityLogPromises,
    TenantPromises,
    IdentityPromises,
    WebhookPromises,
):
    """Everything that a driver promises."""
