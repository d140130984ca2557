"""Opens the accounts of the bank: 500 with 1,000 each in either of its two databases.

Run again it opens only what is missing; money that was moved stays where it is.
"""

from __future__ import annotations

from typing import Annotated

import httpx
import typer
from examples.loading import Row, count, run, send

ACCOUNTS = 500
OPENING_BALANCE = 1000
SIDES = {"east_account": "e", "west_account": "w"}
"""The objects, and what the ids of their accounts begin with."""

TOTAL = len(SIDES) * ACCOUNTS * OPENING_BALANCE
"""The money in the bank, however it is moved."""


def accounts(prefix: str) -> list[Row]:
    """The accounts of one side as they are opened."""
    return [
        {"id": f"{prefix}{number}", "owner": f"Owner {number}", "balance": OPENING_BALANCE}
        for number in range(ACCOUNTS)
    ]


async def load(client: httpx.AsyncClient) -> None:
    """Open the accounts that are missing."""
    for name, prefix in SIDES.items():
        if await count(client, name) < ACCOUNTS:
            await send(client, name, accounts(prefix))


def main(
    url: Annotated[
        str, typer.Option(envvar="OQL_REST_URL", help="REST gateway")
    ] = "http://127.0.0.1:8080",
    token: Annotated[str, typer.Option(envvar="OQL_ADMIN_TOKEN", help="A token of an admin")] = "",
) -> None:
    """Open 500 accounts of 1,000 each on both sides."""
    run(load, url=url, token=token)


if __name__ == "__main__":
    typer.run(main)
