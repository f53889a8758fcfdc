"""Checks that the keyword `unsafe` stands in crates/drivers/src/sys alone, and that every crate forbids it to itself."""

import re
import sys
from pathlib import Path

from cargo_workspace import metadata

# Where it may stand. The peers that marline is measured against are not marline.
ALLOWED = ("crates/drivers/src/sys/", "bench/peers/")

# Comments and literals, in which the word means nothing. Raw strings before plain ones; a lifetime is no literal.
NO_CODE = re.compile(
    r"""
      //[^\n]*
    | \b[bc]?r(?P<hashes>\#*)".*?"(?P=hashes)
    | "(?:\\.|[^"\\])*"
    | '(?:\\.[^'\n]*|[^'\\\n])'
    """,
    re.VERBOSE | re.DOTALL,
)
WORD_OR_CHARACTER = re.compile(r"\w+|.", re.DOTALL)
COMMENT_EDGE = re.compile(r"/\*|\*/")


def lines_with_unsafe(text):
    """The numbers, from 1, of the lines of a Rust source on which the keyword stands."""
    code = blank_comments_and_literals(text)
    return [number for number, line in enumerate(code.split("\n"), 1) if re.search(r"\bunsafe\b", line)]


def blank_comments_and_literals(text):
    """The source with spaces in place of comments and literals, line by line the same."""
    kept, at = [], 0
    while at < len(text):
        blank = True
        if text.startswith("/*", at):
            end = end_of_block_comment(text, at)
        elif match := NO_CODE.match(text, at):
            end = match.end()
        else:
            blank = False
            end = WORD_OR_CHARACTER.match(text, at).end()
        piece = text[at:end]
        kept.append(re.sub(r"[^\n]", " ", piece) if blank else piece)
        at = end
    return "".join(kept)


def end_of_block_comment(text, start):
    depth = 0
    for edge in COMMENT_EDGE.finditer(text, start):
        depth += 1 if edge.group() == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(text)


def sources(top):
    """All Rust files of the project, without what was built and what is hidden."""
    for path in sorted(top.rglob("*.rs")):
        parts = path.relative_to(top).parts
        if "target" not in parts and not any(part.startswith(".") for part in parts):
            yield path


def root_complaint(crate, text):
    """What is wrong with the lint attributes of a crate's root, or None."""
    level = "deny" if crate == "marline-drivers" else "forbid"
    code = blank_comments_and_literals(text)
    return None if f"#![{level}(unsafe_code)]" in code else f"#![{level}(unsafe_code)] is missing"


def complaints(top):
    for path in sources(top):
        name = path.relative_to(top).as_posix()
        if not name.startswith(ALLOWED):
            for line in lines_with_unsafe(path.read_text(encoding="utf-8")):
                yield f"{name}:{line}: unsafe belongs in {ALLOWED[0]}"
    for package in metadata("--no-deps")["packages"]:
        for target in package["targets"]:
            if {"lib", "bin", "proc-macro"} & set(target["kind"]):
                path = Path(target["src_path"])
                if wrong := root_complaint(package["name"], path.read_text(encoding="utf-8")):
                    yield f"{path.relative_to(top).as_posix()}: {wrong}"


def main():
    found = list(complaints(Path.cwd()))
    print("\n".join(found) or f"unsafe: in {ALLOWED[0]} alone")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
