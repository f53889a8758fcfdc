"""Suite `budget`: what readers that never read cost a server with a byte budget; the readers are in this process."""

import json
import os
import socket
import subprocess
import time
from dataclasses import dataclass

from harness import build, machine, report
from harness.servers import Failed

READERS = 1000
BUDGET = 16 << 20


@dataclass(frozen=True)
class Case:
    """A row: who writes, and what happens when the budget is spent."""

    mode: str
    policy: str

    @property
    def name(self):
        return f"{self.mode}, {self.policy}"


def budget(plan):
    """Peak resident memory of the server, with 1,000 readers that never read and 16 MiB for all of them together."""
    program = os.path.join(build.UNWIND, "marline-budget")
    if not os.access(program, os.X_OK):
        plan.notes.append(f"budget: left out, no {os.path.relpath(program)}")
        return {}
    seconds = 5 if plan.quick else 15
    cases = [Case(mode, policy) for mode in ("producers", "broadcast") for policy in ("pause", "close")]
    results = plan.run(cases, lambda case: measure(program, case, seconds), rounds=1 if plan.quick else 2)
    report.table(f"budget: {READERS:,} readers that never read, {BUDGET >> 20} MiB for all", results, [
        ("peak resident MiB", lambda r: max(x["peak"] for x in r) / 1024, ".1f"),
        ("before MiB", lambda r: max(x["before"] for x in r) / 1024, ".1f"),
        ("written MiB", lambda r: report.median(r, "written") / (1 << 20), ",.0f"),
        ("counted MiB", lambda r: report.median(r, "counted") / (1 << 20), ".1f"),
        ("held", lambda r: report.median(r, "held_up"), ",.0f"),
        ("reset", lambda r: report.median(r, "ended"), ",.0f"),
    ], first="writer, policy")
    return results


def measure(program, case, seconds):
    port = machine.free_port()
    server = subprocess.Popen(
        [program, case.mode, case.policy, f"127.0.0.1:{port}", str(BUDGET)],
        stdout=subprocess.PIPE, text=True, preexec_fn=machine.pin(machine.SERVER_CPU),
    )
    readers = []
    try:
        readers.append(connect(port, time.monotonic() + 10))
        time.sleep(0.1)
        before = memory(server.pid, "VmRSS")
        while len(readers) < READERS:
            readers.append(connect(port, time.monotonic() + 10))
        time.sleep(seconds)
        peak = memory(server.pid, "VmHWM")
        server.terminate()
        line = server.communicate(timeout=20)[0]
    finally:
        if server.poll() is None:
            server.kill()
            server.communicate()
        for reader in readers:
            reader.close()
    try:
        return {"peak": peak, "before": before, **json.loads(line)}
    except ValueError:
        raise Failed("said nothing at its end") from None


def connect(port, until):
    """A reader whose own buffer is small, so that what is not read waits at the server."""
    while True:
        reader = socket.socket()
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        # On loopback a segment is 64 KiB, and Linux holds up to 2.5 MiB for a peer: for a thousand more than the machine may have.
        reader.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        try:
            reader.connect(("127.0.0.1", port))
            return reader
        except OSError:
            reader.close()
            if time.monotonic() > until:
                raise Failed("does not listen") from None
            time.sleep(0.02)


def memory(pid, what):
    """KiB of memory of a process."""
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith(what + ":"):
                return int(line.split()[1])
    raise Failed(f"no {what}")
