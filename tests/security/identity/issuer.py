"""An OpenID Connect issuer on a thread: discovery, and keys that can be changed while it runs."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

NEVER_S = 4_000_000_000

_ALGORITHMS: dict[type[Any], tuple[str, Any]] = {
    rsa.RSAPrivateKey: ("RS256", RSAAlgorithm),
    ec.EllipticCurvePrivateKey: ("ES256", ECAlgorithm),
    ed25519.Ed25519PrivateKey: ("EdDSA", OKPAlgorithm),
}


def algorithm_of(key: Any) -> tuple[str, Any]:
    """The name of a private key's algorithm, and what writes its public key."""
    return next(found for type_, found in _ALGORITHMS.items() if isinstance(key, type_))


class Issuer:
    """Signs tokens, and serves the public keys of `keys`."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {
            "rsa": rsa.generate_private_key(public_exponent=65537, key_size=2048),
            "curve": ec.generate_private_key(ec.SECP256R1()),
            "edwards": ed25519.Ed25519PrivateKey.generate(),
        }
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                text = json.dumps(issuer.document(self.path)).encode()
                self.send_response(200)
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/realm"

    def document(self, path: str) -> dict[str, Any]:
        """What is served under a path."""
        if path == "/realm/.well-known/openid-configuration":
            return {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        keys = list[dict[str, Any]]()
        for kid, key in self.keys.items():
            text = algorithm_of(key)[1].to_jwk(key.public_key())
            keys.append({**json.loads(text), "kid": kid, "use": "sig"})
        return {"keys": keys}

    def token(self, kid: str = "rsa", *, key: Any = None, **claims: Any) -> str:
        """A token that is accepted as it is; `claims` change that."""
        given = {
            "iss": self.url,
            "aud": "oql",
            "sub": "external",
            "org": {"id": "default"},
            "realm_access": {"roles": ["admin"]},
            "exp": NEVER_S,
            **claims,
        }
        signing = self.keys[kid] if key is None else key
        name = algorithm_of(signing)[0]
        return jwt.encode(given, signing, algorithm=name, headers={"kid": kid})

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
