"""What cargo knows of the workspace. As a program, answers the questions that .ci/run asks:

    cargo_workspace.py features PACKAGE        its features, one a line, without `default`
    cargo_workspace.py program PACKAGE NAME    how cargo run names that program: `--example NAME` or `--bin NAME`
"""

import json
import subprocess
import sys


def metadata(*options):
    """The answer of `cargo metadata`, lock file unchanged."""
    command = ["cargo", "metadata", "--format-version", "1", "--locked", *options]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def package(name):
    """A member of the workspace; ends the program if there is none of that name."""
    for candidate in metadata("--no-deps")["packages"]:
        if candidate["name"] == name:
            return candidate
    sys.exit(f"the workspace has no package {name}")


def program(package_name, name):
    """The arguments by which `cargo run` finds a program."""
    for target in package(package_name)["targets"]:
        for kind in ("example", "bin"):
            if target["name"] == name and kind in target["kind"]:
                return f"--{kind} {name}"
    sys.exit(f"the package {package_name} has no program {name}")


def main(arguments):
    match arguments:
        case ["features", name]:
            print("\n".join(sorted(set(package(name)["features"]) - {"default"})))
        case ["program", name, target]:
            print(program(name, target))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
