"""An issuer of tokens for a test: PyJWT signs them, a JWK set that can change is served on this machine.

The first line printed is the port. Each line read is a command in JSON, and has one line for an answer.
"""

import base64
import hashlib
import hmac
import http.server
import json
import sys
import threading

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

KINDS = {
    "rsa": (lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048), RSAAlgorithm),
    "ec": (lambda: ec.generate_private_key(ec.SECP256R1()), ECAlgorithm),
    "ed": (ed25519.Ed25519PrivateKey.generate, OKPAlgorithm),
}
keys, published, state = {}, [], {"up": True}


def jwk(kid):
    kind, key = keys[kid]
    return {**json.loads(KINDS[kind][1].to_jwk(key.public_key())), "kid": kid, "use": "sig"}


class Served(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        # What nobody here can use stands among the keys as well.
        odd = {"kty": "oct", "kid": "odd", "k": "c2VjcmV0"}, {"kty": "new", "kid": "newer"}
        body = json.dumps({"keys": [*odd, *(jwk(kid) for kid in published)]}).encode()
        self.send_response(200 if state["up"] else 503)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def part(value):
    return base64.urlsafe_b64encode(value).rstrip(b"=")


def by_hand(header, claims, sign):
    """A token that no library would make."""
    signed = part(json.dumps(header).encode()) + b"." + part(json.dumps(claims).encode())
    return (signed + b"." + part(sign(signed))).decode()


def do(command):
    what = command["do"]
    if what == "make":
        keys[command["kid"]] = (command["kind"], KINDS[command["kind"]][0]())
    elif what == "publish":
        published[:] = command["kids"]
    elif what == "up":
        state["up"] = command["is"]
    elif what == "token":
        headers = {"kid": command.get("as", command["kid"]), **command.get("headers", {})}
        return jwt.encode(command["claims"], keys[command["kid"]][1], algorithm=command["alg"], headers=headers)
    elif what == "none":
        return by_hand({"alg": "none", "kid": command["kid"]}, command["claims"], lambda _: b"")
    elif what == "hs":
        public = keys[command["kid"]][1].public_key()
        pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        sign = lambda signed: hmac.new(pem, signed, hashlib.sha256).digest()
        return by_hand({"alg": "HS256", "kid": command["kid"]}, command["claims"], sign)
    return ""


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Served)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
for line in sys.stdin:
    print(json.dumps(do(json.loads(line))), flush=True)
