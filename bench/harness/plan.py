"""How a suite goes through its rows: interleaved, the order reversed every second round, within its time."""

import os
import subprocess
import sys
import time

from harness import machine, servers


class Plan:
    """One suite's time, rounds and notes."""

    def __init__(self, budget, options):
        self.quick = options.quick
        self.only = options.only.split(",") if options.only else None
        self.end = time.monotonic() + budget
        self.rounds = 2 if self.quick else 5
        self.notes = []
        self.failed = self.interrupted = False
        # Seconds that may go into waiting for the machine to be idle.
        self.patience = 0.1 * budget

    def wants(self, name, anchors):
        return self.only is None or name in self.only or name in anchors

    def peers(self, more=()):
        """The servers that are wanted and there; `more` are those of one suite."""
        wanted = [p for p in [*servers.PEERS, *more] if self.wants(p.name, (servers.ANCHOR,))]
        for p in wanted:
            if p.missing:
                self.notes.append(f"{p.name}: left out, no {os.path.relpath(p.program)}")
        return [p for p in wanted if not p.missing]

    def run(self, rows, measure, rounds=None, share=1):
        """`measure(row)` for every row, in rounds; {row's name: [results]}. Stops when another round would not fit into the
        time: this `share` of what the suite has left.

        A result with a `wait` above 5 % (the server stood ready while others ran on its core) is measured once more, and the better one kept.
        """
        if self.interrupted:
            return {}
        results = {row.name: [] for row in rows}
        longest, end = 0.0, time.monotonic() + share * (self.end - time.monotonic())
        rounds = rounds or self.rounds
        for number in range(rounds):
            began = time.monotonic()
            if number and began + longest > end:
                self.notes.append(f"only {number} of {rounds} rounds fitted into the time")
                break
            try:
                for row in rows if number % 2 == 0 else reversed(rows):
                    if results[row.name] is not None:
                        self.one(row, measure, results, end)
            except KeyboardInterrupt:
                self.interrupted = True
            if self.interrupted:
                self.notes.append(f"interrupted in round {number + 1}")
                break
            longest = max(longest, time.monotonic() - began)
            print(".", end="", file=sys.stderr, flush=True)
        return {name: r for name, r in results.items() if r}

    def one(self, row, measure, results, end):
        try:
            self.quiet()
            result = measure(row)
            if result.get("wait", 0) > 0.05 and time.monotonic() < end:
                self.quiet()
                result = min(result, measure(row), key=lambda r: r["wait"])
            results[row.name].append(result)
        except (servers.Failed, OSError, subprocess.SubprocessError) as e:
            self.notes.append(f"{row.name}: FAILED: {e}")
            self.failed = True
            results[row.name] = None

    def quiet(self):
        """Waits while others use the machine, as long as patience lasts."""
        while self.patience > 0:
            began = time.monotonic()
            if machine.busy() < 0.2:
                return
            time.sleep(0.3)
            self.patience -= time.monotonic() - began
