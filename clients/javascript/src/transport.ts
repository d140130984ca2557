import { Backoff, type Patience, pause } from "./backoff.js";
import type { Credentials } from "./credentials.js";
import { ObjectQLError, outcomeUnknown, problemError, unavailable } from "./errors.js";
import { newId } from "./ids.js";
import { Written } from "./written.js";

/** How long one attempt and the whole of a call may take. */
export interface Times {
  readonly attemptMs: number;
  readonly callMs: number;
}

export const TIMES: Times = { attemptMs: 10_000, callMs: 30_000 };

/** How much longer than the server a client waits for what the server gives up on. */
const MARGIN_MS = 1000;
const TOKEN = "Oql-Consistency-Token";

export interface Request {
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

interface Answer {
  readonly status: number;
  readonly text: string;
  readonly token: string | null;
}

/**
 * Requests to the REST gateway, sent again when that is safe, until the time is over.
 *
 * Reads are always safe. Writes are, because each carries an idempotency key: the cluster does what
 * is asked once, and answers every repetition alike. What is not known when the time is over is said
 * so (`OUTCOME_UNKNOWN`), whatever else went wrong afterwards.
 */
export class Transport {
  readonly #written = new Written();
  readonly #url: string;

  constructor(
    url: string,
    readonly credentials: Credentials,
    private readonly times: Times,
    private readonly patience: Patience,
    private readonly fetch: typeof globalThis.fetch = (...given) => globalThis.fetch(...given),
  ) {
    this.#url = url.replace(/\/+$/, "");
  }

  /** The answer to a question; it has seen everything that this client wrote. */
  async read<T>(request: Request): Promise<T> {
    const presented = this.#written.header;
    const headers = presented === undefined ? {} : { [TOKEN]: presented };
    return decoded(await this.#send({ ...request, headers }, false)) as T;
  }

  /** The answer to a change, which was made once however often it was sent. */
  async write<T>(request: Request, key: string = newId()): Promise<T> {
    const presented = this.#written.header;
    const headers: Record<string, string> = { ...request.headers, "Idempotency-Key": key };
    if (presented !== undefined) headers[TOKEN] = presented;
    const answer = await this.#send({ ...request, headers }, true);
    if (answer.token !== null) this.#written.answered(presented, answer.token);
    return decoded(answer) as T;
  }

  /** The answer to one attempt without credentials, see `Post`. */
  post = async (path: string, body: object): Promise<unknown> => {
    const answer = await this.#attempt({ method: "POST", path, body }, {}, this.times.attemptMs);
    if (answer === null) throw outcomeUnknown();
    if (answer.status >= 300) throw problemError(answer.status, answer.text);
    return decoded(answer);
  };

  async #send(request: Request, writes: boolean): Promise<Answer> {
    const backoff = new Backoff(this.patience);
    const until = Date.now() + this.times.callMs;
    let isRenewed = false;
    let isUnknown = false;
    for (;;) {
      const left = Math.max(1, Math.min(this.times.attemptMs, until - Date.now()));
      let error: ObjectQLError;
      try {
        const token = await this.credentials.token(this.post);
        const answer = await this.#attempt(request, { Authorization: `Bearer ${token}` }, left);
        if (answer !== null && answer.status < 300) return answer;
        if (answer === null) {
          isUnknown ||= writes; // nothing here tells a broken connection from one never made
          error = unavailable();
        } else {
          error = problemError(answer.status, answer.text);
          isUnknown ||= error.code === "OUTCOME_UNKNOWN";
          if (answer.status === 401 && !isRenewed) {
            isRenewed = true;
            if (this.credentials.renew(token)) continue;
          }
        }
      } catch (thrown) {
        if (!(thrown instanceof ObjectQLError)) throw thrown; // of who fetches tokens
        error = thrown;
      }
      if (!error.retryable) throw error;
      const wait = backoff.failed(error.retryAfterMs);
      if (Date.now() + wait >= until) throw isUnknown ? outcomeUnknown() : error;
      await pause(wait);
    }
  }

  /** The answer, or null where none came. */
  async #attempt(
    request: Request,
    headers: Readonly<Record<string, string>>,
    withinMs: number,
  ): Promise<Answer | null> {
    const told: Record<string, string> = { ...request.headers, ...headers };
    told["X-Timeout-Ms"] = String(Math.ceil(withinMs));
    const init: RequestInit = {
      method: request.method,
      signal: AbortSignal.timeout(withinMs + MARGIN_MS),
    };
    if (request.body !== undefined) {
      told["Content-Type"] = "application/json";
      init.body = JSON.stringify(request.body);
    }
    init.headers = told;
    try {
      const answer = await this.fetch(this.#url + request.path, init);
      const text = await answer.text();
      return { status: answer.status, text, token: answer.headers.get(TOKEN) };
    } catch {
      return null;
    }
  }
}

function decoded(answer: Answer): unknown {
  return answer.text === "" ? undefined : JSON.parse(answer.text);
}
