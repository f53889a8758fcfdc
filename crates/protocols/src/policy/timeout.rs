//! A protocol's own patience: a time-out that the protocol resets when something happened that it counts, and that then tells the
//! protocol.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use marline_core::{DelayedCall, Transport};

/// A time-out that a protocol keeps: set it, reset it whenever something happens that counts, and be called when nothing did for too
/// long. Dropping it cancels it, so that nothing is left over after the connection.
///
/// Where any bytes at all count, [`IdleTimeout`](super::IdleTimeout) is cheaper and needs no code in the protocol.
///
/// ```
/// use std::time::Duration;
/// use marline_core::{Protocol, Transport};
/// use marline_protocols::policy::Timeout;
///
/// #[derive(Default)]
/// struct Greeter {
///     patience: Option<Timeout>,
/// }
///
/// impl Protocol for Greeter {
///     fn connection_made(&mut self, transport: &Transport) {
///         let timeout = self.patience.insert(Timeout::new(transport, |transport| {
///             transport.write(b"421 too slow\r\n");
///             transport.lose_connection();
///         }));
///         timeout.set(Some(Duration::from_secs(10)));
///     }
///
///     fn data_received(&mut self, _transport: &Transport, data: &[u8]) {
///         if let (true, Some(timeout)) = (data.contains(&b'\n'), &self.patience) {
///             timeout.reset();
///         }
///     }
/// }
/// ```
#[doc(alias = "TimeoutMixin")]
pub struct Timeout {
    transport: Transport,
    timed_out: Rc<dyn Fn(&Transport)>,
    set: Option<(Duration, DelayedCall)>,
}

impl Timeout {
    /// A time-out that calls `timed_out` each time it is set and then not reset in time. Nothing is set yet. To go on inside the protocol, let
    /// the function use [`Transport::connection`].
    #[doc(alias = "timeoutConnection")]
    pub fn new(transport: &Transport, timed_out: impl Fn(&Transport) + 'static) -> Self {
        Self { transport: transport.clone(), timed_out: Rc::new(timed_out), set: None }
    }

    /// Sets how long from now nothing may happen; `None` ends the waiting. Returns how long it was while it was waited for. On a transport
    /// without a reactor nothing is ever called.
    #[track_caller]
    #[doc(alias = "setTimeout")]
    pub fn set(&mut self, limit: Option<Duration>) -> Option<Duration> {
        let before = self.take();
        if let (Some(limit), Some(reactor)) = (limit, self.transport.reactor()) {
            let (transport, timed_out) = (self.transport.clone(), Rc::clone(&self.timed_out));
            let call = reactor.call_later(limit, move |_| timed_out(&transport));
            self.set = Some((limit, call));
        }
        before
    }

    /// Something has happened: the waiting begins anew, if there is any. Costs no more than writing a field.
    #[doc(alias = "resetTimeout")]
    pub fn reset(&self) {
        if let Some((limit, call)) = &self.set {
            // One that was called is over until it is set again.
            let _ = call.reset(*limit);
        }
    }

    /// Whether it waits.
    pub fn is_set(&self) -> bool {
        self.set.as_ref().is_some_and(|(_, call)| call.is_active())
    }

    fn take(&mut self) -> Option<Duration> {
        let (limit, call) = self.set.take()?;
        call.cancel().ok().map(|()| limit)
    }
}

impl Drop for Timeout {
    fn drop(&mut self) {
        self.take();
    }
}

impl fmt::Debug for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout").field("set", &self.set).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use marline_core::Protocol;
    use marline_core::testing::MemoryTransport;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    struct Impatient {
        timeout: Option<Timeout>,
        fired: Rc<Cell<u32>>,
    }

    impl Protocol for Impatient {
        fn connection_made(&mut self, transport: &Transport) {
            let fired = Rc::clone(&self.fired);
            let timeout =
                self.timeout.insert(Timeout::new(transport, move |_| fired.set(fired.get() + 1)));
            assert_eq!(timeout.set(Some(2 * SECOND)), None);
        }

        fn data_received(&mut self, _transport: &Transport, data: &[u8]) {
            let timeout = self.timeout.as_mut().unwrap();
            match data {
                b"off" => assert_eq!(timeout.set(None), Some(2 * SECOND)),
                b"on" => assert_eq!(timeout.set(Some(2 * SECOND)), None),
                _ => timeout.reset(),
            }
        }
    }

    fn impatient() -> (MemoryTransport<Impatient>, Rc<Cell<u32>>) {
        let fired = Rc::new(Cell::new(0));
        (MemoryTransport::connect(Impatient { timeout: None, fired: Rc::clone(&fired) }), fired)
    }

    #[test]
    fn it_fires_once_when_nothing_reset_it_in_time() {
        let (peer, fired) = impatient();
        for _ in 0..3 {
            peer.advance(3 * SECOND / 2);
            peer.receive(b"x");
        }
        assert_eq!(fired.get(), 0);
        peer.advance(2 * SECOND);
        assert_eq!(fired.get(), 1);
        // Over: a reset does not bring it back.
        peer.receive(b"x");
        peer.advance(9 * SECOND);
        assert_eq!(fired.get(), 1);
    }

    #[test]
    fn it_can_be_ended_and_set_again() {
        let (peer, fired) = impatient();
        peer.receive(b"off");
        peer.advance(9 * SECOND);
        assert_eq!(fired.get(), 0);
        peer.receive(b"on");
        peer.advance(2 * SECOND);
        assert_eq!(fired.get(), 1);
    }

    #[test]
    fn it_goes_with_its_protocol() {
        let (peer, fired) = impatient();
        peer.end_of_stream();
        peer.advance(9 * SECOND);
        assert_eq!(fired.get(), 0);
    }
}
