"""The gRPC gateway: messages of Protocol Buffers to kernels, and answers back.

`app` wires it, `server` listens, `router` finds what a path means, `methods` runs one call from
credentials to status, `asking` and `streams` say what is asked of kernels, `catalog` knows the
objects, `reflection` and `health` are the two standard services.
"""
