"""Shows that the checks beside this file find what they look for. Run by .ci/run before the checks themselves."""

import unittest

import arrows
import licences
import unsafe_code


class Licences(unittest.TestCase):
    allowed = {"MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "Unicode-3.0"}
    policy = {"licenses": {"allow": ["MIT"]}, "sources": {"allow-registry": ["https://crates"]}}

    def test_one_side_of_an_or_and_both_of_an_and_must_be_allowed(self):
        for expression, verdict in {
            "MIT": True,
            "MIT OR GPL-3.0": True,
            "GPL-3.0 OR MIT": True,
            "MIT/GPL-3.0": True,
            "MIT AND GPL-3.0": False,
            "GPL-3.0": False,
            "(MIT OR Apache-2.0) AND Unicode-3.0": True,
            "(MIT OR Apache-2.0) AND NCSA": False,
            "MIT OR Apache-2.0 AND NCSA": True,
            "Apache-2.0 WITH LLVM-exception OR GPL-3.0": True,
            "MIT WITH LLVM-exception": False,
        }.items():
            with self.subTest(expression):
                self.assertEqual(licences.permitted(expression, self.allowed), verdict)

    def test_what_is_no_expression_is_refused(self):
        for expression in ("", "(MIT", "MIT)", "MIT Apache-2.0", "OR MIT", "MIT OR", "()"):
            with self.subTest(expression), self.assertRaises(ValueError):
                licences.permitted(expression, self.allowed)

    def test_sources_other_than_the_registry_are_named(self):
        def package(source, licence="MIT"):
            return {"id": "x", "name": "x", "version": "1", "source": source, "license": licence, "manifest_path": "/x"}

        def count(one, members=frozenset()):
            return len(list(licences.complaints([one], members, self.policy)))

        self.assertEqual(count(package("registry+https://crates")), 0)
        self.assertEqual(count(package("git+https://crates")), 1)
        self.assertEqual(count(package(None)), 1)
        self.assertEqual(count(package(None), {"x"}), 0)
        self.assertEqual(count(package("registry+https://crates", None)), 1)
        self.assertEqual(count(package("git+https://other", "GPL-3.0")), 2)


class Arrows(unittest.TestCase):
    def test_arrows_that_point_up_are_refused(self):
        for user, used, kind, allowed in [
            ("marline-protocols", "marline-core", None, True),
            ("marline-drivers", "marline-core", None, True),
            ("marline", "marline-drivers", None, True),
            ("marline-conformance", "marline-drivers", None, True),
            ("marline-http", "marline-tls", None, True),
            ("marline-core", "marline-core", "dev", True),
            ("marline-http", "marline-drivers", None, False),
            ("marline-http", "marline-drivers", "dev", False),
            ("marline-protocols", "marline-drivers", "dev", False),
            ("marline-http", "marline-dns", None, False),
            ("marline-http", "marline", "dev", False),
            ("marline-drivers", "marline-http", None, False),
            ("marline-drivers", "marline-protocols", "dev", False),
            ("marline-core", "marline-protocols", "dev", False),
            ("marline", "marline-examples", None, False),
        ]:
            with self.subTest(f"{user} -> {used} ({kind})"):
                self.assertEqual(arrows.objection(user, used, kind) is None, allowed)

    def test_core_takes_tracing_and_nothing_else_from_elsewhere(self):
        def count(*used):
            packages = [{"name": name, "dependencies": []} for name in ("marline", "marline-drivers")]
            needs = [dict(zip(("name", "kind", "optional"), one)) for one in used]
            return len(list(arrows.complaints([*packages, {"name": "marline-core", "dependencies": needs}])))

        self.assertEqual(count(("tracing", None), ("proptest", "dev")), 0)
        self.assertEqual(count(("libc", None)), 1)
        self.assertEqual(count(("tokio", None, True), ("hyper", None, True)), 0)
        self.assertEqual(count(("tokio", None, False), ("libc", None, True)), 2)
        self.assertEqual(count(("cc", "build"), ("marline-drivers", "dev")), 2)

    def test_a_missing_crate_is_a_complaint(self):
        self.assertEqual(len(list(arrows.complaints([]))), 3)


class UnsafeCode(unittest.TestCase):
    def test_the_keyword_is_found_wherever_it_is_code(self):
        for source in [
            "unsafe { f() }",
            "pub unsafe fn f() {}",
            "let a = '\\''; unsafe { f() }",
            "let q = '\"'; unsafe { f() } //\"",
            "fn f<'a>(x: &'a str, y: &'a str) { unsafe { g() } }",
            'let s = "\\\\"; unsafe { f() }',
            'let s = r"\\"; unsafe { f() }',
            'let s = br##"a"#b"##; unsafe { f() }',
            "/* a /* b */ c */ unsafe { f() }",
            "let r#type = 1; unsafe { f() }",
        ]:
            with self.subTest(source):
                self.assertEqual(unsafe_code.lines_with_unsafe(source), [1])

    def test_words_in_comments_literals_and_names_do_not_count(self):
        for source in [
            "// unsafe",
            "//! unsafe\n/// unsafe",
            "/* a /* b */ unsafe */",
            "/* never ends unsafe",
            '"unsafe" "a\\"unsafe"',
            'r#"a" unsafe"# b"unsafe"',
            "#![forbid(unsafe_code)] #![deny(unsafe_op_in_unsafe_fn)]",
            "let not_unsafe = is_unsafe;",
        ]:
            with self.subTest(source):
                self.assertEqual(unsafe_code.lines_with_unsafe(source), [])

    def test_lines_are_counted_through_what_is_blanked(self):
        self.assertEqual(unsafe_code.lines_with_unsafe('/*\n*/ "\n" // x\nunsafe {}\n'), [4])

    def test_every_root_must_forbid_and_drivers_must_deny(self):
        self.assertIsNone(unsafe_code.root_complaint("marline", "//! x\n#![forbid(unsafe_code)]"))
        self.assertIsNone(unsafe_code.root_complaint("marline-drivers", "#![deny(unsafe_code)]"))
        self.assertIsNotNone(unsafe_code.root_complaint("marline", "#![deny(unsafe_code)]"))
        self.assertIsNotNone(unsafe_code.root_complaint("marline", "// #![forbid(unsafe_code)]"))


if __name__ == "__main__":
    unittest.main()
