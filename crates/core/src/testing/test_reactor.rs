//! A reactor for tests, in a small simulated world: time moves when the test says so, and at once.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::Deref;
use std::rc::Rc;
use std::time::Duration;

use super::{Leaks, memory};
use crate::deferred::{Deferred, Fault};
use crate::protocol::from_fn;
use crate::sim::{Host, World};
use crate::{Connection, Destination, Protocol, Reactor, Transport};

/// A running reactor in a simulated world of one host, with a clock that moves when the test says so. It is a [`Reactor`] in all else: it
/// listens and connects on 127.0.0.1, runs timers, jobs and futures.
///
/// ```
/// use std::cell::Cell;
/// use std::rc::Rc;
/// use std::time::Duration;
/// use marline_core::testing::TestReactor;
///
/// let reactor = TestReactor::new();
/// let rung = Rc::new(Cell::new(false));
/// let bell = Rc::clone(&rung);
/// reactor.call_later(Duration::from_secs(3600), move |_| bell.set(true));
///
/// reactor.advance(Duration::from_secs(3599));
/// assert!(!rung.get());
/// reactor.advance(Duration::from_secs(1));
/// assert!(rung.get());
/// ```
#[doc(alias = "Clock")]
#[doc(alias = "MemoryReactor")]
#[doc(alias = "MemoryReactorClock")]
pub struct TestReactor {
    reactor: Reactor,
    world: World,
    host: Host,
}

impl TestReactor {
    /// A reactor in a world of its own, from seed 1.
    pub fn new() -> Self {
        Self::with_seed(1)
    }

    /// A reactor in a world of its own, from this seed: what the network and the random source draw depends on it.
    pub fn with_seed(seed: u64) -> Self {
        let world = World::new(seed);
        let host = world.host("localhost.simulated", [[10, 0, 0, 1].into()]);
        Self::on(&world, &host)
    }

    /// A reactor on a host of the test's own world. Several can live in one world, as long as the test moves the clock through one of them only,
    /// and turns the others.
    pub fn on(world: &World, host: &Host) -> Self {
        let reactor = Reactor::new(host.driver());
        memory::start(&reactor);
        Self { reactor, world: world.clone(), host: host.clone() }
    }

    /// Its world, for faults of the network.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Its host, for faults of the host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Moves the clock. Timers and the network run in their order, each thing at its own time.
    ///
    /// # Panics
    ///
    /// From inside a callback; or if there is no end of what is to do at one moment, as with a call that schedules itself without delay.
    #[track_caller]
    #[doc(alias = "pump")]
    pub fn advance(&self, time: Duration) {
        let target = self.reactor.now() + time;
        self.turn_until_idle();
        while self.reactor.now() < target {
            self.turn(target.since(self.reactor.now()));
            self.turn_until_idle();
        }
    }

    /// Turns until nothing is left to do at the present moment. The clock stands still: what is under way in the network arrives
    /// later.
    ///
    /// # Panics
    ///
    /// As [`advance`](Self::advance).
    #[track_caller]
    pub fn turn_until_idle(&self) {
        for _ in 0..TURNS {
            let before = self.world.events();
            self.turn(Duration::ZERO);
            let due = self.next_wakeup().is_some_and(|at| at <= self.reactor.now());
            if !due && self.world.events() == before {
                return;
            }
        }
        panic!("still busy after {TURNS} turns at one moment");
    }

    /// Turns until something is so, the clock moving from event to event, for an hour at most.
    ///
    /// # Panics
    ///
    /// If it is not so within that hour; and as [`advance`](Self::advance).
    #[track_caller]
    pub fn turn_until(&self, mut is_so: impl FnMut() -> bool) {
        let limit = self.reactor.now() + PATIENCE;
        while !is_so() {
            let left = limit.since(self.reactor.now());
            assert!(left > Duration::ZERO, "not so within an hour; still open: {:?}", self.open());
            self.turn(left);
            self.turn_until_idle();
        }
    }

    /// Turns until a Deferred fires, for an hour at most, and returns what it comes to.
    ///
    /// # Errors
    ///
    /// What it fails with.
    ///
    /// # Panics
    ///
    /// As [`turn_until`](Self::turn_until).
    #[track_caller]
    pub fn result_of<T: 'static, E: Fault>(&self, deferred: Deferred<T, E>) -> Result<T, E> {
        let place = Rc::new(RefCell::new(None));
        let result = Rc::clone(&place);
        deferred.done(move |result| *place.borrow_mut() = Some(result));
        self.turn_until(|| result.borrow().is_some());
        let Some(result) = result.take() else { unreachable!("it was there just now") };
        result
    }

    /// Connects two protocols over the simulated network. Both have heard `connection_made` when this returns; bytes may have gone
    /// to and fro already.
    ///
    /// # Panics
    ///
    /// If the network refuses, or one of them has closed at once.
    #[track_caller]
    pub fn connect_pair<C: Protocol, S: Protocol>(
        &self,
        client: C,
        server: S,
    ) -> (Connection<C>, Connection<S>) {
        let found = Rc::<Cell<Option<Connection<S>>>>::default();
        let mut door = Some(Door { guest: Some(server), found: Rc::clone(&found) });
        let port = match self.listen_tcp("127.0.0.1:0", from_fn(move |_| door.take())) {
            Ok(port) => port,
            Err(error) => panic!("{error}"),
        };
        let client = match self.result_of(self.connect_tcp(port.local_addr(), client)) {
            Ok(client) => client,
            Err(error) => panic!("{error}"),
        };
        let mut server = None;
        self.turn_until(|| {
            server = server.take().or_else(|| found.take());
            server.is_some()
        });
        let Some(server) = server else { unreachable!("it was there just now") };
        if let Err(error) = self.result_of(port.stop_listening()) {
            panic!("{error}");
        }
        (client, server)
    }

    /// Whether somebody accepts connections there: connects, and resets the connection at once. A factory that listens there makes a protocol.
    #[track_caller]
    pub fn accepts(&self, to: impl Into<Destination>) -> bool {
        let accepted = self.result_of(self.connect_tcp(to, Probe));
        if let Ok(connection) = &accepted {
            connection.transport().abort_connection();
            self.turn_until_idle();
        }
        accepted.is_ok()
    }

    /// Checks that nothing is left open: see [`Leaks::check`].
    ///
    /// # Panics
    ///
    /// If something is.
    #[track_caller]
    pub fn check_leaks(&self) {
        Leaks::check(&self.reactor);
    }

    #[track_caller]
    fn turn(&self, most: Duration) {
        if let Err(error) = self.reactor.turn(Some(most)) {
            panic!("the reactor cannot be turned: {error}");
        }
    }
}

impl Default for TestReactor {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for TestReactor {
    type Target = Reactor;

    fn deref(&self) -> &Reactor {
        &self.reactor
    }
}

impl fmt::Debug for TestReactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestReactor").field("now", &self.reactor.now()).finish_non_exhaustive()
    }
}

/// Lets a protocol in and tells who it is: a factory cannot, for it is asked before there is a connection.
struct Door<S> {
    guest: Option<S>,
    found: Rc<Cell<Option<Connection<S>>>>,
}

impl<S: Protocol> Protocol for Door<S> {
    fn connection_made(&mut self, transport: &Transport) {
        if let Some(guest) = self.guest.take() {
            self.found.set(Some(transport.upgrade(guest, &[])));
        }
    }

    fn data_received(&mut self, _: &Transport, _: &[u8]) {}
}

/// Says nothing and hears nothing.
struct Probe;

impl Protocol for Probe {
    fn data_received(&mut self, _: &Transport, _: &[u8]) {}
}

/// How long, in virtual time, something is waited for.
const PATIENCE: Duration = Duration::from_secs(3600);
/// More turns than these at one moment have no end.
const TURNS: usize = 100_000;

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::testing::success_result_of;
    use crate::{ConnectCause, Unavailable};

    #[derive(Default)]
    struct Hears(Vec<u8>);

    impl Protocol for Hears {
        fn data_received(&mut self, _: &Transport, data: &[u8]) {
            self.0.extend_from_slice(data);
        }
    }

    #[test]
    fn the_clock_moves_by_what_it_is_told_and_timers_see_their_own_time() {
        let reactor = TestReactor::new();
        let start = reactor.now();
        let seen = Rc::new(RefCell::new(Vec::new()));
        for seconds in [5, 1, 7] {
            let seen = Rc::clone(&seen);
            reactor.call_later(Duration::from_secs(seconds), move |reactor| {
                seen.borrow_mut().push(reactor.now().since(start).as_secs());
                let seen = Rc::clone(&seen);
                // Set from inside, due in the same step.
                reactor.call_later(Duration::from_secs(1), move |reactor| {
                    seen.borrow_mut().push(reactor.now().since(start).as_secs());
                });
            });
        }
        reactor.advance(Duration::from_secs(7));
        assert_eq!(*seen.borrow(), [1, 2, 5, 6, 7]);
        assert_eq!(reactor.now().since(start), Duration::from_secs(7));
        reactor.advance(Duration::from_secs(100));
        assert_eq!(reactor.now().since(start), Duration::from_secs(107));
        assert_eq!(seen.borrow().last(), Some(&8));
    }

    #[test]
    fn turning_until_idle_runs_what_is_due_and_leaves_the_clock_alone() {
        let reactor = TestReactor::new();
        let start = reactor.now();
        let count = Rc::new(Cell::new(0));
        let counter = Rc::clone(&count);
        reactor.call_soon(move |reactor| {
            counter.set(counter.get() + 1);
            reactor.call_later(Duration::ZERO, move |_| counter.set(counter.get() + 1));
        });
        reactor.call_later(Duration::from_nanos(1), |_| panic!("not due"));
        reactor.turn_until_idle();
        assert_eq!((count.get(), reactor.now()), (2, start));
    }

    #[test]
    fn what_the_network_answers_at_the_same_moment_is_waited_for() {
        fn again(reactor: &Reactor, left: Rc<Cell<u32>>) {
            let next = reactor.clone();
            reactor.defer_to_thread(|| ()).done(move |_| {
                left.set(left.get() - 1);
                if left.get() > 0 {
                    again(&next, left);
                }
            });
        }
        let reactor = TestReactor::new();
        reactor.world().set_job_time(Duration::ZERO, Duration::ZERO);
        let left = Rc::new(Cell::new(3));
        again(&reactor, Rc::clone(&left));
        reactor.turn_until_idle();
        assert_eq!(left.get(), 0);
    }

    #[test]
    #[should_panic(expected = "still busy after")]
    fn a_call_that_schedules_itself_without_delay_is_noticed() {
        fn again(reactor: &Reactor) {
            reactor.call_later(Duration::ZERO, again);
        }
        let reactor = TestReactor::new();
        again(&reactor);
        reactor.turn_until_idle();
    }

    #[test]
    fn a_pair_is_connected_over_the_network_and_leaves_no_port_behind() {
        let reactor = TestReactor::new();
        let (client, server) = reactor.connect_pair(Hears::default(), Hears::default());
        assert_eq!(reactor.open().len(), 2);
        assert_eq!(Some(client.transport().peer_addr()), server.transport().local_addr());
        client.transport().write(b"question");
        server.transport().write(b"answer");
        reactor.advance(Duration::from_secs(1));
        assert_eq!(success_result_of(client.with(|hears, _| hears.0.clone())), b"answer");
        assert_eq!(success_result_of(server.with(|hears, _| hears.0.clone())), b"question");
        client.transport().lose_connection();
        reactor.turn_until(|| reactor.open().is_empty());
        assert_eq!(server.try_with(|_, _| ()), Err(Unavailable::Gone));
        reactor.check_leaks();
    }

    #[test]
    fn whether_somebody_accepts_is_found_out_by_asking() {
        let reactor = TestReactor::new();
        let port = reactor.listen_tcp("127.0.0.1:0", || Probe).unwrap();
        let addr = port.local_addr();
        assert!(reactor.accepts(&addr));
        reactor.result_of(port.stop_listening()).unwrap();
        assert!(!reactor.accepts(&addr));
        reactor.advance(Duration::from_secs(1));
        reactor.check_leaks();
    }

    #[test]
    fn a_result_is_waited_for_and_handed_out_whichever_it_is() {
        let reactor = TestReactor::new();
        assert_eq!(reactor.result_of(reactor.defer_to_thread(|| 6 * 7)).unwrap(), 42);
        let refused = reactor.result_of(reactor.connect_tcp("127.0.0.1:9", Probe));
        assert_eq!(refused.err().map(|error| error.cause), Some(ConnectCause::Refused));
    }

    #[test]
    fn what_never_happens_is_given_up_after_an_hour_of_virtual_time() {
        let reactor = TestReactor::new();
        let start = reactor.now();
        let waited = catch_unwind(AssertUnwindSafe(|| reactor.turn_until(|| false)));
        let message = waited.unwrap_err().downcast::<String>().unwrap();
        assert!(message.starts_with("not so within an hour"), "{message}");
        assert_eq!(reactor.now().since(start), PATIENCE);
    }
}
