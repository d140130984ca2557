"""A kernel worker: the engine behind the bus.

Reading order: `settings`, `handlers` (verbs to the kernel's operations), `sources` (URLs to
drivers), `changes` (the outbox relays of this worker), `shared_cache` (the result cache), `gauges` (its metrics), `watch` (reloading on
every save), `app` (the composition root).
"""
