"""The chart and the manifests: rendered by Helm itself, checked without a cluster."""
