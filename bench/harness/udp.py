"""Datagrams: `udp`, echo of one and of many peers."""

import os
import socket
import time

from harness import build, report
from harness.loads import measured_load
from harness.servers import Failed, Peer, Server

ANCHOR, AGAIN = "plain loop", "plain loop, again"

PEERS = [
    Peer(ANCHOR, os.path.join(build.RELEASE, "plain-udp")),
    Peer(AGAIN, os.path.join(build.RELEASE, "plain-udp")),
    Peer("tokio", os.path.join(build.RELEASE, "tokio-udp")),
    Peer("marline", os.path.join(build.UNWIND, "marline-udp"), {"MARLINE_DRIVER": "epoll"}),
]

# Each with so many under way that the server, and not the load, is what they wait for.
CASES = [
    (f"{size:,} B, {peers}, {window} under way on each{how}", {"conns": conns, "size": size, "window": window, "offload": offload})
    for offload, how in ((0, ""), (1, ", joined and cut by the peers' kernel"))
    for size in (64, 1200)
    for conns, peers, window in ((1, "one peer", 50), (8, "8 peers", 32), (64, "64 peers", 4))
] + [
    ("64 B, one peer, 256 under way, joined and cut by the peer's kernel", {"conns": 1, "size": 64, "window": 256, "offload": 1}),
    ("64 B, one peer, one under way", {"conns": 1, "size": 64, "window": 1, "offload": 0}),
]


def udp(plan):
    """Echo of datagrams, as fast as it goes."""
    raw = {}
    for number, (title, options) in enumerate(CASES):
        share = 1 / (len(CASES) - number)
        rows = [p for p in PEERS if plan.wants(p.name, (ANCHOR,))]
        for p in rows:
            if p.missing:
                plan.notes.append(f"{p.name}: left out, no {os.path.relpath(p.program)}")
        results = measured_load(plan, [p for p in rows if not p.missing], UdpServer, "udp", share=share, **options)
        report.table(f"udp: {title}", results, columns(), ANCHOR, AGAIN, lambda r: r["server_us"])
        raw[title] = results
    return raw


def columns():
    return [
        ("CPU us/datagram", lambda r: report.median(r, "server_us"), ".2f"),
        ("least", lambda r: min(x["server_us"] for x in r), ".2f"),
        ("datagrams/s", lambda r: report.median(r, "rps"), ",.0f"),
        ("p50 us", lambda r: report.median(r, "p50_us"), ".0f"),
        ("p99 us", lambda r: report.median(r, "p99_us"), ".0f"),
        ("server core %", lambda r: report.median(r, "server_util") * 100, ".0f"),
        ("load core %", lambda r: report.median(r, "load_util") * 100, ".0f"),
    ]


class UdpServer(Server):
    """A running server of datagrams."""

    def wait_until_it_listens(self, seconds=10):
        end = time.monotonic() + seconds
        with socket.socket(type=socket.SOCK_DGRAM) as s:
            s.connect(("127.0.0.1", self.port))
            s.settimeout(0.05)
            while True:
                if self.process.poll() is not None:
                    self.errors.seek(0)
                    raise Failed(f"ended at once: {self.errors.read().strip()[-300:]}")
                try:
                    s.send(b"listening?")
                    if s.recv(64) == b"listening?":
                        break
                except OSError:
                    time.sleep(0.02)
                if time.monotonic() > end:
                    raise Failed("does not answer")
        time.sleep(0.1)
