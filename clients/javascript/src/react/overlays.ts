import type { Row } from "../schema.js";

/** What a mutation that is under way makes of a list of records. */
export type Overlay = (records: readonly Row[]) => readonly Row[];

/** How long a list may take to hear of a mutation that has succeeded. */
const HEARD_WITHIN_MS = 1000;

interface Entry {
  readonly object: string;
  readonly overlay: Overlay;
  isDone: boolean;
}

/**
 * The mutations under way, laid over every list of their object.
 *
 * One that fails is taken away, which is the whole rollback: what lies beneath was never touched.
 * One that succeeds stays until a list has heard of it, so that nothing flickers.
 */
export class Overlays {
  #entries: readonly Entry[] = [];
  readonly #listeners = new Set<() => void>();

  /** Changes whenever `over` may answer something else. */
  get state(): readonly unknown[] {
    return this.#entries;
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** Lay `overlay` over lists of `object`, until `failed` or, after `done`, until one has heard. */
  add(object: string, overlay: Overlay): { failed: () => void; done: () => void } {
    const entry: Entry = { object, overlay, isDone: false };
    this.#set([...this.#entries, entry]);
    const failed = () => this.#remove((each) => each === entry);
    const done = () => {
      entry.isDone = true;
      setTimeout(failed, HEARD_WITHIN_MS);
    };
    return { failed, done };
  }

  /** A list of `object` has heard something. */
  heard(object: string): void {
    this.#remove((each) => each.isDone && each.object === object);
  }

  over<R>(object: string, records: readonly R[]): readonly R[] {
    const laid = this.#entries.filter((each) => each.object === object);
    return laid.reduce<readonly Row[]>(
      (under, each) => each.overlay(under),
      records as unknown as readonly Row[],
    ) as unknown as readonly R[];
  }

  #remove(isGone: (entry: Entry) => boolean): void {
    const left = this.#entries.filter((each) => !isGone(each));
    if (left.length < this.#entries.length) this.#set(left);
  }

  #set(entries: readonly Entry[]): void {
    this.#entries = entries;
    for (const listener of this.#listeners) listener();
  }
}
