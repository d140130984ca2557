/** A write that waits; everything that is needed to send it, now or after the page was loaded anew. */
export interface Entry {
  /** The idempotency key, which also tells entries apart. */
  readonly key: string;
  readonly method: "POST" | "PATCH" | "DELETE";
  readonly path: string;
  readonly body?: unknown;
  readonly headers: Readonly<Record<string, string>>;
  /** When it was first sent, in Unix ms; what came of it may be unknown. */
  readonly triedAt?: number;
}

/** Where writes wait, in the order in which they came. One store belongs to one user of one cluster. */
export interface OutboxStore {
  load(): Promise<readonly Entry[]>;
  /** Keep `entry` behind all others, or in the place of the one with its key; durably when it resolves. */
  put(entry: Entry): Promise<void>;
  /** Forget the entry with this key, if there is one. */
  remove(key: string): Promise<void>;
}

export class MemoryStore implements OutboxStore {
  readonly #entries = new Map<string, Entry>();

  async load(): Promise<readonly Entry[]> {
    return [...this.#entries.values()];
  }
  async put(entry: Entry): Promise<void> {
    this.#entries.set(entry.key, entry);
  }
  async remove(key: string): Promise<void> {
    this.#entries.delete(key);
  }
}

/**
 * In `localStorage` below `name`: for few and small writes, as it holds some MB in all.
 *
 * Each entry has an item of its own, so that pages which are open at the same time take nothing from
 * each other.
 */
export class LocalStore implements OutboxStore {
  constructor(
    private readonly name: string,
    private readonly storage: Storage = globalThis.localStorage,
  ) {}

  async load(): Promise<readonly Entry[]> {
    return this.#items().map((item) => JSON.parse(this.storage.getItem(item) ?? "") as Entry);
  }

  async put(entry: Entry): Promise<void> {
    const items = this.#items();
    const last = Number(
      items
        .at(-1)
        ?.slice(this.name.length + 1)
        .split("/")[0] ?? 0,
    );
    const number = String(last + 1).padStart(12, "0");
    const known = items.find((item) => item.endsWith(`/${entry.key}`));
    this.storage.setItem(known ?? `${this.name}/${number}/${entry.key}`, JSON.stringify(entry));
  }

  async remove(key: string): Promise<void> {
    const known = this.#items().find((item) => item.endsWith(`/${key}`));
    if (known !== undefined) this.storage.removeItem(known);
  }

  /** `<name>/<number>/<key>`, in order. */
  #items(): string[] {
    const all = Array.from({ length: this.storage.length }, (_, n) => this.storage.key(n) ?? "");
    return all.filter((item) => item.startsWith(`${this.name}/`)).sort();
  }
}
