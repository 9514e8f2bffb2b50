"""The two ends of a forward, as fast as the kernel: a source and a sink, each a process of its own.

ends.py up|down FORWARD_PORT TARGET_PORT BYTES

Listens on the target port, connects to the forward, and sends so many bytes up (into the forward) or down (out of it).
Prints the seconds between the sink's first byte and its last.
"""

import multiprocessing
import socket
import sys
import time

PIECE = 1 << 20


def sink(end, count, seconds):
    buffer = bytearray(PIECE)
    received = end.recv_into(buffer)
    start = time.monotonic()
    while True:
        more = end.recv_into(buffer)
        if more == 0:
            break
        received += more
    took = time.monotonic() - start
    if received != count:
        raise SystemExit(f"{received} bytes have arrived, expected {count}")
    seconds.put(took)


def source(end, count):
    piece = bytes(PIECE)
    for _ in range(count // PIECE):
        end.sendall(piece)
    end.shutdown(socket.SHUT_WR)
    end.recv(1)


def main():
    direction = sys.argv[1]
    forward_port, target_port, count = map(int, sys.argv[2:5])
    listener = socket.create_server(("127.0.0.1", target_port))
    listener.settimeout(20)
    near = socket.create_connection(("127.0.0.1", forward_port))
    far, _ = listener.accept()
    listener.close()
    far.settimeout(None)
    near.settimeout(None)
    from_here, to_there = (near, far) if direction == "up" else (far, near)
    seconds = multiprocessing.Queue()
    sinking = multiprocessing.Process(target=sink, args=(to_there, count, seconds))
    sourcing = multiprocessing.Process(target=source, args=(from_here, count))
    sinking.start()
    sourcing.start()
    # Nobody but the two of them may hold the connections open.
    near.close()
    far.close()
    sinking.join()
    sourcing.terminate()
    sourcing.join()
    if sinking.exitcode != 0:
        raise SystemExit("the sink has failed")
    print(seconds.get())


main()
