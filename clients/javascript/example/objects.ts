// Written by `objectql types`: do not change it, write it anew.

/** Account */
export interface Account {
  id: string;
  name: string;
  industry: "agriculture" | "energy" | "finance" | "health" | "retail" | "technology" | "travel" | "other" | null;
  website: string | null;
  phone: string | null;
  employees: number | null;
  annual_revenue: number | null;
  rating: number | null;
  billing_address: unknown;
  tags: string[] | null;
  owner: string | null;
  active: boolean | null;
  created_at: string;
  created_by: string | null;
  updated_at: string;
  updated_by: string | null;
  version: number;
}

export interface AccountCreate {
  /** Chosen by the server where it is left out. */
  id?: string;
  name: string;
  industry?: "agriculture" | "energy" | "finance" | "health" | "retail" | "technology" | "travel" | "other" | null;
  website?: string | null;
  phone?: string | null;
  employees?: number | null;
  annual_revenue?: number | null;
  rating?: number | null;
  billing_address?: unknown;
  tags?: string[] | null;
  owner?: string | null;
  active?: boolean | null;
}

export type AccountUpdate = Partial<Omit<AccountCreate, "id">>;

/** Airline */
export interface Airline {
  id: string;
  name: string;
  created_at: string;
  created_by: string | null;
  updated_at: string;
  updated_by: string | null;
  version: number;
}

export interface AirlineCreate {
  /** Chosen by the server where it is left out. */
  id?: string;
  name: string;
}

export type AirlineUpdate = Partial<Omit<AirlineCreate, "id">>;

/** Airport */
export interface Airport {
  id: string;
  name: string;
  lat: number | null;
  lon: number | null;
  /** Feet above sea level */
  alt: number | null;
  /** Hours from UTC in winter */
  utc_offset: number | null;
  dst: "A" | "U" | "N" | null;
  /** IANA name, for example America/New_York */
  tz: string | null;
  created_at: string;
  created_by: string | null;
  updated_at: string;
  updated_by: string | null;
  version: number;
}

export interface AirportCreate {
  /** Chosen by the server where it is left out. */
  id?: string;
  name: string;
  lat?: number | null;
  lon?: number | null;
  /** Feet above sea level */
  alt?: number | null;
  /** Hours from UTC in winter */
  utc_offset?: number | null;
  dst?: "A" | "U" | "N" | null;
  /** IANA name, for example America/New_York */
  tz?: string | null;
}

export type AirportUpdate = Partial<Omit<AirportCreate, "id">>;

/** Contact */
export interface Contact {
  id: string;
  first_name: string | null;
  last_name: string;
  email: string | null;
  phone: string | null;
  birthday: string | null;
  account: string | null;
  reports_to: string | null;
  /** When to call, in the contact's own time */
  preferred_time: string | null;
  created_at: string;
  created_by: string | null;
  updated_at: string;
  updated_by: string | null;
  version: number;
}

export interface ContactCreate {
  /** Chosen by the server where it is left out. */
  id?: string;
  first_name?: string | null;
  last_name: string;
  email?: string | null;
  phone?: string | null;
  birthday?: string | null;
  account?: string | null;
  reports_to?: string | null;
  /** When to call, in the contact's own time */
  preferred_time?: string | null;
}

export type ContactUpdate = Partial<Omit<ContactCreate, "id">>;

/** A scheduled flight out of EWR, JFK or LGA in 2013 */
export interface Flight {
  id: string;
  year: number;
  month: number;
  day: number;
  /** Local time as HHMM; empty when cancelled */
  dep_time: number | null;
  sched_dep_time: number;
  /** Minutes; negative is early */
  dep_delay: number | null;
  arr_time: number | null;
  sched_arr_time: number;
  /** Minutes */
  arr_delay: number | null;
  carrier: string;
  flight_number: number;
  /** The tail number as recorded, listed among planes or not */
  tail_code: string | null;
  tailnum: string | null;
  origin: string;
  /** The destination's code as recorded */
  dest_code: string;
  dest: string | null;
  /** Minutes in the air */
  air_time: number | null;
  /** Miles */
  distance: number;
  hour: number;
  minute: number;
  time_hour: string;
  created_at: string;
  created_by: string | null;
  updated_at: string;
  updated_by: string | null;
  version: number;
}

export interface FlightCreate {
  /** Chosen by the server where it is left out. */
  id?: string;
  year: number;
  month: number;
  day: number;
  /** Local time as HHMM; empty when cancelled */
  dep_time?: number | null;
  sched_dep_time: number;
  /** Minutes; negative is early */
  dep_delay?: number | null;
  arr_time?: number | null;
  sched_arr_time: number;
  /** Minutes */
  arr_delay?: number | null;
  carrier: string;
  flight_number: number;
  /** The tail number as recorded, listed among planes or not */
  tail_code?: string | null;
  tailnum?: string | null;
  origin: string;
  /** The destination's code as recorded */
  dest_code: string;
  dest?: string | null;
  /** Minutes in the air */
  air_time?: number | null;
  /** Miles */
  distance: number;
  hour: number;
  minute: number;
  time_hour: string;
}

export type FlightUpdate = Partial<Omit<FlightCreate, "id">>;

/** Opportunity */
export interface Opportunity {
  id: string;
  name: string;
  account: string;
  contact: string | null;
  stage: "prospecting" | "qualification" | "proposal" | "negotiation" | "closed_won" | "closed_lost";
  amount: number | null;
  /** In percent; follows the stage unless given */
  probability: number | null;
  expected: number | null;
  close_date: string;
  next_step: string | null;
  loss_reason: string | null;
  won_at: string | null;
  created_at: string;
  created_by: string | null;
  updated_at: string;
  updated_by: string | null;
  version: number;
}

export interface OpportunityCreate {
  /** Chosen by the server where it is left out. */
  id?: string;
  name: string;
  account: string;
  contact?: string | null;
  stage?: "prospecting" | "qualification" | "proposal" | "negotiation" | "closed_won" | "closed_lost";
  amount?: number | null;
  /** In percent; follows the stage unless given */
  probability?: number | null;
  close_date: string;
  next_step?: string | null;
  loss_reason?: string | null;
}

export type OpportunityUpdate = Partial<Omit<OpportunityCreate, "id">>;

/** Plane */
export interface Plane {
  id: string;
  year: number | null;
  kind: string | null;
  manufacturer: string | null;
  model: string | null;
  engines: number | null;
  seats: number | null;
  /** Average cruising speed in miles an hour */
  speed: number | null;
  engine: string | null;
  created_at: string;
  created_by: string | null;
  updated_at: string;
  updated_by: string | null;
  version: number;
}

export interface PlaneCreate {
  /** Chosen by the server where it is left out. */
  id?: string;
  year?: number | null;
  kind?: string | null;
  manufacturer?: string | null;
  model?: string | null;
  engines?: number | null;
  seats?: number | null;
  /** Average cruising speed in miles an hour */
  speed?: number | null;
  engine?: string | null;
}

export type PlaneUpdate = Partial<Omit<PlaneCreate, "id">>;

/** Task */
export interface Task {
  id: string;
  subject: string;
  account: string | null;
  opportunity: string | null;
  status: "open" | "in_progress" | "done" | null;
  priority: "low" | "normal" | "high" | null;
  due_on: string | null;
  estimate_minutes: number | null;
  done: boolean | null;
  assignees: string[] | null;
  checklist: unknown;
  description: string | null;
  created_at: string;
  created_by: string | null;
  updated_at: string;
  updated_by: string | null;
  version: number;
  shared_with: string[] | null;
}

export interface TaskCreate {
  /** Chosen by the server where it is left out. */
  id?: string;
  subject: string;
  account?: string | null;
  opportunity?: string | null;
  status?: "open" | "in_progress" | "done" | null;
  priority?: "low" | "normal" | "high" | null;
  due_on?: string | null;
  estimate_minutes?: number | null;
  done?: boolean | null;
  assignees?: string[] | null;
  checklist?: unknown;
  description?: string | null;
}

export type TaskUpdate = Partial<Omit<TaskCreate, "id">>;

/** Hourly weather at the three airports */
export interface Weather {
  id: string;
  origin: string;
  time_hour: string;
  /** Degrees Fahrenheit */
  temp: number | null;
  dewp: number | null;
  humid: number | null;
  wind_dir: number | null;
  wind_speed: number | null;
  wind_gust: number | null;
  precip: number | null;
  pressure: number | null;
  visib: number | null;
  created_at: string;
  created_by: string | null;
  updated_at: string;
  updated_by: string | null;
  version: number;
}

export interface WeatherCreate {
  /** Chosen by the server where it is left out. */
  id?: string;
  origin: string;
  time_hour: string;
  /** Degrees Fahrenheit */
  temp?: number | null;
  dewp?: number | null;
  humid?: number | null;
  wind_dir?: number | null;
  wind_speed?: number | null;
  wind_gust?: number | null;
  precip?: number | null;
  pressure?: number | null;
  visib?: number | null;
}

export type WeatherUpdate = Partial<Omit<WeatherCreate, "id">>;

/** For `Client<Objects>`. */
export interface Objects {
  account: { record: Account; create: AccountCreate; update: AccountUpdate };
  airline: { record: Airline; create: AirlineCreate; update: AirlineUpdate };
  airport: { record: Airport; create: AirportCreate; update: AirportUpdate };
  contact: { record: Contact; create: ContactCreate; update: ContactUpdate };
  flight: { record: Flight; create: FlightCreate; update: FlightUpdate };
  opportunity: { record: Opportunity; create: OpportunityCreate; update: OpportunityUpdate };
  plane: { record: Plane; create: PlaneCreate; update: PlaneUpdate };
  task: { record: Task; create: TaskCreate; update: TaskUpdate };
  weather: { record: Weather; create: WeatherCreate; update: WeatherUpdate };
}
