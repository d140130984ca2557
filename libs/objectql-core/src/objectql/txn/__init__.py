"""Transactions over several data sources, as pure functions: no I/O, no clock.

Reading order: `names` (what a prepared part is called), `protocol` (the kernel that runs a
transaction), `recovery` (the leader, who decides, and ends what others have left behind).
"""
