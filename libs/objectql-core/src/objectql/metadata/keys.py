"""The keys that each kind of document accepts, and their other spellings.

Keys are written in snake_case here. A document may spell them in camelCase as well, or by an
alias; both at once is an error, since one of them would be lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from objectql.metadata.document import Node


class Keys(NamedTuple):
    """Accepted keys: `spellings` maps what may be written to what it means."""

    what: str
    spellings: Mapping[str, str]


def camel(name: str) -> str:
    """`max_length` as `maxLength`."""
    head, *rest = name.split("_")
    return head + "".join(part.title() for part in rest)


def _keys(what: str, names: str, aliases: str = "") -> Keys:
    spellings: dict[str, str] = {}
    for name in names.split():
        spellings |= {camel(name): name, name: name}
    for pair in aliases.split():
        alias, name = pair.split("=")
        spellings |= {camel(alias): name, alias: name}
    return Keys(what, spellings)


OBJECT = _keys(
    "an object",
    """name label plural_label description icon datasource table name_field is_system
    require_version enable fields indexes actions validation validations state_machine
    state_machines tags ai_context ai sync sharing_model ownership tenancy system_fields access
    required_permissions managed_by lifecycle field_groups list_views namespace active abstract
    compact_layout title_format record_name keywords triggers hooks permissions views audit""",
    """table_name=table plural=plural_label display_name_field=name_field
    title_field=name_field""",
)
FEATURES = _keys(
    "`enable`",
    """track_history searchable api_enabled files feed_enabled trash clone activities
    api_methods""",
    "soft_delete=trash feeds=feed_enabled",
)
AUDIT = _keys("`audit` of an object", "retention_days redact")
FIELD = _keys(
    "a field",
    """name type label description help_text placeholder required unique index default_value
    readonly hidden searchable sortable filterable multiple external_id encryption validation
    ai_context required_when readonly_when visible_when required_permissions masking_rule
    depends_on group sort_order width system track_history currency_config format reference
    delete_behavior lookup_filters options min max min_length max_length pattern precision scale
    rows currency dimension language fields columns accept max_size min_size max_width max_height
    min_width min_height expression dialect data_type blank_as_zero treat_blank_as
    summary_object summary_field summary_type summary_operations filters relationship_field
    prefix step""",
    """reference_to=reference default=default_value inline_help_text=help_text
    read_only=readonly dimensions=dimension formula=expression autonumber_format=format
    auto_number_format=format on_delete=delete_behavior encrypted=encryption""",
)
FIELD_CHECKS = _keys(
    "`validation` of a field",
    "format protocols min max min_length max_length pattern message",
)
OPTION = _keys("an option", "label value color default description icon disabled")
SUMMARY_OPERATIONS = _keys(
    "`summary_operations`", "object field function relationship_field filter", "filters=filter"
)
INDEX = _keys("an index", "name fields unique type partial description")
ACTION = _keys(
    "an action",
    """name type label description icon confirm_text internal params return_type transaction
    ai_context handler success_message variant locations required_permissions""",
)
RULE = _keys(
    "a rule",
    """name type message error_code severity trigger fields apply_when skip_bulk async timeout
    active priority tags description ai_context label
    rule field operator value compare_to condition when then otherwise transitions
    initial_states transition_conditions case_sensitive scope constraint validator
    error_message_template regex format schema""",
    "events=trigger",
)
CONDITION = _keys(
    "a condition",
    "field operator value compare_to expression all_of any_of none_of if then else",
    "and=all_of or=any_of",
)
CONSTRAINT = _keys(
    "a constraint", "expression all_of any_of none_of if_field then_require relationships"
)
RELATIONSHIP = _keys("a relationship", "object via field validate")
RELATED = _keys(
    "a related record", "object relation_field filter field", "relationship_field=relation_field"
)
TRANSITION = _keys("a transition", "allowed_next is_terminal description ai_context")
RULE_FILE = _keys("a rule file", "object name description rules ai_context")
PERMISSION = _keys(
    "a permission file",
    """object name label description roles object_permissions field_permissions record_rules
    sharing_rules action_permissions view_permissions row_level_security field_masking audit
    ai_context""",
)
AUDIT_OF_ACCESS = _keys("`audit` of a permission file", "enabled events retention_days alerts")
GRANTS = _keys(
    "`object_permissions`", "create read update delete transfer view_all modify_all export"
)
FIELD_GRANTS = _keys("a field permission", "read update create", "edit=update")
RECORD_RULE = _keys(
    "a record rule", "name label description priority condition permissions enabled"
)
RULE_RIGHTS = _keys("the rights of a rule", "read update delete create")
SHARING_RULE = _keys(
    "a sharing rule",
    """name label description type condition shared_with permissions team_field enabled
    access_level share_type record_field""",
)
ACTION_GRANT = _keys("an action permission", "execute conditions rate_limit")
RATE_LIMIT = _keys("a rate limit", "requests_per_minute requests_per_hour requests_per_day")
MASK = _keys("a mask", "mask_format visible_to description")
ROW_SECURITY = _keys("`row_level_security`", "enabled default_rule exceptions")
PERMISSION_SET = _keys(
    "a permission set",
    """name label description objects fields system_permissions row_level_security is_default
    tab_permissions admin_scope package_id managed_by ai_context""",
)
SET_GRANTS = _keys(
    "the permissions on an object",
    """allow_create allow_read allow_edit allow_delete view_all_records modify_all_records
    read_scope write_scope allow_export allow_transfer allow_restore allow_purge""",
)
SET_FIELD = _keys("the permissions on a field", "readable editable")
ROW_POLICY = _keys(
    "a row policy",
    """name label description object operation using check positions enabled priority tags""",
)
REQUIRED = _keys("`required_permissions`", "create read update delete", "edit=update")
MACHINE = _keys(
    "a state machine",
    """id name label description object initial state_field states type field is_active
    ai_context context""",
)
STATE = _keys(
    "a state",
    "on type entry exit initial states label description meta always color ai_context",
    "final=type",
)
EDGE = _keys("an edge", "target cond actions guard label description roles", "guards=guard")
WEBHOOK = _keys(
    "a webhook",
    "name label description url objects events where fields run_as active max_attempts timeout_s",
)
MANIFEST = _keys(
    "a manifest",
    """id name namespace version type description dependencies permissions contributes engines
    runtime data author license homepage keywords label modules presets""",
)


def read_keys(node: Node, keys: Keys) -> dict[str, Node]:
    """The members of the mapping `node` under their canonical names; other keys are reported."""
    found: dict[str, Node] = {}
    for written, member in node.entries().items():
        name = keys.spellings.get(written)
        if name is None:
            message = f'{keys.what} has no key "{written}"'
            member.fail("unknown_key", message, near=written, among=keys.spellings)
        elif name in found:
            member.fail("key_given_twice", f'"{written}" is another spelling of a key given above')
        else:
            found[name] = member
    return found
