"""What proves afterwards who did what: chains of entries, the security log, how long they are kept.

`links` is the pure part, `sealer` chains what was committed, `retention` shortens chains, `verify`
follows them. `entries` makes those of the security log, `recorder` bounds refusals in it, `security`
tells it to administrators.
"""
