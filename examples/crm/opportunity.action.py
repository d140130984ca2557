"""The actions of opportunities."""

from __future__ import annotations

from typing import Any

from objectql.plugins.hooks import ActionContext, HookAbort


async def close_won(ctx: ActionContext, params: dict[str, Any]) -> dict[str, Any]:
    """Win the opportunity: the stage changes, and the final amount replaces the estimate."""
    record = await ctx.api.get("opportunity", str(ctx.id))
    if record["stage"] not in {"proposal", "negotiation"}:
        raise HookAbort(
            "NOT_READY", f"an opportunity in {record['stage']} cannot be won yet", http=409
        )
    changes: dict[str, Any] = {"stage": "closed_won"}
    if params.get("amount") is not None:
        changes["amount"] = params["amount"]
    if params.get("note"):
        changes["next_step"] = params["note"]
    won = await ctx.api.update("opportunity", str(ctx.id), changes)
    return {"id": won["id"], "stage": won["stage"], "amount": won["amount"]}
