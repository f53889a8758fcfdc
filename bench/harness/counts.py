"""Suites that count instead of taking time: `instructions` (callgrind) and `syscalls` (strace). Steady even on a busy machine."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter

from harness import report, servers
from harness.servers import AGAIN, ANCHOR, Failed, Lockstep, Server

WAITS = ("epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "io_uring_enter")


def instructions(plan):
    """User instructions for one echo of 64 bytes: the difference of two runs of different length, so that start-up drops out."""
    if not shutil.which("valgrind"):
        plan.notes.append("instructions: skipped: no valgrind")
        return {}
    few, many = (50, 400) if plan.quick else (200, 1500)

    def measure(peer):
        return {"instructions": (total(peer, many) - total(peer, few)) / ((many - few) * 8)}

    results = plan.run(plan.peers(servers.POLICED), measure, rounds=1)
    columns = [("user instructions/echo", lambda r: report.median(r, "instructions"), ".0f")]
    report.table("instructions: 64 B echo, 8 connections", results, columns, ANCHOR, AGAIN, lambda r: r["instructions"], "instructions")
    return results


def total(peer, rounds):
    """All user instructions of a server from start to end, which served 8 connections that many times."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        out = os.path.join(folder, "callgrind")
        environment = {"BENCH_EXIT_AFTER": str(rounds * 8)} if peer.ends_itself else {}
        with Server(peer, environment, ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]) as server:
            with Lockstep(server, 8) as client:
                client.rounds(rounds)
                if peer.ends_itself:
                    try:
                        server.process.wait(20)
                    except subprocess.TimeoutExpired:
                        raise Failed(f"did not end after {rounds * 8} echoes") from None
        try:
            with open(out) as f:
                return int(re.search(r"^(?:summary|totals): (\d+)", f.read(), re.M).group(1))
        except (OSError, AttributeError):
            raise Failed("callgrind left no total") from None


def syscalls(plan):
    """System calls for one echo of 64 bytes, and those of a second of rest with 50 connections open."""
    if not shutil.which("strace"):
        plan.notes.append("syscalls: skipped: no strace")
        return {}
    results = plan.run(plan.peers(), lambda peer: trace(peer, 40 if plan.quick else 200), rounds=1)
    names = ("calls", "waits", "rest")
    columns = [(h, lambda r, n=n: r[0][n], f) for h, n, f in zip(("but waits", "waits", "in 1 s of rest"), names, (".3f", ".3f", "d"))]
    report.table("syscalls: calls for an echo of 64 B, 50 connections", results, columns)
    for name, rows in results.items():
        print(f"- {name}: " + ", ".join(f"{k} {v:.3f}" for k, v in rows[0]["by"].items()))
    return results


def trace(peer, rounds):
    """strace writes a line a call with its time; calls are counted between two instants, for attaching itself disturbs a waiting call."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, Server(peer) as server, Lockstep(server, 50) as client:
        client.rounds(2)
        log = os.path.join(folder, "log")
        command = ["strace", "-f", "-ttt", "-s0", "-e", "signal=none", "-o", log, "-p", str(server.pid)]
        tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            if "attached" not in tracer.stderr.readline():
                raise Failed("strace could not attach")
            time.sleep(0.3)
            marks = [time.time()]
            time.sleep(1)
            marks.append(time.time())
            echoes = client.rounds(rounds)
            # The last wait begins after the last reply has left.
            time.sleep(0.2)
            marks.append(time.time())
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait(10)
            tracer.stderr.close()
        with open(log) as f:
            calls = re.findall(r"^(?:\d+ +)?(\d+\.\d+) (\w+)\(", f.read(), re.M)
    rest = sum(marks[0] <= float(t) < marks[1] for t, _ in calls)
    by = Counter(name for t, name in calls if marks[1] <= float(t) < marks[2])
    waits = sum(n for name, n in by.items() if name in WAITS)
    if by.total() - waits < 2 * echoes:
        raise Failed(f"strace saw {by.total()} calls for {echoes} echoes")
    return {
        "rest": rest, "waits": waits / echoes, "calls": (by.total() - waits) / echoes,
        "by": {name: n / echoes for name, n in by.most_common()},
    }
