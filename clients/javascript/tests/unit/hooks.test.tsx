// @vitest-environment happy-dom
import { act, StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Told } from "../../src/changes.js";
import type { Client } from "../../src/client.js";
import { type Connection, Live } from "../../src/live.js";
import { ObjectQLProvider, useLiveQuery, useMutation, useQuery } from "../../src/react/index.js";
import { QueryList } from "../../src/react/lists.js";
import type { Row } from "../../src/schema.js";

declare global {
  var IS_REACT_ACT_ENVIRONMENT: boolean;
}
globalThis.IS_REACT_ACT_ENVIRONMENT = true;

/** A client whose answers the test gives. */
class FakeClient implements Connection {
  records: Row[] = [{ id: "a", name: "Acme" }];
  asked: unknown[] = [];
  readonly open = new Set<Live>();
  mutation: { resolve: () => void; reject: (error: Error) => void } | undefined;

  async query(object: string, query: object) {
    this.asked.push([object, query]);
    return { items: this.records, hasNext: false };
  }
  live(object: string, query: object, options: object) {
    return new Live(this, { object, ...query }, options);
  }
  add(live: Live) {
    this.open.add(live);
    live.take({ type: "subscribed", cursor: "c0", items: this.records as unknown as Told[] });
  }
  remove(live: Live) {
    this.open.delete(live);
  }
  askAgain() {}
  change(id: string, name: string) {
    const frame = {
      type: "updated" as const,
      object: "account",
      id,
      data: { id, name },
      cursor: "c1",
    };
    for (const live of this.open) live.take(frame);
  }
  rename() {
    return new Promise<void>((resolve, reject) => {
      this.mutation = { resolve, reject };
    });
  }
}

let root: ReturnType<typeof createRoot>;
let client: FakeClient;

beforeEach(() => {
  client = new FakeClient();
  root = createRoot(document.body.appendChild(document.createElement("div")));
});
afterEach(async () => {
  await act(async () => root.unmount());
  expect(client.open.size).toBe(0);
  document.body.replaceChildren();
});

const show = (element: React.ReactNode): Promise<void> =>
  act(async () =>
    root.render(
      <StrictMode>
        <ObjectQLProvider client={client as unknown as Client}>{element}</ObjectQLProvider>
      </StrictMode>,
    ),
  );
const text = () => document.body.textContent;
const click = () => act(async () => document.querySelector("button")?.click());

const rename = (_: Client, id: string, name: string) => client.rename().then(() => [id, name]);
const renamed = (records: readonly Row[], id: string, name: string) =>
  records.map((each) => (each.id === id ? { ...each, name } : each));

function Names({ kind, where }: { kind: "query" | "live"; where?: object }) {
  const use = kind === "live" ? useLiveQuery : useQuery;
  const { records, error, isLoading } = use("account", where ? { where } : {});
  const {
    mutate,
    isPending,
    error: failed,
  } = useMutation(rename, {
    object: "account",
    optimistic: renamed,
  });
  return (
    <button type="button" onClick={() => mutate("a", "New").catch(() => {})}>
      {isLoading ? "loading " : ""}
      {records?.map((each) => each.name).join()}
      {isPending ? " pending" : ""}
      {error || failed ? " failed" : ""}
    </button>
  );
}

test("a live query shows the records of now and every change", async () => {
  await show(<Names kind="live" />);
  expect(text()).toBe("Acme");
  await act(async () => client.change("b", "Bolt"));
  expect(text()).toBe("Acme,Bolt");
  expect(client.open.size).toBe(1);
});

test("a live query that cannot be told shows the error and keeps what it knew", async () => {
  await show(<Names kind="live" />);
  await act(async () => {
    for (const live of client.open) live.fail(new Error("no"));
  });
  expect(text()).toBe("Acme failed");
});

test.each(["live", "query"] as const)(
  "a mutation is seen at once and taken back when it fails: %s",
  async (kind) => {
    await show(<Names kind={kind} />);
    await click();
    expect(text()).toBe("New pending");
    await act(async () => client.mutation?.reject(new Error("refused")));
    expect(text()).toBe("Acme failed");
  },
);

test("what others change meanwhile is seen below a mutation that is under way", async () => {
  await show(<Names kind="live" />);
  await click();
  await act(async () => client.change("b", "Bolt"));
  expect(text()).toBe("New,Bolt pending");
  await act(async () => client.mutation?.reject(new Error("refused")));
  expect(text()).toBe("Acme,Bolt failed");
});

test("an answer that comes after that to a later question is forgotten", async () => {
  const answers: ((records: string[]) => void)[] = [];
  const read = () => new Promise<string[]>((resolve) => answers.push(resolve));
  const list = new QueryList(read, () => () => {});
  list.subscribe(() => {});
  const later = list.refetch();
  answers[1]?.(["new"]);
  await later;
  answers[0]?.(["old"]);
  await Promise.resolve();
  expect(list.getState().records).toEqual(["new"]);
});

test("a mutation that succeeds is seen until the live query has heard of it", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  try {
    await show(<Names kind="live" />);
    await click();
    await act(async () => client.mutation?.resolve());
    expect(text()).toBe("New");
    await act(async () => client.change("a", "New!"));
    expect(text()).toBe("New!");
    await click();
    await act(async () => client.mutation?.resolve());
    await act(async () => vi.runAllTimers());
    expect(text()).toBe("New!"); // nobody told of it: the truth is what was heard
  } finally {
    vi.useRealTimers();
  }
});

test("a query is read again after a mutation of its object, and when it asks something else", async () => {
  await show(<Names kind="query" />);
  await click();
  client.records = [{ id: "a", name: "Server" }];
  const before = client.asked.length;
  await act(async () => client.mutation?.resolve());
  expect(client.asked.length).toBe(before + 1);
  expect(text()).toBe("Server");
  await show(<Names kind="query" where={{ name: "x" }} />);
  expect(client.asked.at(-1)).toEqual(["account", { where: { name: "x" } }]);
});

test("hooks without a provider say so", () => {
  expect(() => renderToString(<Names kind="live" />)).toThrow("ObjectQLProvider");
});
