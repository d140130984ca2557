"""Benchmarks: `python -m bench`, or `make bench`.

In reading order: `report` (tables, results as JSON), `naive` (what our parts replace), `micro`
(parts against `naive`), `hop` (the bus between two processes), `processes`
(processor time), `baseline` (the hand-written
service), `http` (REST against `baseline`), `profiling` (where the time goes).
"""
