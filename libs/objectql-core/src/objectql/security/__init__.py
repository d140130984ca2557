"""Who may do what: permission documents compiled against a caller's roles.

`permissions` compiles them into the access policy that `query.bind` asks and the kernel checks.
"""
