"""Queries, from text to something a driver can run. Pure: no I/O, no clock, no randomness.

Modules in reading order, which is the order of control:

`ast` is a query as asked. `words` and `comparand` say what a condition may be; `filter_json`,
`filter_tuples` and `filter_text` read the three forms of a filter, `parse` a query document,
`expand_text` and `url` the parameters of a URL; `filter_print` writes filters back.
`template` takes the literals out, so that a repeated shape is one key of `cache`.
`bound` is a query with everything settled. `policy` is what `bind` asks about the caller, `scope`
what a query may name, `conditions` makes predicates, `bind_groups` groupings, `bind` the whole.
`optimize` and `plan` make it what a driver lowers and `cache` keeps; `footprint` says which objects
or which record the answer depends on.
`values_in` turns the literals of one request into canonical values, with `tokens` for words like
`{today}` and `cursor` for page positions.
`interpret`, with `matching` and `groups`, evaluates a bound query over plain rows and is the
oracle for every driver. `explain` shows all stages.
"""
