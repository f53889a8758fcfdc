//! Resets, panics, refusals, lack of descriptors, stops at any moment: nothing leaks, and every protocol hears its end once.

mod descriptors;
mod panics;
mod resets;
mod stopping;
mod storm;

use std::process::Command;

/// In a child process that runs nothing but the test `name` of the module `module`, calls `check`; fails if that fails. `limit` is the most
/// descriptors the child may have. For what a process has only once: its table of descriptors.
#[track_caller]
pub(crate) fn in_child(module: &str, name: &str, limit: Option<u32>, check: impl FnOnce()) {
    if std::env::var_os(CHILD).is_some() {
        return check();
    }
    let output = child(module, name, limit).output().unwrap();
    let log = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{log}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(log.contains("1 passed"), "the child ran no test: {log}");
}

/// The test binary again, to run that one test.
pub(crate) fn child(module: &str, name: &str, limit: Option<u32>) -> Command {
    let module = module.split_once("::").map_or(module, |(_, path)| path);
    let limit = limit.map_or_else(String::new, |limit| format!("ulimit -n {limit}; "));
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!("{limit}exec \"$@\""))
        .arg("sh")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{module}::{name}"), "--test-threads=1", "--nocapture"])
        .env(CHILD, "1");
    command
}

/// Set in a child.
pub(crate) const CHILD: &str = "MARLINE_CONFORMANCE_CHILD";
