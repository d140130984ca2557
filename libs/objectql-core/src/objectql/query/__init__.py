"""Queries, from text to something a driver can run. Pure: no I/O, no clock, no randomness.

Reading order is the order of control: `ast` (a query as asked) → `parse` (text and JSON to `ast`)
→ `template` (literals out, so that a repeated shape is one key) → `bind` (names, types, tenant,
rules: `bound`) → `optimize` → `plan` → a driver lowers it. `params` turns literals into canonical
values for each request, `cache` keeps prepared plans, `interpret` evaluates a bound query over
plain rows and is the oracle for every driver, `cursor` encodes page positions.
"""
