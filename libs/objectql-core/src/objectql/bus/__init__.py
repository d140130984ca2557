"""The bus between gateways and kernels.

Reading order: `port` (what every bus does), `chunks` (long replies), `breaker`, `client` (typed
requests, error replies to exceptions, retries), `server` (handler table, expired requests, errors
to replies), `memory` (in one process, with fault switches), `nats` (the real one, and the only
importer of nats).
"""
