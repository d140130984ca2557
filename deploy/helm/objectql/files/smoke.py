"""Whether an installation works; `helm test` runs it with an image of ours.

smoke.py CLUSTER SERVICE[@HOST:PORT]...   the address of a coordinator, and what must be there

Returns when a coordinator leads, a process of each service is ready, and each address takes connections; after a
minute it says what is missing and exits with 1.
"""

from __future__ import annotations

import json
import socket
import sys
import time
import urllib.request

WITHIN_S = 60.0
TIMEOUT_S = 3.0


def problems(cluster: str, services: list[str]) -> list[str]:
    """What is missing now."""
    try:
        with urllib.request.urlopen(f"{cluster}/cluster", timeout=TIMEOUT_S) as answer:  # noqa: S310
            view = json.load(answer)
    except OSError as exc:
        return [f"no coordinator answers: {exc}"]
    found: list[str] = [] if view["leader"] else ["no coordinator leads"]
    ready = {member["service"] for member in view["members"] if member["status"] == "ready"}
    for word in services:
        service, _, address = word.partition("@")
        if service not in ready:
            found.append(f"no {service} is ready")
        elif address:
            host, _, port = address.rpartition(":")
            try:
                socket.create_connection((host, int(port)), timeout=TIMEOUT_S).close()
            except OSError as exc:
                found.append(f"{word}: {exc}")
    return found


def main() -> int:
    """Ask until nothing is missing, or the time is over."""
    cluster, *services = sys.argv[1:]
    end = time.monotonic() + WITHIN_S
    while found := problems(cluster, services):
        if time.monotonic() > end:
            sys.stderr.write("\n".join(found) + "\n")
            return 1
        time.sleep(0.5)
    sys.stdout.write(f"ready: {', '.join(service.partition('@')[0] for service in services)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
