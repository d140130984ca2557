"""Live queries as pure data structures: who is to hear what of a committed change.

`query` is a subscription after the kernel has bound it, `images` the two images of an event as
values and as JSON, `matcher` finds the subscriptions that an event concerns, `commits` puts the
events of one commit together again, `cursor` names positions. Where filters follow lookups, `joins`
says what they ask of other records, `timeline` what those were at each commit, `joined` what it means. No I/O: a gateway feeds them.
"""
