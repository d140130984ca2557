/** What a record is where nothing is known of its object. */
// biome-ignore lint/suspicious/noExplicitAny: values of fields that nobody has described
export type Row = { id: string; [field: string]: any };

/** What is known of one object. `objectql types` writes these from metadata. */
export interface ObjectTypes {
  record: { id: string };
  create: object;
  update: object;
}

/** What is known where no types were generated: that every object has records. */
export interface Untyped {
  [object: string]: { record: Row; create: object; update: object };
}

/** Objects by name. A generated `interface` fits, which has no index signature. */
export type Schema<S> = { [K in keyof S]: ObjectTypes };

export type ObjectName<S> = keyof S & string;
export type RecordOf<S extends Schema<S>, O extends keyof S> = S[O]["record"];
export type CreateOf<S extends Schema<S>, O extends keyof S> = S[O]["create"];
export type UpdateOf<S extends Schema<S>, O extends keyof S> = S[O]["update"];

/** Conditions on one field; see the guide on queries. */
export type Condition<V> =
  | V
  | {
      $eq?: V;
      $ne?: V;
      $gt?: V;
      $gte?: V;
      $lt?: V;
      $lte?: V;
      $in?: readonly V[];
      $nin?: readonly V[];
      $between?: readonly [V, V];
      $null?: boolean;
      $exists?: boolean;
      $contains?: unknown;
      $notContains?: unknown;
      $startsWith?: string;
      $endsWith?: string;
      $icontains?: string;
      $like?: string;
      $ilike?: string;
    };

/** Which records: conditions on fields, all of which hold; or tuples. */
export type Where<R> =
  | ({ [K in keyof R]?: Condition<R[K]> } & {
      $and?: readonly Where<R>[];
      $or?: readonly Where<R>[];
      $not?: Where<R>;
    })
  | readonly unknown[];

/** A query; every key is explained in the guide on queries. */
export interface Query<R> {
  where?: Where<R>;
  fields?: readonly (keyof R & string)[];
  orderBy?: string | readonly string[];
  expand?: unknown;
  search?: string;
  limit?: number;
  offset?: number;
  after?: string;
  count?: boolean | "exact" | "estimated";
}

export interface Page<R> {
  readonly items: readonly R[];
  readonly hasNext: boolean;
  /** The `after` of the following page. */
  readonly next?: string;
  /** What `count` asked. */
  readonly total?: number;
}
