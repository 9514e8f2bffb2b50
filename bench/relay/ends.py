"""The two ends of a stream, as fast as the kernel: a source and a sink, each a process of its own.

ends.py SOURCE_PORT SINK_PORT BYTES IDENTIFIER

Each end connects to 127.0.0.1 and says the identifier, which may be empty. Prints the seconds between the sink's first
byte and its last.
"""

import multiprocessing
import socket
import sys
import time

PIECE = 1 << 20


def connect(port, identifier):
    deadline = time.monotonic() + 5
    while True:
        try:
            end = socket.create_connection(("127.0.0.1", port))
            break
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    end.sendall(identifier)
    return end


def sink(end, seconds):
    buffer = bytearray(PIECE)
    end.recv_into(buffer)
    start = time.monotonic()
    while end.recv_into(buffer) > 0:
        pass
    seconds.put(time.monotonic() - start)


def source(end, count):
    piece = bytes(PIECE)
    for _ in range(count // PIECE):
        end.sendall(piece)
    end.shutdown(socket.SHUT_WR)
    end.recv(1)


def main():
    source_port, sink_port, count = map(int, sys.argv[1:4])
    identifier = sys.argv[4].encode()
    # The source's connection first: a program that listens on two ports may open the second one only then.
    from_here = connect(source_port, identifier)
    to_there = connect(sink_port, identifier)
    seconds = multiprocessing.Queue()
    sinking = multiprocessing.Process(target=sink, args=(to_there, seconds))
    sourcing = multiprocessing.Process(target=source, args=(from_here, count))
    sinking.start()
    sourcing.start()
    # Nobody but the two of them may hold the connections open.
    to_there.close()
    from_here.close()
    print(seconds.get())
    sinking.join()
    sourcing.terminate()
    sourcing.join()


main()
