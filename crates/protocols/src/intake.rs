//! What is done with a connection's input after a callback of whoever is told its frames: the tail that all receivers share. What a frame is and which
//! callback it goes to is the receiver's.

use marline_core::{Protocol, Transport};

use crate::carry::Carry;

/// Hands a connection over, with the bytes that were not used.
pub(crate) type Upgrade = Box<dyn FnOnce(&Transport, &[u8])>;

/// A wish to hand the connection over to `next`.
pub(crate) fn upgrade_to<Q: Protocol>(next: Q) -> Upgrade {
    Box::new(|transport, rest| {
        transport.upgrade(next, rest);
    })
}

/// Whether a receiver takes input: until it hands the connection over, or gives up.
#[derive(Default)]
pub(crate) struct Intake {
    over: bool,
}

impl Intake {
    pub(crate) const fn is_over(&self) -> bool {
        self.over
    }

    /// Nothing more is read, but what the present callback wishes is done.
    pub(crate) const fn give_up(&mut self) {
        self.over = true;
    }

    /// After a callback that comes between two pieces of input: does what it wished.
    pub(crate) fn after(
        &mut self,
        transport: &Transport,
        carry: &mut Carry,
        upgrade: Option<Upgrade>,
    ) {
        if let Some(upgrade) = upgrade {
            self.hand_over(transport, carry, &[], upgrade);
        }
    }

    /// After a callback in the middle of a piece of input, of which `rest` follows what is carried: does what it wished, and answers whether the
    /// next frame is wanted now. If not, the input is the next protocol's, the engine's until reading goes on, or nobody's.
    pub(crate) fn goes_on(
        &mut self,
        transport: &Transport,
        (carry, rest): (&mut Carry, &[u8]),
        upgrade: Option<Upgrade>,
    ) -> bool {
        if let Some(upgrade) = upgrade {
            self.hand_over(transport, carry, rest, upgrade);
            return false;
        }
        if self.over {
            drop(carry.take());
            transport.account_held(0);
            return false;
        }
        if !transport.is_open() {
            return false;
        }
        if !transport.is_reading() {
            transport.account_held(carry.bytes.len());
            transport.unread(rest);
            return false;
        }
        true
    }

    fn hand_over(
        &mut self,
        transport: &Transport,
        carry: &mut Carry,
        rest: &[u8],
        upgrade: Upgrade,
    ) {
        self.over = true;
        let mut unused = carry.take();
        unused.extend_from_slice(rest);
        upgrade(transport, &unused);
    }
}
