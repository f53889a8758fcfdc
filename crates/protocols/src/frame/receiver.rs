//! The glue between frames and connections: a [`FrameProtocol`] is told frames, [`FrameReceiver`] makes a protocol of it.

use std::fmt;
use std::ops::Deref;

use marline_core::{CloseReason, Protocol, Transport};

use super::{FrameCodec, FrameFormat};
use crate::intake::{Intake, Upgrade, upgrade_to};

/// The owner of a connection that speaks in frames of one format. Make a protocol of it with [`FrameReceiver::new`].
///
/// ```
/// use marline_protocols::frame::{FrameLink, FrameProtocol, FrameReceiver};
/// use marline_protocols::length_prefix::LengthPrefix;
///
/// struct Shout;
///
/// impl FrameProtocol for Shout {
///     type Format = LengthPrefix;
///
///     fn format(&self) -> LengthPrefix {
///         LengthPrefix::U32.with_limit(1 << 20)
///     }
///
///     fn frame_received(&mut self, link: &mut FrameLink<'_, LengthPrefix>, frame: &[u8]) {
///         if link.send(&frame.to_ascii_uppercase()).is_err() {
///             link.lose_connection();
///         }
///     }
/// }
///
/// let factory = || FrameReceiver::new(Shout);
/// # let _ = factory;
/// ```
#[doc(alias = "LineOnlyReceiver")]
#[doc(alias = "NetstringReceiver")]
#[doc(alias = "Int32StringReceiver")]
#[doc(alias = "Int16StringReceiver")]
#[doc(alias = "Int8StringReceiver")]
pub trait FrameProtocol: 'static {
    /// What lies round the frames. With [`LineFormat`](crate::line::LineFormat) this is a receiver of lines only.
    type Format: FrameFormat;

    /// What a frame is on this connection; asked once, when it is made.
    fn format(&self) -> Self::Format;

    /// The connection stands.
    fn connection_made(&mut self, _link: &mut FrameLink<'_, Self::Format>) {}

    /// A frame has arrived, without what goes round it. It is lent for the call.
    #[doc(alias = "stringReceived")]
    fn frame_received(&mut self, link: &mut FrameLink<'_, Self::Format>, frame: &[u8]);

    /// What arrived is no frame, and nothing more is read. By default the connection is closed, after delivering what was written; an
    /// [`upgrade`](FrameLink::upgrade) from here gives the next protocol everything from the beginning of the bad frame on.
    #[doc(alias = "lengthLimitExceeded")]
    #[doc(alias = "lineLengthExceeded")]
    fn frame_refused(
        &mut self,
        link: &mut FrameLink<'_, Self::Format>,
        _error: <Self::Format as FrameFormat>::Error,
    ) {
        link.lose_connection();
    }

    /// The peer will send no more. `unended` is the beginning of a frame that did not end, with what goes round it. By default this side
    /// closes as well.
    fn read_connection_lost(&mut self, link: &mut FrameLink<'_, Self::Format>, _unended: &[u8]) {
        link.lose_connection();
    }

    /// Everything written has left, after `notify_writable` asked for it.
    fn writable(&mut self, _link: &mut FrameLink<'_, Self::Format>) {}

    /// The connection has ended.
    fn connection_lost(&mut self, _transport: &Transport, _reason: &CloseReason) {}
}

/// Sends a frame with what goes round it, without joining them first: from anywhere, as by a clone of the transport.
///
/// # Errors
///
/// A frame that the format refuses is not sent at all.
pub fn send<F: FrameFormat>(
    transport: &Transport,
    format: F,
    frame: &[u8],
) -> Result<(), F::EncodeError> {
    let envelope = format.envelope(frame)?;
    let pieces = [envelope.head(), frame, envelope.tail()];
    transport.write_sequence(pieces.into_iter().filter(|piece| !piece.is_empty()));
    Ok(())
}

/// A connection that speaks in frames, for one callback: a [`Transport`] that can also send frames, change the limit and hand over.
pub struct FrameLink<'a, F> {
    transport: &'a Transport,
    format: F,
    upgrade: Option<Upgrade>,
}

impl<'a, F: FrameFormat> FrameLink<'a, F> {
    fn new(transport: &'a Transport, format: F) -> Self {
        Self { transport, format, upgrade: None }
    }

    /// Sends a frame.
    ///
    /// # Errors
    ///
    /// A frame that the format refuses is not sent at all.
    #[doc(alias = "sendString")]
    #[doc(alias = "sendLine")]
    pub fn send(&self, frame: &[u8]) -> Result<(), F::EncodeError> {
        send(self.transport, self.format, frame)
    }

    /// Frames may be so long from now on, in bytes of content: those that come, beginning with the unfinished one, and those that go.
    pub fn set_limit(&mut self, limit: usize) {
        self.format = self.format.with_limit(limit);
    }

    /// Hands the connection to another protocol after this callback, with all bytes that were not used.
    pub fn upgrade<Q: Protocol>(&mut self, next: Q) {
        self.upgrade = Some(upgrade_to(next));
    }

    /// What a frame is on this connection.
    pub fn format(&self) -> F {
        self.format
    }

    /// The transport, to be cloned and kept.
    pub fn transport(&self) -> &Transport {
        self.transport
    }
}

impl<F> Deref for FrameLink<'_, F> {
    type Target = Transport;

    fn deref(&self) -> &Transport {
        self.transport
    }
}

impl<F> fmt::Debug for FrameLink<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FrameLink({:?})", self.transport)
    }
}

/// Makes a [`Protocol`] of a [`FrameProtocol`].
pub struct FrameReceiver<P: FrameProtocol> {
    codec: FrameCodec<P::Format>,
    protocol: P,
    intake: Intake,
}

impl<P: FrameProtocol> FrameReceiver<P> {
    /// A protocol that tells `protocol` of frames.
    pub fn new(protocol: P) -> Self {
        let codec = FrameCodec::new(protocol.format());
        Self { codec, protocol, intake: Intake::default() }
    }

    /// The protocol that is told of frames.
    pub fn get_mut(&mut self) -> &mut P {
        &mut self.protocol
    }

    /// Bytes of memory owned for input now: see [`FrameCodec::held`].
    pub fn held(&self) -> usize {
        self.codec.held()
    }

    /// Calls a callback that comes between two pieces of input, and does what it wished.
    fn between(
        &mut self,
        transport: &Transport,
        call: impl FnOnce(&mut P, &mut FrameLink<'_, P::Format>),
    ) {
        let mut link = FrameLink::new(transport, self.codec.format());
        call(&mut self.protocol, &mut link);
        self.codec.set_limit(link.format.limit());
        self.intake.after(transport, self.codec.carry(), link.upgrade);
    }
}

impl<P: FrameProtocol> Protocol for FrameReceiver<P> {
    fn connection_made(&mut self, transport: &Transport) {
        self.between(transport, |protocol, link| protocol.connection_made(link));
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        if self.intake.is_over() {
            return;
        }
        let mut feed = self.codec.feed(data);
        loop {
            let mut link = FrameLink::new(transport, feed.codec().format());
            match feed.next_frame() {
                Ok(None) => return transport.account_held(self.codec.pending().len()),
                Ok(Some(frame)) => self.protocol.frame_received(&mut link, frame),
                Err(error) => {
                    self.intake.give_up();
                    self.protocol.frame_refused(&mut link, error);
                }
            }
            feed.codec().set_limit(link.format.limit());
            if !self.intake.goes_on(transport, feed.left(), link.upgrade) {
                return;
            }
        }
    }

    fn read_connection_lost(&mut self, transport: &Transport) {
        let unended = self.codec.take_pending();
        transport.account_held(0);
        self.between(transport, |protocol, link| protocol.read_connection_lost(link, &unended));
    }

    fn writable(&mut self, transport: &Transport) {
        self.between(transport, |protocol, link| protocol.writable(link));
    }

    fn connection_lost(&mut self, transport: &Transport, reason: &CloseReason) {
        self.protocol.connection_lost(transport, reason);
    }
}

impl<P: FrameProtocol + fmt::Debug> fmt::Debug for FrameReceiver<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameReceiver").field("protocol", &self.protocol).finish_non_exhaustive()
    }
}
