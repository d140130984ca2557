"""Real NATS, Postgres (with a hot standby), Redis and ZooKeeper on this machine, and the cluster on top.

In reading order:

- `environment`, `errors`, `ports`: settings of the developer, what can go wrong, loopback ports
- `tether`, `spawning`, `processes`: starting programs, dying with the parent, knowing a process again
- `state`: the state directory (`run/`, `log/`, `data/`, `state.json`) and its lock
- `probes`, `pgwire`: questions that tell whether a server is ready
- `folders`, `programs`: where the server programs are, and who may reach them
- `servers`, `postgres`, `zookeeper`: one class per data service
- `engine`, `containers`, `external`: the same services from Docker, or from somewhere else
- `stack`: `DataStack`, all data services together
- `services`, `tokens`, `status`, `cluster`: the cluster's processes and what they are given
- `log_lines`: what services log, for people
- `cli`: `objectql-devstack up | down | status | logs`
- `dev`, `dev_log`: `objectql dev`
"""

from objectql_devstack.errors import DevStackError, PortTakenError, ServerFailedError
from objectql_devstack.stack import DataStack

__all__ = ["DataStack", "DevStackError", "PortTakenError", "ServerFailedError"]
