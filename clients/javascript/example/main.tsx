import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Client } from "../src/index.js";
import { ObjectQLProvider } from "../src/react/index.js";
import { Delays } from "./delays.js";
import type { Objects } from "./objects.js";

// The token of development comes behind the `#`, which is sent to nobody; see the guide on identity for more.
const credentials = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
const client = new Client<Objects>(location.origin, { credentials });

const page = document.getElementById("page");
if (page) {
  createRoot(page).render(
    <StrictMode>
      <ObjectQLProvider client={client}>
        <Delays />
      </ObjectQLProvider>
    </StrictMode>,
  );
}
