"""Checks licences and sources of all dependencies against deny.toml, for machines without cargo-deny.

It trusts the licence that a package's manifest names; cargo-deny reads the texts as well.
"""

import re
import sys
import tomllib
from pathlib import Path

from cargo_workspace import metadata


def permitted(expression, allowed):
    """Whether an SPDX expression can be met with the allowed licences alone. `/` is the old way to write OR."""
    tokens = re.findall(r"[()/]|[^\s()/]+", expression)

    def either():
        verdict = both()
        while tokens and tokens[0] in ("OR", "/"):
            tokens.pop(0)
            verdict |= both()
        return verdict

    def both():
        verdict = one()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            verdict &= one()
        return verdict

    def one():
        if not tokens or tokens[0] in (")", "/", "AND", "OR", "WITH"):
            raise ValueError(f"not a licence expression: {expression!r}")
        token = tokens.pop(0)
        if token == "(":
            verdict = either()
            if not tokens or tokens.pop(0) != ")":
                raise ValueError(f"unbalanced: {expression!r}")
            return verdict
        if tokens and tokens[0] == "WITH":
            tokens.pop(0)
            token += f" WITH {tokens.pop(0) if tokens else ''}"
        return token in allowed

    verdict = either()
    if tokens:
        raise ValueError(f"not a licence expression: {expression!r}")
    return verdict


def complaints(packages, members, policy):
    """What is wrong with the packages, a line each. Members of the workspace have no source, but a licence."""
    allowed = set(policy["licenses"]["allow"])
    sources = {f"registry+{index}" for index in policy["sources"]["allow-registry"]}
    for package in packages:
        name = f"{package['name']} {package['version']}"
        source = package["source"]
        if package["id"] not in members and source not in sources:
            yield f"{name}: its source is not allowed: {source or package['manifest_path']}"
        try:
            if not permitted(package["license"] or "", allowed):
                yield f"{name}: its licence is not allowed: {package['license']}"
        except ValueError as error:
            yield f"{name}: {error}"


def main():
    answer = metadata("--all-features")
    policy = tomllib.loads(Path("deny.toml").read_text(encoding="utf-8"))
    members = set(answer["workspace_members"])
    found = list(complaints(answer["packages"], members, policy))
    print("\n".join(found) or f"{len(answer['packages']) - len(members)} dependencies: licences and sources are fine")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
