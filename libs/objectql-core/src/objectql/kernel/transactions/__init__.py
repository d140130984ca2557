"""Transactions over several data sources.

Reading order: `coordinator` (the port to who decides), `two_phase` (runs `txn.protocol`), `batch`
(what a batch does in all its sources), `parts` (ends parts for others), `status` (how one stands).
"""
