"""The suite `spawn`: user instructions for a task, spawned, run to its end and let go, by callgrind."""

import os
import re
import shutil
import subprocess
import tempfile

from harness import build, report
from harness.programs import Program, left_out
from harness.servers import Failed

CASES = ("dropped", "awaited", "yields")
# Tasks in a batch: what the programs have.
BATCH = 1_000


def spawn(plan):
    """The difference of a long and a short run of each case, so that start-up drops out."""
    if not shutil.which("valgrind"):
        plan.notes.append("spawn: skipped: no valgrind")
        return {}
    few, many = (5, 25) if plan.quick else (20, 120)
    anchor = "tokio, LocalSet"
    rows = [
        Program(anchor, (os.path.join(build.RELEASE, "tokio-spawn"),)),
        Program("marline", (os.path.join(build.UNWIND, "marline-spawn"), "dropped"), own=True),
    ]
    there = []
    for row in rows:
        if plan.wants(row.name, (anchor,)):
            why = f"no {os.path.relpath(row.command[0])}" if not os.path.exists(row.command[0]) else left_out(row)
            if why:
                plan.notes.append(f"{row.name}: left out, {why}")
            else:
                there.append(row)

    def measure(row):
        program = row.command[0]
        return {case: (total(program, case, many) - total(program, case, few)) / ((many - few) * BATCH) for case in CASES}

    results = plan.run(there, measure, rounds=1)
    base = results.get(anchor)
    columns = []
    for case in CASES:
        columns.append((case, lambda r, case=case: report.median(r, case), ".0f"))
        if base:
            columns.append((f"/ {anchor}", lambda r, case=case: report.median(r, case) / report.median(base, case), ".2f"))
    report.table("spawn: user instructions for a task, a thousand at a time", results, columns, first="executor")
    return results


def total(program, case, batches):
    """All user instructions of one run."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        out = os.path.join(folder, "callgrind")
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", program, case, str(batches)]
        run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if run.returncode:
            raise Failed(run.stderr.strip()[-300:] or f"status {run.returncode}")
        with open(out) as f:
            found = re.search(r"^(?:summary|totals): (\d+)", f.read(), re.M)
    if not found:
        raise Failed("callgrind left no total")
    return int(found.group(1))
