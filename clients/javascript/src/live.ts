import { type Change, changeOf, type EventFrame, type Told } from "./changes.js";

/** Items that wait to be taken before the server is asked to keep the rest. */
export const WAITING = 1000;

/** What a live query needs of its connection, see `sockets.ts`. */
export interface Connection {
  add(live: Live): void;
  remove(live: Live): void;
  askAgain(live: Live): void;
}

export interface Question {
  readonly object: string;
  readonly where?: unknown;
  readonly fields?: readonly string[];
  /** The id, for one record only. */
  readonly record?: string;
  /** `changes` tells every change, `live` the latest of each record. */
  readonly mode?: "changes" | "live";
}

export interface LiveOptions {
  /** Tell the records that match now first, and again if something was missed. */
  readonly snapshot?: boolean;
  /** The `cursor` of an earlier live query with the same question: go on behind it. */
  readonly since?: string;
}

type Subscribed = { type: "subscribed"; cursor: string; items?: Told[] };
type Batch = { type: "batch"; events: EventFrame[]; cursor: string };
export type HeardFrame = Subscribed | Batch | EventFrame;

/**
 * One live query: what it asks for, how far it was told, what waits to be taken.
 *
 * It outlives its sockets. Whatever socket it is told over, it continues behind the last cursor that
 * it took in, so that nothing is missed and nothing told twice. Taking throws what ended the query:
 * an error that no repetition helps against.
 */
export class Live<R = unknown> implements AsyncIterableIterator<Told<R>> {
  /** Resolves when everything that is written from then on will be told. */
  readonly ready: Promise<void>;
  readonly #waiting: Told[] = [];
  #takers: { resolve: () => void; reject: (error: unknown) => void }[] = [];
  #settleReady: { resolve: () => void; reject: (error: unknown) => void };
  #missed: string | undefined;
  #error: unknown;
  #isOver = false;
  #cursor: string | undefined;

  constructor(
    private readonly connection: Connection,
    private readonly question: Question,
    private readonly options: LiveOptions = {},
  ) {
    this.#cursor = options.since;
    this.#settleReady = { resolve: () => {}, reject: () => {} };
    this.ready = new Promise<void>((resolve, reject) => {
      this.#settleReady = { resolve, reject };
    });
    this.ready.catch(() => {}); // whoever takes is told
    connection.add(this as Live);
  }

  /** Behind what was taken last; another client may go on from here with `since`. */
  get cursor(): string | undefined {
    return this.#cursor;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Told<R>, undefined>> {
    while (this.#waiting.length === 0) {
      if (this.#isOver) return { done: true, value: undefined };
      if (this.#error !== undefined) throw this.#error;
      await new Promise<void>((resolve, reject) => this.#takers.push({ resolve, reject }));
    }
    const told = this.#waiting.shift() as Told<R>;
    this.#cursor = told.cursor;
    if (this.#waiting.length === 0) this.connection.askAgain(this as Live);
    return { done: false, value: told };
  }

  /** Hear no more; the end of a `for await` does it too. */
  return(): Promise<IteratorResult<Told<R>, undefined>> {
    this.close();
    return Promise.resolve({ done: true, value: undefined });
  }

  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#waiting.length = 0;
    this.connection.remove(this as Live);
    this.#wake();
  }

  // --- for the connection ---

  /** Whether so much waits that nothing more may be told. */
  get isFull(): boolean {
    return this.#waiting.length >= WAITING;
  }

  /** The frame that asks for what is still to be told, without its type and name. */
  request(): Record<string, unknown> {
    const heard = this.#waiting.at(-1)?.cursor ?? this.#cursor;
    if (heard !== undefined && this.#missed === undefined) return { ...this.question, from: heard };
    return { ...this.question, ...(this.options.snapshot && { snapshot: true }) };
  }

  /** Take in an answer or an event of the server's. */
  take(frame: HeardFrame): void {
    if (frame.type === "batch") {
      const changes: Change[] = frame.events.map(changeOf);
      this.#tell({ kind: "commit", changes, cursor: frame.cursor });
    } else if (frame.type !== "subscribed") {
      this.#tell(changeOf(frame));
    } else {
      this.#begin(frame);
    }
  }

  #begin({ items, cursor }: { cursor: string; items?: unknown[] }): void {
    const reason = this.#missed;
    this.#missed = undefined;
    if (items) {
      this.#tell({ kind: "snapshot", items, cursor, ...(reason && { reason }) } as Told);
    } else if (reason !== undefined) {
      this.#tell({ kind: "missed", reason, cursor });
    } else if (this.#waiting.length === 0) {
      this.#cursor = cursor;
    }
    this.#settleReady.resolve();
  }

  /** Something was missed: what is told next says so. */
  lose(reason: string): void {
    this.#missed = reason;
  }

  /** End with `error`, after what waits was taken. */
  fail(error: unknown): void {
    this.#error = error;
    this.#settleReady.reject(error);
    this.#wake();
  }

  #tell(told: Told): void {
    if (this.#isOver) return;
    this.#waiting.push(told);
    this.#wake();
  }

  #wake(): void {
    const takers = this.#takers;
    this.#takers = [];
    for (const taker of takers) taker.resolve();
  }
}
