"""A small sales application on the memory driver, and callers with roles."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest

from objectql.clock import SystemClock
from objectql.context import Actor, Context
from objectql.drivers.memory import MemoryDriver
from objectql.kernel.features import KernelSettings
from objectql.kernel.kernel import Kernel

OBJECTS: dict[str, Any] = {
    "account": {
        "fields": {
            "name": {"type": "text", "required": True, "searchable": True},
            "code": {"type": "text", "unique": True, "external_id": True},
            "balance": {"type": "number", "scale": 0, "defaultValue": 0},
            "stage": {"type": "select", "options": ["new", "won", "lost"], "defaultValue": "new"},
            "score": {"type": "number", "readonly": True},
        },
        "actions": {
            "promote": {"type": "record", "params": {"by": {"type": "number", "required": True}}},
            "sweep": {"type": "global", "transaction": True},
        },
    },
    "contact": {
        "fields": {
            "name": {"type": "text", "required": True},
            "account": {
                "type": "lookup", "reference": "account", "deleteBehavior": "set_null",
            },
        }
    },
    "invoice": {
        "fields": {
            "number": {"type": "autonumber", "format": "INV-{YYYY}-{0000}"},
            "account": {
                "type": "lookup", "reference": "account", "deleteBehavior": "restrict",
            },
            "total": {"type": "number"},
        },
        "validation": {
            "rules": [
                {
                    "name": "positive",
                    "type": "cross_field",
                    "rule": {"field": "total", "operator": ">=", "value": 0},
                    "message": "Total must not be negative",
                }
            ]
        },
    },
    "line": {
        "fields": {
            "invoice": {"type": "master_detail", "reference": "invoice", "required": True},
            "title": {"type": "text"},
        }
    },
}  # fmt: skip

PERMISSIONS: dict[str, Any] = {
    "account": {
        "object": "account",
        "roles": ["sales", "viewer"],
        "object_permissions": {
            "create": ["sales"],
            "read": ["sales", "viewer"],
            "update": ["sales"],
            "delete": [],
        },
    }
}

CRM: dict[str, Any] = {"name": "crm", "objects": OBJECTS, "permissions": PERMISSIONS}


def caller(*roles: str, key: str | None = None, id: str = "u1") -> Context:
    """A request of somebody with these roles, thirty seconds before its deadline."""
    return Context(
        actor=Actor(id=id, roles=roles),
        deadline_ms=SystemClock().now_ms() + 30_000,
        request_id="r1",
        idempotency_key=key,
    )


@pytest.fixture
def ask() -> Callable[..., Context]:
    return caller


@pytest.fixture
def driver() -> MemoryDriver:
    return MemoryDriver()


@pytest.fixture
def settings() -> KernelSettings:
    return KernelSettings()


@pytest.fixture
async def kernel(driver: MemoryDriver, settings: KernelSettings) -> AsyncGenerator[Kernel]:
    kernel = Kernel([driver, CRM], settings=settings)
    await kernel.start()
    yield kernel
    await kernel.stop()
