"""What every process has: settings, health, telemetry, authentication, a life.

Reading order: `settings` (environment to frozen structs), `telemetry` (log lines, metrics),
`health` (`/live`, `/ready`, `/metrics`), `auth` (bearer token to actor), `run` (signals, readiness,
heartbeats, drain, exit codes).
"""
