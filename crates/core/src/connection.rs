//! The typed handle of a connection: reaches the protocol object itself, by the rule that no callback of a protocol starts while
//! another is on the stack.

use std::fmt;
use std::marker::PhantomData;

use crate::deferred::Deferred;
use crate::failure::Failure;
use crate::transport::Entered;
use crate::{Protocol, Transport};

/// A handle on a connection whose protocol is a `P`.
///
/// It does not keep the protocol alive: after `connection_lost` the protocol is dropped, and the handle answers
/// [`Unavailable::Gone`].
pub struct Connection<P> {
    transport: Transport,
    protocol: PhantomData<fn() -> P>,
}

impl<P: Protocol> Connection<P> {
    pub(crate) fn new(transport: Transport) -> Self {
        Self { transport, protocol: PhantomData }
    }

    /// The connection's transport.
    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Calls `f` with the protocol now, or, if a callback of that protocol is on the stack, right after it. A panic in `f` ends the
    /// connection, as in any callback.
    ///
    /// The result is there at once in the first case. It fails with [`Unavailable::Gone`] if the connection is lost, or belongs to another
    /// protocol, when its turn comes.
    pub fn with<R: 'static>(
        &self,
        f: impl FnOnce(&mut P, &Transport) -> R + 'static,
    ) -> Deferred<R> {
        let mut f = Some(f);
        match self.attempt(&mut f) {
            Ok(value) => Deferred::ready(value),
            Err(Unavailable::Gone) => Deferred::failed(Failure::new(Unavailable::Gone)),
            Err(Unavailable::Busy) => {
                let (deferred, resolver) = Deferred::new();
                let this = self.clone();
                self.transport.raw().soon(Box::new(move || match this.attempt(&mut f) {
                    Ok(value) => resolver.resolve(value),
                    Err(error) => resolver.fail(Failure::new(error)),
                }));
                deferred
            }
        }
    }

    /// Calls `f` with the protocol now, or says why that cannot be.
    ///
    /// # Errors
    ///
    /// [`Unavailable::Busy`] while a callback of the protocol is on the stack, [`Unavailable::Gone`] once the connection is lost or belongs to
    /// another protocol.
    pub fn try_with<R>(&self, f: impl FnOnce(&mut P, &Transport) -> R) -> Result<R, Unavailable> {
        self.attempt(&mut Some(f))
    }

    fn attempt<R, F>(&self, f: &mut Option<F>) -> Result<R, Unavailable>
    where
        F: FnOnce(&mut P, &Transport) -> R,
    {
        let mut result = None;
        let entered = self.transport.raw().enter(&mut |protocol| {
            if let (Some(protocol), Some(f)) = (protocol.downcast_mut::<P>(), f.take()) {
                result = Some(f(protocol, &self.transport));
            }
        });
        match (entered, result) {
            (_, Some(result)) => Ok(result),
            (Entered::Busy, None) => Err(Unavailable::Busy),
            _ => Err(Unavailable::Gone),
        }
    }
}

impl<P> Clone for Connection<P> {
    fn clone(&self) -> Self {
        Self { transport: self.transport.clone(), protocol: PhantomData }
    }
}

impl<P> fmt::Debug for Connection<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection<{}>({})", std::any::type_name::<P>(), self.transport.peer_addr())
    }
}

/// Why a protocol could not be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// A callback of the protocol is on the stack.
    Busy,
    /// The connection is lost, or belongs to another protocol.
    Gone,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "a callback of this protocol is on the stack",
            Self::Gone => "the connection is lost, or belongs to another protocol",
        })
    }
}

impl std::error::Error for Unavailable {}
