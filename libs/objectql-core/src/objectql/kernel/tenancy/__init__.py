"""Tenants: which there are and whether they may act (`directory`), and their administration.

Reading order: `directory`, `admin` (register, change, delete), `export`, `quotas`, `usage`.
"""
