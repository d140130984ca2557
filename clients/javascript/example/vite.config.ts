import { defineConfig } from "vite";

const { OQL_REST_URL = "http://127.0.0.1:8080", OQL_WS_URL = "ws://127.0.0.1:8081/ws" } =
  process.env;

/** The page and both gateways under one origin, as behind the ingress of an installation. */
const proxy = {
  "/api": { target: OQL_REST_URL },
  "/ws": { target: OQL_WS_URL.replace(/\/ws$/, ""), ws: true },
};

export default defineConfig({
  esbuild: { jsx: "automatic" },
  server: { proxy },
  preview: { proxy },
});
