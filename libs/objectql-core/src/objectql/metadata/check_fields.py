"""One field document to a `FieldDef`: types, keys, options, limits, defaults.

References to other objects are settled later, when every object is known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from objectql.ids import FieldName, ObjectName
from objectql.metadata.check_defaults import check_default
from objectql.metadata.check_json_schema import check_pattern
from objectql.metadata.check_required import check_required
from objectql.metadata.document import Node
from objectql.metadata.keys import FIELD, FIELD_CHECKS, OPTION, SUMMARY_OPERATIONS, read_keys
from objectql.metadata.model import FieldChecks, FieldDef, Formula, Option, Summary
from objectql.metadata.types import FIELD_TYPES, TYPE_ALIASES, Storage

MAX_EXPRESSION_BYTES = 4096
MAX_SCALE = 12
MAX_PRECISION = 1000
"""What Postgres's `numeric` can be told."""
MAX_DIMENSION = 16_000
DELETE_BEHAVIORS = ("set_null", "cascade", "restrict")
SUMMARY_FUNCTIONS = ("count", "sum", "min", "max", "avg")

_TEXT_KEYS = ("label", "description", "help_text", "placeholder")
_FLAGS = """required index readonly hidden searchable sortable filterable multiple external_id
encryption""".split()
_VERBATIM = frozenset(
    """required_when readonly_when visible_when required_permissions depends_on
    ai_context group sort_order width track_history currency_config lookup_filters rows currency
    language columns accept max_size min_size max_width max_height min_width min_height
    prefix step""".split()
)
_TYPED_KEYS = frozenset[str]().union(*(kind.keys for kind in FIELD_TYPES.values())) | {
    "summary_operations"
}
_ANY_TYPE = frozenset({"format", "options", "min", "max", "precision", "scale"})
"""Keys of some types that others carry as hints for display."""
_DATA_TYPES = "text string number currency percent boolean date datetime time".split()
_COUNTER = re.compile(r"\{0+\}")
_TOKEN = re.compile(r"\{([^{}]*)\}")
_DATE_TOKENS = frozenset("YYYY YY MM DD YYYYMMDD YYYYMM".split())


def title(name: str) -> str:
    """`due_date` as `Due Date`."""
    return " ".join(part[:1].upper() + part[1:] for part in name.split("_") if part)


def check_field(name: str, keys: Mapping[str, Node], place: Node) -> FieldDef | None:
    """The field that `keys` (canonical names) describe; None if its type is unknown.

    `place` is where the field is declared; problems of the field as a whole are reported there.
    """
    written = _type_of(keys)
    kind = TYPE_ALIASES.get(written, written)
    if kind not in FIELD_TYPES:
        node = keys.get("type", place)
        known = (*FIELD_TYPES, *TYPE_ALIASES)
        node.fail("unknown_field_type", f'"{written}" is no field type', near=written, among=known)
        return None
    values: dict[str, Any] = {"name": FieldName(name), "type": kind, "label": title(name)}
    _refuse_keys_of_other_types(kind, keys)
    for key in _TEXT_KEYS:
        if key in keys and (text := keys[key].text()) is not None:
            values[key] = text
    for key in _FLAGS:
        if key in keys and (flag := keys[key].boolean()) is not None:
            values[key] = flag
    values["unique"] = _unique(keys)
    if written in ("int", "integer"):
        values["scale"] = 0
    _limits(keys, values)
    if "validation" in keys:
        values["checks"] = _checks(keys["validation"])
    if "options" in keys:
        values["options"] = _options(keys["options"])
    _by_type(kind, keys, values, place)
    if "fields" in keys and FIELD_TYPES[kind].storage is Storage.JSON:
        values["fields"] = _members(keys["fields"])
    if "masking_rule" in keys:  # who relies on it would be deceived
        message = 'who sees a field under a mask is said by "field_masking" of a permission file'
        keys["masking_rule"].fail("unsupported", message)
    if "required_permissions" in keys:
        check_required(keys["required_permissions"])
    values["extra"] = {key: node.value for key, node in keys.items() if key in _VERBATIM}
    field = FieldDef(**values)
    if field.info.computed:
        _refuse_on_computed(keys)
    else:
        default = check_default(field, keys.get("default_value"))
        field = _with_default(field, default)
    return field


def _type_of(keys: Mapping[str, Node]) -> str:
    if "type" in keys:
        return keys["type"].text() or "text"
    for key, kind in (
        ("reference", "lookup"),
        ("options", "select"),
        ("expression", "formula"),
        ("summary_object", "summary"),
        ("summary_operations", "summary"),
    ):
        if key in keys:
            return kind
    return "text"


def _refuse_keys_of_other_types(kind: str, keys: Mapping[str, Node]) -> None:
    accepted = FIELD_TYPES[kind].keys | _ANY_TYPE
    if kind == "summary":
        accepted |= {"summary_operations"}
    if kind in ("lookup", "master_detail", "tree", "user"):
        accepted |= {"reference", "delete_behavior", "lookup_filters"}
    for key, node in keys.items():
        if key in _TYPED_KEYS and key not in accepted:
            node.fail("key_not_for_type", f'a {kind} field has no "{key}"')


def _unique(keys: Mapping[str, Node]) -> bool:
    node = keys.get("unique")
    if node is None:
        return False
    if isinstance(node.value, str):
        return node.choice(("organization", "global")) is not None
    return node.boolean() or False


def _limits(keys: Mapping[str, Node], values: dict[str, Any]) -> None:
    for key in ("min", "max"):
        if key in keys:
            values[key] = keys[key].number()
    for key in ("min_length", "max_length", "precision", "scale", "dimension"):
        if key in keys:
            values[key] = keys[key].count()
    _ordered(keys, values, "min", "max", "min_above_max")
    _ordered(keys, values, "min_length", "max_length", "min_length_above_max_length")
    if (values.get("scale") or 0) > MAX_SCALE:
        keys["scale"].fail("scale_too_large", f"at most {MAX_SCALE} digits after the point")
    if (values.get("precision") or 0) > MAX_PRECISION:
        keys["precision"].fail("precision_too_large", f"at most {MAX_PRECISION} digits")
    elif values.get("precision") is not None and (values.get("scale") or 0) > values["precision"]:
        keys["precision"].fail("precision_below_scale", "precision counts all digits, scale some")
    if "pattern" in keys:
        values["pattern"] = check_pattern(keys["pattern"])
    if "format" in keys:
        values["format"] = keys["format"].text()


def _ordered(
    keys: Mapping[str, Node], values: Mapping[str, Any], low: str, high: str, code: str
) -> None:
    bottom, top = values.get(low), values.get(high)
    if bottom is not None and top is not None and bottom > top:
        keys[low].fail(code, f"{low} ({bottom}) is above {high} ({top})")


def _checks(node: Node) -> FieldChecks:
    keys = read_keys(node, FIELD_CHECKS)
    values: dict[str, Any] = {}
    if "format" in keys:
        values["format"] = keys["format"].choice(("email", "url", "phone", "date", "datetime"))
    if "protocols" in keys:
        values["protocols"] = tuple(text for text, _ in keys["protocols"].texts())
    for key in ("min", "max"):
        if key in keys:
            values[key] = keys[key].number()
    for key in ("min_length", "max_length"):
        if key in keys:
            values[key] = keys[key].count()
    if "pattern" in keys:
        values["pattern"] = check_pattern(keys["pattern"])
    if "message" in keys:
        values["message"] = keys["message"].text()
    _ordered(keys, values, "min", "max", "min_above_max")
    _ordered(keys, values, "min_length", "max_length", "min_length_above_max_length")
    return FieldChecks(**values)


def _options(node: Node) -> tuple[Option, ...]:
    options: list[Option] = []
    seen: set[tuple[type, Any]] = set()
    for element in node.elements():
        option = _option(element)
        if option is None:
            continue
        identity = (type(option.value), option.value)
        if identity in seen:
            element.fail("duplicate_option", f'the option "{option.value}" stands here twice')
            continue
        seen.add(identity)
        if option.default and any(o.default for o in options) and not node.path.endswith("tags"):
            element.fail("several_default_options", "another option is the default already")
        options.append(option)
    return tuple(options)


def _option(node: Node) -> Option | None:
    if isinstance(node.value, str | int | float):
        return Option(value=node.value, label=str(node.value))
    keys = read_keys(node, OPTION)
    if not node.is_mapping:
        return None
    value = keys["value"].value if "value" in keys else None
    label = keys["label"].text() if "label" in keys else None
    if "value" not in keys and label is not None:
        value = label
    if not isinstance(value, str | int | float):
        node.fail("option_without_value", "an option needs a value: text, a number or a boolean")
        return None
    color = keys["color"].text() if "color" in keys else None
    default = (keys["default"].boolean() or False) if "default" in keys else False
    return Option(value=value, label=label or str(value), color=color, default=default)


def _by_type(kind: str, keys: Mapping[str, Node], values: dict[str, Any], place: Node) -> None:
    at = keys.get("type", place)
    if FIELD_TYPES[kind].is_reference or "reference" in keys:
        _reference(kind, keys, values, at)
    if kind in ("select", "multiselect", "checkboxes") and not values.get("options"):
        keys.get("options", at).fail("select_without_options", f"a {kind} field needs options")
    if kind == "formula":
        values["formula"] = _formula(keys, at)
        values.pop("precision", None)
        if "precision" in keys:
            values["precision"] = keys["precision"].value
    elif kind == "summary":
        values["summary"] = _summary(keys, at)
    elif kind == "autonumber":
        _autonumber(keys, values)
    elif kind == "vector" and not values.get("dimension"):
        keys.get("dimension", at).fail("vector_without_dimension", "a vector needs a dimension")
    elif kind == "vector" and values["dimension"] > MAX_DIMENSION:
        keys["dimension"].fail("dimension_too_large", f"at most {MAX_DIMENSION} dimensions")


def _reference(kind: str, keys: Mapping[str, Node], values: dict[str, Any], at: Node) -> None:
    if "reference" not in keys:
        at.fail("lookup_without_reference", f"a {kind} field needs a reference")
    elif (target := keys["reference"].text()) is not None:
        values["reference"] = ObjectName(target)
    behavior = "cascade" if kind == "master_detail" else "set_null"
    if "delete_behavior" in keys:
        behavior = keys["delete_behavior"].choice(DELETE_BEHAVIORS) or behavior
        if kind == "master_detail" and behavior != "cascade":
            message = "a master_detail is always deleted with its master"
            keys["delete_behavior"].fail("master_detail_must_cascade", message)
    values["delete_behavior"] = behavior
    if kind == "master_detail":
        values["required"] = True
        if values.get("multiple"):
            keys["multiple"].fail("master_detail_multiple", "a detail has one master")


def expression(node: Node) -> str | None:
    """The text of an expression; whether it parses is the formula package's business."""
    text = node.text()
    if text is None:
        return None
    if not text.strip():
        node.fail("expression_empty", "an expression is expected here")
    elif len(text.encode()) > MAX_EXPRESSION_BYTES:
        node.fail("expression_too_long", f"at most {MAX_EXPRESSION_BYTES} bytes")
    return text


def _formula(keys: Mapping[str, Node], at: Node) -> Formula | None:
    if "expression" not in keys:
        at.fail("formula_without_expression", "a formula field needs an expression")
        return None
    text = expression(keys["expression"])
    values: dict[str, Any] = {}
    if "data_type" in keys:
        data_type = keys["data_type"].choice(_DATA_TYPES)
        values["data_type"] = "text" if data_type in (None, "string") else data_type
    if "dialect" in keys:
        values["dialect"] = keys["dialect"].choice(("js", "cel")) or "js"
    if "blank_as_zero" in keys:
        values["blank_as_zero"] = keys["blank_as_zero"].boolean() or False
    if "treat_blank_as" in keys:
        values["treat_blank_as"] = keys["treat_blank_as"].value
    return Formula(expression=text or "", **values)


def _summary(keys: Mapping[str, Node], at: Node) -> Summary | None:
    found = {
        "object": keys.get("summary_object"),
        "field": keys.get("summary_field"),
        "function": keys.get("summary_type"),
        "relationship_field": keys.get("relationship_field"),
        "filter": keys.get("filters"),
    }
    if "summary_operations" in keys:
        found |= read_keys(keys["summary_operations"], SUMMARY_OPERATIONS)
    texts = {
        part: node.text()
        for part, node in found.items()
        if node is not None and part in ("object", "field", "relationship_field")
    }
    if not texts.get("object"):
        at.fail("summary_without_object", "a summary needs a summary_object")
        return None
    function_node = found["function"]
    if function_node is None:
        at.fail("summary_without_function", "a summary needs a summary_type")
        return None
    function = function_node.choice(SUMMARY_FUNCTIONS)
    if function not in (None, "count") and not texts.get("field"):
        at.fail("summary_without_field", f"a summary that takes the {function} needs a field")
    filters = found["filter"]
    return Summary(
        object=ObjectName(texts["object"] or ""),
        function=cast("Any", function or "count"),
        field=FieldName(texts["field"] or "") if texts.get("field") else None,
        relationship_field=FieldName(texts["relationship_field"] or "")
        if texts.get("relationship_field")
        else None,
        filters=None if filters is None else filters.value,
    )


def _members(node: Node) -> dict[str, FieldDef]:
    """The declared members of a structured field: a map, or a list of named fields."""
    members: dict[str, FieldDef] = {}
    nodes = node.elements() if node.is_list else node.entries().values()
    for place in nodes:
        keys = read_keys(place, FIELD)
        name = (keys["name"].text() or "") if "name" in keys else place.path.rpartition(".")[2]
        if node.is_list and "name" not in keys:
            place.fail("field_without_name", "a listed field needs a name")
            continue
        member = check_field(name, keys, place)
        if member is not None and not member.info.computed and member.reference is None:
            members[name] = member
        elif member is not None:
            place.fail("type_not_for_member", f"a {member.type} cannot be part of a structure")
    return members


def _autonumber(keys: Mapping[str, Node], values: dict[str, Any]) -> None:
    text: str = values.get("format") or "{0000}"
    values["format"] = text
    if "format" not in keys:
        return
    counters = len(_COUNTER.findall(text))
    if counters != 1:
        message = f"an autonumber has one counter such as {{0000}}, not {counters}"
        keys["format"].fail("autonumber_counter", message)


def autonumber_fields(format: str) -> tuple[str, ...]:
    """The names of the fields that an autonumber's format mentions."""
    tokens = (token for token in _TOKEN.findall(format) if token.strip("0"))
    return tuple(token for token in tokens if token not in _DATE_TOKENS)


def _refuse_on_computed(keys: Mapping[str, Node]) -> None:
    for key in ("required", "unique", "default_value"):
        node = keys.get(key)
        if node is None or node.value is False:
            continue
        if (
            key == "unique"
            and keys.get("type")
            and keys["type"].value in ("autonumber", "auto_number")
        ):
            continue
        node.fail("not_for_computed", f"the server computes this field; it cannot be {key}")


def _with_default(field: FieldDef, default: Any) -> FieldDef:
    if default is None:
        chosen = [option.value for option in field.options if option.default]
        if not chosen:
            return field
        default = chosen if field.storage is Storage.LIST else chosen[0]
    values = {name: getattr(field, name) for name in field.__struct_fields__}
    return FieldDef(**{**values, "default": default})
