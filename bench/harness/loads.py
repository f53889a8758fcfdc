"""Suites with the load client: `echo`, `wakeups` (the same at a low, steady rate) and `accept`."""

import json
import os
import subprocess

from harness import build, machine, report
from harness.servers import AGAIN, ANCHOR, Failed, Server

LOAD = os.path.join(build.RELEASE, "load")


def echo(plan):
    """64-byte ping-pong and 64 KiB streaming, as fast as they go."""
    small = loaded(plan, "echo", share=1 / 3, conns=50, size=64)
    show("echo: 64 B, 50 connections, one request at a time on each", small, columns())
    streaming = columns()
    streaming[0] = ("CPU ns/KiB", lambda r: report.median(r, "server_us") * 1000 / 64, ".0f")
    streaming[1] = ("least", lambda r: min(x["server_us"] for x in r) * 1000 / 64, ".0f")
    streaming[2] = ("MB/s each way", lambda r: report.median(r, "rps") * 65536 / 1e6, ",.0f")
    one = loaded(plan, "echo", buffer=65536, share=1 / 2, conns=1, size=65536, window=4)
    show("echo: 64 KiB, 1 connection, 4 requests under way", one, streaming)
    # Who stays with one connection for as long as it has bytes works in a warm cache and leaves the others waiting: say so.
    streaming.append(("worst served, % of its share", lambda r: min(x["worst"] for x in r) * 100, ".0f"))
    several = loaded(plan, "echo", buffer=65536, conns=8, size=65536, window=4)
    show("echo: 64 KiB, 8 connections, 4 requests under way on each", several, streaming)
    return {"64 B": small, "64 KiB, 1 connection": one, "64 KiB, 8 connections": several}


def wakeups(plan):
    """20,000 requests a second: nothing is saturated, nearly every request wakes the server."""
    results = loaded(plan, "echo", conns=50, size=64, rate=20000)
    sleeps = ("sleeps/req", lambda r: report.median(r, "wakes"), ".2f")
    show("wakeups: 64 B, 50 connections, 20,000 requests/s in all", results, columns()[:2] + [sleeps] + columns()[3:])
    return results


def accept(plan):
    """Connect, one request, its reply, close."""
    results = loaded(plan, "accept", conns=32, size=64, sources=100)
    show("accept: connect, one request of 64 B, close; 32 at a time", results, columns())
    return results


def loaded(plan, mode, buffer=4096, share=1, **options):
    """Every server of streams under that load."""
    return measured_load(plan, plan.peers(), Server, mode, buffer, share, **options)


def measured_load(plan, rows, start, mode, buffer=4096, share=1, **options):
    """Every server of `rows`, started by `start`, under that load."""
    secs, warm = (0.6, 0.3) if plan.quick else (1.5, 0.5)
    arguments = [x for k, v in options.items() for x in (f"--{k}", str(v))]

    def measure(peer):
        with start(peer, {"ECHO_BUF": str(buffer)}) as server:
            run = subprocess.run(
                [LOAD, mode, "--addr", server.address, "--pid", str(server.pid), "--secs", str(secs), "--warm", str(warm), *arguments],
                capture_output=True, text=True, timeout=60, check=False, preexec_fn=machine.pin(machine.LOAD_CPU),
            )
        if run.returncode:
            raise Failed(run.stderr.strip())
        result = json.loads(run.stdout)
        if result["errors"]:
            raise Failed(f"{result['errors']} wrong or failed replies")
        return result

    return plan.run(rows, measure, share=share)


def show(title, results, cols):
    report.table(title, results, cols, ANCHOR, AGAIN, lambda r: r["server_us"])


def columns():
    return [
        ("CPU us/req", lambda r: report.median(r, "server_us"), ".2f"),
        ("least", lambda r: min(x["server_us"] for x in r), ".2f"),
        ("req/s", lambda r: report.median(r, "rps"), ",.0f"),
        ("p50 us", lambda r: report.median(r, "p50_us"), ".0f"),
        ("p99 us", lambda r: report.median(r, "p99_us"), ".0f"),
        ("server core %", lambda r: report.median(r, "server_util") * 100, ".0f"),
        ("load core %", lambda r: report.median(r, "load_util") * 100, ".0f"),
    ]
