"""Random permission files, callers and records over two objects that point to each other."""

from __future__ import annotations

from random import Random
from typing import Any, NamedTuple

from tests.security.judge import LOOKUPS, Row, User

OBJECTS: dict[str, Any] = {
    "account": {
        "enable": {"trackHistory": True},
        "fields": {
            "name": {"type": "text", "searchable": True},
            "owner": {"type": "text"},
            "region": {"type": "text"},
            "level": {"type": "number", "scale": 0},
            "cap": {"type": "number", "scale": 0},
            "open": {"type": "boolean"},
            "labels": {"type": "tags"},
            "touch": {"type": "text"},
            "badge": {"type": "text", "requiredPermissions": ["see_badges"]},
            "parent": {"type": "lookup", "reference": "account"},
        },
    },
    "deal": {
        "enable": {"trackHistory": True},
        "fields": {
            "name": {"type": "text", "searchable": True},
            "owner": {"type": "text"},
            "region": {"type": "text"},
            "level": {"type": "number", "scale": 0},
            "cap": {"type": "number", "scale": 0},
            "open": {"type": "boolean"},
            "labels": {"type": "tags"},
            "touch": {"type": "text"},
            "badge": {"type": "text", "requiredPermissions": ["see_badges"]},
            "account": {"type": "lookup", "reference": "account"},
        },
    },
}
ROLES = ("sales", "support", "chief", "nobody")
SETS = ("helper", "leader")
HOLDERS = ("helper", "head")
"""Roles that bring a set: by its name, and by a position."""
USERS = ("u1", "u2", "u3")
REGIONS = ("west", "east", "we%", "")
NAMES = ("alpha", "beta", "Alphabet", "a_b", "zeta")
LABELS = ("red", "green", "blue")
SHARES = "shared_with"
HIDEABLE = ("name", "owner", "region", "level", "cap", "open", "labels")
RIGHTS = ("read", "update", "delete")
SET_BITS = ("allowRead", "allowEdit", "allowExport", "allowDelete", "allowTransfer")


class World(NamedTuple):
    """What a seed makes: permission files and records by object, permission sets, and callers."""

    files: dict[str, Any]
    sets: dict[str, Any]
    rows: dict[str, dict[str, Row]]
    users: list[User]


def random_world(rng: Random, *, records: int = 25, users: int = 5) -> World:
    """Files that all load: every comparison is of values that fit their field."""
    return World(
        {name: _file(rng, name) for name in OBJECTS},
        {name: _set(rng, name) for name in SETS},
        _rows(rng, records),
        [_user(rng) for _ in range(users)],
    )


def _rows(rng: Random, count: int) -> dict[str, dict[str, Row]]:
    ids = {name: [f"{name[0]}{n}" for n in range(count)] for name in OBJECTS}

    def maybe(value: Any) -> Any:
        return None if rng.random() < 0.15 else value

    def record(name: str, id_: str, place: int) -> dict[str, Any]:
        (lookup, target), *_ = LOOKUPS[name].items()
        known = ids[target][: place if target == name else None]  # created in this order
        return {
            "id": id_,
            "name": maybe(rng.choice(NAMES)),
            "owner": maybe(rng.choice(USERS)),
            "region": maybe(rng.choice(REGIONS)),
            "level": maybe(rng.randint(0, 4)),
            "cap": maybe(rng.randint(0, 4)),
            "open": maybe(rng.random() < 0.5),
            "labels": maybe(rng.sample(LABELS, rng.randint(0, 3))),
            "touch": "same",
            "badge": maybe(rng.choice(REGIONS)),
            lookup: maybe(rng.choice(known)) if known else None,
            SHARES: _shares(rng) if rng.random() < 0.3 else [],
        }

    return {
        name: {id_: record(name, id_, place) for place, id_ in enumerate(ids[name])}
        for name in OBJECTS
    }


def _shares(rng: Random) -> list[str]:
    """With whom a record is shared by hand, each once."""
    some = [f"user:{rng.choice(USERS)}", f"role:{rng.choice(ROLES)}", f"team:{rng.choice(REGIONS)}"]
    chosen = [each for each in rng.sample(some, rng.randint(1, 3)) if not each.endswith(":")]
    return sorted(f"{rng.choice(('read', 'edit'))}:{principal}" for principal in chosen)


def _user(rng: Random) -> User:
    claims: dict[str, Any] = {}
    for name, value in (
        ("region", rng.choice(REGIONS)),
        ("level", rng.randint(0, 4)),
        ("teams", rng.sample(REGIONS, rng.randint(0, 3))),
        ("label", rng.choice(LABELS)),
        ("unit_members", rng.sample(USERS, rng.randint(0, 2))),
    ):
        kind = rng.random()
        if kind < 0.65:
            claims[name] = value
        elif kind < 0.8:
            claims[name] = {"of": "another kind"}
    roles = rng.sample(ROLES, rng.randint(0, 2)) + rng.sample(HOLDERS, rng.choice((0, 0, 1, 2)))
    return User(rng.choice(USERS), tuple(roles), claims)


# --- files --------------------------------------------------------------------------------------


def _some(rng: Random) -> list[str]:
    return ["*"] if rng.random() < 0.3 else rng.sample(ROLES, rng.randint(0, 3))


def _file(rng: Random, name: str) -> dict[str, Any]:
    grants = {"create": [], "read": ["*"] if rng.random() < 0.6 else _some(rng)}
    for right in ("update", "delete"):
        grants[right] = ["*"] if rng.random() < 0.4 else _some(rng)
    for extra in ("view_all", "modify_all"):
        if rng.random() < 0.2:
            grants[extra] = rng.sample(ROLES, 1)
    for extra in ("export", "transfer"):
        if rng.random() < 0.4:
            grants[extra] = _some(rng)
    file: dict[str, Any] = {"object": name, "object_permissions": grants}
    if rng.random() < 0.5:
        hidden = rng.sample(HIDEABLE, rng.randint(1, 3))
        file["field_permissions"] = {field: {"read": _some(rng)} for field in hidden}
    if rng.random() < 0.3:
        file["field_masking"] = {field: _mask(rng, field) for field in rng.sample(HIDEABLE, 2)}
    if rng.random() < 0.6:
        file["record_rules"] = [_rule(rng, name, n) for n in range(rng.randint(1, 3))]
    if rng.random() < 0.3:
        file["sharing_rules"] = [_share(rng, name, n) for n in range(rng.randint(1, 2))]
    if rng.random() < 0.3:
        file["row_level_security"] = _security(rng, name)
    return file


def _mask(rng: Random, field: str) -> dict[str, Any]:
    """Only of text can a part be shown."""
    is_text = field in ("name", "owner", "region")
    text = rng.choice(("#", "{first1}**", "{last2}", "-{first1}…{last1}'")) if is_text else "***"
    mask: dict[str, Any] = {"mask_format": text}
    return {**mask, "visible_to": _some(rng)} if rng.random() < 0.7 else mask


def _rights(rng: Random) -> dict[str, bool]:
    """Deletion, which is to have a record in full, less often than the others."""
    return {right: rng.random() < (0.3 if right == "delete" else 0.75) for right in RIGHTS}


def _rule(rng: Random, object: str, number: int) -> dict[str, Any]:
    rule = {"name": f"r{number}", "condition": condition(rng, object), "permissions": _rights(rng)}
    return {**rule, "enabled": False} if rng.random() < 0.1 else rule


def _share(rng: Random, object: str, number: int) -> dict[str, Any]:
    kind = rng.choice(("criteria", "owner", "team", "manual", "manual"))
    share: dict[str, Any] = {"name": f"s{number}", "type": kind, "permissions": _rights(rng)}
    if kind == "criteria" or rng.random() < 0.3:
        share["condition"] = condition(rng, object)
    if kind == "team":
        share["team_field"] = "region"
    if rng.random() < 0.5:
        share["shared_with"] = {"type": "role", "roles": rng.sample(ROLES, 2)}
    return share


def _security(rng: Random, object: str) -> dict[str, Any]:
    exceptions: list[dict[str, Any]] = []
    for role in rng.sample(ROLES, rng.randint(0, 2)):
        if rng.random() < 0.3:
            exceptions.append({"role": role, "bypass": True})
        else:
            exceptions.append({"role": role, "condition": condition(rng, object)})
    return {
        "enabled": rng.random() < 0.9,
        "default_rule": condition(rng, object),
        "exceptions": exceptions,
    }


# --- sets ---------------------------------------------------------------------------------------


def _set(rng: Random, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "objects": {}, "fields": {}}
    for object in (*OBJECTS, "*"):
        if rng.random() < 0.4:
            found["objects"][object] = _bits(rng)
    for object in OBJECTS:
        for field in rng.sample(HIDEABLE, rng.choice((0, 0, 1, 2))):
            said = {"readable": rng.random() < 0.5, "editable": rng.random() < 0.7}
            found["fields"][f"{object}.{field}"] = said
    if rng.random() < 0.4:
        found["systemPermissions"] = ["see_badges"]
    if rng.random() < 0.1:
        found["isDefault"] = True
    if rng.random() < 0.5:
        found["rowLevelSecurity"] = [_policy(rng, n) for n in range(rng.randint(1, 3))]
    return found


def _bits(rng: Random) -> dict[str, Any]:
    bits: dict[str, Any] = {bit: rng.random() < 0.6 for bit in SET_BITS}
    for bit in ("viewAllRecords", "modifyAllRecords"):
        if rng.random() < 0.1:
            bits[bit] = True
    for scope in ("readScope", "writeScope"):
        if rng.random() < 0.3:
            bits[scope] = rng.choice(("own", "unit", "org"))
    return bits


def _policy(rng: Random, number: int) -> dict[str, Any]:
    policy: dict[str, Any] = {
        "name": f"p{number}",
        "object": rng.choice(tuple(OBJECTS)),
        "operation": rng.choice(("select", "update", "delete", "all")),
        "using": _formula(rng),
    }
    if rng.random() < 0.3:
        policy["check"] = _formula(rng)
    if rng.random() < 0.3:
        policy["positions"] = rng.sample((*ROLES, *HOLDERS), 2)
    if rng.random() < 0.1:
        policy["enabled"] = False
    return policy


# --- conditions ---------------------------------------------------------------------------------


def condition(rng: Random, object: str, depth: int = 0) -> dict[str, Any]:
    """A condition of any form."""
    kind = rng.random() if depth < 3 else 0.0
    if kind < 0.45:
        simple = _simple(rng)
        return {"type": "simple", **simple} if rng.random() < 0.5 else simple
    if kind < 0.6:
        return {"type": "complex", "expression": _infix(rng, object, depth)}
    if kind < 0.72:
        (via, target), *_ = LOOKUPS[object].items()
        inner = condition(rng, target, depth + 2)
        return {"type": "lookup", "object": target, "via": via, "condition": inner}
    if kind < 0.85:
        return {"type": "formula", "formula": _formula(rng)}
    return _group(rng, depth)


def _group(rng: Random, depth: int) -> dict[str, Any]:
    def member() -> dict[str, Any]:
        kind = rng.random()
        if kind < 0.2:
            return {"expression": _formula(rng)}
        return _group(rng, depth + 1) if kind < 0.4 and depth < 2 else _simple(rng)

    group = rng.choice(("all_of", "any_of", "none_of"))
    return {group: [member() for _ in range(rng.randint(1, 3))]}


def _infix(rng: Random, object: str, depth: int) -> list[Any]:
    items: list[Any] = []
    for number in range(rng.randint(1, 4)):
        if number:
            items.append(rng.choice(("and", "or")))
        is_group = depth < 2 and rng.random() < 0.2
        items.append(
            _infix(rng, object, depth + 1) if is_group else condition(rng, object, depth + 1)
        )
    return items


def _simple(rng: Random) -> dict[str, Any]:
    field = rng.choice(HIDEABLE)
    if rng.random() < 0.1:
        return {"field": field, "operator": rng.choice(("is_null", "is_not_null"))}
    match field:
        case "open":
            return {
                "field": field,
                "operator": rng.choice(("=", "!=")),
                "value": rng.random() < 0.5,
            }
        case "labels":
            value = rng.choice((*LABELS, "$current_user.label"))
            operator = rng.choice(("contains", "not_contains"))
            return {"field": field, "operator": operator, "value": value}
        case "level" | "cap":
            operator = rng.choice(("=", "!=", "<", "<=", ">", ">=", "in", "between", "other"))
            if operator == "other":
                compare = rng.choice(("=", "!=", "<", ">="))
                return {"field": field, "operator": compare, "compare_to": "level"}
            return {"field": field, "operator": operator, "value": _number(rng, operator)}
        case _:
            return {"field": field, **_text(rng, field)}


def _number(rng: Random, operator: str) -> Any:
    match operator:
        case "in":
            return rng.sample(range(5), rng.randint(0, 3))
        case "between":
            return sorted(rng.choices(range(5), k=2))
        case _:
            return "$current_user.level" if rng.random() < 0.4 else rng.randint(0, 4)


def _text(rng: Random, field: str) -> dict[str, Any]:
    values = {"name": NAMES, "owner": USERS}.get(field, REGIONS)
    fact = {"owner": "$current_user.id"}.get(field, "$current_user.region")
    match rng.choice(("=", "!=", "in", "not_in", "part")):
        case "in" | "not_in" as operator:
            given = rng.sample(values, rng.randint(0, len(values)))
            is_fact = rng.random() < 0.5
            return {"operator": operator, "value": "$current_user.teams" if is_fact else given}
        case "part":
            operator = rng.choice(("contains", "not_contains", "starts_with", "ends_with"))
            return {"operator": operator, "value": rng.choice(("a", "e", "_", "%", "Al"))}
        case operator:
            return {
                "operator": operator,
                "value": fact if rng.random() < 0.6 else rng.choice(values),
            }


def _formula(rng: Random) -> str:
    groups = [
        " && ".join(_formula_part(rng) for _ in range(rng.randint(1, 2)))
        for _ in range(rng.randint(1, 2))
    ]
    return " || ".join(groups)


def _formula_part(rng: Random) -> str:
    denied = "!" if rng.random() < 0.3 else ""
    field, sign, value = rng.choice(
        (
            ("owner", rng.choice(("==", "!=")), "current_user.id"),
            ("record.region", rng.choice(("==", "!=")), "current_user.region"),
            ("region", "in", "current_user.teams"),
            ("region", rng.choice(("==", "!=")), rng.choice(("'west'", "null"))),
            ("open", "==", rng.choice(("true", "false"))),
            ("level", rng.choice(("<", "<=", ">", ">=", "==", "!=")), str(rng.randint(0, 4))),
            ("cap", rng.choice(("<", ">=", "!=")), "current_user.level"),
        )
    )
    return f"{denied}({field} {sign} {value})"
