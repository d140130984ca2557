"""The `objectql` command.

Reading order: `main` (the commands, and those that other packages add), `token` (development
tokens), `problems` (how metadata problems are printed).
"""
