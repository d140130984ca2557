/** React hooks: `useQuery`, `useLiveQuery`, `useMutation`, below an `ObjectQLProvider`. */
export {
  type MutationOptions,
  ObjectQLProvider,
  useClient,
  useLiveQuery,
  useMutation,
  useQuery,
} from "./hooks.js";
export type { ListState } from "./lists.js";
