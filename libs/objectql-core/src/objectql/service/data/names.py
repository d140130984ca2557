"""What may name an object or a record; whether there is one, kernels say."""

from __future__ import annotations

from objectql.errors import ObjectUnknown, RecordNotFound
from objectql.ids import is_name, is_record_id


def check_object(name: str) -> str:
    """`name` if it may be an object's.

    Raises:
        ObjectUnknown: no object can have this name.

    """
    if not is_name(name):
        raise ObjectUnknown(object=name[:100])
    return name


def check_id(object: str, id: str) -> str:
    """`id` if it may be a record's.

    Raises:
        RecordNotFound: no record can have it.

    """
    if not is_record_id(id):
        raise RecordNotFound(object=object, id=id[:100])
    return id
