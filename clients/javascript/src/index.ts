/**
 * ObjectQL for browsers and Node. Reading order: `client` (everything a program calls), `schema` (what
 * is known of objects), `changes` (what live queries tell), `outbox`, `stores` and `indexed` (writes that survive
 * being offline); then how it is done: `transport`, `written`, `credentials`, `errors`, `live`,
 * `sockets`, `backoff`.
 */
export type { Patience } from "./backoff.js";
export {
  apply,
  type Change,
  type Commit,
  type Missed,
  type Snapshot,
  type Told,
} from "./changes.js";
export {
  Client,
  type ClientOptions,
  type LiveQuery,
  type Operation,
  type Transaction,
  type WriteOptions,
} from "./client.js";
export { type Credentials, SignIn } from "./credentials.js";
export { type Issue, ObjectQLError } from "./errors.js";
export { newId } from "./ids.js";
export { IndexedStore } from "./indexed.js";
export type { Live, LiveOptions } from "./live.js";
export { Outbox, type OutboxListener } from "./outbox.js";
export type {
  Condition,
  ObjectName,
  ObjectTypes,
  Page,
  Query,
  RecordOf,
  Row,
  Schema,
  Untyped,
  Where,
} from "./schema.js";
export { type Entry, LocalStore, MemoryStore, type OutboxStore } from "./stores.js";
export type { Times } from "./transport.js";
