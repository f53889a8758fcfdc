//! Policies: they look on, set limits and end connections, but change no byte. Each stands in the stack of its connection's
//! [layers](crate::layer): one added before TLS sees the wire, one added after it sees plain text. What ships is in `marline-protocols`.

use std::any::Any;
use std::fmt;
use std::ops::BitOr;

use crate::transport::head::{Head, flag};
use crate::{Addr, CloseReason, Time};

/// One policy of a connection. It never calls a protocol or a transport; what it wants done it says by its [`PolicyIo`].
///
/// A policy survives [`Transport::upgrade`](crate::Transport::upgrade). A panic in any method ends that connection alone.
///
/// # Cost
///
/// Nothing is called that [`watches`](Self::watches) does not name. A policy that asks for [`Watch::ACTIVITY`] alone leaves bytes on
/// the short way: the engine notes the time, and the policy looks at it when its deadline comes.
pub trait Policy: 'static {
    /// What it is called in logs.
    fn name(&self) -> &'static str;

    /// What it wants to be told or asked. Looked at once, when it is handed over: inside
    /// [`Transport::start_policy`](crate::Transport::start_policy) or [`Link::add_policy`](crate::Link::add_policy).
    fn watches(&self) -> Watch {
        Watch::NOTHING
    }

    /// It is in place. Called first, after the callback that added it.
    fn attached(&mut self, _io: &mut PolicyIo<'_>) {}

    /// Bytes pass on their way to the protocol; only with [`Watch::RECEIVED`].
    fn received(&mut self, _bytes: &[u8], _io: &mut PolicyIo<'_>) {}

    /// Bytes pass on their way to the wire; only with [`Watch::WRITTEN`]. What one callback wrote comes after that callback.
    fn written(&mut self, _bytes: &[u8], _io: &mut PolicyIo<'_>) {}

    /// How many of `len` bytes may pass now; only with [`Watch::LIMIT_RECEIVED`] or [`Watch::LIMIT_WRITTEN`]. The rest is held, at
    /// most 64 KiB of it for what is received, since nothing more is read meanwhile. It is asked again at the moment it names by
    /// [`PolicyIo::ask_again`], or, if it names none, when its deadline comes.
    fn admit(&mut self, _direction: Direction, len: usize, _io: &mut PolicyIo<'_>) -> usize {
        len
    }

    /// Its deadline has come, or it was changed by [`Transport::with_policy`](crate::Transport::with_policy). The deadline is gone:
    /// a policy that wants another sets it.
    fn due(&mut self, _io: &mut PolicyIo<'_>) {}

    /// The connection begins to close, and delivers what was written before.
    fn closing(&mut self, _io: &mut PolicyIo<'_>) {}

    /// The connection has ended. Called last, after the protocol was told, and only if [`attached`](Self::attached) was.
    fn lost(&mut self, _reason: &CloseReason) {}

    /// The policy as what it is, for [`Transport::with_policy`](crate::Transport::with_policy).
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the wire to the protocol.
    Received,
    /// From the protocol to the wire.
    Written,
}

/// What a policy wants to be told or asked: a set, joined by `|`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watch(u8);

impl Watch {
    /// Only deadlines, closing and the end.
    pub const NOTHING: Self = Self(0);
    /// [`PolicyIo::active`] is kept up to date.
    pub const ACTIVITY: Self = Self(1);
    /// [`Policy::received`] is called.
    pub const RECEIVED: Self = Self(2);
    /// [`Policy::written`] is called.
    pub const WRITTEN: Self = Self(4);
    /// [`Policy::admit`] is called for what is received.
    pub const LIMIT_RECEIVED: Self = Self(8);
    /// [`Policy::admit`] is called for what is written.
    pub const LIMIT_WRITTEN: Self = Self(16);

    /// Whether it names anything that `other` names.
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for Watch {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// How a policy learns of its connection, and acts on it.
pub struct PolicyIo<'a> {
    head: &'a Head,
    terms: &'a mut Terms,
}

impl PolicyIo<'_> {
    /// The time of this turn. The clock is read at most once a turn, and not at all if nobody asks.
    pub fn now(&self) -> Time {
        self.head.reactor().now()
    }

    /// When bytes last moved: were received, written, or taken by the system after a wait. Kept from the moment a policy with
    /// [`Watch::ACTIVITY`] is in place; only such are to ask.
    pub fn active(&self) -> Time {
        self.head.active()
    }

    /// Whether the connection closes, and delivers what was written before.
    pub fn is_closing(&self) -> bool {
        !self.head.is_open()
    }

    /// The address of the other end.
    pub fn peer_addr(&self) -> Addr {
        self.head.peer_addr()
    }

    /// The policy's one deadline.
    pub fn deadline(&self) -> Option<Time> {
        self.terms.deadline
    }

    /// Calls [`Policy::due`] at that moment, or in the next turn if it has passed; `None` takes it back. Putting it off costs no more
    /// than writing a field.
    pub fn set_deadline(&mut self, deadline: Option<Time>) {
        self.terms.deadline = deadline;
        self.head.set(flag::HEED);
    }

    /// Calls [`Policy::admit`] anew at that moment, or in the next turn if it has passed, if bytes of that direction are held then.
    pub fn ask_again(&mut self, direction: Direction, at: Time) {
        self.terms.again[direction as usize] = Some(at);
        self.head.set(flag::HEED);
    }

    /// Closes the connection as `lose_connection` does, after delivering what was written; the protocol hears `reason` at the end.
    pub fn close(&mut self, reason: CloseReason) {
        self.terms.ending.get_or_insert(Ending::Close(reason));
        self.head.set(flag::HEED);
    }

    /// Resets the connection, and drops what is unsent; the protocol hears `reason`.
    pub fn abort(&mut self, reason: CloseReason) {
        self.terms.ending = Some(Ending::Abort(reason));
        self.head.set(flag::HEED);
    }
}

impl fmt::Debug for PolicyIo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyIo").field("deadline", &self.terms.deadline).finish_non_exhaustive()
    }
}

/// How a policy wants its connection to end.
pub(crate) enum Ending {
    Close(CloseReason),
    Abort(CloseReason),
}

/// What a policy has asked for.
#[derive(Default)]
struct Terms {
    deadline: Option<Time>,
    /// When to ask again, by direction.
    again: [Option<Time>; 2],
    ending: Option<Ending>,
}

/// A policy in its place, or on its way there, with what it holds back.
pub(crate) struct Placed {
    policy: Box<dyn Policy>,
    watch: Watch,
    terms: Terms,
    /// Bytes it has not admitted yet, by direction.
    held: [Held; 2],
    /// The end of the stream from below came behind bytes that are held.
    end_held: bool,
}

impl Placed {
    pub(crate) fn new(policy: Box<dyn Policy>) -> Self {
        let watch = policy.watches();
        Self { policy, watch, terms: Terms::default(), held: Default::default(), end_held: false }
    }

    /// Calls the policy.
    pub(crate) fn call(&mut self, head: &Head, f: impl FnOnce(&mut dyn Policy, &mut PolicyIo<'_>)) {
        f(&mut *self.policy, &mut PolicyIo { head, terms: &mut self.terms });
    }

    /// Shows bytes that pass.
    pub(crate) fn show(&mut self, direction: Direction, bytes: &[u8], head: &Head) {
        match direction {
            Direction::Received if self.watch.meets(Watch::RECEIVED) => {
                self.call(head, |policy, io| policy.received(bytes, io));
            }
            Direction::Written if self.watch.meets(Watch::WRITTEN) => {
                self.call(head, |policy, io| policy.written(bytes, io));
            }
            _ => {}
        }
    }

    /// Lets bytes come up to the policy, behind those it holds, and returns what passes now.
    pub(crate) fn pass(&mut self, direction: Direction, bytes: &[u8], head: &Head) -> Vec<u8> {
        let limit = match direction {
            Direction::Received => Watch::LIMIT_RECEIVED,
            Direction::Written => Watch::LIMIT_WRITTEN,
        };
        let mut passing = bytes.to_vec();
        let all = self.held(direction) + bytes.len();
        if self.watch.meets(limit) && all > 0 {
            self.terms.again[direction as usize] = None;
            head.set(flag::HEED);
            let mut admitted = 0;
            self.call(head, |policy, io| admitted = policy.admit(direction, all, io).min(all));
            passing = self.held[direction as usize].exchange(bytes, admitted);
        }
        if !passing.is_empty() {
            self.show(direction, &passing, head);
        }
        passing
    }

    /// Whether bytes of that direction are held whose time to ask again has come.
    pub(crate) fn is_to_ask(&self, direction: Direction, now: Time) -> bool {
        !self.held[direction as usize].is_empty()
            && self.terms.again[direction as usize].is_none_or(|at| at <= now)
    }

    /// Takes the deadline if it has come.
    pub(crate) fn take_due(&mut self, now: Time) -> bool {
        let due = self.terms.deadline.is_some_and(|deadline| deadline <= now);
        if due {
            self.terms.deadline = None;
        }
        due
    }

    /// It was changed by somebody: it is to look at everything anew.
    pub(crate) fn touch(&mut self) {
        self.terms.deadline = Some(Time::ZERO);
        self.terms.again = [None, None];
    }

    /// The end of the stream comes from below; whether it may go on.
    pub(crate) fn pass_end(&mut self) -> bool {
        self.end_held = !self.held[Direction::Received as usize].is_empty();
        !self.end_held
    }

    /// Whether the end that was held can go on now; then it is taken.
    pub(crate) fn take_end(&mut self) -> bool {
        self.held[Direction::Received as usize].is_empty() && std::mem::take(&mut self.end_held)
    }

    pub(crate) fn held(&self, direction: Direction) -> usize {
        self.held[direction as usize].len()
    }

    /// When it wants to be called next.
    pub(crate) fn next(&self) -> Option<Time> {
        let held = self.held.iter().zip(self.terms.again);
        let again = held.filter(|(held, _)| !held.is_empty()).filter_map(|(_, again)| again);
        again.chain(self.terms.deadline).min()
    }

    pub(crate) fn take_ending(&mut self) -> Option<Ending> {
        self.terms.ending.take()
    }

    pub(crate) fn watch(&self) -> Watch {
        self.watch
    }

    pub(crate) fn name(&self) -> &'static str {
        self.policy.name()
    }

    pub(crate) fn policy(&mut self) -> &mut dyn Policy {
        &mut *self.policy
    }
}

/// Bytes that are held back, in order. To let some go costs as much as those, however many stay.
#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    /// So many of them are gone.
    gone: usize,
}

impl Held {
    /// Takes in more bytes behind those it has, and gives away the first so many.
    fn exchange(&mut self, more: &[u8], count: usize) -> Vec<u8> {
        let own = count.min(self.len());
        let (passing, staying) = more.split_at(count - own);
        let mut given = self.bytes[self.gone..self.gone + own].to_vec();
        given.extend_from_slice(passing);
        self.gone += own;
        if self.is_empty() {
            *self = Self::default();
        } else if self.gone > self.bytes.len() / 2 {
            self.bytes.drain(..self.gone);
            self.bytes.shrink_to(2 * self.bytes.len());
            self.gone = 0;
        }
        self.bytes.extend_from_slice(staying);
        given
    }

    fn len(&self) -> usize {
        self.bytes.len() - self.gone
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;

    #[test]
    fn held_bytes_come_out_in_the_order_they_went_in_however_they_are_cut() {
        let mut rng = Rng::from_number(5);
        let (mut held, mut went_in, mut came_out) = (Held::default(), Vec::new(), Vec::new());
        for round in 0..2000_u32 {
            let more: Vec<u8> =
                (0..rng.below(40)).map(|n| (u64::from(round) * 7 + n) as u8).collect();
            went_in.extend_from_slice(&more);
            let count = rng.below((held.len() + more.len()) as u64 + 1) as usize;
            let given = held.exchange(&more, count);
            assert_eq!(given.len(), count);
            came_out.extend(given);
            assert_eq!(came_out.len() + held.len(), went_in.len());
            assert!(held.bytes.len() <= 2 * held.len() + 40, "what is gone is not kept");
        }
        assert_eq!(came_out, went_in[..came_out.len()]);
    }
}
