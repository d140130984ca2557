"""Who may do what: permission documents compiled against a caller's roles.

In reading order: `rules` is what documents say about one object, `filters` the algebra of their
conditions; `documents` reads permission files with `conditions` and `expressions`, `reading` those
of a whole snapshot. `access` decides what a set of roles may do to an object, `policy` is what
`query.bind` and the kernel ask, `permissions` keeps policies.
"""
