/**
 * What this client has written, as the consistency tokens that its reads present.
 *
 * A token that is presented with a write is contained in the one that is answered. So one token
 * stands for everything written before; several are needed only for writes that overlapped.
 */
export class Written {
  #tokens: string[] = [];

  /** What a request presents; undefined before the first write. */
  get header(): string | undefined {
    return this.#tokens.join(",") || undefined;
  }

  /** A write that presented `presented` was answered with `token`. */
  answered(presented: string | undefined, token: string): void {
    const contained = new Set(presented?.split(","));
    this.#tokens = this.#tokens.filter((each) => !contained.has(each) && each !== token);
    this.#tokens.push(token);
  }
}
