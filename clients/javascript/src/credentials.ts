import { ObjectQLError } from "./errors.js";

/** Sends a body to a path of the gateway, once, without credentials. */
export type Post = (path: string, body: object) => Promise<unknown>;

/** What knows the token of now. */
export interface Credentials {
  /** A token that is thought to be good. */
  token(post: Post): Promise<string>;
  /** Whether `token` may answer something else than `refused` now, which was refused. */
  renew(refused: string): boolean;
}

/** The part of a token's life after which a fresh one is asked for. */
const SPENT = 0.8;

class StaticToken implements Credentials {
  constructor(private readonly known: string) {}
  token(): Promise<string> {
    return Promise.resolve(this.known);
  }
  renew(): boolean {
    return false;
  }
}

class FetchedToken implements Credentials {
  #known: Promise<string> | undefined;
  #last: string | undefined;

  constructor(private readonly fetch: () => Promise<string>) {}

  async token(): Promise<string> {
    this.#known ??= this.fetch();
    try {
      this.#last = await this.#known;
      return this.#last;
    } catch (error) {
      this.#known = undefined;
      throw error;
    }
  }

  renew(refused: string): boolean {
    if (this.#last === refused) this.#known = undefined;
    return true;
  }
}

interface Session {
  access_token: string;
  refresh_token: string;
  expires_in: number;
}

/** A built-in user by name (or email) and password; the session is refreshed by itself. */
export class SignIn implements Credentials {
  #session: { access: string; freshUntil: number } | undefined;
  #refresh: string | undefined;
  /** One at a time: a refresh token is good for one use, and two at once end the session. */
  #asking: Promise<string> | undefined;

  constructor(private readonly body: { name: string; password: string; tenant?: string }) {}

  token(post: Post): Promise<string> {
    const session = this.#session;
    if (session && Date.now() < session.freshUntil) return Promise.resolve(session.access);
    this.#asking ??= this.#ask(post).finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  renew(refused: string): boolean {
    if (this.#session?.access === refused) this.#session = undefined;
    return true;
  }

  async #ask(post: Post): Promise<string> {
    const session = (await this.#refreshed(post)) ?? (await post("/api/auth/sign-in", this.body));
    const { access_token, refresh_token, expires_in } = session as Session;
    this.#refresh = refresh_token;
    this.#session = { access: access_token, freshUntil: Date.now() + SPENT * expires_in * 1000 };
    return access_token;
  }

  async #refreshed(post: Post): Promise<unknown> {
    const refresh_token = this.#refresh;
    if (refresh_token === undefined) return undefined;
    this.#refresh = undefined;
    try {
      return await post("/api/auth/refresh", { refresh_token });
    } catch (error) {
      const code = error instanceof ObjectQLError ? error.code : "";
      // the session has ended, or the answer is lost and the token spent
      if (code === "UNAUTHENTICATED" || code === "OUTCOME_UNKNOWN") return undefined;
      this.#refresh = refresh_token;
      throw error;
    }
  }
}

/** A token or API key, a function that fetches a token whenever one is needed, or credentials. */
export type Given = string | (() => Promise<string>) | Credentials;

export function credentialsOf(given: Given): Credentials {
  if (typeof given === "string") return new StaticToken(given);
  return typeof given === "function" ? new FetchedToken(given) : given;
}
