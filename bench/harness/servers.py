"""The echo servers that are compared, a line each, and how one is run."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field

from harness import build, machine

ANCHOR = "raw epoll"
AGAIN = "raw epoll, again"


@dataclass(frozen=True)
class Peer:
    """A server: started with HOST:PORT, reads `ECHO_BUF`, ends on SIGTERM."""

    name: str
    program: str
    environment: dict = field(default_factory=dict)
    # Ends by itself after BENCH_EXIT_AFTER echoes.
    ends_itself: bool = False

    @property
    def missing(self):
        return not os.access(self.program, os.X_OK)


PEERS = [
    Peer(ANCHOR, os.path.join(build.RELEASE, "raw-epoll")),
    Peer(AGAIN, os.path.join(build.RELEASE, "raw-epoll")),
    Peer("mio", os.path.join(build.RELEASE, "mio-echo")),
    Peer("calloop", os.path.join(build.RELEASE, "calloop-echo")),
    Peer("tokio", os.path.join(build.RELEASE, "tokio-echo")),
    Peer("marline", build.marline_server(), {"MARLINE_DRIVER": "epoll"}, ends_itself=True),
]

# The same echo with policies inside each connection: what each costs.
POLICED = [
    Peer(f"marline, {label}", build.marline_server("guarded_echo"), {"MARLINE_DRIVER": "epoll", "POLICIES": names}, ends_itself=True)
    for label, names in (
        ("no policy", "none"),
        ("deadline", "deadline"),
        ("idle time-out", "idle"),
        ("idle time-out and deadline", "idle,deadline"),
        ("traffic log, off", "log"),
    )
]


class Failed(Exception):
    """A measurement that could not be made; the text says why."""


class Server:
    """A running server on a core of its own; `with` ends it."""

    def __init__(self, peer, environment=None, before=()):
        self.peer = peer
        self.port = machine.free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [*before, peer.program, self.address],
            env={**os.environ, "ECHO_BUF": "4096", **peer.environment, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self.errors,
            preexec_fn=machine.pin(machine.SERVER_CPU),
        )

    @property
    def pid(self):
        return self.process.pid

    def wait_until_it_listens(self, seconds=10):
        end = time.monotonic() + seconds
        while True:
            if self.process.poll() is not None:
                self.errors.seek(0)
                raise Failed(f"ended at once: {self.errors.read().strip()[-300:]}")
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    break
            if time.monotonic() > end:
                raise Failed("does not listen")
            time.sleep(0.02)
        time.sleep(0.1)

    def __enter__(self):
        try:
            self.wait_until_it_listens(60 if self.process.args[0] != self.peer.program else 10)
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.errors.close()


class Lockstep:
    """A client whose echoes are counted exactly: every connection sends, then every reply is read."""

    def __init__(self, server, conns, size=64):
        self.message = bytes(i % 251 for i in range(size))
        self.socks = [socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in range(conns)]
        for s in self.socks:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def rounds(self, n):
        """n echoes on every connection; returns how many that were."""
        for _ in range(n):
            for s in self.socks:
                s.sendall(self.message)
            for s in self.socks:
                reply = s.recv(len(self.message), socket.MSG_WAITALL)
                if reply != self.message:
                    raise Failed(f"a wrong reply, of {len(reply)} bytes")
        return n * len(self.socks)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for s in self.socks:
            s.close()
