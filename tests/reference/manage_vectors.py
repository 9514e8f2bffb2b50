#!/usr/bin/python3
"""Makes tests/vectors/manage-link.json, manage-token.json, manage-session.json and manage-audit.json.

    /usr/bin/python3 tests/reference/manage_vectors.py

Nothing of this project's code is used: Ed25519, X25519 and HKDF are those of python3-cryptography, SHA-256 is hashlib's.
docs/wire-formats.md describes what is made.
"""
import base64
import hashlib
import json
import os
import struct

import cryptography
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

VECTORS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "vectors")


def seeded(label, length):
    """Bytes that look random and can be made again."""
    blocks = (length + 63) // 64
    return b"".join(hashlib.sha512(f"manage {label} {at}".encode()).digest() for at in range(blocks))[:length]


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def raw(public):
    return public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


class Signer:
    """An identity."""

    def __init__(self, label):
        self.seed = seeded(f"{label} seed", 32)
        self.key = Ed25519PrivateKey.from_private_bytes(self.seed)
        self.public = raw(self.key.public_key())

    def sign(self, *parts):
        return self.key.sign(b"".join(parts))

    def shown(self):
        encoded = base64.urlsafe_b64encode(self.public).rstrip(b"=").decode()
        fingerprint = base64.b64encode(sha256(self.public)).rstrip(b"=").decode()
        return {
            "seed": self.seed.hex(),
            "publicKey": self.public.hex(),
            "text": encoded,
            "fingerprint": f"SHA256:{fingerprint}",
        }


SERVER, HOST, ADMIN = Signer("server"), Signer("host"), Signer("administrator")
KEYS = {"server": SERVER.shown(), "host": HOST.shown(), "administrator": ADMIN.shown()}


def short(text):
    return bytes([len(text)]) + text.encode("ascii")


# Links


def frame(type, data, flow=0):
    return struct.pack(">BBBH", 1, type, flow, len(data)) + data


def contract_hash(version, methods):
    """Lines of version, then name and shape of each method, by name."""
    lines = ["postern rpc contract 1", version, *(f"{name} {shape}" for name, shape in sorted(methods.items()))]
    return sha256(("\n".join(lines) + "\n").encode())


CALLS = {
    "host": (
        {"ping": "call", "challenge": "call", "end": "call", "pin": "call"},
        {"register": "call", "ended": "call", "pinned": "call"},
    ),
    "administrator": (
        {"ended": "call", "pin": "call"},
        {"hosts": "call", "watchHosts": "stream", "prepare": "call", "sessions": "call"},
    ),
}


def link(kind, role, dialler, name):
    kinds, roles = {"link": 1, "join": 2}, {"host": 1, "administrator": 2}
    label = f"{kind} {role}"
    certificate = seeded(f"{label} certificate", 300)
    nonce, server_nonce = seeded(f"{label} nonce", 32), seeded(f"{label} server nonce", 32)
    hello = bytes([1, kinds[kind], roles[role]]) + nonce + dialler.public
    server_hello = bytes([1, kinds[kind], 0]) + server_nonce + SERVER.public
    transcript = sha256(b"postern manage 1 link", hello, server_hello, sha256(certificate))
    server_proof = SERVER.sign(b"postern manage 1 server proof", transcript)
    secret = seeded(f"{label} secret", 32) if kind == "join" else b""
    bound = sha256(secret) if kind == "join" else b""
    proof = dialler.sign(b"postern manage 1 dialler proof", transcript, bound) + secret
    serves, calls = (contract_hash("1", methods) for methods in CALLS[role])
    return {
        "kind": kind,
        "role": role,
        "certificate": certificate.hex(),
        "nonce": nonce.hex(),
        "serverNonce": server_nonce.hex(),
        "secret": secret.hex() or None,
        "transcript": transcript.hex(),
        "hello": frame(0x10, hello).hex(),
        "answer": (frame(0x10, server_hello) + frame(0x11, server_proof)).hex(),
        "prove": frame(0x11, proof).hex(),
        "controlParameters": (b"\x01" + sha256(serves, calls)).hex(),
        "name": name,
        "openedParameters": name.encode().hex(),
    }


# Tokens


def token(kind, addresses, certificate_bytes):
    secret, certificate = seeded(f"token {kind}", 32), seeded(f"token certificate {kind}", certificate_bytes)
    body = bytes([{"host": 1, "administrator": 2}[kind]]) + secret + SERVER.public
    body += bytes([len(addresses)]) + b"".join(short(address) for address in addresses)
    body += struct.pack(">H", len(certificate)) + certificate
    return {
        "kind": kind,
        "secret": secret.hex(),
        "serverKey": SERVER.public.hex(),
        "addresses": addresses,
        "caCertificate": certificate.hex(),
        "hash": sha256(b"postern manage 1 token", secret).hex(),
        "text": token_text(body),
    }


def token_text(body):
    encoded = base64.urlsafe_b64encode(body + sha256(body)[:4]).rstrip(b"=").decode()
    return f"postern-join-1.{encoded}"


def token_refusals():
    secret, certificate = bytes(32), b"\x30" * 5
    good = b"\x01" + secret + SERVER.public + b"\x01" + short("a:1") + struct.pack(">H", 5) + certificate
    start = b"\x01" + secret + SERVER.public
    bodies = {
        "kind 0": b"\x00" + good[1:],
        "kind 3": b"\x03" + good[1:],
        "a server's key of small order": b"\x01" + secret + b"\x01" + bytes(31) + good[65:],
        "no address": start + b"\x00" + struct.pack(">H", 5) + certificate,
        "17 addresses": start + b"\x11" + short("a:1") * 17 + struct.pack(">H", 5) + certificate,
        "an address without a port": start + b"\x01" + short("a") + struct.pack(">H", 5) + certificate,
        "an address with port 0": start + b"\x01" + short("a:0") + struct.pack(">H", 5) + certificate,
        "an address with a line break": start + b"\x01" + short("a\n:1") + struct.pack(">H", 5) + certificate,
        "no certificate": start + b"\x01" + short("a:1") + struct.pack(">H", 0),
        "a certificate that is cut": good[:-1],
        "a byte behind it": good + b"\x00",
        "nothing": b"",
    }
    return [{"name": name, "text": token_text(body)} for name, body in bodies.items()]


# Audit


def head(number, hash):
    signature = SERVER.sign(b"postern manage 1 audit head", struct.pack(">Q", number), hash)
    return struct.pack(">Q", number) + hash + signature


def audit():
    rows, previous = [], bytes(32)
    heads = [{"number": 0, "hash": previous.hex(), "bytes": head(0, previous).hex()}]
    for number, (at_ms, event, body) in enumerate([
        (0, "init", "{}"),
        (1_800_000_000_000, "joined", '{"name":"web1","role":"host"}'),
        (2**53 - 1, "session_ended", '{"text":"é \\u0000 😀"}'),
    ], 1):
        hashed = b"postern manage 1 audit row" + previous + struct.pack(">QQ", number, at_ms)
        for text in event, body:
            hashed += struct.pack(">I", len(text.encode())) + text.encode()
        current = sha256(hashed)
        rows.append({
            "previous": previous.hex(), "number": number, "atMs": at_ms, "event": event, "body": body,
            "hash": current.hex(),
        })
        heads.append({"number": number, "hash": current.hex(), "bytes": head(number, current).hex()})
        previous = current
    return {"rows": rows, "heads": heads}


# Sessions

ACTIONS = {"shell": 1, "exec": 2, "forward": 3, "attach": 4}


def unsigned_open(label, action, flags=0, targets=(), expires=30_000, host=HOST, admin=ADMIN, version=1):
    exchange = X25519PrivateKey.from_private_bytes(seeded(f"{label} administrator x25519", 32))
    return b"".join([
        bytes([version, ACTIONS.get(action, action), flags]),
        seeded(f"{label} session", 8),
        host if isinstance(host, bytes) else host.public,
        admin.public,
        seeded(f"{label} link nonce", 32),
        seeded(f"{label} challenge", 16),
        struct.pack(">I", expires),
        raw(exchange.public_key()),
        bytes([len(targets)]),
        *(short(target) for target in targets),
    ])


def signed(unsigned):
    return unsigned + ADMIN.sign(b"postern manage 1 open", unsigned)


def session(label, action, outlives=False, targets=(), expires=30_000):
    secrets = {side: seeded(f"{label} {side} x25519", 32) for side in ("administrator", "host")}
    keys = {side: X25519PrivateKey.from_private_bytes(secret) for side, secret in secrets.items()}
    open = signed(unsigned_open(label, action, 1 if outlives else 0, targets, expires))
    ephemeral = raw(keys["host"].public_key())
    answer = b"\x01" + ephemeral
    answer += HOST.sign(b"postern manage 1 opened", sha256(open), answer)
    shared = keys["administrator"].exchange(X25519PublicKey.from_public_bytes(ephemeral))
    salt = sha256(b"postern manage 1 session", open, answer)

    def derived(words):
        return HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=words.encode()).derive(shared).hex()

    signed_head = head(7, seeded(f"{label} head", 32))
    return {
        "name": label,
        "action": action,
        "outlivesLink": outlives,
        "session": seeded(f"{label} session", 8).hex(),
        "linkNonce": seeded(f"{label} link nonce", 32).hex(),
        "challenge": seeded(f"{label} challenge", 16).hex(),
        "expiresMs": expires,
        "targets": list(targets),
        "administratorSecret": secrets["administrator"].hex(),
        "hostSecret": secrets["host"].hex(),
        "open": open.hex(),
        "head": signed_head.hex(),
        "forHost": (short("alice") + signed_head + open).hex(),
        "answer": answer.hex(),
        "forAdmin": (answer + signed_head).hex(),
        "shared": shared.hex(),
        "keys": {"administrator": derived("administrator key"), "host": derived("host key")},
    }


def session_refusals():
    good = unsigned_open("refused", "shell")
    opens = {
        "version 0": ("version", unsigned_open("refused", "shell", version=0)),
        "version 2": ("version", unsigned_open("refused", "shell", version=2)),
        "action 0": ("malformed", unsigned_open("refused", 0)),
        "action 5": ("malformed", unsigned_open("refused", 5)),
        "an unknown flag": ("malformed", unsigned_open("refused", "shell", 2)),
        "an exec that outlives its link": ("malformed", unsigned_open("refused", "exec", 1)),
        "a forward that outlives its link": ("malformed", unsigned_open("refused", "forward", 1, ["a:1"])),
        "a shell with a target": ("malformed", unsigned_open("refused", "shell", 0, ["a:1"])),
        "a forward without a target": ("malformed", unsigned_open("refused", "forward")),
        "a forward with 33 targets": ("malformed", unsigned_open("refused", "forward", 0, ["a:1"] * 33)),
        "an empty target": ("malformed", unsigned_open("refused", "forward", 0, [""])),
        "a target with a space": ("malformed", unsigned_open("refused", "forward", 0, ["a :1"])),
        "a target with a line break": ("malformed", unsigned_open("refused", "forward", 0, ["a\n:1"])),
        "targets that are too long together": (
            "malformed", unsigned_open("refused", "forward", 0, ["a" * 250 + ":1"] * 16),
        ),
        "no time": ("malformed", unsigned_open("refused", "shell", expires=0)),
        "too much time": ("malformed", unsigned_open("refused", "shell", expires=30_001)),
        "the administrator's own key as the host's": ("malformed", unsigned_open("refused", "shell", host=ADMIN)),
        "a host's key of small order": (
            "malformed", unsigned_open("refused", "shell", host=b"\x01" + bytes(31)),
        ),
    }
    refusals = [{"name": name, "code": code, "open": signed(bytes).hex()} for name, (code, bytes) in opens.items()]
    return refusals + [
        {"name": "nothing", "code": "malformed", "open": ""},
        {"name": "a byte behind it", "code": "malformed", "open": (signed(good) + b"\x00").hex()},
        {"name": "the last byte missing", "code": "malformed", "open": signed(good)[:-1].hex()},
    ]


def write(name, content):
    with open(os.path.join(VECTORS, name), "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2, ensure_ascii=False)
        file.write("\n")


MADE_WITH = (
    "Bytes are hex. Made with tests/reference/manage_vectors.py and "
    f"python3-cryptography {cryptography.__version__}, not with this project's code."
)
write("manage-link.json", {
    "comment": f"Handshakes of a link, as docs/wire-formats.md describes them. {MADE_WITH}",
    "keys": KEYS,
    "links": [
        link("link", "host", HOST, "web1"),
        link("link", "administrator", ADMIN, "alice"),
        link("join", "host", HOST, "db-2.example"),
        link("join", "administrator", ADMIN, "b" * 64),
    ],
})
write("manage-token.json", {
    "comment": f"Join tokens, as docs/wire-formats.md describes them; the refusals have right checksums. {MADE_WITH}",
    "tokens": [
        token("host", ["manage.example:7022", "[2001:db8::1]:443"], 421),
        token("administrator", ["192.0.2.7:1"], 1),
    ],
    "refusals": token_refusals(),
})
write("manage-session.json", {
    "comment": "How sessions are opened, as docs/wire-formats.md describes it; the refusals are signed by the "
    f"administrator. {MADE_WITH}",
    "keys": KEYS,
    "sessions": [
        session("shell", "shell"),
        session("shell that outlives its link", "shell", True),
        session("exec", "exec", expires=1),
        session("forward", "forward", targets=["localhost:5432", "*.db.internal:5000-5999", "[2001:db8::/32]:*"]),
        session("attach", "attach", True),
    ],
    "refusals": session_refusals(),
})
write("manage-audit.json", {
    "comment": f"Rows and signed heads of an audit, as docs/wire-formats.md describes them. {MADE_WITH}",
    "serverKey": SERVER.public.hex(),
    **audit(),
})
