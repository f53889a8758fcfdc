"""Suites of programs that measure themselves and print a line of JSON: `timers`, `sim` and `file`."""

import json
import os
import statistics
import subprocess
from dataclasses import dataclass

from harness import build, machine, report
from harness.servers import Failed

WHEEL, AGAIN = "plain wheel", "plain wheel, again"
# What a program answers that was built without the code it should run.
NOT_BUILT = 3


@dataclass(frozen=True)
class Program:
    """A row: a program and its arguments."""

    name: str
    command: tuple
    # Made of marline's own code, which may not have been built in.
    own: bool = False


def timers(plan):
    """One million pending timers: insert, cancel one half, fire the other, push."""
    queue, peers = os.path.join(build.UNWIND, "marline-timers"), os.path.join(build.RELEASE, "timers")
    rows = [
        Program(WHEEL, (peers, "wheel")),
        Program(AGAIN, (peers, "wheel")),
        Program("binary heap", (peers, "heap")),
        Program("tokio", (peers, "tokio")),
        Program("marline queue", (queue, "queue"), own=True),
        Program("marline queue, a box each", (queue, "boxed"), own=True),
        Program("marline reactor", (queue, "reactor"), own=True),
    ]
    results = measured(plan, rows, (WHEEL,))
    if not results:
        return results
    base = results.get(WHEEL)

    def column(key):
        return lambda r: None if r[0][key] is None else report.median(r, key)

    def against(value):
        return lambda r: statistics.median(report.ratios(r, base, value)) if base else None

    kept = ("insert + cancel / wheel", against(lambda r: r["insert"] + r["cancel"]), ".2f")
    report.table(
        "timers: one million pending, ns of processor time for each", results,
        [(k, column(k), ".1f") for k in ("insert", "cancel", "fire", "push", "repay")] + [("bytes", column("bytes"), ".0f"), kept],
        WHEEL, AGAIN, lambda r: r["fire"], "fire", "queue",
    )
    return results


def sim(plan):
    """Events a second of the simulated network; the same seed gives the same hash in every round."""
    program = os.path.join(build.UNWIND, "marline-sim")
    rows = [Program(f"marline, {shape}", (program, shape), own=True) for shape in ("pair", "hundred")]
    results = measured(plan, rows, ())
    for name, rounds in results.items():
        if len({r["hash"] for r in rounds}) > 1:
            plan.notes.append(f"{name}: FAILED: the same seed gave different hashes")
            plan.failed = True
    report.table("sim: completions delivered by the simulated network", results, [
        ("events/s", lambda r: 1e9 / report.median(r, "ns"), ",.0f"),
        ("ns each", lambda r: report.median(r, "ns"), ".0f"),
        ("events", lambda r: r[0]["events"], ",d"),
    ], first="world")
    return results


def file(plan):
    """A file of 256 MiB from the page cache over loopback: processor time of the sending thread."""
    program = os.path.join(build.UNWIND, "marline-file")
    anchor, again = "bare read and write", "bare read and write, again"
    rows = [
        Program(anchor, (program, "read")),
        Program(again, (program, "read")),
        Program("bare sendfile", (program, "sendfile")),
        Program("marline, write", (program, "write"), own=True),
        Program("marline, write_owned", (program, "owned"), own=True),
        Program("marline, send_file", (program, "send_file"), own=True),
    ]
    results = measured(plan, rows, (anchor,))
    report.table("file: 256 MiB over loopback", results, [
        ("CPU us/MiB", lambda r: report.median(r, "us_per_mib"), ".1f"),
        ("resident KiB", lambda r: report.median(r, "resident") / 1024, ",.0f"),
    ], anchor, again, lambda r: r["us_per_mib"], first="way")
    return results


def measured(plan, rows, anchors):
    """Runs the programs; those that were not built are left out, with a line."""
    def measure(row):
        run = subprocess.run(row.command, capture_output=True, text=True, timeout=120, check=False, preexec_fn=machine.pin(machine.SERVER_CPU))
        if run.returncode:
            raise Failed(run.stderr.strip() or f"status {run.returncode}")
        return json.loads(run.stdout)

    there = []
    for row in rows:
        if plan.wants(row.name, anchors):
            why = left_out(row)
            if why:
                plan.notes.append(f"{row.name}: left out, {why}")
            else:
                there.append(row)
    return plan.run(there, measure)


def left_out(row):
    """Why a row cannot be measured; None if it can."""
    if not os.access(row.command[0], os.X_OK):
        return f"no {os.path.relpath(row.command[0])}"
    if not row.own:
        return None
    asked = subprocess.run([row.command[0], "--has", row.command[1]], capture_output=True, text=True, timeout=10, check=False)
    return asked.stderr.strip() or "not built in" if asked.returncode == NOT_BUILT else None
