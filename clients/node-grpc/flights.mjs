// The flights of the example over gRPC: one record, a page, a stream, an error.
// Usage: OQL_GRPC_TARGET=… OQL_ADMIN_TOKEN=… node flights.mjs proto

import { connect } from "./connect.mjs";

const { OQL_GRPC_TARGET: target, OQL_ADMIN_TOKEN: token } = process.env;
const protos = process.argv[2] ?? "proto";
const flights = connect({
  target,
  token,
  protos,
  file: "objectql/app/v1/flight.proto",
  name: "objectql.app.v1.FlightService",
});

const page = await flights.call("ListFlights", { page_size: 2, filter: "origin eq 'JFK'", order_by: "id" });
console.log("page", page.flights.length, "more:", page.next_page_token !== "");

const flight = await flights.call("GetFlight", { id: page.flights[0].id, read_mask: { paths: ["origin", "dest_code"] } });
console.log("flight from", flight.origin, "to", flight.dest_code);

let count = 0;
const query = { fields: { limit: { numberValue: 1000 } } }; // a google.protobuf.Struct
for await (const part of flights.stream("QueryFlights", { query })) count += part.flights.length;
console.log("streamed", count);

await flights.call("GetFlight", { id: "no-such-flight" }).catch((error) => console.log("refused", error.code, error.details));
flights.close();
