//! Asking in datagrams: the question is sent, and sent again, until an answer comes.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use std::vec;

use marline_core::datagram::{DatagramError, DatagramProtocol, DatagramTransport};
use marline_core::deferred::{Deferred, Interrupt, Resolver};
use marline_core::driver::OsError;
use marline_core::{Addr, CloseReason, ConnectCause, ConnectError};
use marline_core::{DelayedCall, Destination, Reactor};

use super::{InquiryCause, InquiryError};

/// A question in a datagram, and how long to wait before it is asked again.
///
/// ```
/// use std::time::Duration;
///
/// use marline_core::Reactor;
/// use marline_core::deferred::Deferred;
/// use marline_protocols::inquiry::{DatagramInquiry, InquiryError};
///
/// /// RFC 4330: 48 bytes there, 48 bytes back; version and mode are in the first.
/// fn sntp(reactor: &Reactor) -> Deferred<Vec<u8>, InquiryError> {
///     let mut question = [0; 48];
///     question[0] = 0b00_100_011;
///     let waits = [Duration::from_millis(500), Duration::from_secs(2)];
///     let inquiry = DatagramInquiry::new(question).waits(waits);
///     let of_server = |answer: &[u8]| answer.len() >= 48 && answer[0] & 7 == 4;
///     inquiry.accept(of_server).ask(reactor, "pool.ntp.org:123")
/// }
/// # let _ = sntp;
/// ```
#[derive(Clone)]
pub struct DatagramInquiry {
    question: Vec<u8>,
    waits: Vec<Duration>,
    accepts: Option<Rc<Accepts>>,
}

/// Whether a datagram is an answer.
type Accepts = dyn Fn(&[u8]) -> bool;

impl DatagramInquiry {
    /// Asks `question`, which may be empty, up to three times, and waits one, two and four seconds after them. Whatever comes from there is
    /// the answer.
    #[must_use]
    pub fn new(question: impl Into<Vec<u8>>) -> Self {
        let waits = [1, 2, 4].map(Duration::from_secs).to_vec();
        Self { question: question.into(), waits, accepts: None }
    }

    /// How long to wait for an answer each time the question has been sent: it is sent as often as there are waits, at most.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn waits(mut self, waits: impl Into<Vec<Duration>>) -> Self {
        self.waits = waits.into();
        assert!(!self.waits.is_empty(), "a question is asked at least once");
        self
    }

    /// What is an answer: other datagrams are passed over, and the wait goes on. A panic in `is_answer` is logged, and the datagram passed over.
    #[must_use]
    pub fn accept(mut self, is_answer: impl Fn(&[u8]) -> bool + 'static) -> Self {
        self.accepts = Some(Rc::new(is_answer));
        self
    }

    /// Sends the question, and gives the first answer, or an error that names `to`: at once if nothing can be sent. A refusal ends the waiting.
    ///
    /// Of a name's addresses the first is asked, and the next one where that refuses or there is no way to it; each has all its waits. The
    /// look-up of the name has as long as the system gives it. Cancelling gives up, and closes the socket.
    ///
    /// An answer is what comes from the address and port that were asked, to the port of this asking alone. An adversary who can guess or see
    /// these can forge it.
    #[track_caller]
    pub fn ask(
        self,
        reactor: &Reactor,
        to: impl Into<Destination>,
    ) -> Deferred<Vec<u8>, InquiryError> {
        let to = to.into();
        if let Some(addr) = to.addr().and_then(Addr::ip) {
            return Call::begin(self, reactor, to, addr);
        }
        let Some((name, port)) = to.name() else {
            return Deferred::failed(InquiryError::new(&to, cannot(&to, ConnectCause::Address)));
        };
        let (reactor, unknown) = (reactor.clone(), to.clone());
        let addrs = reactor.resolve(name).map_err(move |error| {
            let cause = match error.kind() {
                // What a look-up that is cancelled comes to.
                ErrorKind::Interrupted => InquiryCause::Interrupted(Interrupt::Cancelled),
                _ => cannot(&unknown, ConnectCause::UnknownName(error)),
            };
            InquiryError::new(&unknown, cause)
        });
        addrs.then(move |addrs| self.ask_in_turn(&reactor, to, port, addrs.into_iter()))
    }

    /// Asks at one address after the other, until it is not refused.
    fn ask_in_turn(
        self,
        reactor: &Reactor,
        to: Destination,
        port: u16,
        mut addrs: vec::IntoIter<IpAddr>,
    ) -> Deferred<Vec<u8>, InquiryError> {
        let Some(addr) = addrs.next() else {
            let unknown = ConnectCause::UnknownName(OsError::new(ErrorKind::NotFound));
            return Deferred::failed(InquiryError::new(&to, cannot(&to, unknown)));
        };
        let asked = Call::begin(self.clone(), reactor, to.clone(), (addr, port).into());
        let reactor = reactor.clone();
        asked.or_then(move |error| match error.cause {
            InquiryCause::Connect(_) if addrs.len() > 0 => {
                self.ask_in_turn(&reactor, to, port, addrs)
            }
            _ => Deferred::failed(error),
        })
    }

    fn is_answer(&self, datagram: &[u8]) -> bool {
        self.accepts.as_ref().is_none_or(|accepts| accepts(datagram))
    }
}

impl fmt::Debug for DatagramInquiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { question, waits, accepts: _ } = self;
        f.debug_struct("DatagramInquiry")
            .field("question", question)
            .field("waits", waits)
            .finish_non_exhaustive()
    }
}

/// One asking at one address.
struct Call {
    inquiry: DatagramInquiry,
    to: Destination,
    resolver: Cell<Option<Resolver<Vec<u8>, InquiryError>>>,
    socket: RefCell<Option<DatagramTransport>>,
    timer: Cell<Option<DelayedCall>>,
    /// How often the question has been sent.
    asked: Cell<usize>,
}

impl Call {
    #[track_caller]
    fn begin(
        inquiry: DatagramInquiry,
        reactor: &Reactor,
        to: Destination,
        addr: SocketAddr,
    ) -> Deferred<Vec<u8>, InquiryError> {
        let call = Rc::new(Self {
            inquiry,
            to,
            resolver: Cell::default(),
            socket: RefCell::default(),
            timer: Cell::default(),
            asked: Cell::new(0),
        });
        let weak = Rc::downgrade(&call);
        let (answer, resolver) = Deferred::with_canceller(move || {
            if let Some(call) = weak.upgrade() {
                call.finish(Err(InquiryCause::Interrupted(Interrupt::Cancelled)));
            }
        });
        call.resolver.set(Some(resolver));
        let any: IpAddr = match addr {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        match reactor.listen_udp((any, 0), Asker(Rc::clone(&call))) {
            Err(error) => call.cannot(ConnectCause::Bind(error.source.into())),
            Ok(socket) => {
                *call.socket.borrow_mut() = Some(socket.clone());
                match socket.connect(addr) {
                    Ok(()) => call.send(&socket),
                    Err(error) => call.failed(error),
                }
            }
        }
        answer
    }

    /// Asks once more, and waits.
    fn send(self: &Rc<Self>, socket: &DatagramTransport) {
        let waits = &self.inquiry.waits;
        let asked = self.asked.get();
        let Some(wait) = waits.get(asked) else {
            let patience = waits.iter().fold(Duration::ZERO, |sum, wait| sum.saturating_add(*wait));
            return self.finish(Err(InquiryCause::TimedOut { patience }));
        };
        self.asked.set(asked + 1);
        if let Err(error) = socket.try_send(&self.inquiry.question) {
            return self.failed(error);
        }
        let (weak, socket) = (Rc::downgrade(self), socket.clone());
        let again = socket.reactor().call_later(*wait, move |_| {
            if let Some(call) = weak.upgrade() {
                call.send(&socket);
            }
        });
        self.timer.set(Some(again));
    }

    fn failed(&self, error: DatagramError) {
        match error {
            DatagramError::Os(error) => self.cannot(match error.kind() {
                ErrorKind::ConnectionRefused => ConnectCause::Refused,
                ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable => ConnectCause::NoRoute,
                _ => ConnectCause::Os(error),
            }),
            error => self.finish(Err(InquiryCause::Send(error))),
        }
    }

    fn cannot(&self, cause: ConnectCause) {
        self.finish(Err(cannot(&self.to, cause)));
    }

    /// Closes the socket and fires the result, unless that is done.
    fn finish(&self, result: Result<Vec<u8>, InquiryCause>) {
        if let Some(timer) = self.timer.take() {
            // It may be what has just rung.
            let _ = timer.cancel();
        }
        let socket = self.socket.borrow_mut().take();
        if let Some(socket) = socket {
            socket.stop_listening().ignore();
        }
        if let Some(resolver) = self.resolver.take() {
            resolver.finish(result.map_err(|cause| InquiryError::new(&self.to, cause)));
        }
    }
}

fn cannot(to: &Destination, cause: ConnectCause) -> InquiryCause {
    InquiryCause::Connect(ConnectError { destination: to.to_string(), cause })
}

/// The socket's protocol.
struct Asker(Rc<Call>);

impl DatagramProtocol for Asker {
    fn datagram_received(&mut self, _: &DatagramTransport, data: &[u8], _from: &Addr) {
        if self.0.inquiry.is_answer(data) {
            self.0.finish(Ok(data.to_vec()));
        }
    }

    fn refused(&mut self, _: &DatagramTransport, error: OsError) {
        self.0.failed(DatagramError::Os(error));
    }

    fn stopped(&mut self, _: &DatagramTransport, reason: &CloseReason) {
        self.0.finish(Err(InquiryCause::Lost(reason.clone())));
    }
}

#[cfg(test)]
mod tests;
