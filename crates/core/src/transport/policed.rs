//! Policies of a connection: the short way of bytes past them, their one timer, and what follows from what they want. The stack they
//! stand in is in `layer.rs`.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::head::{Head, flag};
use super::layered::Pending;
use crate::driver::Close;
use crate::layer::{Layers, Passed};
use crate::policy::{Direction, Ending, Placed, Watch};
use crate::reactor::after::After;
use crate::reactor::inner::Timer;
use crate::{CloseReason, Time};

impl Head {
    pub(crate) fn start_policy(&self, policy: Box<Placed>) {
        if self.has(flag::LOST) {
            return;
        }
        self.set(flag::STACKED);
        self.extra(|extra| extra.pending.push_back(Pending::Policy(policy)));
        // What is written from now on passes it: if it wants to see that, it waits behind it.
        self.watch(self.watched());
        self.pump_soon();
    }

    /// Received bytes of a connection whose policies want to know no more than when bytes move: takes the time, if it is known. Returns
    /// whether the bytes may go to the protocol at once; what it writes then goes its short way, too, until
    /// [`end_short_way`](Self::end_short_way).
    #[inline(always)]
    pub(super) fn begin_short_way(&self) -> bool {
        let flags = self.flags.get();
        if flags & (flag::SLOW_READ | flag::LOOK) != flag::POLICED {
            return false;
        }
        let Some(now) = self.reactor.known_now() else { return false };
        let Some(mut extra) = self.extra.take() else { return false };
        extra.active = now;
        // Nothing is there, as was seen a moment ago; to look for what is to be dropped costs more than all the rest.
        std::mem::forget(self.extra.replace(Some(extra)));
        self.flags.set(flags & !flag::POLICED);
        true
    }

    /// The callback that began on the short way is over.
    #[inline]
    pub(super) fn end_short_way(&self) {
        self.set(flag::POLICED);
    }

    /// Bytes move.
    pub(super) fn stamp(&self) {
        if self.has(flag::POLICED) {
            let now = self.reactor.now();
            self.extra(|extra| extra.active = now);
        }
    }

    /// Bytes are written that no policy wants to see: takes the time. Returns whether they may go the short way.
    pub(super) fn stamp_write(&self) -> bool {
        let short = !self.has(flag::LOOK_WRITTEN);
        if short {
            self.stamp();
        }
        short
    }

    /// When bytes last moved.
    pub(crate) fn active(&self) -> Time {
        self.extra(|extra| extra.active)
    }

    /// Received bytes pass policies that only look at them.
    pub(super) fn show_received(&self, bytes: &[u8]) {
        self.stamp();
        if self.has(flag::LOOK_RECEIVED) {
            self.with_layers(|layers, _| {
                layers.show(Direction::Received, bytes, self);
                Ok(())
            });
        }
    }

    /// What a callback on the short way wrote passes policies that only look at it.
    pub(super) fn show_corked(&self, lent: &[u8]) {
        let show = |bytes: &[u8]| {
            self.with_layers(|layers, _| {
                layers.show(Direction::Written, bytes, self);
                Ok(())
            });
        };
        match self.reactor.corked_quick(self.handle, lent) {
            Some(bytes) => show(bytes),
            None => {
                let bytes = self.reactor.corked_copy(self.handle, lent);
                if !bytes.is_empty() {
                    show(&bytes);
                }
            }
        }
    }

    /// What the policies want to be told or asked.
    pub(super) fn watched(&self) -> Watch {
        self.extra(|extra| extra.watch)
    }

    /// Whether received bytes must be shown to whatever stands between wire and protocol piece by piece.
    pub(super) fn is_filtered(&self) -> bool {
        self.has(flag::LAYERED) || self.watched().meets(Watch::LIMIT_RECEIVED)
    }

    /// Calls the policies whose time has come. Returns what they let go.
    pub(super) fn policies_due(&self) -> Passed {
        let passed = self.with_layers(|layers, passed| layers.due(self, passed));
        if self.has(flag::CLOSING | flag::WRITE_CLOSING) {
            self.after(After::Finish(self.handle));
        }
        passed
    }

    /// The timer has come: the next that is wanted is a new one.
    pub(super) fn timer_came(&self) {
        self.extra(|extra| extra.timer = None);
    }

    /// Tells the policies, once, that the connection begins to close.
    pub(super) fn tell_closing(&self) {
        if self.has(flag::STACKED) && self.has(flag::CLOSING) && !self.has(flag::CLOSE_TOLD) {
            self.set(flag::CLOSE_TOLD);
            self.with_layers(|layers, _| {
                layers.tell_closing(self);
                Ok(())
            });
        }
    }

    /// Why the connection closes, if a policy wanted it.
    pub(super) fn close_reason(&self) -> CloseReason {
        match self.has(flag::STACKED) {
            true => self.extra(|extra| extra.planned.take()).unwrap_or(CloseReason::Done),
            false => CloseReason::Done,
        }
    }

    /// The connection has ended: so has the policies' timer.
    pub(super) fn cancel_timer(&self) {
        if self.has(flag::STACKED)
            && let Some((key, _)) = self.extra(|extra| extra.timer.take())
        {
            let timer = self.reactor.cancel_timer(key);
            // Dropped here, outside the borrow.
            drop(timer);
        }
    }

    /// Tells the policies that the connection has ended.
    pub(super) fn policies_lost(&self, reason: &CloseReason) {
        if self.has(flag::STACKED) {
            let mut layers = self.extra(|extra| std::mem::take(&mut extra.layers));
            layers.tell_lost(reason);
            self.extra(|extra| extra.layers = layers);
        }
    }

    /// Shows the policies to somebody, who may write meanwhile. Those found are called afterwards.
    pub(super) fn look_at_policies(&self, f: &mut dyn FnMut(&mut Layers)) {
        if !self.has(flag::STACKED) || self.has(flag::LOST) {
            return;
        }
        let mut layers = self.extra(|extra| std::mem::take(&mut extra.layers));
        // Put back even if `f` panics: without them the connection would go on without its limits.
        let looked = self.reactor.inside(|| catch_unwind(AssertUnwindSafe(|| f(&mut layers))));
        self.extra(|extra| extra.layers = layers);
        self.after(After::Policies(self.handle));
        if let Err(payload) = looked {
            resume_unwind(payload);
        }
    }

    /// Does what the policies want by now.
    pub(super) fn heed_policies(&self) {
        if !self.has(flag::HEED) || self.has(flag::LOST) {
            return;
        }
        self.unset(flag::HEED);
        let wishes = self.extra(|extra| {
            let wishes = extra.layers.wishes();
            extra.watch = wishes.watch;
            wishes
        });
        self.watch(wishes.watch);
        self.set_timer(wishes.next);
        self.hold_reading(wishes.holds_received);
        match wishes.ending {
            Some(Ending::Abort(reason)) => self.lost(reason, Close::Reset),
            Some(Ending::Close(reason)) if !self.has(flag::CLOSING) => {
                self.extra(|extra| extra.planned = Some(reason));
                self.lose_connection();
            }
            Some(Ending::Close(_)) | None => {}
        }
    }

    /// Takes bytes the way that the policies in place, which want this, and those still to be put there make necessary.
    fn watch(&self, placed: Watch) {
        let all = self.extra(|extra| {
            extra.pending.iter().fold(placed, |all, pending| match pending {
                Pending::Policy(policy) => all | policy.watch(),
                _ => all,
            })
        });
        let received = Watch::RECEIVED | Watch::LIMIT_RECEIVED;
        let written = Watch::WRITTEN | Watch::LIMIT_WRITTEN;
        let bit = |on: bool, flag: u32| if on { flag } else { 0 };
        self.unset(flag::POLICED | flag::LOOK);
        self.set(
            bit(all != Watch::NOTHING, flag::POLICED)
                | bit(placed.meets(received), flag::LOOK_RECEIVED)
                | bit(all.meets(written), flag::LOOK_WRITTEN),
        );
    }

    /// Sees to it that the timer comes in time. One that comes too early is set anew then: to put off a deadline is to do nothing.
    fn set_timer(&self, next: Option<Time>) {
        match (next, self.extra(|extra| extra.timer)) {
            (None, None) => {}
            (None, Some(_)) => self.cancel_timer(),
            (Some(next), Some((key, at))) if next < at => {
                self.reactor.reset_timer(key, next);
                self.extra(|extra| extra.timer = Some((key, next)));
            }
            (Some(_), Some(_)) => {}
            (Some(next), None) => {
                let handle = self.handle;
                let timer = Timer {
                    call: Box::new(move |reactor| {
                        reactor.inner().after(After::PoliciesDue(handle));
                    }),
                    site: self.site(),
                };
                let key = self.reactor.set_timer(next, timer);
                self.extra(|extra| extra.timer = Some((key, next)));
            }
        }
    }

    /// Nothing is read while policies hold received bytes, nor while the protocol wants none.
    fn hold_reading(&self, hold: bool) {
        if hold == self.has(flag::READ_HELD) {
            return;
        }
        match hold {
            true => self.set(flag::READ_HELD),
            false => self.unset(flag::READ_HELD),
        }
        if !self.has(flag::NOT_READING | flag::NO_READ) {
            self.reactor.driver().receive(self.handle, !hold);
        }
    }
}
