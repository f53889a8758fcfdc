"""Tables in Markdown: medians, ratios to the anchor taken round by round, and what was noise."""

import statistics
import subprocess
import time

from harness import build, machine


def heading(quick):
    """What every set of tables begins with: without it the numbers mean nothing."""
    rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=False).stdout.split()[1:2]
    peers = ", ".join(f"{k} {v}" for k, v in build.versions().items())
    return f"""# Benchmarks, {time.strftime("%Y-%m-%d")}{", quick" if quick else ""}

{machine.describe()}; rustc {"".join(rustc)}; {machine.busy():.0%} busy before the start.
Peers: {peers}. All are built with opt-level 3, fat LTO, one codegen unit. The peers abort on a panic; marline's programs unwind, for
catching a panic is one of its promises."""


def median(results, key):
    return statistics.median(r[key] for r in results)


def ratios(results, base, value):
    """Of the rounds that both have, in order: value over the anchor's."""
    return [value(a) / value(b) for a, b in zip(results, base) if value(b) > 0]


def table(title, results, columns, anchor=None, again=None, value=None, compared="CPU", first="server"):
    """Prints one; nothing if there are no results. `columns`: (heading, function of a row's results, format); with `value` a last column holds its ratio to the anchor."""
    if not results:
        return
    base = results.get(anchor)
    heads = [first] + [c[0] for c in columns]
    if base and value:
        heads.append(f"{compared} / {anchor} (range)")
    print(f"\n## {title}\n\n| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    for name, rows in results.items():
        cells = [name + (" \\*" if disturbed(rows) else "")]
        for _, function, form in columns:
            number = function(rows)
            cells.append("-" if number is None else format(number, form))
        if base and value:
            cells.append(spread(ratios(rows, base, value)))
        print("| " + " | ".join(cells) + " |")
    print()
    if base and value and results.get(again):
        rounds = "one round" if len(base) == 1 else f"{len(base)} rounds"
        print(f"- noise: the anchor against itself {spread(ratios(results[again], base, value))}; {rounds}")
    if any(disturbed(rows) for rows in results.values()):
        print("- \\* disturbed: others were on the server's core for more than 5 % of the time")


def spread(values):
    """Median and range; the range only where there is one."""
    if not values:
        return "-"
    middle = f"{statistics.median(values):.2f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.2f}-{max(values):.2f})"


def disturbed(rows):
    return statistics.median(r.get("wait", 0) for r in rows) > 0.05
