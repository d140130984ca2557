import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { WebSocket, WebSocketServer } from "ws";
import type { Credentials } from "../../src/credentials.js";
import { credentialsOf } from "../../src/credentials.js";
import { type Socket, Sockets } from "../../src/sockets.js";

type Frame = Record<string, unknown>;

/** One socket of a client, as the gateway sees it. */
export class Peer {
  readonly #heard: Frame[] = [];
  #wake: () => void = () => {};
  token = "";

  constructor(private readonly socket: WebSocket) {
    socket.on("message", (data) => {
      this.#heard.push(JSON.parse(String(data)));
      this.#wake();
    });
  }

  async hear(): Promise<Frame> {
    for (;;) {
      const frame = this.#heard.shift();
      if (frame) return frame;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  say(frame: Frame): void {
    this.socket.send(JSON.stringify(frame));
  }

  close(code: number): void {
    this.socket.close(code);
  }

  /** Hear who it is, and believe it. */
  async ready(): Promise<void> {
    this.token = String((await this.hear()).token);
    this.say({ type: "ready" });
  }

  /** Hear a subscription and confirm it. */
  async subscribed(cursor: string, more: Frame = {}): Promise<Frame> {
    const asked = await this.hear();
    this.say({ type: "subscribed", sub: asked.id, cursor, ...more });
    return asked;
  }

  created(sub: unknown, id: string, cursor: string): void {
    this.say({ type: "created", object: "note", sub, cursor, data: { id } });
  }
}

/** Live queries on a gateway that plays a script for each socket, the last one again and again. */
export async function withGateway(
  scripts: ((peer: Peer) => Promise<void>)[],
  work: (sockets: Sockets) => Promise<void>,
  credentials: Credentials = credentialsOf("t"),
): Promise<void> {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  const failures: unknown[] = [];
  server.on("connection", (socket) => {
    const script = scripts.length > 1 ? scripts.shift() : scripts[0];
    script?.(new Peer(socket)).catch((error) => failures.push(error));
  });
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const sockets = new Sockets(
    `ws://127.0.0.1:${port}/ws`,
    credentials,
    () => Promise.reject(new Error("nothing was to be posted")),
    { firstMs: 1, mostMs: 10 },
    (url) => new WebSocket(url) as Socket,
  );
  try {
    await work(sockets);
  } finally {
    sockets.close();
    for (const client of server.clients) client.terminate();
    server.close();
  }
  if (failures.length > 0) throw failures[0];
}
