//! Conversations as scripts: what a peer says, what the protocol must answer, how long nothing happens, who closes.

use std::fmt::{self, Write};
use std::time::Duration;

use super::MemoryTransport;
use crate::Protocol;

/// One step of a conversation. `C` is always the client and `S` the server: the one that is tested must say it, the other says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// The client says this. Of one that is tested: it says something that begins with this; the rest of that line, if the text ends within one,
    /// may be anything.
    C(&'a str),
    /// The server says this, or something that begins with it, likewise.
    S(&'a str),
    /// The client says exactly these bytes.
    CBytes(&'a [u8]),
    /// The server says exactly these bytes.
    SBytes(&'a [u8]),
    /// So many seconds pass.
    Wait(u64),
    /// So much time passes.
    WaitFor(Duration),
    /// The tested one has said nothing more up to now.
    Silence,
    /// The peer ends its stream.
    End,
    /// The connection breaks, as by a reset of the peer's.
    Reset,
    /// The tested one has said nothing more, and has closed cleanly.
    Closed,
    /// The tested one has reset the connection. What it said before that and nobody expected is lost, as on a network.
    Aborted,
}

/// Holds a conversation with a server's protocol, and returns the connection for more questions.
///
/// ```
/// use std::time::Duration;
/// use marline_core::testing::Step::{C, Closed, S, Wait};
/// use marline_core::testing::talk;
/// use marline_core::{Protocol, Transport};
///
/// /// Greets, answers every piece it gets, and closes after five minutes.
/// struct Greeter;
///
/// impl Protocol for Greeter {
///     fn connection_made(&mut self, transport: &Transport) {
///         transport.write(b"220 hello there\r\n");
///         let (reactor, transport) = (transport.reactor().unwrap(), transport.clone());
///         reactor.call_later(Duration::from_secs(300), move |_| {
///             transport.write(b"421 too slow\r\n");
///             transport.lose_connection();
///         });
///     }
///     fn data_received(&mut self, transport: &Transport, _: &[u8]) {
///         transport.write(b"250 well\r\n");
///     }
/// }
///
/// talk(Greeter, &[S("220 "), C("EHLO a\r\n"), S("250"), Wait(301), S("421"), Closed]);
/// ```
///
/// # Panics
///
/// At the first step that does not come about, with the step and the conversation so far; and at the end if there was more said than expected.
#[track_caller]
pub fn talk<P: Protocol>(server: P, steps: &[Step<'_>]) -> MemoryTransport<P> {
    Conversation::with_server(server).hold(steps)
}

/// A conversation to be held by a script: see [`talk`], which is the short form for a server.
///
/// ```
/// use marline_core::testing::Conversation;
/// use marline_core::testing::Step::{C, S, Silence};
/// use marline_core::{Protocol, Transport};
///
/// /// Quits once it was greeted.
/// struct Quitter(Vec<u8>);
///
/// impl Protocol for Quitter {
///     fn data_received(&mut self, transport: &Transport, data: &[u8]) {
///         self.0.extend_from_slice(data);
///         if self.0.ends_with(b"\n") {
///             transport.write(b"QUIT\r\n");
///         }
///     }
/// }
///
/// let client = Quitter(Vec::new());
/// Conversation::with_client(client).bytewise().hold(&[Silence, S("220 hello\r\n"), C("QUIT\r\n")]);
/// ```
#[derive(Debug)]
pub struct Conversation<P> {
    tested: P,
    is_client: bool,
    bytewise: bool,
}

impl<P: Protocol> Conversation<P> {
    /// With a server's protocol: the script plays the client.
    pub fn with_server(tested: P) -> Self {
        Self { tested, is_client: false, bytewise: false }
    }

    /// With a client's protocol: the script plays the server.
    pub fn with_client(tested: P) -> Self {
        Self { tested, is_client: true, bytewise: false }
    }

    /// What the script says arrives one byte at a time.
    #[must_use]
    pub fn bytewise(mut self) -> Self {
        self.bytewise = true;
        self
    }

    /// Holds the conversation, and returns the connection for more questions.
    ///
    /// # Panics
    ///
    /// As [`talk`].
    #[track_caller]
    pub fn hold(self, steps: &[Step<'_>]) -> MemoryTransport<P> {
        let Self { tested, is_client, bytewise } = self;
        let mut course = Course {
            peer: MemoryTransport::connect(tested),
            is_client,
            bytewise,
            said: Vec::new(),
        };
        for at in 0..steps.len() {
            if let Err(complaint) = course.take(steps[at]) {
                course.fail(steps, at, &complaint);
            }
        }
        if let Err(complaint) = course.expect_silence() {
            course.fail(steps, steps.len(), &complaint);
        }
        course.peer
    }
}

/// A conversation while it is held.
struct Course<P> {
    peer: MemoryTransport<P>,
    is_client: bool,
    bytewise: bool,
    /// What the tested one has said and no step has asked for.
    said: Vec<u8>,
}

impl<P: Protocol> Course<P> {
    fn take(&mut self, step: Step<'_>) -> Result<(), Complaint> {
        match step {
            Step::C(text) if self.is_client => self.expect_line(text),
            Step::S(text) if !self.is_client => self.expect_line(text),
            Step::C(text) | Step::S(text) => self.say(text.as_bytes()),
            Step::CBytes(bytes) if self.is_client => self.expect_bytes(bytes),
            Step::SBytes(bytes) if !self.is_client => self.expect_bytes(bytes),
            Step::CBytes(bytes) | Step::SBytes(bytes) => self.say(bytes),
            Step::Wait(seconds) => {
                self.peer.advance(Duration::from_secs(seconds));
                Ok(())
            }
            Step::WaitFor(time) => {
                self.peer.advance(time);
                Ok(())
            }
            Step::Silence => self.expect_silence(),
            Step::End => {
                self.peer.end_of_stream();
                Ok(())
            }
            Step::Reset => {
                self.peer.lose(std::io::ErrorKind::ConnectionReset);
                Ok(())
            }
            Step::Closed => {
                self.expect_silence()?;
                match self.peer.reason() {
                    Some(reason) if reason.is_clean() => Ok(()),
                    _ => Err(self.complaint("the connection closed cleanly")),
                }
            }
            Step::Aborted => {
                self.listen();
                self.said.clear();
                if self.peer.is_aborted() { Ok(()) } else { Err(self.complaint("a reset")) }
            }
        }
    }

    fn listen(&mut self) {
        self.said.extend(self.peer.drain());
    }

    fn say(&self, bytes: &[u8]) -> Result<(), Complaint> {
        if let Some(reason) = self.peer.reason() {
            let got = format!("the connection has ended: {reason}");
            return Err(Complaint { expected: "somebody to say it to".into(), got });
        }
        if self.bytewise {
            self.peer.receive_bytewise(bytes);
        } else {
            self.peer.receive(bytes);
        }
        Ok(())
    }

    fn expect_line(&mut self, text: &str) -> Result<(), Complaint> {
        self.listen();
        if !self.said.starts_with(text.as_bytes()) {
            return Err(self.complaint(&format!("something that begins with {text:?}")));
        }
        self.said.drain(..text.len());
        if !text.ends_with('\n') {
            let line = self.said.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
            self.said.drain(..line.unwrap_or(self.said.len()));
        }
        Ok(())
    }

    fn expect_bytes(&mut self, bytes: &[u8]) -> Result<(), Complaint> {
        self.listen();
        if !self.said.starts_with(bytes) {
            return Err(self.complaint(&format!("exactly \"{}\"", bytes.escape_ascii())));
        }
        self.said.drain(..bytes.len());
        Ok(())
    }

    fn expect_silence(&mut self) -> Result<(), Complaint> {
        self.listen();
        if self.said.is_empty() { Ok(()) } else { Err(self.complaint("nothing more")) }
    }

    fn complaint(&self, expected: &str) -> Complaint {
        let mut got = if self.said.is_empty() {
            String::from("nothing")
        } else {
            format!("\"{}\"", self.said.escape_ascii())
        };
        if let Some(reason) = self.peer.reason() {
            // OK: writing to a string cannot fail.
            let _ = write!(got, ", and the connection has ended: {reason}");
        }
        Complaint { expected: expected.into(), got }
    }

    #[track_caller]
    fn fail(&self, steps: &[Step<'_>], at: usize, complaint: &Complaint) -> ! {
        let mut text = match steps.get(at) {
            Some(step) => {
                format!("step {} of {}, {step:?}, did not come about", at + 1, steps.len())
            }
            None => String::from("more was said than the steps expect"),
        };
        // OK: writing to a string cannot fail.
        let _ = write!(text, "\n  {complaint}\n  so far:");
        for (number, step) in (1..).zip(&steps[..at]) {
            // OK: as above.
            let _ = write!(text, "\n    {number}. {step:?}");
        }
        panic!("{text}");
    }
}

/// What was expected, and what came instead.
struct Complaint {
    expected: String,
    got: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected: {}\n  got:      {}", self.expected, self.got)
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::Step::{Aborted, C, CBytes, Closed, End, Reset, S, SBytes, Silence, Wait};
    use super::*;
    use crate::Transport;

    /// Answers lines: `BYE` closes, `ABORT` resets, anything else is answered with `250 ` and itself; hangs up after a minute.
    #[derive(Default)]
    struct Lines(Vec<u8>);

    impl Protocol for Lines {
        fn connection_made(&mut self, transport: &Transport) {
            transport.write(b"220 ready\r\n");
            let (reactor, transport) = (transport.reactor().unwrap(), transport.clone());
            reactor.call_later(Duration::from_secs(60), move |_| {
                transport.write(b"421 idle\r\n");
                transport.lose_connection();
            });
        }

        fn data_received(&mut self, transport: &Transport, data: &[u8]) {
            self.0.extend_from_slice(data);
            while let Some(at) = self.0.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.0.drain(..=at).collect();
                match &line[..] {
                    b"BYE\r\n" => transport.lose_connection(),
                    b"ABORT\r\n" => transport.abort_connection(),
                    b"PANIC\r\n" => panic!("as asked"),
                    _ => transport.write_sequence([&b"250 "[..], &line]),
                }
            }
        }
    }

    fn failure(tested: Conversation<Lines>, steps: &[Step<'_>]) -> String {
        let failed = catch_unwind(AssertUnwindSafe(|| tested.hold(steps)));
        let panic = failed.map(drop).expect_err("the conversation should have failed");
        panic.downcast_ref::<String>().expect("a text").clone()
    }

    #[test]
    fn a_conversation_is_held_to_its_end() {
        talk(
            Lines::default(),
            &[
                S("220 ready\r\n"),
                Silence,
                C("a\r\nb\r\n"),
                S("250 a"),
                S("250 b"),
                C("BYE\r\n"),
                Closed,
            ],
        );
        talk(Lines::default(), &[S("220"), Wait(59), Silence, Wait(1), S("421"), Closed]);
        talk(Lines::default(), &[S("220"), C("ABORT\r\n"), Aborted]);
        talk(Lines::default(), &[C("a\r\nABORT\r\n"), Aborted]);
        talk(Lines::default(), &[S("220"), End, Closed]);
        let lost = talk(Lines::default(), &[S("220"), Reset]);
        assert!(matches!(lost.reason(), Some(crate::CloseReason::Lost(_))));
        Conversation::with_server(Lines::default()).bytewise().hold(&[
            S("220"),
            CBytes(b"\xff\r\n"),
            SBytes(b"250 \xff\r"),
            SBytes(b"\n"),
        ]);
    }

    #[test]
    fn a_clients_script_is_the_servers_turned_round() {
        Conversation::with_client(Lines::default()).hold(&[C("220"), S("a\r\n"), C("250 a\r\n")]);
    }

    #[test]
    fn a_failure_names_the_step_what_was_expected_and_what_came() {
        let text = failure(
            Conversation::with_server(Lines::default()),
            &[S("220"), C("a\r\n"), S("500"), Closed],
        );
        assert_eq!(
            text,
            "step 3 of 4, S(\"500\"), did not come about\n  \
             expected: something that begins with \"500\"\n  \
             got:      \"250 a\\r\\n\"\n  \
             so far:\n    1. S(\"220\")\n    2. C(\"a\\r\\n\")"
        );
    }

    #[test]
    fn what_nobody_expected_is_a_failure_at_the_end() {
        let text = failure(Conversation::with_server(Lines::default()), &[C("a\r\n"), S("220")]);
        assert!(text.starts_with("more was said than the steps expect"), "{text}");
        assert!(text.contains("got:      \"250 a\\r\\n\""), "{text}");
    }

    #[test]
    fn every_kind_of_step_can_fail() {
        let held = |steps: &[Step<'_>]| failure(Conversation::with_server(Lines::default()), steps);
        assert!(held(&[Silence]).contains("expected: nothing more"));
        assert!(held(&[Closed]).contains("expected: nothing more"));
        assert!(held(&[S("220"), Closed]).contains("expected: the connection closed cleanly"));
        assert!(held(&[Aborted]).contains("expected: a reset"));
        assert!(held(&[S("220"), C("BYE\r\n"), Aborted]).contains("ended: closed cleanly"));
        assert!(held(&[SBytes(b"220\0")]).contains("expected: exactly \"220\\x00\""));
        assert!(held(&[S("220"), End, C("a\r\n")]).contains("somebody to say it to"));
        assert!(held(&[S("220"), C("PANIC\r\n"), S("250")]).contains("panicked: as asked"));
    }
}
