"""The coordinator: which one leads, and who is alive.

Reading order: `election` (leadership as a pure state machine), `zookeeper` (the only importer of
kazoo), `leadership` (runs the election on ZooKeeper), `membership` (who is alive), `management` (what operators may have it do), `settings`,
`app` (the composition root, `GET /cluster`).
"""
