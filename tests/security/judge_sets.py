"""What permission sets mean, decided by hand like `judge` does for permission files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

POSITIONS = {"head": ["leader"]}
"""The position `head` hands out the set `leader`; who has a role has the set of its name."""
REQUIRED = {"badge": "see_badges"}
"""Fields that need a system permission."""
BITS = {
    "read": ("allowRead", "viewAllRecords", "modifyAllRecords"),
    "update": ("allowEdit", "modifyAllRecords"),
    "export": ("allowExport",),
    "delete": ("allowDelete", "modifyAllRecords"),
    "transfer": ("allowTransfer",),
}
ALL = {
    "read": ("viewAllRecords", "modifyAllRecords"),
    "update": ("modifyAllRecords",),
    "delete": ("modifyAllRecords",),
}
SCOPES = {"read": "readScope", "update": "writeScope", "delete": "writeScope"}
OPERATIONS = {"read": ("select", "all"), "update": ("update", "all"), "delete": ("delete", "all")}
Said = Mapping[str, Any]


class Sets:
    """Answers about sets, by name, for callers with `roles`."""

    def __init__(self, sets: Mapping[str, Said]) -> None:
        self._sets = sets

    def held(self, roles: tuple[str, ...]) -> list[Said]:
        handed = {name for role in roles for name in POSITIONS.get(role, [])}
        return [
            found
            for name, found in self._sets.items()
            if name in roles or name in handed or found.get("isDefault")
        ]

    def _on(self, object: str, roles: tuple[str, ...]) -> Iterator[Said]:
        for each in self.held(roles):
            objects = each["objects"]
            yield objects.get(object, objects.get("*", {}))

    def grants(self, object: str, right: str, roles: tuple[str, ...]) -> bool:
        return any(said.get(bit) for said in self._on(object, roles) for bit in BITS[right])

    def skips_rules(self, object: str, right: str, roles: tuple[str, ...]) -> bool:
        return any(said.get(bit) for said in self._on(object, roles) for bit in ALL[right])

    def is_scoped(self, object: str) -> bool:
        """Whether any set, whoever holds it, reaches only so far."""
        return any(
            said.get(SCOPES[right]) and said.get(BITS[right][0])
            for each in self._sets.values()
            for said in [each["objects"].get(object, each["objects"].get("*", {}))]
            for right in SCOPES
        )

    def grants_unscoped(self, object: str, right: str, roles: tuple[str, ...]) -> bool:
        return any(
            SCOPES[right] not in said and any(said.get(bit) for bit in BITS[right])
            for said in self._on(object, roles)
        )

    def scopes(self, object: str, right: str, roles: tuple[str, ...]) -> list[str]:
        return [
            said[SCOPES[right]]
            for said in self._on(object, roles)
            if SCOPES[right] in said and any(said.get(bit) for bit in BITS[right])
        ]

    def policies(self, object: str, right: str, roles: tuple[str, ...]) -> list[Said]:
        return [
            policy
            for each in self.held(roles)
            for policy in each.get("rowLevelSecurity", [])
            if policy["object"] == object
            and policy["operation"] in OPERATIONS[right]
            and policy.get("enabled", True)
            and (not policy.get("positions") or set(policy["positions"]) & set(roles))
        ]

    def edits(self, object: str, field: str, roles: tuple[str, ...]) -> bool:
        """Whether the field may be changed, if it may be read; files are silent about that."""
        key = f"{object}.{field}"
        held = self.held(roles)
        said = [each["fields"][key]["editable"] for each in held if key in each.get("fields", {})]
        return True in said or False not in said

    def hides(self, object: str, field: str, named: bool | None, roles: tuple[str, ...]) -> bool:
        """Whether the field may not be read; `named` is what the permission file says, if it does."""
        held = self.held(roles)
        if field in REQUIRED and not any(
            REQUIRED[field] in each.get("systemPermissions", []) for each in held
        ):
            return True
        key = f"{object}.{field}"
        said = [each["fields"][key]["readable"] for each in held if key in each.get("fields", {})]
        if True in said:
            return False
        return not named if named is not None else False in said
