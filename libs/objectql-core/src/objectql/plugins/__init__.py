"""What extends the engine: plugins, drivers, hooks, actions, middleware and services.

`manifest` (versions and ranges) → `resolver` (start order) → `components` (kinds told apart) →
`context` (what a hook sees) → `hooks` → `middleware` → `actions` → `services` → `code` (hook and
action files) → `lifecycle` (the phases).
"""
