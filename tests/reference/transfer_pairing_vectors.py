#!/usr/bin/python3
"""Makes tests/vectors/transfer-spake2.json and transfer-pairing.json.

    /usr/bin/python3 tests/reference/transfer_pairing_vectors.py

Nothing of this project's code is used: SPAKE2 is Debian's python3-spake2, HKDF is written here on hmac (RFC 5869), X25519
is written here from RFC 7748, BLAKE2s and SHA-256 are hashlib's. docs/wire-formats.md describes what is made.
"""
import hashlib
import hmac
import json
import os
import struct

import spake2
from spake2 import ed25519_basic as ed
from spake2.parameters.ed25519 import ParamsEd25519
from spake2.spake2 import SPAKE2_Symmetric

VECTORS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "vectors")


def seeded(label, length):
    """Bytes that look random and can be made again."""
    blocks = (length + 63) // 64
    return b"".join(hashlib.sha512(f"{label} {at}".encode()).digest() for at in range(blocks))[:length]


# SPAKE2


def exchange(name, passwords, ids):
    """What two sides say and get, each with its own password and id."""
    entropies = [seeded(f"{name} {side}", 64) for side in "ab"]
    sides = [
        SPAKE2_Symmetric(password, idSymmetric=id, entropy_f=lambda length, bytes=entropy: bytes[:length])
        for password, id, entropy in zip(passwords, ids, entropies)
    ]
    messages = [side.start() for side in sides]
    keys = [sides[0].finish(messages[1]), sides[1].finish(messages[0])]
    return {
        "name": name,
        "a": shown(passwords[0], ids[0], entropies[0], messages[0], keys[0]),
        "b": shown(passwords[1], ids[1], entropies[1], messages[1], keys[1]),
    }


def shown(password, id, entropy, message, key):
    return {
        "password": password.hex(),
        "idSymmetric": id.hex(),
        "entropy": entropy.hex(),
        "message": message.hex(),
        "key": key.hex(),
    }


def neutral():
    """The other side sends S times the password scalar, so that nothing but the neutral element is left of it."""
    password, id, entropy = b"zoo-zone-zero", b"id", seeded("neutral", 64)
    side = SPAKE2_Symmetric(password, idSymmetric=id, entropy_f=lambda length: entropy[:length])
    message = side.start()
    theirs = b"S" + ParamsEd25519.S.scalarmult(side.pw_scalar).to_bytes()
    return {"name": "neutral", **shown(password, id, entropy, message, side.finish(theirs)), "theirs": theirs.hex()}


def torsion():
    """The eight points whose order divides 8, as they are encoded."""
    for y in range(2, 100):
        try:
            point = ed.ElementOfUnknownGroup(ed.xform_affine_to_extended(ed.decodepoint(number(y))))
        except ed.NotOnCurve:
            continue
        small = point.scalarmult(ed.L)
        found = [ed.Zero]
        while len(found) < 8:
            found.append(found[-1].add(small) if len(found) > 1 else small)
        encodings = {each.to_bytes() for each in found}
        if len(encodings) == 8:
            return found
    raise AssertionError("no point of order 8")


def number(y, sign=0):
    return (y | sign << 255).to_bytes(32, "little")


def refusals():
    found = [("side A", b"A" + ParamsEd25519.S.to_bytes()), ("side B", b"B" + ParamsEd25519.S.to_bytes())]
    found += [("no side", ParamsEd25519.S.to_bytes()), ("empty", b"")]
    found += [("a byte too few", b"S" + ParamsEd25519.S.to_bytes()[:-1])]
    found += [("a byte too many", b"S" + ParamsEd25519.S.to_bytes() + b"\0")]
    small = torsion()
    order = [1, 8, 4, 8, 2, 8, 4, 8]
    for at, point in enumerate(small):
        found.append((f"low order {order[at]}, {at}", b"S" + point.to_bytes()))
    # Of the same eight points, and of others: y not below the prime, or a sign where x is 0.
    found += [(f"not canonical: y = {y}, x = -0", b"S" + number(value, 1)) for y, value in [("1", 1), ("-1", ed.Q - 1)]]
    for above in range(19):
        for sign in (0, 1):
            if on_curve(ed.Q + above):
                found.append((f"not canonical: y = prime + {above}, sign {sign}", b"S" + number(ed.Q + above, sign)))
    honest = ed.Base.scalarmult(123456789)
    for at, point in enumerate(small[1:], 1):
        found.append((f"an element with a part of order {order[at]}, {at}", b"S" + honest.add(point).to_bytes()))
    found += [(f"not on the curve: y = {y}", b"S" + number(y)) for y in range(2, 12) if not on_curve(y)]
    return [{"name": name, "message": message.hex(), "python": what_python_does(message)} for name, message in found]


def on_curve(y):
    return ed.isoncurve([ed.xrecover(y), y])


def what_python_does(message):
    side = SPAKE2_Symmetric(b"password", entropy_f=lambda length: seeded("refusal", length))
    side.start()
    try:
        side.finish(message)
    except Exception as error:
        return type(error).__name__
    return "takes it"


# Key schedule


def hkdf_extract(salt, material):
    return hmac.new(salt, material, hashlib.sha256).digest()


def hkdf_expand(prk, info, length):
    output, block = b"", b""
    for at in range(1, 256):
        block = hmac.new(prk, block + info + bytes([at]), hashlib.sha256).digest()
        output += block
        if len(output) >= length:
            return output[:length]


def x25519(scalar, u):
    """RFC 7748, 5: the Montgomery ladder."""
    prime = 2**255 - 19
    k = int.from_bytes(scalar, "little") & ~7 & ~(1 << 255) | 1 << 254
    k &= (1 << 255) - 1
    x1 = int.from_bytes(u, "little") & (1 << 255) - 1
    x2, z2, x3, z3, swap = 1, 0, x1, 1, 0
    for at in reversed(range(255)):
        bit = k >> at & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a, b * b, d * a, c * b
        x3, z3 = (da + cb) ** 2 % prime, x1 * (da - cb) ** 2 % prime
        x2, z2 = aa * bb % prime, (aa - bb) * (aa + 121665 * (aa - bb)) % prime
    if swap:
        x2, x3, z2, z3 = x3, x2, z3, z2
    return (x2 * pow(z2, prime - 2, prime) % prime).to_bytes(32, "little")


def identifier(type, label, known):
    return bytes([type]) + hashlib.blake2s(label + known).digest()


def hello(mode, role, instance, share):
    return struct.pack(">4sBBB16s", b"PSTN", 1, mode, role, instance) + share


def schedule(identifier, sender_hello, receiver_hello, material):
    transcript = hashlib.sha256(b"postern transfer 1 keys" + identifier + sender_hello + receiver_hello).digest()
    prk = hkdf_extract(transcript, material)
    names = ["sender key", "receiver key", "sender confirmation", "receiver confirmation", "resume secret"]
    return {
        "material": material.hex(),
        "transcript": transcript.hex(),
        "prk": prk.hex(),
        **{camel(name): hkdf_expand(prk, name.encode(), 32).hex() for name in names},
    }


def camel(name):
    first, last = name.split(" ")
    return first + last.capitalize()


def code_pairing(text):
    nameplate, words = text.split("-", 1)
    who = identifier(1, b"postern transfer 1 code", nameplate.encode())
    sides, instances, entropies = [], [], []
    for role in ("sender", "receiver"):
        instances.append(seeded(f"{text} {role} instance", 16))
        entropies.append(seeded(f"{text} {role} entropy", 64))
        sides.append(
            SPAKE2_Symmetric(
                words.encode(),
                idSymmetric=b"postern transfer 1" + who,
                entropy_f=lambda length, bytes=entropies[-1]: bytes[:length],
            )
        )
    messages = [side.start() for side in sides]
    hellos = [hello(1, role, instances[role - 1], messages[role - 1]) for role in (1, 2)]
    material = sides[0].finish(messages[1])
    assert sides[1].finish(messages[0]) == material
    keys = schedule(who, *hellos, material)
    return {
        "code": text,
        "identifier": who.hex(),
        "sender": {"instance": instances[0].hex(), "random": [entropies[0].hex()], "hello": hellos[0].hex()},
        "receiver": {"instance": instances[1].hex(), "random": [entropies[1].hex()], "hello": hellos[1].hex()},
        "keys": keys,
        "workingFolder": working_folder(bytes.fromhex(keys["resumeSecret"])),
    }


def resumed_pairing(name, secret):
    who = identifier(2, b"postern transfer 1 resume", secret)
    base = bytes([9]) + bytes(31)
    instances, nonces, private = ([seeded(f"{name} {role} {what}", size) for role in ("sender", "receiver")]
                                  for what, size in (("instance", 16), ("nonce", 32), ("key", 32)))
    hellos = [
        hello(2, role, instances[role - 1], nonces[role - 1] + x25519(private[role - 1], base)) for role in (1, 2)
    ]
    shared = x25519(private[0], hellos[1][-32:])
    assert shared == x25519(private[1], hellos[0][-32:])
    keys = schedule(who, *hellos, secret + shared)
    del keys["resumeSecret"]
    side = lambda at: {
        "instance": instances[at].hex(),
        "random": [nonces[at].hex(), private[at].hex()],
        "hello": hellos[at].hex(),
    }
    return {
        "secret": secret.hex(),
        "identifier": who.hex(),
        "sender": side(0),
        "receiver": side(1),
        "keys": keys,
        "workingFolder": working_folder(secret),
    }


def working_folder(secret):
    return hkdf_expand(secret, b"working folder", 32)[:8].hex()


def write(name, content):
    with open(os.path.join(VECTORS, name), "w", encoding="ascii") as file:
        json.dump(content, file, indent=2)
        file.write("\n")


# RFC 7748, 5.2, first vector: the ladder above is the right one.
assert x25519(
    bytes.fromhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"),
    bytes.fromhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"),
).hex() == "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"
# RFC 5869, appendix A.1.
assert hkdf_expand(
    hkdf_extract(bytes(range(13)), b"\x0b" * 22), bytes(range(0xF0, 0xFA)), 42
).hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"

MADE_WITH = f"tests/reference/transfer_pairing_vectors.py and Debian's python3-spake2 {spake2.__version__}"
write("transfer-spake2.json", {
    "comment": "SPAKE2 over ed25519, symmetric, as docs/wire-formats.md describes it. Bytes are hex; entropy is what a "
    f"side draws. Made with {MADE_WITH}, not with this project's code. \"refusals\" are messages that no honest side "
    "sends; \"python\" is the exception that python-spake2 refuses them with, which takes what is not canonical.",
    "blinding": ParamsEd25519.S.to_bytes().hex(),
    "exchanges": [
        exchange("the same password", [b"ocean-rabbit-velvet"] * 2, [b"postern"] * 2),
        exchange("no password and no id", [b""] * 2, [b""] * 2),
        exchange("a long password", [b"\xff" * 200] * 2, [bytes(range(256))] * 2),
        exchange("the other order", [b"legal-winner-thank"] * 2, [b"id"] * 2),
        exchange("a wrong password", [b"ocean-rabbit-velvet", b"ocean-rabbit-velvet "], [b"id"] * 2),
        exchange("another id", [b"ocean-rabbit-velvet"] * 2, [b"id", b"ie"]),
    ],
    "neutral": neutral(),
    "refusals": refusals(),
})
write("transfer-pairing.json", {
    "comment": "Pairings of a transfer, as docs/wire-formats.md describes them. Bytes are hex; random is what a side "
    f"draws, in this order. Made with {MADE_WITH}, hashlib and hmac, not with this project's code.",
    "code": [code_pairing("481516-ocean-rabbit-velvet"), code_pairing("0042-zoo-abandon-legal-winner")],
    "resume": [resumed_pairing("first", seeded("secret", 32)), resumed_pairing("second", seeded("secret", 32))],
})
