"""What proves afterwards who did what: chains of entries, the security log, how long they are kept.

`links` is the pure part, `sealer` chains what was committed, `verify` follows chains.
"""
