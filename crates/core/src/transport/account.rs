//! What waits on a stream, counted against its byte budget and the reactor's, and what is done when that is spent. All of it is off the
//! way of bytes that leave at once; the rules are those of [`Reactor::set_budgets`](crate::Reactor::set_budgets).

use super::head::{Extra, Head, flag};
use super::output::Output;
use crate::budget::{Scope, Spent, WhenSpent};
use crate::driver::Close;
use crate::reactor::after::{After, Ask};
use crate::{CloseReason, Incident};

/// What a stream has on its account besides output, in the box of what few streams need.
#[derive(Default)]
pub(super) struct Account {
    /// Bytes of its own budget, if it is not the common one.
    pub(super) budget: Option<usize>,
    /// Input that the protocol says it holds.
    input: usize,
    /// Bytes that layers hold back, as they said last.
    pub(super) layers: usize,
    /// Written bytes that policies hold back.
    pub(super) policies: usize,
    /// Output that waits to leave and has not come to the wire: what policies hold, and what waits behind a file before them.
    output: usize,
    /// What the reactor has counted of the box.
    counted: usize,
    /// While the budget is spent: more than so much is too much.
    ceiling: usize,
    /// The callback of the connection's own that has spent it, by its count.
    filler: Option<u64>,
    /// The callback of the connection's own that wrote what is to pass the layers next ...
    author: Option<u64>,
    /// ... and what passes them now.
    passing: Option<u64>,
    /// Whose budget holds it.
    scope: Option<Scope>,
    /// In the reactor's line.
    in_line: bool,
}

/// What waits on a stream, before something is done about it.
#[derive(Clone, Copy)]
pub(super) struct Tally {
    charged: usize,
    refused: usize,
    /// Output that has not come to the wire: those of them, and what layers hold back.
    before_wire: usize,
}

impl Head {
    // ---- counting

    /// Puts the output back, counted.
    pub(super) fn put_output(&self, mut output: Box<Output>) {
        let memory = output.memory();
        self.reactor.budget.count(output.counted, memory);
        output.counted = memory;
        self.output.set(Some(output));
        self.set(flag::HAS_OUTPUT);
    }

    /// There is no output any more.
    pub(super) fn drop_output(&self, output: Option<Box<Output>>) {
        if let Some(output) = output {
            self.reactor.budget.count(output.counted, 0);
        }
    }

    /// Counts what lies in the box again.
    pub(super) fn recount(&self) {
        if self.has(flag::LOST) {
            return;
        }
        let change = self.extra(|extra| {
            // What does not wait for a file passes after the present callback.
            let behind = if self.has(flag::FILE_WAITS) { extra.pending_bytes } else { 0 };
            let account = &mut extra.account;
            account.output = account.policies + behind;
            let now = extra.held.len() + account.layers + account.output + account.input;
            (std::mem::replace(&mut account.counted, now), now)
        });
        self.reactor.budget.count(change.0, change.1);
    }

    /// Bytes of input were held or taken.
    pub(super) fn held_changed(&self, before: usize) {
        self.recount();
        self.changed(before);
    }

    /// More is written that passes the layers after the present callback, or waits behind a file before them.
    pub(super) fn written_for_layers(&self) {
        if let Some(author) = self.reactor.beat.own_callback(self.handle) {
            self.extra(|extra| extra.account.author = Some(author));
        }
        if self.has(flag::FILE_WAITS) {
            let before = self.tally();
            self.recount();
            self.judge(before);
        }
    }

    /// What was written passes the layers now, or no longer.
    pub(super) fn begin_passing(&self) {
        self.extra(|extra| extra.account.passing = extra.account.author.take());
    }

    pub(super) fn end_passing(&self) {
        self.extra(|extra| extra.account.passing = None);
    }

    pub(crate) fn account_held(&self, bytes: usize) {
        if self.has(flag::LOST) || (bytes == 0 && !self.has(flag::ACCOUNTED)) {
            return;
        }
        let before = self.charged();
        self.set(flag::ACCOUNTED);
        self.extra(|extra| extra.account.input = bytes);
        self.recount();
        self.changed(before);
        // It can only become more, or nothing at all: neither a pause nor the peer could free it.
        if bytes > self.budget() && !self.has(flag::LOST) {
            self.end_by_budget(Scope::Connection);
        }
    }

    /// The stream has ended: nothing of it counts any more.
    pub(super) fn close_account(&self) {
        let output = self.output.take();
        self.drop_output(output);
        let counted = self.peek(|extra| extra.account.counted).unwrap_or(0);
        if counted > 0 {
            self.extra(|extra| (extra.account.counted, extra.account.output) = (0, 0));
            self.reactor.budget.count(counted, 0);
        }
        self.reactor.budget.ease(&self.reactor);
    }

    /// Bytes that count against the stream's own budget.
    pub(super) fn charged(&self) -> usize {
        self.tally().charged
    }

    /// Those of them that wait to leave: the system has refused them so far, or policies have.
    fn refused(&self) -> usize {
        self.tally().refused
    }

    pub(super) fn tally(&self) -> Tally {
        let output = self.output.take();
        let waiting = output.as_ref().map_or(0, |output| output.waiting());
        self.output.set(output);
        self.peek(|Extra { account, .. }| Tally {
            charged: waiting + account.counted,
            refused: waiting + account.output,
            before_wire: account.output + account.layers,
        })
        .unwrap_or(Tally { charged: waiting, refused: waiting, before_wire: 0 })
    }

    /// The memory of that.
    pub(crate) fn memory(&self) -> usize {
        let output = self.output.take();
        let memory = output.as_ref().map_or(0, |output| output.counted);
        self.output.set(output);
        memory + self.peek(|extra| extra.account.counted).unwrap_or(0)
    }

    /// Bytes of input that count.
    pub(crate) fn input_held(&self) -> usize {
        self.peek(|extra| extra.held.len() + extra.account.input).unwrap_or(0)
    }

    /// Bytes that may wait on it.
    pub(crate) fn budget(&self) -> usize {
        let own = self.peek(|extra| extra.account.budget).flatten();
        own.unwrap_or_else(|| self.reactor.budget.of_connection())
    }

    pub(crate) fn set_budget(&self, bytes: usize) {
        if !self.has(flag::LOST) {
            self.extra(|extra| extra.account.budget = Some(bytes));
            self.shrunk();
        }
    }

    /// Whether the present callback has written more to its own connection than may wait: what is read next had better wait, too.
    pub(super) fn corked_too_much(&self) -> bool {
        if self.reactor.is_corked() && self.reactor.corked_copies(self.handle) > self.budget() {
            return true;
        }
        // So it is with what passes the layers then. Behind a file it waits for longer, and counts.
        self.has(flag::PUMPING)
            && !self.has(flag::FILE_WAITS)
            && self.peek(|extra| extra.pending_bytes).is_some_and(|bytes| bytes > self.budget())
    }

    // ---- what is done about it

    /// What waits has changed from so many bytes.
    pub(super) fn changed(&self, before: usize) {
        let waiting = self.charged();
        if waiting > before {
            self.grown(before, waiting, before == 0);
        } else if waiting < before {
            self.shrunk();
        }
    }

    /// Output has moved, and what has become of it is known: what waits now is judged by what did before.
    pub(super) fn judge(&self, before: Tally) {
        let now = self.tally();
        // What a layer adds to bytes that counted already, in passing them on, is no growth: less than an eighth.
        let let_go = before.before_wire.saturating_sub(now.before_wire);
        let limit = before.charged + let_go / 8;
        if now.charged > limit {
            let first = before.charged == 0 || (before.refused == 0 && now.refused > 0);
            self.grown(before.charged, now.charged, first);
        } else if now.charged < before.charged {
            self.shrunk();
        }
    }

    /// The system has refused some output, and there was none before; before that so many bytes waited.
    pub(super) fn refused_some(&self, before: usize) {
        let waiting = self.charged();
        if waiting > before {
            self.grown(before, waiting, true);
        }
    }

    /// More waits than before. `first` if nothing of that kind did.
    #[cold]
    fn grown(&self, before: usize, waiting: usize, first: bool) {
        let (budget, reactor) = (self.budget(), &self.reactor.budget);
        if reactor.is_exceeded() {
            self.reactor.shed();
        }
        if self.has(flag::LOST) {
            return;
        }
        if reactor.comes_to_be_spent() {
            self.reactor.hold_producers();
        }
        let spent = self.has(flag::SPENT);
        // All that one callback writes to its own connection is one write: it could not be held before it returns.
        let passing = || self.peek(|extra| extra.account.passing).flatten();
        let filler = self.reactor.beat.own_callback(self.handle).or_else(passing);
        let (known, fills_on) = self
            .peek(|extra| (extra.account.ceiling, extra.account.filler == filler))
            .unwrap_or_default();
        let held_up = self.has(flag::HELD_UP);
        let is_one_write = filler.is_some() && if held_up { fills_on } else { self.refused() > 0 };
        // One on a connection with nothing waiting is taken, however long.
        let base = if first || is_one_write { waiting.max(budget) } else { budget };
        let taken_until = base.saturating_add(budget / 4);
        let ceiling =
            if spent { known.max(if is_one_write { taken_until } else { 0 }) } else { taken_until };
        let too_much = match reactor.when_spent() {
            WhenSpent::Pause => waiting > ceiling,
            WhenSpent::Close => before > budget && !(filler.is_some() && fills_on),
        };
        if too_much {
            return self.end_by_budget(Scope::Connection);
        }
        let own = waiting > budget;
        if !own && !reactor.is_spent() {
            return;
        }
        let begins = match reactor.when_spent() {
            WhenSpent::Pause => !held_up,
            WhenSpent::Close => before <= budget,
        };
        self.extra(|extra| {
            extra.account.ceiling = ceiling;
            if begins {
                extra.account.filler = filler;
            }
        });
        // Only what the peer has to read can be waited for: of a layer that has not begun (TLS, say) the peer's bytes are what it waits for.
        if reactor.when_spent() != WhenSpent::Pause || self.refused() == 0 {
            return;
        }
        if !spent {
            let scope = if own { Scope::Connection } else { Scope::Reactor };
            self.extra(|extra| extra.account.scope = Some(scope));
            self.spend(scope, waiting);
        }
        // After one long write the peer may have to be read before it reads, so that goes on; what comes on top of others is held with its cause.
        if before > 0 && !held_up {
            self.set(flag::HELD_UP);
            if !self.has(flag::PAUSED | flag::NO_READ) {
                self.reactor.driver().receive(self.handle, false);
            }
        }
    }

    /// The reactor's budget has come to be spent: a push producer that runs ahead of its connection makes no more, rather than to be held one by one
    /// at the next write of each.
    pub(crate) fn hold_producer(&self) {
        let flags = flag::PRODUCER | flag::PULL | flag::PRODUCER_PAUSED | flag::SPENT | flag::LOST;
        let Tally { charged, refused, .. } = self.tally();
        if self.flags.get() & flags != flag::PRODUCER || refused == 0 {
            return;
        }
        let budget = self.budget();
        self.extra(|extra| {
            extra.account.ceiling = charged.max(budget).saturating_add(budget / 4);
            extra.account.filler = None;
            extra.account.scope = Some(Scope::Reactor);
        });
        self.spend(Scope::Reactor, charged);
    }

    /// Has the producer make no more.
    fn spend(&self, scope: Scope, waiting: usize) {
        self.set(flag::SPENT);
        let flags = flag::PRODUCER | flag::PULL | flag::PRODUCER_PAUSED;
        if self.flags.get() & flags == flag::PRODUCER {
            self.set(flag::PRODUCER_PAUSED);
            self.after(After::Producer(self.handle, Ask::Pause));
        }
        if scope == Scope::Reactor {
            self.stand_in_line();
        }
        self.tell_spent(scope, waiting, Incident::BudgetSpent);
    }

    /// Less waits than before, or more may.
    pub(crate) fn shrunk(&self) {
        self.reactor.budget.ease(&self.reactor);
        if self.has(flag::SPENT) {
            self.go_on_if_free();
        }
    }

    /// First in the reactor's line: goes on if it can. Answers whether it does.
    pub(crate) fn leave_line(&self) -> bool {
        self.extra(|extra| extra.account.in_line = false);
        self.has(flag::SPENT) && self.go_on_if_free()
    }

    fn stand_in_line(&self) {
        let is_new = self.extra(|extra| !std::mem::replace(&mut extra.account.in_line, true));
        if is_new {
            self.reactor.budget.line_up(self.handle);
        }
    }

    #[cold]
    fn go_on_if_free(&self) -> bool {
        let (waiting, refused) = (self.charged(), self.refused());
        if self.has(flag::LOST) || refused > self.budget() / 2 {
            return false;
        }
        // One that has nothing to send takes nothing from the others.
        if refused > 0 && self.reactor.budget.is_tight() {
            self.stand_in_line();
            return false;
        }
        if self.has(flag::HELD_UP) {
            if !self.has(flag::PAUSED | flag::NO_READ | flag::READ_HELD) {
                self.reactor.driver().receive(self.handle, true);
            }
            if self.has(flag::HELD | flag::END_HELD) {
                self.after(After::Held(self.handle));
            }
        }
        self.unset(flag::SPENT | flag::HELD_UP);
        // One that policies still hold output of is asked when that has left.
        if !self.has(flag::HAS_OUTPUT) && self.waiting() == 0 {
            self.ask_producer();
        }
        let scope = self.extra(|extra| extra.account.scope.take()).unwrap_or(Scope::Connection);
        self.tell_spent(scope, waiting, Incident::BudgetFree);
        true
    }

    /// Resets the connection.
    #[cold]
    pub(crate) fn end_by_budget(&self, scope: Scope) {
        let ended = &self.reactor.budget.ended;
        ended.set(ended.get() + 1);
        self.tell_spent(scope, self.charged(), Incident::BudgetExceeded);
        self.lost(CloseReason::BudgetSpent, Close::Reset);
    }

    fn tell_spent(&self, scope: Scope, waiting: usize, incident: fn(Spent) -> Incident) {
        if !self.reactor.has_subscribers() {
            return;
        }
        let Some(transport) = self.reactor.stream(self.handle) else { return };
        let (peer, handle) = (self.peer_addr(), self.handle);
        transport.engine(|stream| {
            let protocol = stream.protocol_name();
            let spent = Spent { protocol, peer: peer.clone(), handle, scope, waiting };
            self.reactor.tell_incident(incident(spent));
        });
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use crate::testing::MemoryTransport;
    use crate::{Protocol, Transport};

    type Heard = Rc<RefCell<Vec<(&'static str, Vec<u8>)>>>;

    /// Answers with more than may wait, and hands over what is left.
    struct First(Heard);
    struct Next(Heard);

    impl Protocol for First {
        fn data_received(&mut self, transport: &Transport, data: &[u8]) {
            self.0.borrow_mut().push(("first", data.to_vec()));
            transport.write(&[0; 2000]);
            transport.unread(&data[3..]);
            transport.upgrade(Next(Rc::clone(&self.0)), &data[1..3]);
        }
    }

    impl Protocol for Next {
        fn data_received(&mut self, _transport: &Transport, data: &[u8]) {
            self.0.borrow_mut().push(("next", data.to_vec()));
        }
    }

    #[test]
    fn what_is_given_back_above_the_budget_comes_to_the_protocol_that_takes_over() {
        let heard = Heard::default();
        let peer = MemoryTransport::connect(First(Rc::clone(&heard)));
        peer.transport().set_budget(1000);
        peer.receive(b"abcdef");
        let expected = [("first", b"abcdef".to_vec()), ("next", b"bcdef".to_vec())];
        assert_eq!(*heard.borrow(), expected);
        assert_eq!(peer.take_written().len(), 2000);
    }
}
