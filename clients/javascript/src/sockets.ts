import { Backoff, type Patience, pause } from "./backoff.js";
import type { Credentials, Post } from "./credentials.js";
import { frameError, ObjectQLError } from "./errors.js";
import type { Connection, HeardFrame, Live } from "./live.js";

/** What is used of a `WebSocket`: that of browsers, of Node 22, or of the package `ws`. */
export interface Socket {
  readonly readyState: number;
  onmessage: ((event: { data: unknown }) => void) | null;
  onopen: ((event: never) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  onerror: ((event: never) => void) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}

export type SocketFactory = (url: string) => Socket;

const UNAUTHENTICATED = 4401;
const OPEN_WITHIN_MS = 10_000;
const HEARTBEAT_MS = 20_000;
/** What a socket must last that the next pause is short again. */
const STEADY_MS = 1000;
const HEARD = new Set(["subscribed", "created", "updated", "deleted", "batch"]);

const closed = () => new ObjectQLError("CLIENT_CLOSED", { message: "the client is closed" });

type Frame = Record<string, unknown> & { type: string };

/**
 * The socket of a client: one for all its live queries, made again whenever it breaks.
 *
 * Every subscription has a name of its own each time it is made, so that what an earlier one of the
 * same live query still tells is known to be old.
 */
export class Sockets implements Connection {
  /** With the name of the subscription that tells it now, if one does. */
  readonly #lives = new Map<Live, string | undefined>();
  readonly #byName = new Map<string, Live>();
  /** Of those that the server could not take lately. */
  readonly #pauses = new Map<Live, Backoff>();
  readonly #backoff: Backoff;
  #socket: Socket | undefined;
  #isRunning = false;
  #closed = new AbortController();
  /** Ends a pause between two sockets early. */
  #hurry = new AbortController();
  #names = 0;
  #refusals = 0;
  #waitMs = 0;
  #readyAt = Number.POSITIVE_INFINITY;

  constructor(
    private readonly url: string,
    private readonly credentials: Credentials,
    private readonly post: Post,
    private readonly patience: Patience,
    private readonly open: SocketFactory,
  ) {
    this.#backoff = new Backoff(patience);
  }

  /** Hang up; live queries that are still open fail. */
  close(): void {
    this.#closed.abort();
    this.#giveUp(closed());
    this.#socket?.close(1000);
    this.#hurry.abort();
  }

  /** The network is back: do not wait any longer. */
  hurry(): void {
    this.#hurry.abort();
  }

  add(live: Live): void {
    if (this.#closed.signal.aborted) {
      live.fail(closed());
      return;
    }
    this.#lives.set(live, undefined);
    if (!this.#isRunning) void this.#run();
    this.#subscribe(live);
  }

  remove(live: Live): void {
    if (!this.#lives.has(live)) return;
    this.#unsubscribe(live);
    this.#lives.delete(live);
    this.#pauses.delete(live);
  }

  askAgain(live: Live): void {
    if (!this.#pauses.has(live)) this.#subscribe(live);
  }

  #subscribe(live: Live): void {
    const isToBe = this.#lives.has(live) && this.#lives.get(live) === undefined && !live.isFull;
    if (!isToBe || this.#socket === undefined) return;
    this.#names += 1;
    const name = String(this.#names);
    this.#lives.set(live, name);
    this.#byName.set(name, live);
    this.#send({ type: "subscribe", id: name, ...live.request() });
  }

  #unsubscribe(live: Live): void {
    const name = this.#forget(live);
    if (name !== undefined) this.#send({ type: "unsubscribe", sub: name });
  }

  #forget(live: Live): string | undefined {
    const name = this.#lives.get(live);
    if (name !== undefined) {
      this.#lives.set(live, undefined);
      this.#byName.delete(name);
    }
    return name;
  }

  #giveUp(error: unknown): void {
    for (const live of this.#lives.keys()) live.fail(error);
    this.#lives.clear();
    this.#byName.clear();
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    try {
      while (this.#lives.size > 0 && !this.#closed.signal.aborted) {
        this.#waitMs = 0;
        await this.#serveOnce();
        this.#hurry = new AbortController();
        await pause(this.#backoff.failed(this.#waitMs), this.#hurry.signal);
      }
    } catch (error) {
      this.#giveUp(error);
    } finally {
      this.#isRunning = false;
    }
  }

  /** Tell over one socket until it breaks; throws what no repetition helps against. */
  async #serveOnce(): Promise<void> {
    this.#readyAt = Number.POSITIVE_INFINITY;
    try {
      const token = await this.credentials.token(this.post);
      const code = await this.#converse(token);
      if (Date.now() - this.#readyAt >= STEADY_MS) this.#backoff.succeeded();
      if (code === UNAUTHENTICATED) this.#renew(token);
    } catch (error) {
      if (!(error instanceof ObjectQLError && error.retryable)) throw error;
      this.#waitMs = error.retryAfterMs;
    } finally {
      this.#socket = undefined;
      for (const live of this.#lives.keys()) this.#forget(live);
    }
  }

  #renew(refused: string): void {
    this.#refusals += 1;
    if (this.#refusals > 1 || !this.credentials.renew(refused)) {
      throw new ObjectQLError("UNAUTHENTICATED", { message: "valid credentials are required" });
    }
  }

  /** The code with which the socket was closed; rejects with what was told instead of `ready`. */
  #converse(token: string): Promise<number> {
    return new Promise((resolve, reject) => {
      const socket = this.open(this.url);
      let isAlive = true;
      const forget = () => {
        clearTimeout(patience);
        clearInterval(heart);
        socket.onmessage = socket.onclose = socket.onopen = null;
        socket.onerror = () => {}; // what a socket says that is being closed
      };
      const hangUp = () => {
        forget();
        socket.close();
        resolve(0);
      };
      const patience = setTimeout(hangUp, OPEN_WITHIN_MS);
      // Browsers do not show the server's own pings, nor miss them.
      const heart = setInterval(() => {
        if (!isAlive) {
          hangUp();
        } else if (this.#socket) {
          isAlive = false;
          this.#send({ type: "ping" });
        }
      }, HEARTBEAT_MS);
      socket.onopen = () => socket.send(JSON.stringify({ type: "auth", token }));
      socket.onclose = ({ code }) => {
        forget();
        resolve(code);
      };
      socket.onerror = () => {}; // `close` follows
      socket.onmessage = ({ data }) => {
        isAlive = true;
        const frame = JSON.parse(String(data)) as Frame;
        if (frame.type === "ready") {
          clearTimeout(patience);
          this.#refusals = 0;
          this.#readyAt = Date.now();
          this.#socket = socket;
          for (const live of [...this.#lives.keys()]) this.#subscribe(live);
        } else if (this.#socket) {
          this.#take(frame);
        } else if (frame.type === "error" && frame.code !== "UNAUTHENTICATED") {
          reject(frameError(frame));
          hangUp();
        }
      };
    });
  }

  #take(frame: Frame): void {
    if (frame.type === "closing") this.#waitMs = Number(frame.reconnect_after_ms);
    else if (frame.type === "ping") this.#send({ type: "pong" });
    const live = this.#byName.get(String(frame.sub));
    if (live === undefined) return;
    if (HEARD.has(frame.type)) {
      live.take(frame as unknown as HeardFrame);
      if (frame.type === "subscribed") this.#pauses.delete(live);
      if (live.isFull) this.#unsubscribe(live);
    } else if (frame.type === "resync") {
      this.#forget(live);
      live.lose(String(frame.reason));
      void this.#subscribeLater(live, 0);
    } else if (frame.type === "error") {
      this.#forget(live);
      const error = frameError(frame);
      if (error.retryable) void this.#subscribeLater(live, error.retryAfterMs);
      else live.fail(error);
    }
  }

  async #subscribeLater(live: Live, atLeastMs: number): Promise<void> {
    const pauses = this.#pauses.get(live) ?? new Backoff(this.patience);
    this.#pauses.set(live, pauses);
    await pause(pauses.failed(atLeastMs), this.#closed.signal);
    this.#subscribe(live);
  }

  #send(frame: Frame): void {
    if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify(frame));
  }
}
