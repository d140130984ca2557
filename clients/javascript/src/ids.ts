let last = { ms: 0, counter: 0 };

/**
 * A time-ordered UUID (RFC 9562 §5.7), increasing within one page: its own records' ids.
 *
 * The 12 bits after the time are a counter (method 1 of §6.2), which starts anew each millisecond.
 */
export function newId(): string {
  const now = Date.now();
  last =
    now > last.ms
      ? { ms: now, counter: 0 }
      : last.counter < 0xfff
        ? { ms: last.ms, counter: last.counter + 1 }
        : { ms: last.ms + 1, counter: 0 };
  const random = crypto.getRandomValues(new Uint8Array(8));
  random[0] = ((random[0] ?? 0) & 0x3f) | 0x80;
  const time = last.ms.toString(16).padStart(12, "0");
  const tail = Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("");
  const counter = last.counter.toString(16).padStart(3, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-7${counter}-${tail.slice(0, 4)}-${tail.slice(4)}`;
}
