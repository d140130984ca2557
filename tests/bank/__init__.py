"""The bank under faults: several data sources, and what goes on while parts of the cluster do not."""
