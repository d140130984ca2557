"""The proof that every database answers as the oracle does, on random schemas, data and queries."""
