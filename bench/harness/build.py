"""Building, and where what was built lies."""

import os
import subprocess
import sys

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MAIN = os.path.dirname(HERE)
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(HERE, "target"))
RELEASE = os.path.join(TARGET, "release")
# Programs made of marline's own code: see [profile.unwind].
UNWIND = os.path.join(TARGET, "unwind")
JOBS = os.environ.get("JOBS", "2")


def build():
    """Builds the peers, and marline's servers if they are part of this tree. Whoever fails to build is left out, with a line."""
    packages = ["load", "raw-epoll", "mio-echo", "calloop-echo", "tokio-echo", "timers", "plain-udp", "tokio-udp", "tokio-spawn"]
    if not cargo(HERE, "--release", *(f"-p{p}" for p in packages)):
        sys.exit("bench: the peers do not build")
    if not cargo(HERE, "--profile", "unwind", "-pmarline-bench"):
        print("# marline-bench does not build: its rows are left out", file=sys.stderr)
    if "MARLINE_BIN" not in os.environ and os.path.exists(os.path.join(MAIN, "examples", "Cargo.toml")):
        if not cargo(MAIN, "--release", "-pmarline-examples", "--bins", "--examples"):
            print("# marline-examples does not build: marline's rows are left out", file=sys.stderr)


def cargo(folder, *arguments):
    """Whether `cargo build` succeeded there; what it says goes to standard error."""
    command = ["cargo", "build", "-q", f"-j{JOBS}", *arguments]
    return subprocess.run(command, cwd=folder, stdout=sys.stderr, check=False).returncode == 0


def marline_server(name="echo"):
    """An echo server of marline: a path, which may not exist."""
    if "MARLINE_BIN" in os.environ:
        return os.path.join(os.path.abspath(os.environ["MARLINE_BIN"]), name)
    release = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(MAIN, "target")), "release")
    places = [os.path.join(release, "examples", name), os.path.join(release, name)]
    return next((p for p in places if os.path.exists(p)), places[0])


def versions():
    """Of the peers, from the lock file: {name: version}."""
    out, name = {}, None
    with open(os.path.join(HERE, "Cargo.lock")) as f:
        for line in f:
            key, _, value = line.strip().partition(" = ")
            if key == "name":
                name = value.strip('"')
            elif key == "version" and name in ("libc", "mio", "calloop", "tokio"):
                out[name] = value.strip('"')
    return out
