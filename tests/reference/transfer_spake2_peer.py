"""One side of SPAKE2 by python-spake2, on standard input and output: one line in, one line out, all in hex.

For each exchange: "password id" gives this side's message; the other side's message gives the key, or "refused".
"""
import sys

from spake2 import SPAKE2_Symmetric

for line in sys.stdin:
    password, id = (bytes.fromhex(part) for part in line.rstrip("\n").split(" "))
    side = SPAKE2_Symmetric(password, idSymmetric=id)
    print(side.start().hex(), flush=True)
    try:
        key = side.finish(bytes.fromhex(sys.stdin.readline()))
    except Exception:
        print("refused", flush=True)
    else:
        print(key.hex(), flush=True)
