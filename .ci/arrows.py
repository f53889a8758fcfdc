"""Checks which crate may use which, the picture in ARCHITECTURE.md, over what cargo knows of the workspace."""

import sys

from cargo_workspace import metadata

# What everything but drivers may stand on. A family is any crate not named in these four lines.
FOUNDATIONS = {"marline-core", "marline-protocols", "marline-tls", "marline-auth"}
# Where real drivers and families meet: each may use everything.
EDGES = {"marline", "marline-app", "marline-examples", "marline-conformance"}
# Nothing may use these.
ENDS = {"marline-examples", "marline-conformance"}
# All that core takes from elsewhere.
CORE_NEEDS = {"tracing"}
# Whose traits it implements, each behind a feature that is off: nobody else can, for a type of core's.
CORE_SPEAKS = {"futures-io", "hyper", "tokio"}


def objection(user, used, kind):
    """Why the crate `user` may not depend on the crate `used` of this workspace, or None. `kind` is as cargo says it."""
    if used in ENDS:
        return f"nothing depends on {used}"
    if user == used and kind == "dev":
        return None  # a crate that uses itself in its tests, with other features
    if used == "marline-drivers" and user not in EDGES:
        return "only " + ", ".join(sorted(EDGES)) + " depend on drivers: test it on the simulated network"
    if user == "marline-core":
        return "core depends on no crate of the workspace"
    if user == "marline-drivers" and used != "marline-core":
        return "drivers depend on core alone"
    if user not in EDGES and used not in FOUNDATIONS:
        return "families depend on " + ", ".join(sorted(FOUNDATIONS)) + " alone"
    return None


def complaints(packages):
    """What is wrong with the members of the workspace, a line each."""
    members = {package["name"] for package in packages}
    for package in packages:
        user = package["name"]
        for dependency in package["dependencies"]:
            used, kind = dependency["name"], dependency["kind"]
            why = None
            if used in members:
                why = objection(user, used, kind)
            elif user == "marline-core" and used in CORE_SPEAKS and dependency.get("optional"):
                pass
            elif user == "marline-core" and kind != "dev" and used not in CORE_NEEDS:
                why = "core depends on nothing but " + ", ".join(sorted(CORE_NEEDS))
            if why:
                yield f"{user} -> {used} ({kind or 'normal'}): {why}"
    for needed in ("marline-core", "marline-drivers", "marline"):
        if needed not in members:
            yield f"{needed} is not in the workspace"


def main():
    packages = metadata("--no-deps")["packages"]
    found = list(complaints(packages))
    print("\n".join(found) or f"{len(packages)} crates: every arrow points the right way")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
