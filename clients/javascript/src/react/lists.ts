import { apply, type Told } from "../changes.js";

/** Records as a component sees them. `records` are those of before while they are read again. */
export interface ListState<R> {
  readonly records: readonly R[] | undefined;
  readonly error: unknown;
  readonly isLoading: boolean;
}

const EMPTY = { records: undefined, error: undefined, isLoading: true };

/** What `useSyncExternalStore` needs: work begins with the first listener, and ends with the last. */
abstract class List<R> {
  #state: ListState<R> = EMPTY;
  readonly #listeners = new Set<() => void>();

  readonly getState = (): ListState<R> => this.#state;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    if (this.#listeners.size === 1) this.start();
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) this.stop();
    };
  };

  protected abstract start(): void;
  protected abstract stop(): void;

  protected set(change: Partial<ListState<R>>): void {
    this.#state = { ...this.#state, ...change };
    for (const listener of this.#listeners) listener();
  }
}

/** The records of one question, read when it is first asked and whenever `refetch` is called. */
export class QueryList<R> extends List<R> {
  #latest: object | undefined;
  #lookAway: () => void = () => {};

  /** `look` is called with `refetch` while somebody looks at the records; what it answers ends that. */
  constructor(
    private readonly read: () => Promise<readonly R[]>,
    private readonly look: (refetch: () => Promise<void>) => () => void,
  ) {
    super();
  }

  /** Resolves when the records are those of now, or an error. */
  readonly refetch = async (): Promise<void> => {
    const mine = {};
    this.#latest = mine;
    const isLatest = () => this.#latest === mine;
    this.set({ isLoading: true });
    try {
      const records = await this.read();
      if (isLatest()) this.set({ records, error: undefined, isLoading: false });
    } catch (error) {
      if (isLatest()) this.set({ error, isLoading: false });
    }
  };

  protected start(): void {
    this.#lookAway = this.look(this.refetch);
    void this.refetch();
  }

  protected stop(): void {
    this.#lookAway();
    this.#latest = undefined;
  }
}

/** What is used of a `Live`. */
export interface Telling<R> extends AsyncIterable<Told<R>> {
  close(): void;
}

/** The records that match, sorted by id, current after every commit. */
export class LiveList<R extends { id: string }> extends List<R> {
  #live: Telling<R> | undefined;

  constructor(
    private readonly open: () => Telling<R>,
    private readonly heard: () => void,
  ) {
    super();
  }

  protected start(): void {
    const live = this.open();
    this.#live = live;
    void this.#follow(live);
  }

  protected stop(): void {
    this.#live?.close();
    this.#live = undefined;
  }

  async #follow(live: Telling<R>): Promise<void> {
    const known = new Map<string, R>();
    try {
      for await (const told of live) {
        apply(told, known);
        if (this.#live !== live) return;
        const records = [...known.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
        this.set({ records, error: undefined, isLoading: false });
        this.heard();
      }
    } catch (error) {
      if (this.#live === live) this.set({ error, isLoading: false });
    }
  }
}
