//! Flow control between what makes bytes and what takes them: producers, and a two-way pipe between two transports.

use std::rc::Rc;

use crate::transport::AlreadyRegistered;
use crate::{CloseReason, Protocol, Transport};

/// What makes bytes for a consumer, such as a transport, and can be slowed down by it.
///
/// The methods are called from the loop, never from inside a method of the transport.
#[doc(alias = "IPushProducer")]
#[doc(alias = "IPullProducer")]
#[doc(alias = "back-pressure")]
pub trait Producer: 'static {
    /// Push: go on. Pull: write once more.
    #[doc(alias = "resumeProducing")]
    fn resume_producing(&self);

    /// Make no more until resumed. Never called on a pull producer.
    #[doc(alias = "pauseProducing")]
    fn pause_producing(&self) {}

    /// The consumer has died: stop for good.
    #[doc(alias = "stopProducing")]
    fn stop_producing(&self);
}

/// Joins two transports: from the end of the present callback on, what one receives the other sends, in bounded memory, for the slower
/// of both slows the other. The end of one stream is passed on as a half-close; a connection that breaks aborts the other.
///
/// `a_rest` and `b_rest` are bytes already received from each that were not used. The protocols of both hand over as by
/// [`Transport::upgrade`].
///
/// # Errors
///
/// [`AlreadyRegistered`] if one of them has a producer; then nothing has happened.
#[doc(alias = "portforward")]
#[doc(alias = "proxy")]
pub fn pipe(
    a: &Transport,
    a_rest: &[u8],
    b: &Transport,
    b_rest: &[u8],
) -> Result<(), AlreadyRegistered> {
    b.register_producer(Rc::new(a.clone()), true)?;
    if let Err(error) = a.register_producer(Rc::new(b.clone()), true) {
        b.unregister_producer();
        return Err(error);
    }
    a.upgrade(Relay { to: b.clone(), told: false }, a_rest);
    b.upgrade(Relay { to: a.clone(), told: false }, b_rest);
    Ok(())
}

/// One direction of a pipe.
struct Relay {
    to: Transport,
    /// Whether it was told the end of its own connection.
    told: bool,
}

/// One that never took over, for its connection had ended before, ends the other's.
impl Drop for Relay {
    fn drop(&mut self) {
        if !self.told {
            self.to.unregister_producer();
            self.to.abort_connection();
        }
    }
}

impl Protocol for Relay {
    fn data_received(&mut self, _transport: &Transport, data: &[u8]) {
        self.to.write(data);
    }

    fn read_connection_lost(&mut self, _transport: &Transport) {
        self.to.unregister_producer();
        self.to.lose_write_connection();
    }

    fn connection_lost(&mut self, _transport: &Transport, reason: &CloseReason) {
        self.told = true;
        if matches!(reason, CloseReason::Upgraded) {
            return;
        }
        self.to.unregister_producer();
        if reason.is_clean() {
            self.to.lose_connection();
        } else {
            self.to.abort_connection();
        }
    }
}
