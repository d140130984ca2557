import { expect, test } from "vitest";
import type { Told } from "../../src/changes.js";
import { credentialsOf } from "../../src/credentials.js";
import { Live, type LiveOptions, WAITING } from "../../src/live.js";
import type { Sockets } from "../../src/sockets.js";
import { type Peer, withGateway } from "./gateway.js";

const notes = (sockets: Sockets, options: LiveOptions = {}): Live =>
  new Live(sockets, { object: "note" }, options);

async function take(live: Live, count: number): Promise<Told<unknown>[]> {
  const found: Told<unknown>[] = [];
  while (found.length < count) {
    const { value, done } = await live.next();
    if (done) break;
    found.push(value);
  }
  return found;
}

const created = (id: string, cursor: string) => ({
  kind: "created",
  object: "note",
  id,
  cursor,
  data: { id },
});

test("a broken socket is made again and told on behind the last cursor", async () => {
  const asked: Record<string, unknown>[] = [];
  await withGateway(
    [
      async (peer) => {
        await peer.ready();
        const first = await peer.subscribed("c0", { items: [{ id: "a" }] });
        asked.push(first);
        peer.created(first.id, "b", "c1");
        peer.close(1012);
      },
      async (peer) => {
        await peer.ready();
        const again = await peer.subscribed("c1");
        asked.push(again);
        const shared = { object: "note", sub: again.id, cursor: "c2" };
        const events = [
          { type: "deleted", id: "a", ...shared },
          { type: "created", data: { id: "d" }, ...shared },
        ];
        peer.say({ type: "batch", events, sub: again.id, cursor: "c2" });
      },
    ],
    async (sockets) => {
      const live = notes(sockets, { snapshot: true });
      const gone = { kind: "deleted", object: "note", id: "a", cursor: "c2" };
      expect(await take(live, 3)).toEqual([
        { kind: "snapshot", items: [{ id: "a" }], cursor: "c0" },
        created("b", "c1"),
        { kind: "commit", changes: [gone, created("d", "c2")], cursor: "c2" },
      ]);
      expect(live.cursor).toBe("c2");
      expect(asked.map((each) => [each.from, each.snapshot])).toEqual([
        [undefined, true],
        ["c1", undefined],
      ]);
    },
  );
});

test("what waits to be taken is not told again", async () => {
  let isAgain = () => {};
  const again = new Promise<void>((resolve) => {
    isAgain = resolve;
  });
  await withGateway(
    [
      async (peer) => {
        await peer.ready();
        const { id } = await peer.subscribed("c0");
        peer.created(id, "a", "c1");
        peer.created(id, "b", "c2");
        peer.close(1012);
      },
      async (peer) => {
        await peer.ready();
        const { id, from } = await peer.subscribed("c2");
        expect(from).toBe("c2");
        peer.created(id, "c", "c3");
        isAgain();
      },
    ],
    async (sockets) => {
      const live = notes(sockets);
      await again;
      const all = [created("a", "c1"), created("b", "c2"), created("c", "c3")];
      expect(await take(live, 3)).toEqual(all);
    },
  );
});

test.each([true, false])("what was missed is told as missed; snapshot: %s", async (snapshot) => {
  await withGateway(
    [
      async (peer) => {
        await peer.ready();
        const { id, from } = await peer.hear();
        expect(from).toBe("old");
        peer.say({ type: "resync", sub: id, reason: "too old" });
        const again = await peer.subscribed("c5", snapshot ? { items: [{ id: "a" }] } : {});
        expect(again.from).toBeUndefined();
      },
    ],
    async (sockets) => {
      const live = notes(sockets, { snapshot, since: "old" });
      const told = { reason: "too old", cursor: "c5" };
      expect(await take(live, 1)).toEqual([
        snapshot
          ? { kind: "snapshot", items: [{ id: "a" }], ...told }
          : { kind: "missed", ...told },
      ]);
    },
  );
});

test("several live queries share a socket and hear only their own", async () => {
  let count = 0;
  await withGateway(
    [
      async (peer) => {
        count += 1;
        await peer.ready();
        const one = await peer.subscribed("c0");
        const two = await peer.subscribed("c0");
        peer.created("of nobody", "x", "c1");
        peer.created(two.id, "b", "c1");
        peer.created(one.id, "a", "c2");
        expect(await peer.hear()).toEqual({ type: "unsubscribe", sub: one.id });
        peer.created(one.id, "late", "c3");
        peer.created(two.id, "c", "c4");
      },
    ],
    async (sockets) => {
      const [one, two] = [notes(sockets), notes(sockets)];
      expect(await take(one, 1)).toEqual([created("a", "c2")]);
      one.close();
      expect(await take(one, 1)).toEqual([]);
      expect(await take(two, 2)).toEqual([created("b", "c1"), created("c", "c4")]);
    },
  );
  expect(count).toBe(1);
});

test("who takes slowly is told on later and holds up nobody", async () => {
  await withGateway(
    [
      async (peer) => {
        await peer.ready();
        const slow = await peer.subscribed("c0");
        const quick = await peer.subscribed("c0");
        for (let n = 1; n <= WAITING + 2; n += 1) peer.created(slow.id, `n${n}`, `c${n}`);
        expect(await peer.hear()).toEqual({ type: "unsubscribe", sub: slow.id });
        peer.created(quick.id, "q", "c5");
        const again = await peer.subscribed(`c${WAITING}`);
        expect(again.from).toBe(`c${WAITING}`);
        peer.created(again.id, "end", "end");
      },
    ],
    async (sockets) => {
      const [slow, quick] = [notes(sockets), notes(sockets)];
      expect(await take(quick, 1)).toEqual([created("q", "c5")]);
      const told = await take(slow, WAITING + 1);
      expect(told[WAITING - 1]).toEqual(created(`n${WAITING}`, `c${WAITING}`));
      expect(told[WAITING]).toEqual(created("end", "end"));
    },
  );
});

test("a refusal ends one live query, and what may pass is asked again", async () => {
  await withGateway(
    [
      async (peer) => {
        await peer.ready();
        const [bad, good] = [await peer.hear(), await peer.hear()];
        peer.say({ type: "error", code: "INVALID_QUERY", message: "no such field", sub: bad.id });
        peer.say({ type: "error", code: "OVERLOADED", message: "later", sub: good.id });
        const again = await peer.subscribed("c0");
        peer.created(again.id, "a", "c1");
      },
    ],
    async (sockets) => {
      const [bad, good] = [notes(sockets), notes(sockets)];
      await expect(bad.ready).rejects.toMatchObject({ code: "INVALID_QUERY" });
      await expect(take(bad, 1)).rejects.toMatchObject({ message: "no such field" });
      expect(await take(good, 1)).toEqual([created("a", "c1")]);
    },
  );
});

test("an expired token is replaced, and a refused one ends all", async () => {
  let number = -1;
  const fetch = async () => {
    number += 1;
    return `t${number}`;
  };
  await withGateway(
    [
      async (peer) => {
        await peer.ready();
        await peer.subscribed("c0");
        peer.close(4401);
      },
      async (peer) => {
        await peer.ready();
        const asked = await peer.subscribed("c0");
        expect([peer.token, asked.from]).toEqual(["t1", "c0"]);
        peer.created(asked.id, "a", "c1");
        peer.close(4401);
      },
      async (peer) => {
        await peer.hear();
        peer.say({ type: "error", code: "UNAUTHENTICATED", message: "no" });
        peer.close(4401);
      },
    ],
    async (sockets) => {
      const live = notes(sockets);
      expect(await take(live, 1)).toEqual([created("a", "c1")]);
      await expect(take(live, 1)).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
      expect(number).toBeLessThan(5);
    },
    credentialsOf(fetch),
  );
});

test("what is told instead of a welcome ends all, unless it may pass", async () => {
  const refuse = (code: string) => async (peer: Peer) => {
    await peer.hear();
    peer.say({ type: "error", code, message: "no" });
    peer.close(4429);
  };
  await withGateway([refuse("OVERLOADED"), refuse("QUOTA_EXCEEDED")], async (sockets) => {
    await expect(take(notes(sockets), 1)).rejects.toMatchObject({ code: "QUOTA_EXCEEDED" });
  });
});

test("a gateway that closes is come back to when it says", async () => {
  const times: number[] = [];
  await withGateway(
    [
      async (peer) => {
        times.push(Date.now());
        await peer.ready();
        const { id } = await peer.subscribed("c0");
        if (times.length > 1) {
          peer.created(id, "a", "c1");
        } else {
          peer.say({ type: "closing", reason: "restart", reconnect_after_ms: 300 });
          peer.close(1012);
        }
      },
    ],
    async (sockets) => {
      await take(notes(sockets), 1);
      expect((times[1] ?? 0) - (times[0] ?? 0)).toBeGreaterThanOrEqual(299);
    },
  );
});

test("who waits when the client closes is told so", async () => {
  await withGateway(
    [
      async (peer) => {
        await peer.ready();
        await peer.subscribed("c0");
      },
    ],
    async (sockets) => {
      const live = notes(sockets);
      await live.ready;
      const waiting = take(live, 1);
      sockets.close();
      await expect(waiting).rejects.toMatchObject({ code: "CLIENT_CLOSED" });
    },
  );
});
