"""A service without a purpose: ready at once, or never, or dead, as its environment says."""

from __future__ import annotations

import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """200 for `/ready`; the value of a variable for `/<variable>`."""
        text = "yes" if self.path == "/ready" else os.environ.get(self.path[1:], "")  # noqa: TID251
        self.send_response(503 if os.environ.get("FAKE_MOOD") == "slow" else 200)  # noqa: TID251
        self.end_headers()
        self.wfile.write(text.encode())


if os.environ.get("FAKE_MOOD") == "broken":  # noqa: TID251
    sys.exit("this is the reason")
HTTPServer(("127.0.0.1", int(os.environ["FAKE_ADMIN_PORT"])), Answer).serve_forever()  # noqa: TID251
