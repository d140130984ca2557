// The services of one gateway, from the .proto files that `objectql proto generate --out proto` has written.

import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

// Repeats what nobody has answered. Writes are safe with an `idempotency-key`: what is asked is done once.
const SERVICE_CONFIG = JSON.stringify({
  loadBalancingConfig: [{ round_robin: {} }],
  methodConfig: [
    {
      name: [{}],
      retryPolicy: {
        maxAttempts: 5,
        initialBackoff: "0.1s",
        maxBackoff: "2s",
        backoffMultiplier: 2,
        retryableStatusCodes: ["UNAVAILABLE"],
      },
    },
  ],
});

/** A client of the service `name` (`objectql.app.v1.FlightService`), as the caller whom `token` stands for. */
export function connect({ target, token, protos, file, name }) {
  const definition = protoLoader.loadSync(file, {
    includeDirs: [protos],
    keepCase: true, // `dep_time`, as everywhere else
    longs: String, // 64 bits are more than a number of JavaScript holds
    enums: String,
    oneofs: false,
  });
  const Service = name.split(".").reduce((found, part) => found[part], grpc.loadPackageDefinition(definition));
  const client = new Service(target, grpc.credentials.createInsecure(), { "grpc.service_config": SERVICE_CONFIG });
  const metadata = (told = {}) => {
    const made = new grpc.Metadata();
    for (const [key, value] of Object.entries({ authorization: `Bearer ${token}`, ...told })) made.set(key, value);
    return made;
  };
  return {
    /** The answer of a unary method, within `seconds`. */
    call: (method, request, { seconds = 10, told } = {}) =>
      new Promise((resolve, reject) => {
        const deadline = Date.now() + seconds * 1000;
        client[method](request, metadata(told), { deadline }, (error, answer) => (error ? reject(error) : resolve(answer)));
      }),
    /** The messages of a stream; whoever leaves the loop cancels it. */
    async *stream(method, request) {
      const call = client[method](request, metadata());
      try {
        yield* call;
      } finally {
        call.cancel();
      }
    },
    close: () => client.close(),
  };
}
