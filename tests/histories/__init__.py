"""What clients did and saw while faults were made, and whether it can be explained.

Reading order: `history` (the record, one file format), `list_append` (isolation over several
records), `versions` (each record on its own), `bank` (money).
"""
