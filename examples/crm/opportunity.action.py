"""The actions of opportunities."""

from __future__ import annotations

from typing import Any

from objectql.kernel.actions import ActionContext


async def close_won(ctx: ActionContext) -> dict[str, Any]:
    """Win the opportunity: the stage changes, and the final amount replaces the estimate."""
    record = ctx.record or {}
    if record["stage"] not in {"proposal", "negotiation"}:
        ctx.abort(
            f"an opportunity in {record['stage']} cannot be won yet", code="NOT_READY", http=409
        )
    changes: dict[str, Any] = {"stage": "closed_won"}
    if ctx.input.get("amount") is not None:
        changes["amount"] = ctx.input["amount"]
    if ctx.input.get("note"):
        changes["next_step"] = ctx.input["note"]
    won = await ctx.api.update("opportunity", str(ctx.id), changes)
    return {"id": won["id"], "stage": won["stage"], "amount": won["amount"]}
