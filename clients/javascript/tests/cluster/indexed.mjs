/** What a browser keeps in IndexedDB for the outbox; `page` has loaded something of `module`'s server. */
import assert from "node:assert/strict";

/** Runs in the page: `steps` on the store of that name, and what it holds then. */
async function play([module, steps]) {
  const { IndexedStore } = await import(module);
  const store = new IndexedStore("outbox of ann");
  for (const [step, given] of steps) await store[step](given);
  return store.load();
}

/** Runs in the page: an outbox over the store, whose first write goes out when it is let. */
async function offline([module]) {
  const { Client, IndexedStore } = await import(module);
  const sent = [];
  let isOnline = false;
  const fetch = async (url, init) => {
    if (!isOnline) throw new TypeError("offline");
    sent.push([init.method, new URL(url).pathname, init.headers["Idempotency-Key"]]);
    return new Response("{}", { status: 200 });
  };
  const open = () =>
    new Client("http://nowhere", {
      credentials: "t",
      fetch,
      store: new IndexedStore("outbox of bob"),
      patience: { firstMs: 5, mostMs: 10 },
      times: { callMs: 20 },
    });
  const first = open();
  await Promise.all([1, 2, 3].map((n) => first.outbox.update("note", `n${n}`, { n })));
  const keys = first.outbox.waiting.map((entry) => entry.key);
  first.close();
  isOnline = true;
  const second = open(); // as after the page was loaded anew
  await second.outbox.flush();
  const left = await new IndexedStore("outbox of bob").load();
  second.close();
  return { keys, sent, left };
}

const entry = (key, body) => ({
  key,
  method: "PATCH",
  path: `/api/note/${key}`,
  body,
  headers: {},
});
const [a, b, c] = [entry("a", { n: 1 }), entry("b", { text: "ü".repeat(1000) }), entry("c", null)];

export async function check(page, module) {
  assert.deepEqual(await page.evaluate(play, [module, []]), []);
  const steps = [
    ["put", a],
    ["put", b],
    ["put", c],
    ["put", { ...a, triedAt: 7 }],
    ["remove", "b"],
    ["remove", "nobody"],
  ];
  const kept = [{ ...a, triedAt: 7 }, c]; // in the order in which they came, changed in their place
  assert.deepEqual(await page.evaluate(play, [module, steps]), kept);
  await page.reload();
  assert.deepEqual(await page.evaluate(play, [module, [["put", b]]]), [...kept, b]);
  const many = Array.from({ length: 2000 }, (_, n) => ["put", entry(`k${n}`, "x".repeat(4000))]);
  const found = await page.evaluate(play, [module, many]); // 8 MB, more than localStorage takes
  assert.deepEqual(
    found.slice(3).map((each) => each.key),
    many.map(([, { key }]) => key),
  );
  const { keys, sent, left } = await page.evaluate(offline, [module]);
  assert.deepEqual(
    sent,
    keys.map((key, n) => ["PATCH", `/api/note/n${n + 1}`, key]),
  );
  assert.deepEqual(left, []);
}
