"""What happens around opportunities."""

from __future__ import annotations

from objectql.plugins.context import HookContext

PROBABILITY = {
    "prospecting": 10,
    "qualification": 25,
    "proposal": 50,
    "negotiation": 75,
    "closed_won": 100,
    "closed_lost": 0,
}


async def before_create(ctx: HookContext) -> None:
    """The probability follows the stage unless the caller gives one."""
    if ctx.data.get("probability") is None:
        ctx.data["probability"] = PROBABILITY[str(ctx.data.get("stage", "prospecting"))]


async def before_update(ctx: HookContext) -> None:
    """A change of stage moves the probability, and winning leaves a time."""
    if not ctx.is_modified("stage"):
        return
    stage = str(ctx.data["stage"])
    ctx.data.setdefault("probability", PROBABILITY[stage])
    if stage == "closed_won":
        ctx.data["won_at"] = ctx.now


async def after_update(ctx: HookContext) -> None:
    """A won opportunity gives its owner something to do, in the same transaction."""
    if ctx.is_modified("stage") and ctx.data.get("stage") == "closed_won":
        record = ctx.previous_data or {}
        await ctx.api.create(
            "task",
            {
                "subject": f"Welcome {record.get('name')}",
                "opportunity": ctx.id,
                "priority": "high",
            },
        )
