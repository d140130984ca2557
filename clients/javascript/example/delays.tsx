import { useState } from "react";
import type { Client } from "../src/index.js";
import { useLiveQuery, useMutation, useQuery } from "../src/react/index.js";
import type { Flight, Objects } from "./objects.js";

type Shown = Pick<Flight, "id" | "carrier" | "flight_number" | "dest_code" | "dep_delay">;

const FIELDS = ["carrier", "flight_number", "dest_code", "dep_delay"] as const;

const delay = (client: Client<Objects>, flight: Shown, minutes: number) =>
  client.update("flight", flight.id, { dep_delay: (flight.dep_delay ?? 0) + minutes });

const delayed = (flights: readonly Shown[], flight: Shown, minutes: number) =>
  flights.map((each) =>
    each.id === flight.id ? { ...each, dep_delay: (each.dep_delay ?? 0) + minutes } : each,
  );

/** The late flights of an airline, as they are at every moment; a click makes one later. */
export function Delays() {
  const [carrier, setCarrier] = useState("HA");
  const airlines = useQuery<Objects, "airline">("airline", { orderBy: "name" });
  const flights = useLiveQuery<Objects, "flight">("flight", {
    where: { carrier, dep_delay: { $gt: 15 } },
    fields: FIELDS,
  });
  const { mutate, isPending, error } = useMutation(delay, {
    object: "flight",
    optimistic: delayed,
  });
  const problem = error ?? flights.error ?? airlines.error;
  return (
    <>
      <h1>Late departures</h1>
      <label>
        Airline{" "}
        <select value={carrier} onChange={(event) => setCarrier(event.target.value)}>
          {airlines.records?.map(({ id, name }) => (
            <option key={id} value={id}>
              {name}
            </option>
          ))}
        </select>
      </label>
      {problem !== undefined && <p role="alert">{String(problem)}</p>}
      {flights.isLoading && <p>Loading …</p>}
      <table className={isPending ? "pending" : ""}>
        <thead>
          <tr>
            <th>Flight</th>
            <th>To</th>
            <th>Minutes late</th>
            <th />
          </tr>
        </thead>
        <tbody>
          {flights.records?.map((flight) => (
            <tr key={flight.id} id={`flight-${flight.id}`}>
              <td>
                {flight.carrier} {flight.flight_number}
              </td>
              <td>{flight.dest_code}</td>
              <td className="minutes">{flight.dep_delay}</td>
              <td>
                <button type="button" onClick={() => mutate(flight, 5).catch(() => {})}>
                  5 more
                </button>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}
