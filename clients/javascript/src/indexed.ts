import type { Entry, OutboxStore } from "./stores.js";

const ENTRIES = "entries";
const BY_KEY = "key";

/**
 * In IndexedDB below `name`: room for as many writes as the browser gives a site.
 *
 * Pages that are open at the same time share it; each step is a transaction, so they take nothing from
 * each other. A write is on the disk when `put` resolves, as far as the browser knows.
 */
export class IndexedStore implements OutboxStore {
  #opening: Promise<IDBDatabase> | undefined;

  constructor(
    private readonly name: string,
    private readonly factory: IDBFactory = globalThis.indexedDB,
  ) {}

  load(): Promise<readonly Entry[]> {
    return this.#step("readonly", (entries) => answer<Entry[]>(entries.getAll()));
  }

  async put(entry: Entry): Promise<void> {
    await this.#step("readwrite", async (entries) => {
      const known = await answer(entries.index(BY_KEY).getKey(entry.key));
      await answer(entries.put(entry, known)); // without a number it gets the next one
    });
  }

  async remove(key: string): Promise<void> {
    await this.#step("readwrite", async (entries) => {
      const known = await answer(entries.index(BY_KEY).getKey(key));
      if (known !== undefined) await answer(entries.delete(known));
    });
  }

  /** What `work` answers, once all that it did is kept; it may wait for nothing but the store. */
  async #step<T>(
    mode: IDBTransactionMode,
    work: (entries: IDBObjectStore) => Promise<T>,
  ): Promise<T> {
    const database = await this.#open();
    const transaction = database.transaction(ENTRIES, mode, { durability: "strict" });
    const done = new Promise<void>((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error);
    });
    const [found] = await Promise.all([work(transaction.objectStore(ENTRIES)), done]);
    return found;
  }

  #open(): Promise<IDBDatabase> {
    this.#opening ??= new Promise<IDBDatabase>((resolve, reject) => {
      const request = this.factory.open(this.name, 1);
      request.onupgradeneeded = () => {
        const entries = request.result.createObjectStore(ENTRIES, { autoIncrement: true });
        entries.createIndex(BY_KEY, "key", { unique: true });
      };
      request.onsuccess = () => {
        const database = request.result;
        const forget = () => {
          this.#opening = undefined;
        };
        database.onclose = forget; // the browser may take it away, as when a user clears a site
        database.onversionchange = () => {
          database.close();
          forget();
        };
        resolve(database);
      };
      request.onerror = () => {
        this.#opening = undefined;
        reject(request.error);
      };
    });
    return this.#opening;
  }
}

function answer<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
