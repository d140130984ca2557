"""Answers kept for later, and forgotten in time.

`store` is the port and its twin in memory, `redis_connection` and `redis_store` the one in Redis.
`trust` knows which tags may be believed, `cache` puts the parts together; `kernel.cached_reads`
is the step of the read path, `kernel.write` tells of every commit.
"""
