"""The expression language of formulas, rules, defaults and conditions (ADR 0041).

In reading order: `syntax`, `tokens` and `parse` (what a text says); `functions` with `numbers`,
`texts` and `dates` (the machine); `program` (a formula with its types settled); `check` with
`coerce` and `calls` (from one to the other); `names` (of an object's fields); `fields` (a formula
field as a program over stored ones); `evaluate`; `dependencies`.
"""
