#!/usr/bin/python3
"""Makes tests/vectors/transfer-messages.json.

    /usr/bin/python3 tests/reference/transfer_message_vectors.py

Nothing of this project's code is used: MessagePack is Debian's python3-msgpack. docs/wire-formats.md describes what is
made. A whole number that an int of 32 bits cannot hold is a float of 64 bits there, so it is given as one here.
"""
import json
import os
import struct

import msgpack

VECTORS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "vectors")
HASH = bytes(range(32))
SIZE, MODIFIED_MS = 5_000_000_000, 1_700_000_000_000


def packed(value):
    return msgpack.packb(value, use_bin_type=True)


def entry(**fields):
    base = {"kind": "file", "path": "a", "sizeBytes": 1, "modifiedMs": 1, "mode": 1}
    return {"type": "entries", "entries": [{**base, **fields}]}


def want(**fields):
    return {"type": "want", "ranges": [{"file": 1, "first": 0, "count": 1, **fields}], "last": True}


def readable(value):
    """As JSON can hold it: bytes in hex, floats that are whole numbers as such."""
    if isinstance(value, dict):
        return {key: readable(each) for key, each in value.items()}
    if isinstance(value, list):
        return [readable(each) for each in value]
    if isinstance(value, bytes):
        return value.hex()
    return int(value) if isinstance(value, float) else value


FOLDER = {"kind": "folder", "path": "trip", "sizeBytes": 0, "modifiedMs": float(MODIFIED_MS), "mode": 0o755}
FILE = {
    "kind": "file",
    "path": "trip/é.raw",
    "sizeBytes": float(SIZE),
    "modifiedMs": float(MODIFIED_MS),
    "mode": 0o644,
}
MESSAGES = [
    ("offer of files", {"type": "offer", "kind": "files", "entries": 2, "totalBytes": float(SIZE)}),
    ("offer of a text", {"type": "offer", "kind": "text", "entries": 1, "totalBytes": 3}),
    ("offer of much", {"type": "offer", "kind": "files", "entries": 100_000, "totalBytes": float(2**44)}),
    ("entries: a folder, and a file in it", {"type": "entries", "entries": [FOLDER, FILE]}),
    ("entries: an empty file of 1969", entry(sizeBytes=0, modifiedMs=-1, mode=0)),
    ("entries: the first moment, the largest size", entry(sizeBytes=float(2**53 - 1), modifiedMs=-8.64e15, mode=0o777)),
    (
        "want of two ranges",
        {
            "type": "want",
            "ranges": [{"file": 1, "first": 0, "count": 4000}, {"file": 1, "first": 4768, "count": 1}],
            "last": True,
        },
    ),
    ("want of none", {"type": "want", "ranges": [], "last": True}),
    ("want of one range, more follow", {**want(), "last": False}),
    ("want of the last chunk that can be", want(file=2**32 - 1, first=2**32 - 1)),
    ("data", {"type": "data", "file": 1, "chunk": 4768}),
    ("data of the first chunk", {"type": "data", "file": 0, "chunk": 0}),
    ("hash", {"type": "hash", "file": 1, "hash": HASH}),
    ("heartbeat of a sender", {"type": "heartbeat", "receivedBytes": 0}),
    ("heartbeat of a receiver", {"type": "heartbeat", "receivedBytes": 1_048_576}),
    ("done", {"type": "done"}),
    ("stop", {"type": "stop", "reason": "space", "text": "no room"}),
    ("stop without a text", {"type": "stop", "reason": "cancelled", "text": ""}),
]

TYPE, DONE = packed("type"), packed({"type": "done"})
#: A heartbeat up to its number.
BEAT = packed({"type": "heartbeat", "receivedBytes": 1})[:-1]


def beat(received):
    return packed({"type": "heartbeat", "receivedBytes": received})


def refused_structures():
    field = packed("receivedBytes")
    return [
        ("nothing", b""),
        ("nil", packed(None)),
        ("a list", packed(["done"])),
        ("a text", packed("done")),
        ("an empty map", packed({})),
        ("no type", packed({"file": 1, "chunk": 1})),
        ("a type that is no text", packed({"type": 1})),
        ("an unknown type", packed({"type": "dane"})),
        ("the type toString", packed({"type": "toString"})),
        ("the type __proto__", packed({"type": "__proto__"})),
        ("a key __proto__", packed({"type": "done", "__proto__": 1})),
        ("a key more", packed({"type": "done", "more": 1})),
        ("a key less", packed({"type": "data", "file": 1})),
        ("a key with another name", packed({"type": "data", "file": 1, "chunks": 1})),
        ("a key twice", b"\x82" + TYPE + packed("done") + TYPE + packed("done")),
        (
            "a key twice, with another value first",
            b"\x83" + TYPE + packed("heartbeat") + field + packed(9) + field + packed(1),
        ),
        ("keys in another order", packed({"file": 1, "type": "data", "chunk": 1})),
        (
            "keys in another order further in",
            packed({"type": "want", "ranges": [{"first": 0, "file": 1, "count": 1}], "last": True}),
        ),
        ("a key that is bin", b"\x81" + packed(b"type") + packed("done")),
        ("a byte behind it", DONE + b"\x00"),
        ("a message behind it", DONE + DONE),
        ("not complete", DONE[:-1]),
        ("only a head", DONE[:1]),
        ("a longer head of the map", b"\xde\x00\x01" + DONE[1:]),
        ("a longer head of a text", b"\x81" + TYPE + b"\xd9\x04done"),
        ("a longer head of a key", b"\x81" + b"\xd9\x04type" + packed("done")),
        (
            "a longer head of a list",
            packed({"type": "want", "ranges": [], "last": True}).replace(b"\x90", b"\xdc\x00\x00"),
        ),
        (
            "a longer head of a hash",
            packed({"type": "hash", "file": 1, "hash": HASH}).replace(b"\xc4\x20", b"\xc5\x00\x20"),
        ),
        ("lists in lists, 1,000 deep", b"\x91" * 1000),
        (
            "a list that claims 2^32 - 1 elements",
            b"\x83" + TYPE + packed("want") + packed("ranges") + b"\xdd\xff\xff\xff\xff",
        ),
        ("a map that claims 2^32 - 1 fields", b"\xdf\xff\xff\xff\xff"),
        ("a text that claims 2^32 - 1 bytes", b"\x81\xdb\xff\xff\xff\xff"),
    ]


def refused_numbers():
    return [
        ("a longer form of a number", BEAT + b"\xcc\x01"),
        ("a signed form of a number", BEAT + b"\xd0\x01"),
        ("a float for a small number", beat(1.0)),
        ("a float of 32 bits", BEAT + b"\xca" + struct.pack(">f", 2.0**40)),
        ("an int of 64 bits", beat(2**40)),
        ("below zero", beat(-1)),
        ("zero with a sign", beat(-0.0)),
        ("a fraction", beat(0.5)),
        ("not a number", beat(float("nan"))),
        ("infinity", beat(float("inf"))),
        ("above 2^53 - 1", beat(2.0**53)),
        ("a text for a number", beat("1")),
        ("nil for a number", beat(None)),
    ]


def refused_fields():
    without_mode = entry()
    del without_mode["entries"][0]["mode"]
    stop = {"type": "stop", "reason": "space", "text": ""}
    messages = [
        ("an offer without entries", {"type": "offer", "kind": "files", "entries": 0, "totalBytes": 0}),
        ("an offer of another kind", {"type": "offer", "kind": "file", "entries": 1, "totalBytes": 0}),
        ("entries without any", {"type": "entries", "entries": []}),
        ("entries that are a map", {"type": "entries", "entries": {}}),
        ("an entry that is no map", {"type": "entries", "entries": [1]}),
        ("an entry with a key more", entry(more=1)),
        ("an entry with a key less", without_mode),
        ("a folder with a size", entry(kind="folder")),
        ("a link", entry(kind="link", sizeBytes=0)),
        ("an empty path", entry(path="")),
        ("a path of 4,097 bytes", entry(path="a" * 4097)),
        ("a path of 4,098 bytes in 2,049 characters", entry(path="é" * 2049)),
        ("a path that is bin", entry(path=b"a")),
        ("a size below zero", entry(sizeBytes=-1)),
        ("a size above 2^53 - 1", entry(sizeBytes=2.0**53)),
        ("a mode above 0o777", entry(mode=0o1000)),
        ("a time that is no moment", entry(modifiedMs=8.64e15 + 1)),
        ("a time that is a timestamp", entry(modifiedMs=msgpack.Timestamp(1, 0))),
        ("a range of none", want(count=0)),
        ("a range beyond 2^32", want(first=2**32 - 1, count=2)),
        ("a range of a file below zero", want(file=-1)),
        ("a number of a file above 2^32 - 1", want(file=2.0**32)),
        ("a want whose last is a number", {"type": "want", "ranges": [], "last": 1}),
        ("a want whose range is a list", {"type": "want", "ranges": [[1, 0, 1]], "last": True}),
        ("a hash of 31 bytes", {"type": "hash", "file": 1, "hash": HASH[:31]}),
        ("a hash of 33 bytes", {"type": "hash", "file": 1, "hash": HASH + b"\0"}),
        ("a hash that is a text", {"type": "hash", "file": 1, "hash": "a" * 32}),
        ("an unknown reason", {**stop, "reason": "spaces"}),
        ("a text of 1,025 bytes", {**stop, "text": "a" * 1025}),
        ("a text of 1,026 bytes in 342 characters", {**stop, "text": "€" * 342}),
    ]
    return [(comment, packed(message)) for comment, message in messages] + [
        ("a path that is no UTF-8", packed(entry()).replace(b"\xa1a", b"\xa1\xff")),
        ("a path with half of a surrogate pair", packed(entry(path="abc")).replace(b"\xa3abc", b"\xa3\xed\xa0\x80")),
    ]


def refusals():
    return refused_structures() + refused_numbers() + refused_fields()


with open(os.path.join(VECTORS, "transfer-messages.json"), "w", encoding="utf-8") as file:
    version = ".".join(str(part) for part in msgpack.version)
    json.dump(
        {
            "comment": "Messages of a transfer, as docs/wire-formats.md describes them; bytes are hex, also of a hash in "
            f"a message. Made with tests/reference/transfer_message_vectors.py and Debian's python3-msgpack {version}, "
            "not with this project's code. Each message has only these bytes; refusals are malformed.",
            "messages": [
                {"comment": comment, "message": readable(message), "bytes": packed(message).hex()}
                for comment, message in MESSAGES
            ],
            "refusals": [{"comment": comment, "bytes": data.hex()} for comment, data in refusals()],
        },
        file,
        indent=2,
        ensure_ascii=False,
    )
    file.write("\n")
