"""Benchmarks: `python -m bench --help`, or `make bench`.

In reading order: `model` (what is kept), `figures` (what repeated measurements say), `place` (where
the contestants run), `processes` (processor time, memory), `wrk` (load), `naive` (what our parts
replace), `micro` (parts against `naive`), `hop` (the bus between two processes), `baseline` (the
hand-written service), `scenarios` (the requests), `rest` (ours against `baseline`), `growth` (cost
against size), `memory` (over many requests), `report` (tables), `chart`, `document` (the page),
`compare` (against kept results), `profiling` (where the time goes).
"""
