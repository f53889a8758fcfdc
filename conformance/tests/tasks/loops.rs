//! Calls in equal steps of time, waiting, long computations beside connections.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use marline_conformance::on_every_driver;
use marline_core::deferred::{Deferred, Interrupt};
use marline_core::failure::Failure;
use marline_core::task::{Cooperator, LoopingCall, Slices};
use marline_core::{Protocol, Reactor, Time, Transport};

use crate::life_cycle::{Witness, bare, reactor, run_until, stop, turn_until};

const MILLI: Duration = Duration::from_millis(1);

/// A loop that keeps its moments and how many steps each was told of.
fn noting(reactor: &Reactor, taking: impl Fn(usize) + 'static) -> (LoopingCall, Calls) {
    let calls = Calls::default();
    let noted = Rc::clone(&calls);
    let looping = LoopingCall::with_count(reactor, move |looping, count| {
        noted.borrow_mut().push((looping.reactor().unwrap().now(), count));
        let calls = noted.borrow().len();
        taking(calls);
    });
    (looping, calls)
}

type Calls = Rc<RefCell<Vec<(Time, u64)>>>;

// 129
on_every_driver!(calls_are_on_the_grid_and_counted_however_late_they_are, |ground| {
    let reactor = reactor(ground);
    let begin = reactor.now();
    // The third call holds the loop for some steps, by the clock of another reactor; a simulated one has a clock of its own.
    let (looping, calls) = noting(&reactor, move |calls| {
        if calls == 3 {
            let other = self::reactor(ground);
            other.call_later(11 * MILLI, stop);
            other.run().unwrap();
        }
    });
    let done = looping.start(2 * MILLI).unwrap();
    let enough = Rc::clone(&calls);
    turn_until(&reactor, "eight calls", || enough.borrow().len() >= 8);
    let step = |moment: Time| moment.since(begin).as_nanos() / (2 * MILLI).as_nanos();
    let mut counted = 0;
    for (moment, count) in calls.borrow().iter() {
        assert!(*count > 0);
        counted += u128::from(*count);
        // Each point of the grid was told of once, and none before it was there.
        assert_eq!(counted, step(*moment) + 1);
    }
    if ground.is_simulated() {
        let moments: Vec<_> = calls.borrow().iter().map(|(at, _)| at.since(begin)).collect();
        assert_eq!(moments, [0, 2, 4, 6, 8, 10, 12, 14].map(|millis| millis * MILLI));
    } else {
        assert!(calls.borrow()[3].1 > 4, "{calls:?}");
    }
    looping.stop().unwrap();
    assert!(done.is_ready());
    done.ignore();
});

// 129
on_every_driver!(a_loop_that_is_stopped_and_one_that_fails_leave_no_timer, |ground| {
    let reactor = bare(ground);
    let witness = Witness::default();
    let kept = witness.clone();
    let stops = LoopingCall::new(&reactor, move |looping| {
        let _kept = &kept;
        looping.stop().unwrap();
    });
    let fails = LoopingCall::new(&reactor, |_| Err::<(), _>(Failure::msg("no")));
    let ends = [stops, fails].map(|looping| looping.start(MILLI).unwrap());
    turn_until(&reactor, "both ends", || ends.iter().all(Deferred::is_ready));
    assert!(reactor.open().is_empty());
    assert_eq!(witness.kept(), 0);
    let [stopped, failed] = ends.map(|end| end.try_take().unwrap());
    stopped.unwrap();
    assert_eq!(failed.unwrap_err().to_string(), "no");
});

// 129, and the next turn of section 5.
on_every_driver!(without_an_interval_a_call_is_made_each_turn_and_connections_go_on, |ground| {
    let reactor = reactor(ground);
    let echoes = echo_to_itself(&reactor, 50);
    let (looping, calls) = noting(&reactor, |_| {});
    looping.start(Duration::ZERO).unwrap().ignore();
    let (done, made) = (Rc::clone(&echoes), Rc::clone(&calls));
    // Neither keeps the other from its own.
    run_until(&reactor, move || {
        done.get() >= 50 && made.borrow().len() > 50 && looping.stop().is_ok()
    });
    assert!(calls.borrow().iter().all(|(_, count)| *count == 1));
});

on_every_driver!(a_long_computation_does_not_keep_connections_waiting, |ground| {
    let reactor = reactor(ground);
    let echoes = echo_to_itself(&reactor, 50);
    let cooperator = Cooperator::new(&reactor);
    let steps = Rc::new(Cell::new(0_u64));
    let counted = Rc::clone(&steps);
    let endless = cooperator.cooperate(std::iter::repeat_with(move || {
        counted.set(counted.get() + 1);
    }));
    let done = Rc::clone(&echoes);
    run_until(&reactor, move || done.get() >= 50);
    assert!(steps.get() > 50, "it went on meanwhile");
    endless.stop().unwrap();
    assert!(cooperator.is_empty());
});

on_every_driver!(a_future_that_computes_for_long_does_not_keep_connections_waiting, |ground| {
    let reactor = reactor(ground);
    let echoes = echo_to_itself(&reactor, 50);
    let (mut slices, steps) = (Slices::new(&reactor), Rc::new(Cell::new(0_u64)));
    let counted = Rc::clone(&steps);
    let endless = reactor.spawn(async move {
        loop {
            counted.set(counted.get() + 1);
            if slices.step().await.is_err() {
                break;
            }
        }
    });
    let done = Rc::clone(&echoes);
    run_until(&reactor, move || done.get() >= 50);
    assert!(steps.get() > 50, "it went on meanwhile");
    endless.cancel();
    endless.ignore();
});

on_every_driver!(a_sleep_is_never_early_and_a_cancelled_one_leaves_no_timer, |ground| {
    let reactor = bare(ground);
    let begin = reactor.now();
    let slept = reactor.sleep(3 * MILLI);
    let later =
        reactor.defer_later(5 * MILLI, move |reactor| Ok::<_, Failure>(reactor.now().since(begin)));
    let never = reactor.sleep(Duration::from_secs(3600));
    never.cancel();
    assert_eq!(reactor.open().len(), 2);
    turn_until(&reactor, "the sleep", || slept.is_ready());
    assert!(reactor.now().since(begin) >= 3 * MILLI);
    turn_until(&reactor, "the later call", || later.is_ready());
    assert!(later.try_take().unwrap().unwrap() >= 5 * MILLI);
    assert!(reactor.open().is_empty());
    let cancelled = never.try_take().unwrap().unwrap_err();
    assert_eq!(cancelled.check(), Some(&Interrupt::Cancelled));
    slept.ignore();
});

on_every_driver!(what_loops_and_waits_is_dropped_with_its_reactor, |ground| {
    let reactor = bare(ground);
    let witness = Witness::default();
    let [one, two, three, four] = std::array::from_fn(|_| witness.clone());
    let looping = LoopingCall::new(&reactor, move |_| _ = &one);
    looping.start(MILLI).unwrap().ignore();
    let cooperator = Cooperator::new(&reactor);
    cooperator.coiterate(std::iter::repeat_with(move || _ = &two)).ignore();
    reactor.defer_later(MILLI, move |_| drop(three)).ignore();
    let clock = reactor.clone();
    let task = async move {
        let _four = four;
        clock.sleep(MILLI).await
    };
    reactor.spawn(task).ignore();
    reactor.call_soon(stop);
    reactor.run().unwrap();
    reactor.close_all();
    drop((looping, cooperator, reactor));
    assert_eq!(witness.kept(), 0);
});

/// A connection to itself on which one byte goes to and fro; counts how often it has come back, up to `most`.
fn echo_to_itself(reactor: &Reactor, most: u32) -> Rc<Cell<u32>> {
    let count = Rc::new(Cell::new(0));
    let port = reactor.listen_tcp("127.0.0.1:0", || Echo).unwrap();
    let client = Counts { count: Rc::clone(&count), most };
    reactor.connect_tcp(port.local_addr(), client).done(|result| {
        result.unwrap().transport().write(b"x");
    });
    count
}

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(data);
    }
}

struct Counts {
    count: Rc<Cell<u32>>,
    most: u32,
}

impl Protocol for Counts {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        self.count.set(self.count.get() + 1);
        if self.count.get() < self.most {
            transport.write(data);
        }
    }
}
