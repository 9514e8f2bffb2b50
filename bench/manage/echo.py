"""How long keystrokes take to come back, in several terminals at the same time.

echo.py ROUNDS PAUSE_SECONDS < {"name": ["program", "argument", ...], ...}

Starts each program, which must end up in a shell, in a pseudo-terminal of its own, and has it run cat there. Then, round
by round, types one key into one after the other, so that whatever else the machine does hits all alike. Prints the
seconds of each round as {"name": [...], ...}.
"""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import sys
import termios
import time

START_SECONDS = 30
ECHO_SECONDS = 10
# The word is put together by the shell, for the terminal shows the line that is typed as well.
BEGIN = b"stty raw -echo; printf 'KEYS_%s' COME; exec cat\r"
BEGUN = b"KEYS_COME"


class Terminal:
    def __init__(self, name, words):
        self.name = name
        self.seconds = []
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvp(words[0], words)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

    def begin(self):
        """A shell that is not ready yet may throw away what is typed: said again until it was heard."""
        seen = b""
        deadline = time.monotonic() + START_SECONDS
        while BEGUN not in seen:
            if time.monotonic() > deadline:
                raise SystemExit(f"{self.name} runs no shell; it showed: {seen!r}")
            os.write(self.fd, BEGIN)
            until = time.monotonic() + 2
            while BEGUN not in seen and self.readable(until - time.monotonic()):
                seen += os.read(self.fd, 65536)
        while self.readable(0.3):
            os.read(self.fd, 65536)

    def readable(self, seconds):
        return select.select([self.fd], [], [], max(0, seconds))[0] != []

    def key(self):
        begin = time.perf_counter()
        os.write(self.fd, b"x")
        if not self.readable(ECHO_SECONDS):
            raise SystemExit(f"{self.name} has lost a key")
        os.read(self.fd, 65536)
        self.seconds.append(time.perf_counter() - begin)

    def end(self):
        os.close(self.fd)
        try:
            os.kill(self.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
        os.waitpid(self.pid, 0)


def main():
    rounds, pause = int(sys.argv[1]), float(sys.argv[2])
    terminals = [Terminal(name, words) for name, words in json.load(sys.stdin).items()]
    try:
        for terminal in terminals:
            terminal.begin()
        for _ in range(rounds):
            for terminal in terminals:
                time.sleep(pause)
                terminal.key()
    finally:
        for terminal in terminals:
            terminal.end()
    print(json.dumps({terminal.name: terminal.seconds for terminal in terminals}))


main()
