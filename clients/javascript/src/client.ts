import { PATIENCE, type Patience } from "./backoff.js";
import { credentialsOf, type Given } from "./credentials.js";
import { Live, type LiveOptions } from "./live.js";
import { Outbox } from "./outbox.js";
import type {
  CreateOf,
  ObjectName,
  Page,
  Query,
  RecordOf,
  Schema,
  Untyped,
  UpdateOf,
  Where,
} from "./schema.js";
import { type Socket, type SocketFactory, Sockets } from "./sockets.js";
import { MemoryStore, type OutboxStore } from "./stores.js";
import { TIMES, type Times, Transport } from "./transport.js";

export interface ClientOptions {
  /** A token or API key, a function that fetches a token whenever one is needed, or a `SignIn`. */
  credentials: Given;
  /** The WebSocket gateway; by default `/ws` beside the REST gateway. */
  liveUrl?: string;
  times?: Partial<Times>;
  /** The pauses between attempts. */
  patience?: Patience;
  /** Where writes wait that are to survive being offline; by default in memory. */
  store?: OutboxStore;
  fetch?: typeof globalThis.fetch;
  /** Of the package `ws`, where the platform has none (Node 20). */
  WebSocket?: new (
    url: string,
  ) => unknown;
}

/** What names a write, and what it expects. */
export interface WriteOptions {
  /** The version that the record must have. */
  ifVersion?: number;
  /** The idempotency key; by default each call has its own. */
  key?: string;
}

/** `{$ref: n}` is the id of the n-th operation's record, `{$inc: n}` adds to a number. */
export interface Operation {
  object: string;
  action: "create" | "update" | "upsert" | "delete";
  id?: string | { $ref: number };
  data?: object;
  if_version?: number;
}

export interface Transaction {
  id: string;
  state: "active" | "in_doubt" | "committed" | "aborted";
}

export interface LiveQuery<R> {
  where?: Where<R>;
  fields?: readonly (keyof R & string)[];
  record?: string;
  mode?: "changes" | "live";
}

/**
 * Talks to one cluster, as one caller.
 *
 * Everything may throw an `ObjectQLError`. What may help against one by itself, this does: it sends
 * again, with pauses, what is safe to send again, fetches a fresh token, and connects anew.
 */
export class Client<S extends Schema<S> = Untyped> {
  /** Writes that are kept, and sent in order, until a gateway takes them. */
  readonly outbox: Outbox<S>;
  readonly #transport: Transport;
  readonly #sockets: Sockets;
  readonly #online = () => {
    this.#sockets.hurry();
    this.outbox.hurry();
  };

  constructor(url: string, options: ClientOptions) {
    const who = credentialsOf(options.credentials);
    const patience = options.patience ?? PATIENCE;
    const times = { ...TIMES, ...options.times };
    this.#transport = new Transport(url, who, times, patience, options.fetch);
    const liveUrl = options.liveUrl ?? `${url.replace(/^http/, "ws").replace(/\/+$/, "")}/ws`;
    const open = factory(options.WebSocket);
    this.#sockets = new Sockets(liveUrl, who, this.#transport.post, patience, open);
    const store = options.store ?? new MemoryStore();
    this.outbox = new Outbox<S>(this.#transport, store, patience);
    globalThis.addEventListener?.("online", this.#online);
  }

  /** Close the socket; live queries that are open fail, and what waits in the outbox stays there. */
  close(): void {
    globalThis.removeEventListener?.("online", this.#online);
    this.outbox.close();
    this.#sockets.close();
  }

  // --- reading ---

  get<O extends ObjectName<S>>(
    object: O,
    id: string,
    asked: { fields?: readonly (keyof RecordOf<S, O> & string)[]; expand?: readonly string[] } = {},
  ): Promise<RecordOf<S, O>> {
    const query = new URLSearchParams();
    if (asked.fields) query.set("$select", asked.fields.join(","));
    if (asked.expand) query.set("$expand", asked.expand.join(","));
    const text = query.size > 0 ? `?${query}` : "";
    return this.#transport.read({ method: "GET", path: path(object, id) + text });
  }

  /** One page of the records that match. */
  async query<O extends ObjectName<S>>(
    object: O,
    query: Query<RecordOf<S, O>> = {},
  ): Promise<Page<RecordOf<S, O>>> {
    interface Answer {
      items: RecordOf<S, O>[];
      meta: { has_next: boolean; next?: string; total?: number };
    }
    const request = { method: "POST", path: `${path(object)}/query`, body: query };
    const { items, meta } = await this.#transport.read<Answer>(request);
    const { has_next: hasNext, next, total } = meta;
    return {
      items,
      hasNext,
      ...(next !== undefined && { next }),
      ...(total !== undefined && { total }),
    };
  }

  /** All records that match, page after page, each once. */
  async *queryAll<O extends ObjectName<S>>(
    object: O,
    query: Query<RecordOf<S, O>> = {},
  ): AsyncGenerator<RecordOf<S, O>, void, undefined> {
    let page = await this.query(object, query);
    yield* page.items;
    while (page.next !== undefined) {
      page = await this.query(object, { ...query, after: page.next });
      yield* page.items;
    }
  }

  /** The groups that a query with `groupBy` and `aggregations` asks for. */
  async aggregate<G = Record<string, unknown>>(
    object: ObjectName<S>,
    query: object,
  ): Promise<readonly G[]> {
    const request = { method: "POST", path: `${path(object)}/aggregate`, body: query };
    return (await this.#transport.read<{ items: G[] }>(request)).items;
  }

  // --- writing ---

  create<O extends ObjectName<S>>(
    object: O,
    data: CreateOf<S, O>,
    { key }: Pick<WriteOptions, "key"> = {},
  ): Promise<RecordOf<S, O>> {
    return this.#transport.write({ method: "POST", path: path(object), body: data }, key);
  }

  /** The record after the change of the fields in `data`. */
  update<O extends ObjectName<S>>(
    object: O,
    id: string,
    data: UpdateOf<S, O>,
    options: WriteOptions = {},
  ): Promise<RecordOf<S, O>> {
    const headers = ifMatch(options);
    const request = { method: "PATCH", path: path(object, id), body: data, headers };
    return this.#transport.write(request, options.key);
  }

  async delete(object: ObjectName<S>, id: string, options: WriteOptions = {}): Promise<void> {
    const request = { method: "DELETE", path: path(object, id), headers: ifMatch(options) };
    await this.#transport.write(request, options.key);
  }

  /** What became of `operations`, all or none if `atomic`. */
  batch(
    operations: readonly Operation[],
    options: { atomic?: boolean; isolation?: string; key?: string } = {},
  ): Promise<{ results: Record<string, unknown>[]; transaction?: Transaction }> {
    const { key, ...more } = options;
    const body = { operations, ...more };
    return this.#transport.write({ method: "POST", path: "/api/batch", body }, key);
  }

  /** How the transaction of a batch stands: what was in doubt is settled by and by. */
  transaction(id: string): Promise<Transaction> {
    const where = `/api/transactions/${encodeURIComponent(id)}`;
    return this.#transport.read<Transaction>({ method: "GET", path: where });
  }

  /** What an action returns, of a record if `id` is given. */
  act<T = unknown>(
    object: ObjectName<S>,
    action: string,
    parameters: object = {},
    { id, key }: { id?: string; key?: string } = {},
  ): Promise<T> {
    const where = `${path(object, id)}/actions/${encodeURIComponent(action)}`;
    return this.#transport.write({ method: "POST", path: where, body: parameters }, key);
  }

  // --- hearing ---

  /** A live query: `for await (const told of client.live("account", {}, {snapshot: true}))`. */
  live<O extends ObjectName<S>>(
    object: O,
    query: LiveQuery<RecordOf<S, O>> = {},
    options: LiveOptions = {},
  ): Live<RecordOf<S, O>> {
    return new Live<RecordOf<S, O>>(this.#sockets, { ...query, object }, options);
  }
}

export function path(object: string, id?: string): string {
  const base = `/api/${encodeURIComponent(object)}`;
  return id === undefined ? base : `${base}/${encodeURIComponent(id)}`;
}

export function ifMatch({ ifVersion }: WriteOptions): Record<string, string> {
  return ifVersion === undefined ? {} : { "If-Match": `"${ifVersion}"` };
}

function factory(given: ClientOptions["WebSocket"]): SocketFactory {
  return (url) => {
    const Given = given ?? globalThis.WebSocket;
    if (Given === undefined) throw new Error("this platform has no WebSocket: pass one");
    return new Given(url) as Socket;
  };
}
