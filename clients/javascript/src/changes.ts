import type { Row } from "./schema.js";

/**
 * All records that match, as of `cursor`; what was known before is void. It is the first that a live
 * query with `snapshot` tells, and comes again, with the `reason`, when something was missed.
 */
export interface Snapshot<R = Row> {
  readonly kind: "snapshot";
  readonly items: readonly R[];
  readonly cursor: string;
  readonly reason?: string;
}

/** One record has changed. `data` has the selected fields. `match` tells of the way into the filter, or out. */
export type Change<R = Row> = {
  readonly object: string;
  readonly id: string;
  readonly cursor: string;
} & (
  | { readonly kind: "created" | "updated"; readonly data: R; readonly match?: "entered" }
  | { readonly kind: "deleted"; readonly match?: "left" }
);

/** Several changes that were made together. */
export interface Commit<R = Row> {
  readonly kind: "commit";
  readonly changes: readonly Change<R>[];
  readonly cursor: string;
}

/** Changes before `cursor` cannot be told any more: read again what depends on them. */
export interface Missed {
  readonly kind: "missed";
  readonly reason: string;
  readonly cursor: string;
}

export type Told<R = Row> = Snapshot<R> | Change<R> | Commit<R> | Missed;

/** An event as it comes over the socket. */
export interface EventFrame {
  readonly type: "created" | "updated" | "deleted";
  readonly object: string;
  readonly id?: string;
  readonly data?: Row;
  readonly match?: "entered" | "left";
  readonly cursor: string;
}

export function changeOf(frame: EventFrame): Change {
  const id = frame.data?.id ?? frame.id ?? "";
  const { object, cursor, match, data } = frame;
  const more = match === undefined ? {} : { match };
  return { kind: frame.type, object, id, cursor, ...(data && { data }), ...more } as Change;
}

/** Bring `records` (by id) to where `told` leaves them; `missed` changes nothing. */
export function apply<R extends { id: string }>(told: Told<R>, records: Map<string, R>): void {
  switch (told.kind) {
    case "snapshot":
      records.clear();
      for (const item of told.items) records.set(item.id, item);
      break;
    case "commit":
      for (const change of told.changes) apply(change, records);
      break;
    case "deleted":
      records.delete(told.id);
      break;
    case "created":
    case "updated":
      records.set(told.id, told.data);
      break;
    case "missed":
      break;
  }
}
