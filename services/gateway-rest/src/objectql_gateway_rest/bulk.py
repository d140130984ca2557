"""Many writes in one request: `/api/{object}/bulk`, `/api/batch`, `/api/transactions/{id}`."""

from __future__ import annotations

from objectql.service.data.batches import BatchBody, batch_json, transaction_json
from objectql.service.data.bulk import BulkBody, bulk_json
from objectql.wire.messages import BatchReply, BulkReply
from objectql.wire.transactions import TransactionReply, TransactionRequest
from objectql_gateway_rest.asgi import Response
from objectql_gateway_rest.call import Call
from objectql_gateway_rest.routes import Route


async def bulk(call: Call, object: str) -> Response:
    body = await call.decode(BulkBody)
    request = body.request(object, most=call.services.limits.bulk_records)
    return Response(bulk_json(await call.write("bulk", request, BulkReply)))


async def batch(call: Call) -> Response:
    body = await call.decode(BatchBody)
    return await run_batch(call, body, with_transaction=True)


async def run_batch(call: Call, body: BatchBody, *, with_transaction: bool) -> Response:
    """The results in order; a batch in doubt answers 202 and where to ask again."""
    request = body.request(most=call.services.limits.bulk_records)
    reply = await call.write("batch", request, BatchReply)
    text = batch_json(body, reply, with_transaction=with_transaction)
    if reply.state != "in_doubt":
        return Response(text)
    location = (b"location", f"/api/transactions/{reply.transaction_id}".encode())
    return Response(text, status=202, headers=[location])


async def transaction(call: Call, id: str) -> Response:
    reply = await call.read("transaction", TransactionRequest(id), TransactionReply)
    return Response(transaction_json(reply))


ROUTES = (
    Route("POST", "/api/{object}/bulk", bulk),
    Route("POST", "/api/batch", batch),
    Route("GET", "/api/transactions/{id}", transaction),
)
