"""How often something may happen: `bucket` is the arithmetic, `limiter` holds it over a cluster.

`tally` tells how often something did.
"""
