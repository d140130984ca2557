/** A write that waits; everything that is needed to send it, now or after the page was loaded anew. */
export interface Entry {
  /** The idempotency key, which also tells entries apart. */
  readonly key: string;
  readonly method: "POST" | "PATCH" | "DELETE";
  readonly path: string;
  readonly body?: unknown;
  readonly headers: Readonly<Record<string, string>>;
  /** When it was first sent without an answer, in Unix ms. */
  readonly triedAt?: number;
}

/** Where writes wait, in their order. One store belongs to one user of one cluster. */
export interface OutboxStore {
  load(): Promise<readonly Entry[]>;
  /** Keep `entries`, in place of what was kept; durably when it resolves. */
  save(entries: readonly Entry[]): Promise<void>;
}

export class MemoryStore implements OutboxStore {
  #entries: readonly Entry[] = [];
  load(): Promise<readonly Entry[]> {
    return Promise.resolve(this.#entries);
  }
  save(entries: readonly Entry[]): Promise<void> {
    this.#entries = entries;
    return Promise.resolve();
  }
}

/** In `localStorage` under `name`: for few and small writes, as it holds some MB in all. */
export class LocalStore implements OutboxStore {
  constructor(
    private readonly name: string,
    private readonly storage: Pick<Storage, "getItem" | "setItem"> = globalThis.localStorage,
  ) {}
  load(): Promise<readonly Entry[]> {
    const text = this.storage.getItem(this.name);
    return Promise.resolve(text === null ? [] : (JSON.parse(text) as Entry[]));
  }
  save(entries: readonly Entry[]): Promise<void> {
    this.storage.setItem(this.name, JSON.stringify(entries));
    return Promise.resolve();
  }
}
