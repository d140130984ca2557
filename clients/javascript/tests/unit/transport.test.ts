import { describe, expect, test } from "vitest";
import { Backoff } from "../../src/backoff.js";
import { credentialsOf, type Given, SignIn } from "../../src/credentials.js";
import { ObjectQLError, problemError } from "../../src/errors.js";
import { newId } from "../../src/ids.js";
import { Transport } from "../../src/transport.js";

interface Asked {
  path: string;
  headers: Headers;
  body: unknown;
}

type Reply = Response | Error | ((asked: Asked) => Response);

/** A network that answers from a list, the last one again and again, and remembers what was asked. */
function network(...replies: Reply[]) {
  const asked: Asked[] = [];
  const fetch = async (url: unknown, init: RequestInit = {}): Promise<Response> => {
    const body = init.body === undefined ? undefined : JSON.parse(String(init.body));
    const request = {
      path: new URL(String(url)).pathname,
      headers: new Headers(init.headers),
      body,
    };
    asked.push(request);
    const reply = replies.length > 1 ? replies.shift() : replies[0];
    if (reply instanceof Error) throw reply;
    if (reply instanceof Response) return reply.clone();
    if (reply === undefined) throw new Error("nothing was to be asked");
    return reply(request);
  };
  return { asked, fetch: fetch as typeof globalThis.fetch };
}

function transport(fetch: typeof globalThis.fetch, given: Given = "t", callMs = 30_000): Transport {
  const patience = { firstMs: 0.1, mostMs: 1 };
  return new Transport(
    "http://gateway/",
    credentialsOf(given),
    { attemptMs: 1000, callMs },
    patience,
    fetch,
  );
}

const ok = (body: unknown = {}, token?: string): Response =>
  new Response(JSON.stringify(body), { headers: token ? { "Oql-Consistency-Token": token } : {} });
const problem = (status: number, code: string, more: object = {}): Response =>
  new Response(JSON.stringify({ code, detail: "no", errors: [], ...more }), { status });
const lost = new TypeError("fetch failed");
const write = { method: "POST", path: "/api/a", body: { b: 2 } };

const codeOf = async (promise: Promise<unknown>): Promise<string> => {
  try {
    await promise;
  } catch (error) {
    if (error instanceof ObjectQLError) return error.code;
    throw error;
  }
  return "none";
};

describe("requests", () => {
  test("a write whose answer is lost is sent again with the same key", async () => {
    const { asked, fetch } = network(lost, problem(503, "SERVICE_UNAVAILABLE"), ok({ a: 1 }));
    expect(await transport(fetch).write(write)).toEqual({ a: 1 });
    expect(asked.map((each) => each.body)).toEqual([{ b: 2 }, { b: 2 }, { b: 2 }]);
    expect(new Set(asked.map((each) => each.headers.get("idempotency-key"))).size).toBe(1);
  });

  test("each write has a key of its own and reads have none", async () => {
    const { asked, fetch } = network(ok());
    const client = transport(fetch);
    await client.write(write);
    await client.write(write);
    await client.write(write, "mine");
    await client.read({ method: "GET", path: "/api/a" });
    const [first, second, third, read] = asked.map((each) => each.headers.get("idempotency-key"));
    expect(first).not.toBe(second);
    expect([third, read]).toEqual(["mine", null]);
  });

  test("a write that may have happened is never called unavailable", async () => {
    const { fetch } = network(lost, problem(503, "SERVICE_UNAVAILABLE"));
    expect(await codeOf(transport(fetch, "t", 50).write(write))).toBe("OUTCOME_UNKNOWN");
    const away = network(problem(503, "SERVICE_UNAVAILABLE"));
    expect(await codeOf(transport(away.fetch, "t", 50).write(write))).toBe("SERVICE_UNAVAILABLE");
  });

  test("what the caller did wrong is told at once, with every problem", async () => {
    const errors = [{ path: "name", code: "required", message: "name is required" }];
    const { asked, fetch } = network(problem(400, "VALIDATION_FAILED", { errors }));
    await expect(transport(fetch).write(write)).rejects.toMatchObject({
      issues: errors,
      status: 400,
    });
    expect(asked.length).toBe(1);
  });

  test("reads present what was written, and what overlapped", async () => {
    const { asked, fetch } = network(ok({}, "A"), ok({}, "B"), ok({}, "AB+C"), ok());
    const client = transport(fetch);
    await Promise.all([client.write(write), client.write(write)]);
    await client.write(write);
    await client.read({ method: "GET", path: "/api/a" });
    const told = asked.map((each) => each.headers.get("oql-consistency-token"));
    expect(told).toEqual([null, null, "A,B", "AB+C"]);
  });

  test.each([
    [404, '{"code":"RECORD_NOT_FOUND"}', "RECORD_NOT_FOUND", false],
    [409, '{"code":"WRITE_CONFLICT"}', "WRITE_CONFLICT", true],
    [409, '{"code":"UNIQUE_VIOLATION"}', "UNIQUE_VIOLATION", false],
    [502, "<html>", "HTTP_502", true],
    [503, "null", "HTTP_503", true],
    [500, '{"code":1}', "HTTP_500", false],
  ])("status %i with %s is an error", (status, body, code, retryable) => {
    const error = problemError(status, body);
    expect([error.code, error.retryable]).toEqual([code, retryable]);
  });
});

describe("credentials", () => {
  test("a refused token is replaced once", async () => {
    const tokens = ["old", "new", "newer"];
    const { asked, fetch } = network((each) =>
      each.headers.get("authorization") === "Bearer new" ? ok() : problem(401, "UNAUTHENTICATED"),
    );
    const client = transport(fetch, async () => tokens.shift() ?? "");
    await client.read({ method: "GET", path: "/api/a" });
    expect(asked.map((each) => each.headers.get("authorization"))).toEqual([
      "Bearer old",
      "Bearer new",
    ]);
    const refused = transport(network(problem(401, "UNAUTHENTICATED")).fetch);
    expect(await codeOf(refused.read({ method: "GET", path: "/api/a" }))).toBe("UNAUTHENTICATED");
  });

  test("a session is refreshed once for all, and begun anew when its refresh is refused", async () => {
    const paths: string[] = [];
    let number = -1;
    const { fetch } = network((each) => {
      paths.push(each.path.split("/").at(-1) ?? "");
      if (each.path === "/api/a") {
        const isGood = ["Bearer a1", "Bearer a2"].includes(each.headers.get("authorization") ?? "");
        return isGood ? ok() : problem(401, "UNAUTHENTICATED");
      }
      const spent = (each.body as { refresh_token?: string }).refresh_token === "r1";
      if (spent) return problem(401, "UNAUTHENTICATED");
      number += 1;
      return ok({ access_token: `a${number}`, refresh_token: `r${number}`, expires_in: 600 });
    });
    const who = new SignIn({ name: "ann", password: "secret" });
    const client = transport(fetch, who);
    const read = () => client.read({ method: "GET", path: "/api/a" });
    await Promise.all([read(), read()]);
    expect(paths.filter((each) => each !== "a")).toEqual(["sign-in", "refresh"]);
    who.renew("a1");
    await read();
    expect(paths.slice(-3)).toEqual(["refresh", "sign-in", "a"]);
  });
});

test("pauses grow within their bounds, and what the server asks comes on top", () => {
  const backoff = new Backoff({ firstMs: 100, mostMs: 5000 }, () => 0.999);
  const pauses = Array.from({ length: 50 }, () => backoff.failed());
  expect(pauses).toEqual([...pauses].sort((a, b) => a - b));
  expect(pauses[0]).toBeLessThan(100);
  expect(pauses.at(-1)).toBeLessThan(5000);
  expect(backoff.failed(3000)).toBeGreaterThan(3000);
  backoff.succeeded();
  expect(backoff.failed()).toBeLessThan(100);
});

test("ids are UUIDs of version 7 in the order in which they were made", () => {
  const ids = Array.from({ length: 10_000 }, newId);
  expect(new Set(ids).size).toBe(ids.length);
  expect([...ids].sort()).toEqual(ids);
  for (const id of ids)
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
});
