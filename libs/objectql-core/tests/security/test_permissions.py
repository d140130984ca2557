from __future__ import annotations

import pytest

from objectql.context import Actor, system_actor
from objectql.errors import PermissionDenied
from objectql.ids import ObjectName
from objectql.metadata.model import ObjectDef, ObjectPermissions
from objectql.metadata.registry import MetadataSnapshot
from objectql.security.permissions import PermissionCompiler

ACCOUNT = ObjectName("account")
CONTACT = ObjectDef(name=ObjectName("contact"), fields={})
_PERMISSIONS = {
    ACCOUNT: ObjectPermissions(
        object=ACCOUNT,
        grants={
            "create": ("sales",),
            "read": ("sales", "viewer"),
            "update": ("sales",),
            "view_all": ("auditor",),
            "modify_all": ("boss",),
        },
        actions={"send": ("viewer",), "shred": ()},
    )
}


PERMISSIONS = MetadataSnapshot(
    1,
    {ACCOUNT: ObjectDef(name=ACCOUNT, fields={}), CONTACT.name: CONTACT},
    permissions=_PERMISSIONS,
)
NOTHING: set[str] = set()


def allowed(*roles: str) -> set[str]:
    policy = PermissionCompiler(PERMISSIONS).policy(Actor(id="u", roles=roles))
    return {op for op in ("create", "read", "update", "delete") if policy.allows(op, "account")}


@pytest.mark.parametrize(
    ("roles", "operations"),
    [
        ((), NOTHING),
        (("stranger",), NOTHING),
        (("viewer",), {"read"}),
        (("sales",), {"create", "read", "update"}),
        (("auditor",), {"read"}),
        (("boss",), {"read", "update", "delete"}),
        (("viewer", "boss"), {"read", "update", "delete"}),
        (("admin",), {"create", "read", "update", "delete"}),
    ],
)
def test_a_grant_needs_one_of_its_roles(roles: tuple[str, ...], operations: set[str]) -> None:
    assert allowed(*roles) == operations


def test_an_object_without_permissions_is_denied_unless_the_server_is_open() -> None:
    actor = Actor(id="u", roles=("sales",))
    with pytest.raises(PermissionDenied) as caught:
        PermissionCompiler(PERMISSIONS).policy(actor).check_read(CONTACT)
    assert (caught.value.operation, caught.value.object) == ("read", "contact")
    PermissionCompiler(PERMISSIONS, default="allow").policy(actor).check_read(CONTACT)
    with pytest.raises(PermissionDenied):
        PermissionCompiler(PERMISSIONS, default="allow").policy(actor).check("delete", "account")


def test_the_system_may_do_everything() -> None:
    PermissionCompiler(PERMISSIONS).policy(system_actor()).check("delete", "contact")


def test_actions_need_a_named_role_or_the_permission_to_update() -> None:
    compiler = PermissionCompiler(PERMISSIONS)
    viewer = compiler.policy(Actor(id="u", roles=("viewer",)))
    sales = compiler.policy(Actor(id="u", roles=("sales",)))
    viewer.check_action("account", "send")
    sales.check_action("account", "archive")
    viewer.check_action("global", "ping")
    for policy, object_, action in [
        (sales, "account", "send"),
        (viewer, "account", "archive"),
        (sales, "account", "shred"),
        (sales, "contact", "send"),
    ]:
        with pytest.raises(PermissionDenied):
            policy.check_action(object_, action)


def test_roles_that_decide_alike_share_a_shape() -> None:
    compiler = PermissionCompiler(PERMISSIONS, capacity=2)
    shapes = [
        compiler.policy(Actor(id="u", roles=roles)).shape
        for roles in (("viewer",), ("viewer", "x"), ("x", "viewer"), ("sales",), ("admin",))
    ]
    assert shapes[0] == shapes[1] == shapes[2]
    assert len(set(shapes)) == 3
