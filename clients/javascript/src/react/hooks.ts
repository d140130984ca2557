import {
  createContext,
  createElement,
  type ReactNode,
  useCallback,
  useContext,
  useMemo,
  useState,
  useSyncExternalStore,
} from "react";
import type { Client, LiveQuery } from "../client.js";
import type { ObjectName, Query, RecordOf, Row, Schema, Untyped } from "../schema.js";
import { type ListState, LiveList, QueryList } from "./lists.js";
import { type Overlay, Overlays } from "./overlays.js";

/** What all hooks below one provider share. */
class Shared {
  readonly overlays = new Overlays();
  readonly #looked = new Map<string, Set<() => Promise<void>>>();

  constructor(readonly client: Client) {}

  /** Read the lists of `object` again that somebody looks at. */
  async refetch(object: string): Promise<void> {
    const looked = [...(this.#looked.get(object) ?? [])];
    if (looked.length === 0) return;
    await Promise.all(looked.map((refetch) => refetch()));
    this.overlays.heard(object);
  }

  /** Call `refetch` after mutations of `object`, until what is answered is called. */
  readonly look = (object: string, refetch: () => Promise<void>): (() => void) => {
    const looked = this.#looked.get(object) ?? new Set();
    this.#looked.set(object, looked.add(refetch));
    return () => looked.delete(refetch);
  };
}

const Context = createContext<Shared | undefined>(undefined);

/** Gives `client` to the hooks below it. */
export function ObjectQLProvider<S extends Schema<S>>(props: {
  client: Client<S>;
  children?: ReactNode;
}): ReactNode {
  const { client, children } = props;
  const shared = useMemo(() => new Shared(client as unknown as Client), [client]);
  return createElement(Context.Provider, { value: shared }, children);
}

function useShared(): Shared {
  const shared = useContext(Context);
  if (shared === undefined) throw new Error("there is no ObjectQLProvider above this component");
  return shared;
}

/** The client of the nearest provider. */
export function useClient<S extends Schema<S> = Untyped>(): Client<S> {
  return useShared().client as unknown as Client<S>;
}

/** One page of the records that match, read once, and again after each `useMutation` of the object. */
export function useQuery<S extends Schema<S> = Untyped, O extends ObjectName<S> = ObjectName<S>>(
  object: O,
  query: Query<RecordOf<S, O>> = {},
): ListState<RecordOf<S, O>> & { refetch: () => Promise<void> } {
  const shared = useShared();
  const question = JSON.stringify(query);
  const list = useMemo(() => {
    const read = async () => (await shared.client.query(object, JSON.parse(question))).items;
    return new QueryList<Row>(read, (refetch) => shared.look(object, refetch));
  }, [shared, object, question]);
  const state = useSyncExternalStore(list.subscribe, list.getState, list.getState);
  return { ...useOverlaid<S, O>(shared, object, state), refetch: list.refetch };
}

/** The records that match, current after every commit, sorted by id. */
export function useLiveQuery<
  S extends Schema<S> = Untyped,
  O extends ObjectName<S> = ObjectName<S>,
>(object: O, query: LiveQuery<RecordOf<S, O>> = {}): ListState<RecordOf<S, O>> {
  const shared = useShared();
  const question = JSON.stringify(query);
  const list = useMemo(() => {
    const open = () => shared.client.live(object, JSON.parse(question), { snapshot: true });
    return new LiveList<Row>(open, () => shared.overlays.heard(object));
  }, [shared, object, question]);
  const state = useSyncExternalStore(list.subscribe, list.getState, list.getState);
  return useOverlaid<S, O>(shared, object, state);
}

function useOverlaid<S extends Schema<S>, O extends ObjectName<S>>(
  { overlays }: Shared,
  object: O,
  state: ListState<Row>,
): ListState<RecordOf<S, O>> {
  const laid = useSyncExternalStore(
    overlays.subscribe,
    () => overlays.state,
    () => overlays.state,
  );
  return useMemo(() => {
    const records =
      laid.length > 0 && state.records ? overlays.over(object, state.records) : state.records;
    return { ...state, records } as unknown as ListState<RecordOf<S, O>>;
  }, [overlays, object, state, laid]);
}

export interface MutationOptions<A extends unknown[], R> {
  /** Of which object the lists change. */
  object?: string;
  /** The records of a list as they will be; taken back by itself if the mutation fails. */
  optimistic?: (records: readonly R[], ...given: A) => readonly R[];
}

export interface Mutation<A extends unknown[], T> {
  /** Runs it; rejects as it does. */
  mutate: (...given: A) => Promise<T>;
  isPending: boolean;
  /** Of the last run; undefined while one is under way. */
  error: unknown;
}

/** A write, with what it looks like until it is done. */
export function useMutation<A extends unknown[], T, S extends Schema<S> = Untyped, R = Row>(
  write: (client: Client<S>, ...given: A) => Promise<T>,
  options: MutationOptions<A, R> = {},
): Mutation<A, T> {
  const shared = useShared();
  const [pending, setPending] = useState(0);
  const [error, setError] = useState<unknown>(undefined);
  const { object, optimistic } = options;
  const mutate = useCallback(
    async (...given: A): Promise<T> => {
      const overlay = optimistic && ((records: readonly R[]) => optimistic(records, ...given));
      const laid = object && overlay && shared.overlays.add(object, overlay as unknown as Overlay);
      setPending((count) => count + 1);
      setError(undefined);
      try {
        const done = await write(shared.client as unknown as Client<S>, ...given);
        if (laid) laid.done();
        if (object) void shared.refetch(object);
        return done;
      } catch (thrown) {
        if (laid) laid.failed();
        setError(thrown);
        throw thrown;
      } finally {
        setPending((count) => count - 1);
      }
    },
    [shared, write, object, optimistic],
  );
  return { mutate, isPending: pending > 0, error };
}
