"""The machine: which core for whom, free ports, and what the kernel says about processes. Linux only."""

import os
import socket
import time

_cores = sorted(os.sched_getaffinity(0))
SERVER_CPU = int(os.environ.get("SERVER_CPU", _cores[0]))
LOAD_CPU = int(os.environ.get("LOAD_CPU", _cores[-1]))


def pin(core):
    """For `preexec_fn`: the child runs on that core alone."""
    return lambda: os.sched_setaffinity(0, {core})


def free_port():
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def scheduled(pid):
    """Of all threads, so far: (nanoseconds on a processor, nanoseconds waiting for one, times run)."""
    total = [0, 0, 0]
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat") as f:
            total = [a + int(b) for a, b in zip(total, f.read().split())]
    return total


def resident(pid):
    """Resident bytes, counted page by page (the counters in `status` lag behind by up to 64 pages a core)."""
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("Rss:"))


def stolen(since=None):
    """Counters of time that the host took away; or, given earlier ones, its share since then."""
    with open("/proc/stat") as f:
        ticks = [int(w) for w in f.readline().split()[1:9]]
    now = (ticks[7], sum(ticks))
    return now if since is None else (now[0] - since[0]) / max(1, now[1] - since[1])


def busy(seconds=0.15):
    """The share of all cores' time that was in use just now."""
    def sample():
        with open("/proc/stat") as f:
            ticks = [int(w) for w in f.readline().split()[1:9]]
        return ticks[3] + ticks[4], sum(ticks)

    idle0, all0 = sample()
    time.sleep(seconds)
    idle1, all1 = sample()
    return 1 - (idle1 - idle0) / max(1, all1 - all0)


def describe():
    """One line: kernel, processor, cores."""
    with open("/proc/cpuinfo") as f:
        model = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), os.uname().machine)
    return f"Linux {os.uname().release}, {model}, {len(_cores)} cores (server on {SERVER_CPU}, load on {LOAD_CPU})"
