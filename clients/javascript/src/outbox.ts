import { Backoff, type Patience, pause } from "./backoff.js";
import { ifMatch, path, type WriteOptions } from "./client.js";
import { ObjectQLError, outcomeUnknown } from "./errors.js";
import { newId } from "./ids.js";
import type { CreateOf, ObjectName, Schema, Untyped, UpdateOf } from "./schema.js";
import type { Entry, OutboxStore } from "./stores.js";
import type { Transport } from "./transport.js";

/** For less than the 24 hours that the cluster remembers idempotency keys. */
export const REPEATABLE_MS = 23 * 60 * 60 * 1000;

/** What becomes of writes. */
export interface OutboxListener {
  /** It was done; `answer` is the record. */
  sent?(entry: Entry, answer: unknown): void;
  /** It will never be done, or nobody can tell whether it was (`OUTCOME_UNKNOWN`). */
  refused?(entry: Entry, error: ObjectQLError): void;
  /** What waits is another now. */
  changed?(waiting: readonly Entry[]): void;
  /** Nothing is sent until `flush`: credentials are missing, or the store fails. */
  stopped?(error: unknown): void;
}

/**
 * Writes that are kept in a store, and sent one after the other, until a gateway takes them.
 *
 * A write that is refused is taken out and told of; those behind it are sent nevertheless. Each has
 * its idempotency key from the start, so that it is done once, whatever breaks in between.
 */
export class Outbox<S extends Schema<S> = Untyped> {
  #waiting: readonly Entry[] = [];
  #loaded: Promise<void> | undefined;
  #sending: Promise<void> | undefined;
  #again = false;
  readonly #listeners = new Set<OutboxListener>();
  readonly #closed = new AbortController();
  #hurry = new AbortController();

  constructor(
    private readonly transport: Transport,
    private readonly store: OutboxStore,
    private readonly patience: Patience,
    private readonly now: () => number = Date.now,
  ) {}

  /** What waits, in order, as far as this page knows. */
  get waiting(): readonly Entry[] {
    return this.#waiting;
  }

  /** Tell `listener` what becomes of writes; the answer ends that. */
  listen(listener: OutboxListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Keep a creation; resolves with the record's id, which writes behind it may name. */
  async create<O extends ObjectName<S>>(object: O, data: CreateOf<S, O>): Promise<string> {
    const body: object & { id?: string } = { id: newId(), ...data };
    await this.#keep({ method: "POST", path: path(object), body, headers: {} });
    return body.id as string;
  }

  update<O extends ObjectName<S>>(
    object: O,
    id: string,
    data: UpdateOf<S, O>,
    options: Pick<WriteOptions, "ifVersion"> = {},
  ): Promise<void> {
    const headers = ifMatch(options);
    return this.#keep({ method: "PATCH", path: path(object, id), body: data, headers });
  }

  delete(
    object: ObjectName<S>,
    id: string,
    options: Pick<WriteOptions, "ifVersion"> = {},
  ): Promise<void> {
    return this.#keep({ method: "DELETE", path: path(object, id), headers: ifMatch(options) });
  }

  /** Send what waits, also what an earlier page has kept; resolves when nothing can be sent now. */
  async flush(): Promise<void> {
    this.hurry();
    this.#again = true;
    this.#sending ??= this.#run();
    await this.#sending;
  }

  /** The network is back: do not wait any longer. */
  hurry(): void {
    this.#hurry.abort();
  }

  close(): void {
    this.#closed.abort();
    this.#hurry.abort();
  }

  /** Resolves when the entry is in the store; sending goes on by itself. */
  async #keep(entry: Omit<Entry, "key">): Promise<void> {
    this.#loaded ??= this.#load();
    await this.#loaded;
    const kept = { ...entry, key: newId() };
    await this.store.put(kept);
    const isLoaded = this.#waiting.some((each) => each.key === kept.key); // a round has begun
    if (!isLoaded) this.#set([...this.#waiting, kept]);
    void this.flush();
  }

  async #load(): Promise<void> {
    this.#set(await this.store.load());
  }

  #set(waiting: readonly Entry[]): void {
    this.#waiting = waiting;
    for (const listener of this.#listeners) listener.changed?.(waiting);
  }

  /** What is kept while the last of a round is sent has a round of its own. */
  async #run(): Promise<void> {
    while (this.#again) {
      this.#again = false;
      await this.#exclusively();
    }
    this.#sending = undefined;
  }

  /** Send, where the browser has locks never in two pages at the same time. */
  async #exclusively(): Promise<void> {
    const { signal } = this.#closed;
    try {
      const locks = (globalThis as { navigator?: Navigator }).navigator?.locks;
      await (locks
        ? locks.request("objectql-outbox", { signal }, () => this.#sendAll())
        : this.#sendAll());
    } catch (error) {
      if (signal.aborted) return;
      for (const listener of this.#listeners) listener.stopped?.(error);
    }
  }

  async #sendAll(): Promise<void> {
    const backoff = new Backoff(this.patience);
    await this.#load(); // another page may have sent what this one knows
    for (let entry = this.#next(); entry; entry = this.#next()) {
      const error = await this.#sendOne(entry);
      if (error === undefined) {
        backoff.succeeded();
        continue;
      }
      this.#hurry = new AbortController();
      if (this.#closed.signal.aborted) return;
      await pause(backoff.failed(error.retryAfterMs), this.#hurry.signal);
    }
  }

  #next(): Entry | undefined {
    return this.#closed.signal.aborted ? undefined : this.#waiting[0];
  }

  /** Why `entry` still waits; throws what stops the sending. */
  async #sendOne(entry: Entry): Promise<ObjectQLError | undefined> {
    if (entry.triedAt === undefined) {
      const tried = { ...entry, triedAt: this.now() };
      await this.store.put(tried);
      this.#set(this.#waiting.map((each) => (each.key === entry.key ? tried : each)));
    } else if (this.now() - entry.triedAt > REPEATABLE_MS) {
      await this.#settle(entry, (listener) => listener.refused?.(entry, outcomeUnknown()));
      return undefined;
    }
    try {
      const answer = await this.transport.write(entry, entry.key);
      await this.#settle(entry, (listener) => listener.sent?.(entry, answer));
    } catch (error) {
      if (!(error instanceof ObjectQLError) || error.code === "UNAUTHENTICATED") throw error;
      if (error.retryable) return error;
      await this.#settle(entry, (listener) => listener.refused?.(entry, error));
    }
    return undefined;
  }

  async #settle(entry: Entry, tell: (listener: OutboxListener) => void): Promise<void> {
    await this.store.remove(entry.key);
    this.#set(this.#waiting.filter((each) => each.key !== entry.key));
    for (const listener of this.#listeners) tell(listener);
  }
}
