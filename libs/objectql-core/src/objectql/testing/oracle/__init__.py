"""Random schemas, records and queries: material for the proof that every driver is right.

Everything is drawn from one `random.Random`, so that a number names a case for ever: a plain one
draws some thousand queries a second for the long runs, and hypothesis brings its own, which it can
also shrink (`objectql.testing.strategies`). Reading order: `schemas`, `contents`, `filters`,
`queries`, `comparing`, `shrinking`.
"""
