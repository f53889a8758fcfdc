//! Descriptors that come with a connection's bytes, on their way to the protocol; and what is wrong with one that has no byte to leave
//! with. How they are sent is in `passing.rs`.

use std::error::Error;
use std::fmt;

use super::head::{Head, flag};
use super::stream::Stream;
use crate::descriptor::{self, Descriptor};
use crate::log::engine as log;
use crate::panic::guard;
use crate::reactor::after::After;
use crate::reactor::beat::Callback;
use crate::{Protocol, Transport};

/// Descriptors were to be passed without enough bytes behind them: each needs one of its own, written after it and before the output
/// leaves. In `CloseReason::Failed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "FileDescriptorOverrun")]
pub struct DescriptorOverrun;

impl fmt::Display for DescriptorOverrun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("more descriptors to be passed than bytes written after them")
    }
}

impl Error for DescriptorOverrun {}

impl<P: Protocol> Stream<P> {
    /// Descriptors came with the bytes that are reported next: the protocol is to be told of each, before those.
    pub(super) fn descriptors_came(&self, me: &Transport, lost: bool) {
        let head = &self.head;
        let refused = head.has(flag::NO_READ | flag::LAYERED);
        let mut count = 0;
        loop {
            let came = descriptor::take(&mut **head.reactor().driver(), head.handle());
            let Some(descriptor) = came else { break };
            count += 1;
            if !refused {
                head.hold_descriptor(descriptor);
            }
        }
        if lost {
            log::descriptors_lost(self.type_name(), &me.peer_addr());
        }
        if !refused {
            return head.after(After::Descriptor(head.handle()));
        }
        if !head.has(flag::NO_READ) {
            log::descriptors_refused(self.type_name(), &me.peer_addr(), count);
        }
    }

    /// Gives the protocol the next descriptor there is, unless it takes none now. Returns whether it did, which it may have ended the
    /// connection upon.
    pub(super) fn give_descriptor(&self, me: &Transport) -> bool {
        let head = &self.head;
        if head.has(flag::NOT_READING | flag::NO_READ) {
            return false;
        }
        let Some(descriptor) = head.take_descriptor() else { return false };
        let outer = self.begin(Callback::DescriptorReceived);
        self.with_protocol("descriptor_received", |protocol| {
            guard(|| descriptor::give(protocol, me, descriptor))
        });
        head.reactor().beat.end(outer);
        true
    }
}

impl Head {
    fn hold_descriptor(&self, descriptor: Descriptor) {
        self.extra(|extra| extra.descriptors.push_back(descriptor));
        self.set(flag::HELD);
    }

    fn take_descriptor(&self) -> Option<Descriptor> {
        if !self.has(flag::HELD) {
            return None;
        }
        self.extra(|extra| {
            let next = extra.descriptors.pop_front();
            if extra.descriptors.is_empty() && extra.held.is_empty() {
                self.unset(flag::HELD);
            }
            next
        })
    }
}

/// With more descriptors than so many waiting to leave, a connection's output counts as full.
pub(super) const MOST_QUEUED: usize = 64;
