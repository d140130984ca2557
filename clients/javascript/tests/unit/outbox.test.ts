import { expect, test, vi } from "vitest";
import { ObjectQLError, unavailable } from "../../src/errors.js";
import { Outbox, REPEATABLE_MS } from "../../src/outbox.js";
import { type Entry, LocalStore, MemoryStore, type OutboxStore } from "../../src/stores.js";
import type { Transport } from "../../src/transport.js";

type Judge = (entry: Entry, key: string) => unknown;

/** An outbox whose writes `judge` answers, and what was sent and told. */
function outbox(judge: Judge, store: OutboxStore = new MemoryStore(), now?: () => number) {
  const sent: string[] = [];
  const told: string[] = [];
  const write = async (entry: Entry, key: string): Promise<unknown> => {
    sent.push(`${entry.method} ${entry.path} ${key === entry.key}`);
    return judge(entry, key);
  };
  const transport = { write } as unknown as Transport;
  const box = new Outbox(transport, store, { firstMs: 0.1, mostMs: 1 }, now);
  box.listen({
    sent: (entry) => told.push(`sent ${entry.path}`),
    refused: (entry, error) => told.push(`refused ${entry.path} ${error.code}`),
    stopped: (error) => told.push(`stopped ${(error as ObjectQLError).code}`),
  });
  return { box, sent, told };
}

class FakeStorage implements Storage {
  [name: string]: unknown;
  readonly #items = new Map<string, string>();
  get length() {
    return this.#items.size;
  }
  key(n: number) {
    return [...this.#items.keys()][n] ?? null;
  }
  getItem(name: string) {
    return this.#items.get(name) ?? null;
  }
  setItem(name: string, text: string) {
    this.#items.set(name, text);
  }
  removeItem(name: string) {
    this.#items.delete(name);
  }
  clear() {
    this.#items.clear();
  }
}

test("writes are sent one after the other, in their order, until they are taken", async () => {
  let isOnline = false;
  let open = 0;
  const { box, told } = outbox(async () => {
    open += 1;
    expect(open).toBe(1);
    await new Promise((resolve) => setTimeout(resolve, 1));
    open -= 1;
    if (!isOnline) throw unavailable();
  });
  const id = await box.create("note", { name: "a" });
  await box.update("note", id, { name: "b" }, { ifVersion: 1 });
  await box.delete("note", id);
  expect(box.waiting.map((each) => each.method)).toEqual(["POST", "PATCH", "DELETE"]);
  expect(box.waiting[1]?.headers).toEqual({ "If-Match": '"1"' });
  isOnline = true;
  await box.flush();
  expect(told).toEqual(["sent /api/note", `sent /api/note/${id}`, `sent /api/note/${id}`]);
  expect(box.waiting).toEqual([]);
});

test("a refused write is told of, and those behind it are sent", async () => {
  const { box, told } = outbox((entry) => {
    if (entry.path.endsWith("bad")) throw new ObjectQLError("VALIDATION_FAILED");
  });
  await box.update("note", "bad", {});
  await box.update("note", "good", {});
  await box.flush();
  expect(told).toEqual(["refused /api/note/bad VALIDATION_FAILED", "sent /api/note/good"]);
});

test("what waits survives the page, with its keys", async () => {
  const storage = new FakeStorage();
  const before = outbox(() => {
    throw unavailable();
  }, new LocalStore("outbox", storage));
  await before.box.create("note", { name: "a" });
  const [entry] = before.box.waiting;
  before.box.close();
  await before.box.flush();
  const after = outbox(() => ({}), new LocalStore("outbox", storage));
  await after.box.flush();
  expect(after.told).toEqual(["sent /api/note"]);
  expect(after.sent).toEqual(["POST /api/note true"]);
  expect(entry?.key).toBeDefined();
  expect(storage.length).toBe(0);
});

test("without credentials all stays as it is until the next flush", async () => {
  let isSignedIn = false;
  const { box, told } = outbox(() => {
    if (!isSignedIn) throw new ObjectQLError("UNAUTHENTICATED");
  });
  await box.create("note", {});
  await box.flush();
  expect(new Set(told)).toEqual(new Set(["stopped UNAUTHENTICATED"]));
  expect(box.waiting.length).toBe(1);
  isSignedIn = true;
  await box.flush();
  expect(told.at(-1)).toBe("sent /api/note");
});

test("what the cluster may have forgotten is not sent again", async () => {
  let now = 1000;
  let answers = 0;
  const { box, sent, told } = outbox(
    () => {
      answers += 1;
      now += REPEATABLE_MS + 1; // the device sleeps for a day
      throw new ObjectQLError("OUTCOME_UNKNOWN");
    },
    new MemoryStore(),
    () => now,
  );
  await box.create("note", {});
  await box.flush();
  expect(told).toEqual(["refused /api/note OUTCOME_UNKNOWN"]);
  expect([sent.length, answers]).toEqual([1, 1]);
});

test("a write that cannot be kept is refused to its caller", async () => {
  const store = new MemoryStore();
  store.put = () => Promise.reject(new Error("the disk is full"));
  const { box, sent } = outbox(() => ({}), store);
  await expect(box.create("note", {})).rejects.toThrow("the disk is full");
  expect(sent).toEqual([]);
});

test.each([
  ["memory", () => new MemoryStore()],
  ["local storage", () => new LocalStore("outbox", new FakeStorage())],
])("a store keeps entries in their order, and each once: %s", async (_, make) => {
  const store = make();
  const entry = (key: string, more = {}): Entry => ({
    key,
    method: "DELETE",
    path: "/",
    headers: {},
    ...more,
  });
  for (const key of ["b", "a", "c"]) await store.put(entry(key));
  await store.put(entry("a", { triedAt: 1 }));
  await store.remove("b");
  await store.remove("b");
  await store.put(entry("b"));
  expect(await store.load()).toEqual([entry("a", { triedAt: 1 }), entry("c"), entry("b")]);
});

test("two pages with one store keep each other's writes, and send each once", async () => {
  const storage = new FakeStorage();
  let last = Promise.resolve();
  const request = (_name: string, _options: object, work: () => Promise<void>) => {
    last = last.catch(() => {}).then(work);
    return last;
  };
  vi.stubGlobal("navigator", { locks: { request } });
  let isOnline = false;
  const judge = () => {
    if (!isOnline) throw new ObjectQLError("UNAUTHENTICATED");
  };
  try {
    const one = outbox(judge, new LocalStore("outbox", storage));
    const two = outbox(judge, new LocalStore("outbox", storage));
    await one.box.update("note", "1", {});
    await two.box.update("note", "2", {});
    await one.box.update("note", "3", {});
    await Promise.all([one.box.flush(), two.box.flush()]);
    const path = (each: Entry) => each.path;
    const all = ["/api/note/1", "/api/note/2", "/api/note/3"];
    expect((await new LocalStore("outbox", storage).load()).map(path)).toEqual(all);
    isOnline = true;
    one.told.length = two.told.length = 0;
    await Promise.all([one.box.flush(), two.box.flush()]);
    expect([...one.told, ...two.told]).toEqual(all.map((each) => `sent ${each}`));
    expect([one.box.waiting, two.box.waiting]).toEqual([[], []]);
  } finally {
    vi.unstubAllGlobals();
  }
});

test("a write that is kept just when the last one was sent is sent too", async () => {
  for (let ticks = 0; ticks < 40; ticks += 1) {
    const { box, told } = outbox(() => ({}));
    await box.update("note", "1", {});
    for (let tick = 0; tick < ticks; tick += 1) await Promise.resolve();
    await box.update("note", "2", {});
    const both = ["sent /api/note/1", "sent /api/note/2"];
    await vi.waitFor(() => expect(told).toEqual(both), { timeout: 10_000, interval: 1 });
  }
});
