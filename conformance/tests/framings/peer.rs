//! Other people's software as a peer, in a script of `conformance/peers`, and waiting for what it says.

use std::process::{Child, Command, Stdio};

use marline_conformance::skipped;
use marline_core::Reactor;
use marline_core::deferred::{Deferred, Fault};

use crate::streams::kit::{Outcome, turn_until};

const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers");

/// A script while it runs; it is ended with the test, also with one that fails.
pub(super) struct Peer(pub(super) Child);

impl Peer {
    /// Starts a script, unless there is no Python.
    pub(super) fn start(script: &str, arguments: &[String]) -> Option<Self> {
        let mut command = Command::new("python3");
        command.arg("-B").arg(format!("{PEERS}/{script}")).args(arguments);
        match command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() {
            Ok(child) => Some(Self(child)),
            Err(error) => {
                skipped(&format!("there is no python3: {error}"));
                None
            }
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Turns until a Deferred has its result.
#[track_caller]
pub(super) fn wait<T: 'static, E: Fault>(
    reactor: &Reactor,
    deferred: Deferred<T, E>,
) -> Result<T, E> {
    let outcome = Outcome::of(deferred);
    turn_until(reactor, "the answer", || outcome.is_there());
    outcome.take()
}
