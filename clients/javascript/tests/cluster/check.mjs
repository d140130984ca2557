/**
 * The built client against a running cluster: `node check.mjs <folder of the build>`.
 *
 * It prints `restart` when both gateways are to be restarted under it, and goes on meanwhile.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { pathToFileURL } from "node:url";
import { WebSocket } from "ws";

const { apply, Client, MemoryStore, ObjectQLError } = await import(
  pathToFileURL(`${process.argv[2]}/index.js`).href
);
const { OQL_REST_URL, OQL_WS_URL, OQL_ADMIN_TOKEN } = process.env;

const connect = (more = {}, url = OQL_REST_URL) =>
  new Client(url, {
    credentials: OQL_ADMIN_TOKEN,
    liveUrl: OQL_WS_URL,
    WebSocket,
    patience: { firstMs: 50, mostMs: 500 },
    ...more,
  });
const refusedWith = (code) => (error) => error instanceof ObjectQLError && error.code === code;
const changesOf = (told) =>
  told.kind === "commit" ? told.changes : told.kind === "snapshot" ? [] : [told];

async function records(client) {
  const made = await client.create("account", { name: "Chotchkies", employees: 3 });
  const { id, version } = made;
  assert.deepEqual(await client.get("account", id, { fields: ["name"] }), {
    id,
    name: "Chotchkies",
  });
  const changed = await client.update("account", id, { employees: 4 }, { ifVersion: version });
  await assert.rejects(
    client.update("account", id, { employees: 5 }, { ifVersion: version }),
    (error) =>
      refusedWith("CONCURRENT_UPDATE")(error) && error.details.current_version === changed.version,
  );
  await assert.rejects(client.create("account", { name: "x", employees: 0 }), (error) => {
    assert.deepEqual(error.issues.map((each) => each.path).sort(), ["employees", "name"]);
    return error.code === "VALIDATION_FAILED";
  });
  const { results, transaction } = await client.batch([
    { object: "contact", action: "create", data: { last_name: "Lumbergh", account: id } },
    { object: "account", action: "update", id, data: { employees: { $inc: 3 } } },
  ]);
  assert.equal(transaction.state, "committed");
  assert.equal(results[1].employees, 7);
  const where = { name: "Chotchkies" };
  const page = await client.query("account", { where, fields: ["name"], count: true });
  assert.deepEqual(
    [page.items, page.total, page.hasNext],
    [[{ id, name: "Chotchkies" }], 1, false],
  );
  await client.delete("contact", results[0].id);
  await client.delete("account", id);
  await assert.rejects(client.get("account", id), refusedWith("RECORD_NOT_FOUND"));
  const airlines = [];
  const query = { fields: ["name"], limit: 5, orderBy: "name" };
  for await (const each of client.queryAll("airline", query)) airlines.push(each.name);
  assert.equal(new Set(airlines).size, 16);
}

async function liveWhileGatewaysRestart(client) {
  const names = Array.from({ length: 40 }, (_, n) => `live ${n}`);
  const query = { where: { name: { $startsWith: "live " } }, fields: ["name"] };
  const live = client.live("account", query, { snapshot: true });
  await live.ready;
  process.stdout.write("restart\n");
  const made = new Map();
  const writers = [0, 1, 2, 3].map(async (first) => {
    for (let n = first; n < names.length; n += 4) {
      const { id } = await client.create("account", { name: names[n] });
      made.set(id, { id, name: names[n] });
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  });
  const told = [];
  for await (const each of live) {
    told.push(each);
    if (told.flatMap(changesOf).length >= names.length) break;
  }
  await Promise.all(writers);
  const heard = told.flatMap(changesOf).map((each) => each.data.name);
  assert.deepEqual(heard.sort(), [...names].sort());
  assert.equal(told.filter((each) => each.kind === "snapshot").length, 1);
  const state = new Map();
  for (const each of told) apply(each, state);
  const byId = (a, b) => (a.id < b.id ? -1 : 1);
  assert.deepEqual([...state.values()].sort(byId), [...made.values()].sort(byId));
  await client.batch([...made.keys()].map((id) => ({ object: "account", action: "delete", id })));
}

/** A port on which nobody listens. */
async function closedPort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

async function offline() {
  const store = new MemoryStore();
  const times = { callMs: 200, attemptMs: 100 };
  const away = connect({ store, times }, `http://127.0.0.1:${await closedPort()}`);
  const id = await away.outbox.create("account", { name: "Offline" });
  await away.outbox.update("account", id, { employees: 5 });
  await away.outbox.create("account", { name: "x" });
  await away.outbox.update("account", id, { employees: 6 });
  away.close();
  const kept = await store.load();
  assert.equal(kept.length, 4);

  const settled = [];
  const client = connect({ store });
  client.outbox.listen({
    sent: (entry) => settled.push(`sent ${entry.method}`),
    refused: (entry, error) => settled.push(`refused ${entry.method} ${error.code}`),
  });
  await client.outbox.flush();
  const all = ["sent POST", "sent PATCH", "refused POST VALIDATION_FAILED", "sent PATCH"];
  assert.deepEqual(settled, all);

  for (const entry of kept) await store.put(entry); // as if the page had died before it took note of the answers
  const again = connect({ store });
  await again.outbox.flush();
  assert.deepEqual(await store.load(), []);
  const { employees, version } = await again.get("account", id);
  assert.deepEqual([employees, version], [6, 3]);
  await again.delete("account", id);
  for (const each of [client, again]) each.close();
}

const client = connect();
await records(client);
await liveWhileGatewaysRestart(client);
await offline();
client.close();
