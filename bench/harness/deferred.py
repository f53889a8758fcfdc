"""Suite `deferred`: a chain of three steps beside three boxed closures; time, instructions and allocations."""

import os
import re
import shutil
import subprocess
import tempfile

from harness import build, report
from harness.programs import Program, measured
from harness.servers import Failed

DIRECT, AGAIN = "3 boxed closures", "3 boxed closures, again"
ROWS = [
    (DIRECT, "direct"),
    (AGAIN, "direct"),
    ("map, 3 times", "map"),
    ("and_then, 3 times", "and_then"),
    ("map, the end kept, result taken", "kept"),
    ("an error passes 2, recover", "error"),
    ("map, then that waits, map", "inner"),
    ("ready, map, 3 times, taken", "ready"),
]


def deferred(plan):
    """Making and firing; the ratio is that of firing alone."""
    program = os.path.join(build.UNWIND, "marline-deferred")
    results = measured(plan, [Program(name, (program, row), own=True) for name, row in ROWS], (DIRECT,))
    report.table("deferred: ns of processor time", results, [
        ("make", lambda r: report.median(r, "make"), ".1f"),
        ("fire", lambda r: report.median(r, "fire"), ".1f"),
        ("one after the other", lambda r: report.median(r, "both"), ".1f"),
    ], DIRECT, AGAIN, lambda r: r["fire"], "fire", "chain")
    counted = counts(plan, program, [(name, row) for name, row in ROWS if name in results and name != AGAIN])
    report.table("deferred: user instructions and allocations", counted, [
        ("make", lambda r: r[0]["make"], ",.0f"),
        ("fire", lambda r: r[0]["fire"], ",.0f"),
        ("one after the other", lambda r: r[0]["both"], ",.0f"),
        ("allocations", lambda r: r[0]["allocations"], ".2f"),
    ], DIRECT, None, lambda r: r["fire"], "fire", "chain")
    return {"time": results, "counts": counted}


def counts(plan, program, rows):
    """By callgrind and memcheck, as the difference of a long and a short run."""
    if not rows:
        return {}
    if not shutil.which("valgrind"):
        plan.notes.append("deferred: not counted: no valgrind")
        return {}
    # How many are freed at once changes what freeing costs, so the quick run counts as many.
    few, many = 1000, 3000

    def each(count, row, part):
        return (count(program, row, part, many) - count(program, row, part, few)) / (many - few)

    def measure(row):
        name = row.command[1]
        make, both = (each(instructions, name, part) for part in ("make", "both"))
        # `fire` makes them first.
        fire = each(instructions, name, "fire") - make
        return {"make": make, "fire": fire, "both": both, "allocations": each(allocations, name, "both")}

    return plan.run([Program(name, (program, row), own=True) for name, row in rows], measure, rounds=1)


def instructions(program, row, part, count):
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        out = os.path.join(folder, "callgrind")
        valgrind(["--tool=callgrind", f"--callgrind-out-file={out}"], [program, row, part, str(count)])
        with open(out) as f:
            found = re.search(r"^(?:summary|totals): (\d+)", f.read(), re.M)
    if not found:
        raise Failed("callgrind left no total")
    return int(found.group(1))


def allocations(program, row, part, count):
    said = valgrind(["--tool=memcheck", "--leak-check=no"], [program, row, part, str(count)])
    found = re.search(r"total heap usage: ([\d,]+) allocs", said)
    if not found:
        raise Failed("memcheck told no allocations")
    return int(found.group(1).replace(",", ""))


def valgrind(options, command):
    run = subprocess.run(["valgrind", *options, *command], capture_output=True, text=True, timeout=120, check=False)
    if run.returncode:
        raise Failed(run.stderr.strip().splitlines()[-1] if run.stderr.strip() else f"status {run.returncode}")
    return run.stderr
