"""The Helm chart, and the plain manifests made of it.

Reading order: `values` (what can be set), `schema` (`values.schema.json` from that and from the settings of the
services), `engine` (Helm itself), `manifests` (`deploy/k8s`). `make reference` writes all that is generated.
"""
