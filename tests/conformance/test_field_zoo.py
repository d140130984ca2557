"""A field of every type comes back as it was written, on every driver."""

from __future__ import annotations

from tests.engines import MakeDriver, kernel_with
from tests.vectors import needs_vectors
from tests.zoo import TARGETS, differences, written, zoo_objects

pytestmark = needs_vectors


async def test_every_field_type_comes_back_as_written(make_driver: MakeDriver) -> None:
    rows = {name: [{"id": f"{name}_1", "name": "Target"}] for name in TARGETS.values()}
    async with kernel_with(make_driver("zoo"), zoo_objects(), rows) as kernel:
        sent = written({field: f"{name}_1" for field, name in TARGETS.items()})
        made = await kernel.create("field_zoo", sent)
        assert differences(made, sent) == {}
        read = await kernel.get("field_zoo", made["id"])
        assert read is not None
        assert differences(read, sent) == {}
        page = await kernel.find("field_zoo", {"where": {"id": made["id"]}})
        assert page.value == [read]
