//! The reactor's one cork, for what a callback writes to its connection: either copied bytes, or ranges of the bytes lent to the callback. An echo
//! or a proxy copies nothing, unless the system does not take the bytes at once. It is sent right after the outermost callback, while those bytes are
//! still there. Which writes go there is decided in `output.rs`.

use std::io::IoSlice;

use crate::driver::{Handle, Outgoing, Sent};
use crate::reactor::inner::Inner;

/// A cork that grew beyond this is given back after use.
const CORK_KEPT: usize = 65_536;
/// Fewer lent bytes than this are cheaper to copy than to send as a piece of their own.
const WORTH_LENDING: usize = 2048;
/// A cork of more pieces is joined before it is sent.
const MOST_PIECES: usize = 64;

/// What the present callback has written to one connection, while that is one range of the bytes lent to it: the way of an echo or a proxy.
#[derive(Clone, Copy, Default)]
pub(crate) struct Quick {
    pub(super) owner: Handle,
    pub(super) start: usize,
    pub(super) len: usize,
}

/// What the present callback has written to one connection.
#[derive(Default)]
pub(crate) struct Cork {
    owner: Option<Handle>,
    /// A range of the lent bytes: all there is, unless `parts` says otherwise.
    lent: (usize, usize),
    /// Copied bytes: all there is, unless `parts` says otherwise.
    bytes: Vec<u8>,
    /// The order of ranges, once lent and copied bytes are mixed.
    parts: Vec<Part>,
}

/// A range of bytes in a cork.
#[derive(Clone, Copy)]
enum Part {
    Lent(usize, usize),
    Copied(usize, usize),
}

impl Cork {
    /// Takes bytes, unless it holds those of another connection. `lent_at` is where they begin in the bytes lent to the callback, if they are
    /// part of those.
    fn push(&mut self, handle: Handle, bytes: &[u8], lent_at: Option<usize>) -> bool {
        match self.owner {
            None => self.owner = Some(handle),
            Some(owner) if owner != handle => return false,
            Some(_) => {}
        }
        self.push_more(bytes, lent_at);
        true
    }

    fn push_more(&mut self, bytes: &[u8], lent_at: Option<usize>) {
        let len = bytes.len();
        if self.parts.is_empty() {
            match lent_at {
                Some(at) if self.bytes.is_empty() && self.lent.1 == 0 => {
                    self.lent = (at, len);
                    return;
                }
                Some(at) if self.bytes.is_empty() && self.lent.0 + self.lent.1 == at => {
                    self.lent.1 += len;
                    return;
                }
                Some(_) if len <= WORTH_LENDING && !self.bytes.is_empty() => {
                    self.bytes.extend_from_slice(bytes);
                    return;
                }
                None if self.lent.1 == 0 => {
                    self.bytes.extend_from_slice(bytes);
                    return;
                }
                _ => {}
            }
            // From here on lent and copied bytes alternate.
            let (start, len) = std::mem::take(&mut self.lent);
            if len > 0 {
                self.parts.push(Part::Lent(start, len));
            }
            if !self.bytes.is_empty() {
                self.parts.push(Part::Copied(0, self.bytes.len()));
            }
        }
        if let Some(at) = lent_at.filter(|_| len > WORTH_LENDING) {
            self.parts.push(Part::Lent(at, len));
            return;
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        match self.parts.last_mut() {
            Some(Part::Copied(_, last)) => *last += len,
            _ => self.parts.push(Part::Copied(start, len)),
        }
    }

    /// All of it, in order.
    fn joined(&self, all_lent: &[u8]) -> Vec<u8> {
        let part = |part: &Part| match *part {
            Part::Lent(start, len) => all_lent.get(start..start + len).unwrap_or_default(),
            Part::Copied(start, len) => self.bytes.get(start..start + len).unwrap_or_default(),
        };
        if self.parts.is_empty() {
            let lent = part(&Part::Lent(self.lent.0, self.lent.1));
            return [lent, &self.bytes].concat();
        }
        self.parts.iter().flat_map(part).copied().collect()
    }

    fn clear(&mut self) {
        self.owner = None;
        self.lent = (0, 0);
        self.bytes.clear();
        self.parts.clear();
    }

    fn len(&self) -> usize {
        self.parts.iter().fold(self.lent.1, |sum, part| match part {
            Part::Lent(_, len) => sum + len,
            Part::Copied(..) => sum,
        }) + self.bytes.len()
    }
}

impl Inner {
    /// Takes a write into the cork, unless that holds the bytes of another connection.
    pub(super) fn cork(&self, handle: Handle, bytes: &[u8]) -> bool {
        let (base, lent) = self.lent.get();
        let at = bytes.as_ptr().addr().wrapping_sub(base);
        let lent_at = (at < lent).then_some(at);
        let todo = self.todo.get();
        if todo & Self::QUICK != 0 {
            let quick = self.quick.get();
            if quick.owner != handle {
                return false;
            }
            if lent_at == Some(quick.start + quick.len) {
                self.quick.set(Quick { len: quick.len + bytes.len(), ..quick });
                return true;
            }
            // No longer one range: the other cork takes over.
            let mut cork = self.cork.borrow_mut();
            cork.owner = Some(handle);
            cork.lent = (quick.start, quick.len);
        }
        if !self.cork.borrow_mut().push(handle, bytes, lent_at) {
            return false;
        }
        self.todo.set((todo & !Self::QUICK) | Self::CORKED);
        true
    }

    /// Drops what a connection wrote in the present callback.
    pub(crate) fn uncork(&self, handle: Handle) {
        if self.todo.get() & Self::QUICK != 0 && self.quick.get().owner == handle {
            self.todo.set(self.todo.get() & !Self::QUICK);
        }
        let mut cork = self.cork.borrow_mut();
        if cork.owner == Some(handle) {
            cork.clear();
        }
    }

    /// Takes what a connection wrote in the present callback out of the cork, if all of it was copied there.
    pub(super) fn take_copied(&self, handle: Handle) -> Option<Vec<u8>> {
        let mut cork = self.cork.borrow_mut();
        let copied = cork.owner == Some(handle) && cork.parts.is_empty() && cork.lent.1 == 0;
        if !copied || cork.bytes.is_empty() {
            return None;
        }
        let bytes = std::mem::take(&mut cork.bytes);
        cork.clear();
        Some(bytes)
    }

    /// Bytes of a connection that are in a cork.
    pub(super) fn corked(&self, handle: Handle) -> usize {
        let quick = self.quick.get();
        if self.todo.get() & Self::QUICK != 0 && quick.owner == handle {
            return quick.len;
        }
        let cork = self.cork.borrow();
        if cork.owner == Some(handle) { cork.len() } else { 0 }
    }

    /// Whether the cork holds anything.
    pub(super) fn is_corked(&self) -> bool {
        self.todo.get() & Self::CORKED != 0
    }

    /// Bytes of a connection that were copied into the cork.
    pub(super) fn corked_copies(&self, handle: Handle) -> usize {
        let cork = self.cork.borrow();
        if cork.owner == Some(handle) { cork.bytes.len() } else { 0 }
    }

    /// What a connection has in the quick cork.
    pub(super) fn corked_quick<'a>(&self, handle: Handle, lent: &'a [u8]) -> Option<&'a [u8]> {
        let Quick { owner, start, len } = self.quick.get();
        let mine = self.todo.get() & Self::QUICK != 0 && owner == handle;
        lent.get(start..)?.get(..len).filter(|_| mine)
    }

    /// A copy of what a connection has in the other cork.
    pub(super) fn corked_copy(&self, handle: Handle, lent: &[u8]) -> Vec<u8> {
        let cork = self.cork.borrow();
        match cork.owner == Some(handle) {
            true => cork.joined(lent),
            false => Vec::new(),
        }
    }

    /// Sends what the quick cork holds. `lent` are the bytes that were lent to the callback.
    fn flush_quick(&self, lent: &[u8]) {
        let todo = self.todo.get();
        if todo & Self::QUICK != 0 {
            self.todo.set(todo & !Self::QUICK);
            self.send_quick(lent);
        }
    }

    /// The same, once it was taken off what is to be done. Returns whether nothing has followed from it.
    #[inline(always)]
    pub(crate) fn send_quick(&self, lent: &[u8]) -> bool {
        let Quick { owner, start, len } = self.quick.get();
        let Some(bytes) = lent.get(start..).and_then(|rest| rest.get(..len)) else { return true };
        let sent = self.driver().send_now(owner, bytes);
        // Asked for once more: kept over the call, it would cost a place on the stack.
        let all = sent == Some(self.quick.get().len);
        if !all {
            self.flush_slowly(lent, sent.unwrap_or(0));
        }
        all
    }

    /// Of a quick cork only so many bytes have left.
    #[cold]
    #[inline(never)]
    fn flush_slowly(&self, lent: &[u8], sent: usize) {
        let Quick { owner, start, len } = self.quick.get();
        let bytes = lent.get(start..start + len).unwrap_or_default();
        let rest = bytes.get(sent..).unwrap_or_default();
        let sent = self.driver().send(owner, Outgoing::Lent(rest));
        if sent != Sent::Now(rest.len()) {
            self.flushed_short(owner, rest, sent);
        }
    }

    /// Sends what the cork holds. `lent` are the bytes that were lent to the callback.
    pub(crate) fn flush_cork(&self, lent: &[u8]) {
        let mut cork = self.cork.borrow_mut();
        if let Some(owner) = cork.owner.take() {
            let full = std::mem::take(&mut *cork);
            drop(cork);
            self.flush_copied(owner, full, lent);
        }
    }

    /// Sends what one connection has in the cork, if all of it was copied.
    pub(super) fn flush_own(&self, handle: Handle) {
        if self.lent.get().1 == 0 && self.cork.borrow().owner == Some(handle) {
            self.flush_cork(&[]);
        }
    }

    /// Sends all that was written in a callback that bytes were lent to, before those go.
    pub(crate) fn flush_lent(&self, lent: &[u8]) {
        self.flush_quick(lent);
        self.flush_cork(lent);
        self.lend(&[]);
    }

    /// Sends a cork of which at least a part was copied.
    fn flush_copied(&self, owner: Handle, mut cork: Cork, lent: &[u8]) {
        let all = cork.len();
        let part = |part: &Part| match *part {
            Part::Lent(start, len) => lent.get(start..start + len).unwrap_or_default(),
            Part::Copied(start, len) => cork.bytes.get(start..start + len).unwrap_or_default(),
        };
        if cork.parts.is_empty() {
            let whole =
                if cork.lent.1 > 0 { Part::Lent(cork.lent.0, all) } else { Part::Copied(0, all) };
            let bytes = part(&whole);
            let sent = self.driver().send(owner, Outgoing::Lent(bytes));
            if sent != Sent::Now(all) {
                self.flushed_short(owner, bytes, sent);
            }
        } else if cork.parts.len() <= MOST_PIECES {
            let pieces: Vec<_> = cork.parts.iter().map(|p| IoSlice::new(part(p))).collect();
            let sent = self.driver().send(owner, Outgoing::Vectored(&pieces));
            if sent != Sent::Now(all) {
                let joined: Vec<u8> = cork.parts.iter().flat_map(part).copied().collect();
                self.flushed_short(owner, &joined, sent);
            }
        } else {
            let joined: Vec<u8> = cork.parts.iter().flat_map(part).copied().collect();
            let sent = self.driver().send(owner, Outgoing::Lent(&joined));
            if sent != Sent::Now(all) {
                self.flushed_short(owner, &joined, sent);
            }
        }
        // The buffers are used again, but a large one is not kept.
        if cork.bytes.capacity() <= CORK_KEPT {
            cork.clear();
            let mut kept = self.cork.borrow_mut();
            if kept.owner.is_none() {
                *kept = cork;
            }
        }
    }

    /// Not all of the cork has left.
    #[cold]
    fn flushed_short(&self, owner: Handle, bytes: &[u8], sent: Sent) {
        if let Some(transport) = self.stream(owner) {
            transport.engine(|stream| stream.head().sent_short(bytes, sent));
        }
    }
}
