"""Data operations as every gateway has them: from JSON to messages of the bus, and back to JSON.

`names` checks what names objects and records, `facts` what callers say beside it, `limits` what
requests may cost, `queries` limits pages, `exports` turns them, `bulk` and `batches` are the bodies
of many writes, `answers` the finished texts, `row_errors` failures of some of many rows.
"""
