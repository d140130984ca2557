"""The client for Python programs: REST, batches and live queries, asynchronous.

    async with Client("http://127.0.0.1:8080", token) as client:
        await client.create("account", {"name": "Acme"})
        async for told in client.live("account", {"industry": "energy"}, snapshot=True):
            ...

Reading order: `client` (everything a program calls), `operations` (of batches), `changes` (what live
queries tell), `grpc` (the same over gRPC, with streams); then how it is done: `repeating` (calls,
repeated safely), `transport`, `written` (reading one's own writes), `credentials`, `problems`, `live`
and `sockets`, `backoff`. It needs the extra `client` of the package, and nothing of the engine but its
errors and messages.
"""

from objectql.client.backoff import Patience
from objectql.client.changes import Change, Commit, Missed, Record, Snapshot, Told, apply
from objectql.client.client import Client, Page
from objectql.client.credentials import Credentials, SignIn
from objectql.client.live import Live
from objectql.client.operations import BatchResult, Transaction
from objectql.client.repeating import Times

__all__ = [
    "BatchResult",
    "Change",
    "Client",
    "Commit",
    "Credentials",
    "Live",
    "Missed",
    "Page",
    "Patience",
    "Record",
    "SignIn",
    "Snapshot",
    "Times",
    "Told",
    "Transaction",
    "apply",
]
