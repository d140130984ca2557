"""What permission files mean, decided by hand for one caller and one record.

Written from the language's reference, as plainly as it can be, and sharing nothing with the
compiler: documents are read as they stand, records are plain values, and a comparison with a fact
that the caller does not have is neither true nor false.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple, cast

from tests.security.judge_sets import Sets

Truth = bool | None
Row = Mapping[str, Any]
Verdict = Literal["absent", "readable", "changeable"]
MISSING = object()
FIELDS = ("name", "owner", "region", "level", "cap", "open", "labels", "badge")
LOOKUPS = {"account": {"parent": "account"}, "deal": {"account": "account"}}


class User(NamedTuple):
    id: str
    roles: tuple[str, ...]
    claims: Mapping[str, Any]

    def fact(self, name: str, *, is_list: bool) -> Any:
        """The fact, or `MISSING` when there is none of that kind."""
        found = self.id if name == "id" else self.claims.get(name, MISSING)
        if isinstance(found, dict) or isinstance(found, list) is not is_list:
            return MISSING
        return found


class Judge:
    """Decides by permission files over `rows`, records by id by object."""

    def __init__(
        self,
        files: Mapping[str, Any],
        sets: Mapping[str, Any],
        rows: Mapping[str, Mapping[str, Row]],
    ) -> None:
        self._files = files
        self._sets = Sets(sets)
        self._rows = rows

    # --- what the doors are asked -------------------------------------------------------------

    def verdict(self, user: User, object: str, row: Row) -> Verdict:
        """What the caller may do with the record, the operation itself being granted."""
        if not self._has_right(user, object, row, "read"):
            return "absent"
        may_update = self.grants(user, object, "update")
        may_update = may_update and self._has_right(user, object, row, "update")
        if may_update and self._may_remain(user, object, row):
            return "changeable"
        return "readable"

    def gives_away(self, user: User, object: str, row: Row, owner: str) -> bool:
        """Whether the caller may make somebody else the owner of a record that may be changed."""
        if not self._sets.edits(object, "owner", user.roles):
            return False
        if self._skips_rules(user, object, "update"):
            return True
        given = {**row, "owner": owner}
        if not self._may_remain(user, object, given):
            return False
        if not self._passes_security(self._files[object], object, given, user):
            return False
        if self._may_give_all(user, object):
            return self._skips_rules(user, object, "read") or self._is_left(
                user, object, given, "read"
            )
        is_theirs = row["owner"] == user.id or not self._is_ruled(object)
        is_theirs = is_theirs or self._may_delete(user, object, row)
        is_kept = self._has_right(user, object, given, "read")
        is_kept = is_kept and self._is_granted_by_rules(user, object, given, "update")
        return is_theirs and is_kept

    def _may_delete(self, user: User, object: str, row: Row) -> bool:
        is_granted = self.grants(user, object, "delete")
        return is_granted and self._has_right(user, object, row, "delete")

    def _may_give_all(self, user: User, object: str) -> bool:
        grants = self._files[object]["object_permissions"]
        by_file = _any(user, grants.get("transfer", ()))
        return by_file or self._sets.grants(object, "transfer", user.roles)

    def reads(self, user: User, object: str) -> bool:
        return self.grants(user, object, "read")

    def hides(self, user: User, object: str) -> set[str]:
        """The fields that do not exist for the caller."""
        rules = self._files[object].get("field_permissions", {})
        hidden: set[str] = set()
        for name in FIELDS:
            named = _any(user, rules[name]["read"]) if name in rules else None
            if self._sets.hides(object, name, named, user.roles):
                hidden.add(name)
        return hidden

    def masks(self, user: User, object: str) -> dict[str, str]:
        """The formats under which the caller sees fields."""
        declared = self._files[object].get("field_masking", {})
        return {
            name: mask["mask_format"]
            for name, mask in declared.items()
            if not _any(user, mask.get("visible_to", ()))
        }

    # --- rights -------------------------------------------------------------------------------

    def grants(self, user: User, object: str, operation: str) -> bool:
        grants = self._files[object]["object_permissions"]
        reading = ("view_all", "modify_all")
        changing = ("modify_all",)
        implied = {"read": reading, "update": changing, "delete": changing, "export": ()}
        names = (operation, *implied[operation])
        if operation == "export" and "export" not in grants:  # then it is for all readers
            names = ("read", *reading)
        by_file = any(_any(user, grants.get(name, ())) for name in names)
        return by_file or self._sets.grants(object, operation, user.roles)

    def _skips_rules(self, user: User, object: str, right: str) -> bool:
        grants = self._files[object]["object_permissions"]
        if _any(user, grants.get("modify_all", ())):
            return True
        if right == "read" and _any(user, grants.get("view_all", ())):
            return True
        return self._sets.skips_rules(object, right, user.roles)

    def _has_right(self, user: User, object: str, row: Row, right: str) -> bool:
        if self._skips_rules(user, object, right):
            return True
        granted = self._is_granted_by_rules(user, object, row, right)
        return granted and self._is_left(user, object, row, right)

    def _is_granted_by_rules(self, user: User, object: str, row: Row, right: str) -> bool:
        file = self._files[object]
        grants = file["object_permissions"]
        rules = file.get("record_rules", [])
        shares = file.get("sharing_rules", [])
        granted = not rules and not shares
        if granted and self._is_ruled(object):
            granted = _any(user, grants.get(right, ()))
            granted = granted or self._sets.grants_unscoped(object, right, user.roles)
        for scope in self._sets.scopes(object, right, user.roles):
            granted = granted or self._is_in_reach(scope, row, user)
        for rule in rules:
            if rule["permissions"].get(right) and rule.get("enabled", True):
                granted = granted or self._truth(rule["condition"], object, row, user) is True
        for share in shares:
            if share["permissions"].get(right) and self._is_for(user, share):
                granted = granted or self._is_shared(share, object, row, user, right)
        return granted

    def _is_ruled(self, object: str) -> bool:
        """Whether records of the object are only for those whom something names."""
        file = self._files[object]
        declared = bool(file.get("record_rules") or file.get("sharing_rules"))
        return declared or self._sets.is_scoped(object)

    def _is_left(self, user: User, object: str, row: Row, right: str) -> bool:
        """What policies and row-level security leave of what rules grant."""
        policies = self._sets.policies(object, right, user.roles)
        if policies and not any(_formula(p["using"], row, user) is True for p in policies):
            return False
        return self._passes_security(self._files[object], object, row, user)

    def _may_remain(self, user: User, object: str, row: Row) -> bool:
        """Whether policies allow the row to be as it is after a change."""
        if self._skips_rules(user, object, "update"):
            return True
        policies = self._sets.policies(object, "update", user.roles)
        checks = [policy.get("check", policy["using"]) for policy in policies]
        return not checks or any(_formula(check, row, user) is True for check in checks)

    def _is_in_reach(self, scope: str, row: Row, user: User) -> bool:
        if scope == "org" or row["owner"] == user.id:
            return True
        unit = user.fact("unit_members", is_list=True)
        return scope == "unit" and unit is not MISSING and row["owner"] in unit

    def _is_for(self, user: User, share: Any) -> bool:
        with_whom = share.get("shared_with")
        return with_whom is None or _any(user, with_whom["roles"])

    def _is_shared(self, share: Any, object: str, row: Row, user: User, right: str) -> bool:
        meets = "condition" not in share
        if not meets:
            meets = self._truth(share["condition"], object, row, user) is True
        match share["type"]:
            case "owner":
                return meets and row["owner"] == user.id
            case "manual":
                return meets and right != "delete" and _is_given(row, user, right)
            case "team":
                teams = user.fact("teams", is_list=True)
                return meets and teams is not MISSING and row[share["team_field"]] in teams
            case _:
                return meets

    def _passes_security(self, file: Any, object: str, row: Row, user: User) -> bool:
        security = file.get("row_level_security")
        if security is None or not security["enabled"]:
            return True
        mine = [e for e in security["exceptions"] if _any(user, [e["role"]])]
        if not mine:
            return self._truth(security["default_rule"], object, row, user) is True
        return any(
            e.get("bypass") or self._truth(e["condition"], object, row, user) is True for e in mine
        )

    # --- conditions ---------------------------------------------------------------------------

    def _truth(self, condition: Any, object: str, row: Row, user: User) -> Truth:
        match condition.get("type", "simple"):
            case "complex":
                return self._infix(condition["expression"], object, row, user)
            case "lookup":
                target = LOOKUPS[object][condition["via"]]
                found = self._rows[target].get(row[condition["via"]])
                if found is None:
                    return False
                return self._truth(condition["condition"], target, found, user)
            case "formula":
                return _formula(condition["formula"], row, user)
            case _:
                pass

        def each(name: str) -> Iterable[Truth]:
            return [self._truth(inner, object, row, user) for inner in condition[name]]

        if "expression" in condition:
            return _formula(condition["expression"], row, user)
        if "all_of" in condition:
            return _all(each("all_of"))
        if "any_of" in condition:
            return _either(each("any_of"))
        if "none_of" in condition:
            return _not(_either(each("none_of")))
        return _comparison(condition, row, user)

    def _infix(self, items: list[Any], object: str, row: Row, user: User) -> Truth:
        groups: list[list[Truth]] = [[]]
        for item in items:
            if item == "or":
                groups.append([])
            elif isinstance(item, list):
                nested = cast("list[Any]", item)
                groups[-1].append(self._infix(nested, object, row, user))
            elif item != "and":
                groups[-1].append(self._truth(item, object, row, user))
        return _either([_all(group) for group in groups])


def masked(format: str, value: Any) -> Any:
    """What the format shows of a value; of a short one only the text of the format."""
    if value is None:
        return None
    counts = [int(digits) for digits in re.findall(r"\{[a-z]+(\d+)\}", format)]
    is_short = counts and len(value) <= sum(counts)

    def piece(found: re.Match[str]) -> str:
        end, count = found[1], int(found[2])
        if is_short:
            return ""
        return value[:count] if end == "first" else value[len(value) - count :]

    return re.sub(r"\{(first|last)(\d+)\}", piece, format)


def _is_given(row: Row, user: User, right: str) -> bool:
    """Whether somebody has shared the record with the caller by hand."""
    teams = user.fact("teams", is_list=True)
    for share in row["shared_with"]:
        level, kind, id_ = share.split(":")
        is_mine = {
            "user": id_ == user.id,
            "role": id_ in user.roles,
            "team": teams is not MISSING and id_ in teams,
        }
        if is_mine[kind] and (right == "read" or level == "edit"):
            return True
    return False


def _any(user: User, roles: Iterable[str]) -> bool:
    return "*" in roles or any(role in user.roles for role in roles)


def _all(truths: Iterable[Truth]) -> Truth:
    found = list(truths)
    return False if False in found else None if None in found else True


def _either(truths: Iterable[Truth]) -> Truth:
    found = list(truths)
    return True if True in found else None if None in found else False


def _not(truth: Truth) -> Truth:
    return None if truth is None else not truth


def _comparison(condition: Any, row: Row, user: User) -> Truth:
    operator, value = condition["operator"], row[condition["field"]]
    if operator in ("is_null", "is_not_null"):
        return (value is None) is (operator == "is_null")
    other = condition.get("value")
    if "compare_to" in condition:
        other = row[condition["compare_to"]]
        if value is None or other is None:
            return operator == "!="
    elif isinstance(other, str) and other.startswith("$current_user."):
        is_list = operator in ("in", "not_in")
        other = user.fact(other.removeprefix("$current_user."), is_list=is_list)
        if other is MISSING:
            return None
    return _COMPARE[operator](value, other)


def _compare(holds: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    return lambda value, other: value is not None and other is not None and holds(value, other)


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda value, other: value == other,
    "!=": lambda value, other: value != other,
    ">": _compare(lambda value, other: value > other),
    ">=": _compare(lambda value, other: value >= other),
    "<": _compare(lambda value, other: value < other),
    "<=": _compare(lambda value, other: value <= other),
    "in": _compare(lambda value, other: value in other),
    "not_in": lambda value, other: value is None or value not in other,
    "contains": _compare(lambda value, other: other in value),
    "not_contains": lambda value, other: value is None or other not in value,
    "starts_with": _compare(lambda value, other: value.startswith(other)),
    "ends_with": _compare(lambda value, other: value.endswith(other)),
    "between": _compare(lambda value, other: other[0] <= value <= other[1]),
}

_SIGNS = {"==": "=", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_PART = re.compile(r"(!?)\((?:record\.)?(\w+) (\S+) ([^()]+)\)")


def _formula(text: str, row: Row, user: User) -> Truth:
    """Formulas here are `(f op x)`, each perhaps denied, joined by `&&` within `||`."""
    return _either(
        [
            _all([_formula_part(part, row, user) for part in group.split(" && ")])
            for group in text.split(" || ")
        ]
    )


def _formula_part(text: str, row: Row, user: User) -> Truth:
    match = _PART.fullmatch(text)
    assert match is not None, text
    denied, field, sign, other = match.groups()
    value: Any = other.replace("current_user.", "$current_user.")
    if other == "null":
        value = None
    elif other in ("true", "false"):
        value = other == "true"
    elif other.lstrip("-").isdigit():
        value = int(other)
    elif other.startswith("'"):
        value = other.strip("'")
    operator = "in" if sign == "in" else _SIGNS[sign]
    found = _comparison({"field": field, "operator": operator, "value": value}, row, user)
    return _not(found) if denied else found
