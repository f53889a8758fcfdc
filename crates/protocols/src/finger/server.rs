//! Answering finger's question.

use std::time::Duration;

use marline_core::deferred::{CancelHandle, Deferred, Interrupt};
use marline_core::failure::Failure;
use marline_core::{CloseReason, Transport};

use super::Query;
use crate::frame::{FrameLink, FrameProtocol, FrameReceiver};
use crate::line::{LineError, LineFormat};
use crate::policy::Deadline;

/// What a finger server knows. The answers are texts of any number of lines; whatever their ends, they are sent with CR LF.
///
/// An answer that fails is told as `Finger service unavailable`, and logged as a failure nobody looked at.
pub trait Directory: 'static {
    /// About one user; `verbose` asks for more than usual.
    #[doc(alias = "getUser")]
    fn user(&mut self, name: &str, verbose: bool) -> Deferred<String>;

    /// About all users. By default that is refused, as RFC 1288 §3.2.2 lets a site do.
    #[doc(alias = "getDomain")]
    fn list(&mut self, _verbose: bool) -> Deferred<String> {
        Deferred::ready("Finger online user list denied".into())
    }

    /// About whom another host knows: see [`Query::forward`]. By default that is refused, for it hides who asks (RFC 1288 §3.2.1).
    #[doc(alias = "forwardQuery")]
    fn forward(&mut self, _query: &Query) -> Deferred<String> {
        Deferred::ready("Finger forwarding service denied".into())
    }
}

/// Makes the protocol of one connection to a finger server.
///
/// ```
/// use marline_core::deferred::Deferred;
/// use marline_protocols::finger::{self, Directory};
///
/// struct Nobody;
///
/// impl Directory for Nobody {
///     fn user(&mut self, name: &str, _verbose: bool) -> Deferred<String> {
///         Deferred::ready(format!("Login: {name}\nNever logged in."))
///     }
/// }
///
/// let factory = || finger::server(Nobody); // for reactor.listen_tcp("127.0.0.1:79", factory)
/// # let _ = factory();
/// ```
pub fn server<D: Directory>(directory: D) -> FrameReceiver<FingerServer<D>> {
    FrameReceiver::new(FingerServer { directory, asked: CancelHandle::default() })
}

/// Answers one question out of a [`Directory`], and closes: see [`server`].
///
/// The whole of it takes a minute at most: then the connection is reset, whether the peer has not asked, the answer is not there, or the
/// peer does not read it. A question is a line of at most 512 bytes. If the connection ends before the answer is there, the directory's
/// Deferred is cancelled.
#[derive(Debug)]
pub struct FingerServer<D> {
    directory: D,
    /// What the directory was asked.
    asked: CancelHandle,
}

impl<D: Directory> FrameProtocol for FingerServer<D> {
    type Format = LineFormat;

    fn format(&self) -> LineFormat {
        LineFormat::default().with_limit(QUESTION)
    }

    fn connection_made(&mut self, link: &mut FrameLink<'_, LineFormat>) {
        link.start_policy(Deadline::after(PATIENCE));
    }

    fn frame_received(&mut self, link: &mut FrameLink<'_, LineFormat>, line: &[u8]) {
        let Ok(query) = Query::parse(line) else { return refuse(link) };
        // One question is answered; whatever else comes is not even taken.
        link.pause_reading();
        let answer = match (query.forward(), query.name()) {
            (Some(_), _) => self.directory.forward(&query),
            (None, Some(name)) => self.directory.user(name, query.is_verbose()),
            (None, None) => self.directory.list(query.is_verbose()),
        };
        self.asked = answer.cancel_handle();
        let transport = link.transport().clone();
        // Dropped with a failure in it, it is logged; but not that a peer did not wait.
        drop(answer.both(move |answer| {
            let result = match answer {
                Ok(text) => {
                    tell(&transport, &text);
                    Ok(())
                }
                Err(failure) if is_cancelled(&failure) && !transport.is_open() => Ok(()),
                Err(failure) => {
                    tell(&transport, "Finger service unavailable");
                    Err(failure)
                }
            };
            transport.lose_connection();
            result
        }));
    }

    fn frame_refused(&mut self, link: &mut FrameLink<'_, LineFormat>, _error: LineError) {
        refuse(link);
    }

    fn connection_lost(&mut self, _transport: &Transport, _reason: &CloseReason) {
        self.asked.cancel();
    }
}

fn is_cancelled(failure: &Failure) -> bool {
    failure.check::<Interrupt>() == Some(&Interrupt::Cancelled)
}

fn refuse(transport: &Transport) {
    tell(transport, "Finger question not understood");
    transport.lose_connection();
}

fn tell(transport: &Transport, text: &str) {
    for line in text.lines() {
        transport.write_sequence([line.as_bytes(), b"\r\n"]);
    }
}

/// The greatest length of a question, in bytes, the end of its line excluded.
const QUESTION: usize = 512;
/// How long the whole may take.
const PATIENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use marline_core::deferred::Resolver;
    use marline_core::testing::Step::{Aborted, C, Closed, End, S, SBytes, Silence, Wait};
    use marline_core::testing::{CapturedLog, Conversation, MemoryTransport, TestReactor, talk};

    use super::super::ask;
    use super::*;

    #[derive(Clone, Default)]
    struct Rutgers {
        waiting: Rc<RefCell<Vec<Resolver<String>>>>,
    }

    impl Directory for Rutgers {
        fn user(&mut self, name: &str, verbose: bool) -> Deferred<String> {
            match name {
                "slow" => {
                    let (answer, resolver) = Deferred::new();
                    self.waiting.borrow_mut().push(resolver);
                    answer
                }
                "broken" => Deferred::failed(Failure::msg("the disk is on fire")),
                _ if verbose => Deferred::ready(format!("Login: {name}\nPlan:\r\n none\n")),
                _ => Deferred::ready(format!("Login: {name}")),
            }
        }
    }

    fn rutgers() -> FrameReceiver<FingerServer<Rutgers>> {
        server(Rutgers::default())
    }

    #[test]
    fn a_question_is_answered_and_the_connection_closed() {
        let steps = [C("pirmann\r\n"), SBytes(b"Login: pirmann\r\n"), Closed];
        talk(rutgers(), &steps);
        Conversation::with_server(rutgers()).bytewise().hold(&[
            C("/W\r\n"),
            S("Finger online"),
            Closed,
        ]);
        talk(rutgers(), &[C("/W ron\r\n"), SBytes(b"Login: ron\r\nPlan:\r\n none\r\n"), Closed]);
        talk(rutgers(), &[C("a\r\nb\r\n"), S("Login: a\r\n"), Closed]);
    }

    #[test]
    fn lists_and_forwarding_are_refused_unless_allowed() {
        talk(rutgers(), &[C("\r\n"), S("Finger online user list denied\r\n"), Closed]);
        let denied = S("Finger forwarding service denied\r\n");
        talk(rutgers(), &[C("hedrick@math1.rutgers.edu@pilot.njin.net\r\n"), denied, Closed]);
        talk(rutgers(), &[C("@localhost\r\n"), denied, Closed]);
    }

    #[test]
    fn what_is_malformed_is_refused() {
        let refused = S("Finger question not understood\r\n");
        for question in ["ron smith\r\n", "/Q\r\n", "a@\r\n", "a\0b\r\n", "ron\n", "a\rb\r\n"] {
            talk(rutgers(), &[C(question), refused, Closed]);
        }
        talk(rutgers(), &[C(&"x".repeat(513)), refused, Closed]);
        talk(rutgers(), &[C(&format!("{}\r\n", "x".repeat(512))), S("Login: xxx"), Closed]);
    }

    #[test]
    fn a_peer_that_asks_nothing_is_reset_after_a_minute() {
        talk(rutgers(), &[C("pirm"), Wait(59), Silence, Wait(1), Aborted]);
        talk(rutgers(), &[C("pirm"), Wait(59), C("ann\r\n"), S("Login: pirmann"), Closed]);
        talk(rutgers(), &[C("pirm"), End, Closed]);
    }

    #[test]
    fn a_peer_that_does_not_read_is_reset_after_a_minute() {
        let peer = MemoryTransport::connect(rutgers());
        peer.set_window(3);
        peer.receive(b"pirmann\r\n");
        peer.advance(Duration::from_secs(61));
        assert!(peer.is_aborted());
    }

    #[test]
    fn an_answer_can_take_its_time_and_is_cancelled_with_the_connection() {
        let directory = Rutgers::default();
        let waiting = Rc::clone(&directory.waiting);
        let peer = talk(server(directory.clone()), &[C("slow\r\nmore\r\n"), Wait(30), Silence]);
        let resolver = waiting.borrow_mut().remove(0);
        resolver.resolve("at last".into());
        assert_eq!(peer.take_written(), b"at last\r\n");
        assert!(peer.reason().unwrap().is_clean());

        let log = CapturedLog::start();
        talk(server(directory), &[C("slow\r\n"), Wait(61), Aborted]);
        assert!(waiting.borrow()[0].is_cancelled());
        log.assert_no_errors();
    }

    #[test]
    fn an_answer_that_fails_is_told_and_logged() {
        let log = CapturedLog::start();
        talk(rutgers(), &[C("broken\r\n"), S("Finger service unavailable\r\n"), Closed]);
        let errors = log.take_errors();
        assert_eq!(errors.len(), 1);
        assert!(format!("{errors:?}").contains("the disk is on fire"));
    }

    #[test]
    fn client_and_server_understand_each_other() {
        let reactor = TestReactor::new();
        let port = reactor.listen_tcp("127.0.0.1:0", rutgers).unwrap();
        for (query, answer) in [
            (Query::user("ron").unwrap().verbose(), "Login: ron\nPlan:\n none\n"),
            (Query::list(), "Finger online user list denied\n"),
            (Query::list().via("b").unwrap(), "Finger forwarding service denied\n"),
        ] {
            let got = reactor.result_of(ask(&reactor, port.local_addr(), &query)).unwrap();
            assert_eq!(got, answer);
        }
        port.stop_listening().ignore();
        reactor.advance(Duration::from_secs(1));
        reactor.check_leaks();
    }
}
