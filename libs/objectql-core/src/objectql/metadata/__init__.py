"""Metadata: what teams declare.

Reading order: `types` (what each field type stores and accepts), `model` (the documents as frozen
structs), `loader` (YAML and JSON to model, every problem with its place), `registry` (immutable
snapshots and the swap that publishes one), `diff` (two snapshots to changes).
"""
