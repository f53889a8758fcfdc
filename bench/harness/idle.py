"""Suite `idle`: what a connection that does nothing costs the server; the load holds its ends in another process."""

import subprocess
import time

from harness import machine, report
from harness.loads import LOAD
from harness.servers import Failed, Lockstep, Server

CONNS = 10_000


def idle(plan):
    """Resident memory of the server for each of 10,000 connections, and whether it runs at all while they rest."""
    results = {}
    for touch, what, share in ((1, "after one echo each", 1 / 2), (0, "nothing sent", 1)):
        rows = plan.run(plan.peers(), lambda peer: measure(peer, touch), rounds=2, share=share)
        results[what] = rows
        report.table(f"idle: {CONNS:,} connections, {what}", rows, [
            ("resident bytes each", lambda r: report.median(r, "bytes"), ",.0f"),
            ("range", lambda r: max(x["bytes"] for x in r) - min(x["bytes"] for x in r), ",.0f"),
            ("KiB before", lambda r: report.median(r, "before") / 1024, ",.0f"),
            ("times run in 1 s of rest", lambda r: max(x["runs"] for x in r), "d"),
            ("CPU ns in it", lambda r: max(x["cpu"] for x in r), ",d"),
        ])
    return results


def measure(peer, touch):
    with Server(peer) as server:
        # One connection is served first, so that what the server allocates once is not counted.
        with Lockstep(server, 1) as one:
            one.rounds(10)
        time.sleep(0.1)
        before = machine.resident(server.pid)
        load = subprocess.Popen(
            [LOAD, "idle", "--addr", server.address, "--conns", str(CONNS), "--touch", str(touch)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=machine.pin(machine.LOAD_CPU),
        )
        try:
            if not load.stdout.readline():
                raise Failed(f"the load could not hold {CONNS} connections")
            time.sleep(0.5)
            after = machine.resident(server.pid)
            cpu0, _, runs0 = machine.scheduled(server.pid)
            time.sleep(1)
            cpu1, _, runs1 = machine.scheduled(server.pid)
        finally:
            load.stdin.close()
            load.wait(20)
            load.stdout.close()
    return {"before": before, "bytes": (after - before) / CONNS, "runs": runs1 - runs0, "cpu": cpu1 - cpu0}
