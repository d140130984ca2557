import { RETRYABLE } from "./codes.js";

/** One problem among several; `path` points into the request. */
export interface Issue {
  readonly path: string;
  readonly code: string;
  readonly message: string;
}

interface Told {
  readonly code?: string;
  readonly detail?: string;
  readonly message?: string;
  readonly errors?: readonly Issue[];
  readonly details?: Readonly<Record<string, unknown>>;
  readonly retry_after_ms?: number;
}

const AWAY = new Set([429, 502, 503, 504]);

/** What the cluster says went wrong. `code` is stable; the message is for people. */
export class ObjectQLError extends Error {
  override readonly name = "ObjectQLError";
  readonly issues: readonly Issue[];
  /** The error's own fields, as `current_version` of a `CONCURRENT_UPDATE`. */
  readonly details: Readonly<Record<string, unknown>>;
  /** How long the server asks to wait. */
  readonly retryAfterMs: number;

  constructor(
    readonly code: string,
    told: Told = {},
    /** HTTP status; 0 where there was none. */
    readonly status = 0,
  ) {
    super(told.detail ?? told.message ?? code);
    this.issues = told.errors ?? [];
    this.details = told.details ?? {};
    this.retryAfterMs = told.retry_after_ms ?? 0;
  }

  /** Whether the same request may be sent again, with the same idempotency key. */
  get retryable(): boolean {
    return RETRYABLE.has(this.code) || (this.code.startsWith("HTTP_") && AWAY.has(this.status));
  }
}

/** No gateway was reached: nothing was done. */
export const unavailable = (): ObjectQLError =>
  new ObjectQLError("SERVICE_UNAVAILABLE", { message: "the gateway is unavailable" });

/** A write was sent and no answer came. */
export const outcomeUnknown = (): ObjectQLError =>
  new ObjectQLError("OUTCOME_UNKNOWN", {
    message: "no answer came; repeat with the same idempotency key to learn the outcome",
  });

/** The error that an answer means; also one of a proxy, which has bodies of its own. */
export function problemError(status: number, body: string): ObjectQLError {
  const told = parsed(body);
  const isOurs = typeof told?.code === "string" && told.code !== "";
  return isOurs
    ? new ObjectQLError(told.code as string, told, status)
    : new ObjectQLError(`HTTP_${status}`, { message: `the server answered ${status}` }, status);
}

/** The error that an `error` frame tells. */
export function frameError(frame: object): ObjectQLError {
  const told: Told = frame;
  return new ObjectQLError(told.code ?? "INTERNAL_ERROR", told);
}

function parsed(body: string): Told | null {
  try {
    return JSON.parse(body) as Told | null;
  } catch {
    return null;
  }
}
