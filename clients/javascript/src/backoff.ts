/** How to try again: the n-th pause is random, up to `firstMs` times 2^n or `mostMs`. */
export interface Patience {
  readonly firstMs: number;
  readonly mostMs: number;
}

export const PATIENCE: Patience = { firstMs: 100, mostMs: 10_000 };

/**
 * The pauses of one undertaking.
 *
 * Source: "full jitter" of M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
 */
export class Backoff {
  #failures = 0;

  constructor(
    private readonly patience: Patience,
    private readonly chance: () => number = Math.random,
  ) {}

  /** Milliseconds to wait after one more failure; `atLeastMs` is what the server asked for. */
  failed(atLeastMs = 0): number {
    const most = Math.min(this.patience.mostMs, this.patience.firstMs * 2 ** this.#failures);
    this.#failures += 1;
    return atLeastMs + this.chance() * most;
  }

  succeeded(): void {
    this.#failures = 0;
  }
}

/** Resolves after `ms`, or at once when `signal` aborts. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) {
      resolve();
      return;
    }
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done);
  });
}
