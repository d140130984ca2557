"""Metadata: what teams declare.

Reading order: `types` (what each field type stores and accepts), `model` (the definitions as
frozen structs), `yaml` (text to values with places), `document` (a document and a value that
knows its place), `keys` (the accepted keys and their spellings), `loader` (a directory to
documents), `build` (documents to a snapshot), the checks it runs (`check_objects`,
`check_fields`, `check_defaults`, `pattern`, `conditions`, `check_rules`, `check_machines`,
`check_permissions`, `check_permission_sets`, `check_required`, `check_items`, `check_references`),
`registry` (immutable snapshots and the swap that publishes one), `encode` (a definition as the API serves it), `views` (generated list
and form views), `offered` (what clients may ask for at all), `diff` (two snapshots to changes), `transfer` (a snapshot as bytes).
"""
