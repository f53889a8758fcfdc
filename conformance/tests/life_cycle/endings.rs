//! Nothing is left behind: every closure given to a reactor is dropped, whether it was called, cancelled, removed, or its reactor went away.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use marline_conformance::on_every_driver;
use marline_core::deferred::Deferred;
use marline_core::{DelayedCall, Event, NotPending, Phase, Reactor};

use super::{Diary, Latch, Witness, bare, stop, turn_until};
use crate::streams::kit::{Ends, Outcome, Probe, listen_once};

/// Gives a reactor one of everything that can be given to it before it runs.
fn furnish(reactor: &Reactor, witness: &Witness) {
    reactor.call_soon(witness.call());
    drop(reactor.call_later(Duration::from_secs(1), witness.call()));
    reactor.call_when_running(witness.call());
    for event in [Event::Startup, Event::Shutdown, Event::Custom("own")] {
        for phase in [Phase::Before, Phase::During, Phase::After] {
            reactor.add_trigger(phase, event, witness.call());
        }
    }
    let kept = witness.clone();
    reactor.defer_to_thread(|| ()).done(move |_| drop(kept));
    let kept = witness.clone();
    reactor.resolve("localhost").done(move |_| drop(kept));
    let kept = witness.clone();
    reactor.spawn(async move { drop(kept) }).ignore();
    let kept = witness.clone();
    reactor
        .spawn(async move {
            std::future::pending::<()>().await;
            drop(kept);
        })
        .ignore();
    let (kept, also_kept) = (witness.clone(), witness.clone());
    let server = Probe::new().on_made(move |_| _ = &kept);
    let port = listen_once(reactor, server);
    let client = Probe::new().on_made(move |_| _ = &also_kept);
    let kept = witness.clone();
    reactor.connect_tcp(port.local_addr(), client).done(move |_| drop(kept));
}

// 33
on_every_driver!(a_reactor_dropped_without_running_drops_everything, |ground| {
    let reactor = bare(ground);
    let witness = Witness::default();
    furnish(&reactor, &witness);
    assert_eq!(witness.kept(), 19);
    drop(reactor);
    assert_eq!(witness.kept(), 0);
});

// 33
on_every_driver!(a_reactor_dropped_after_it_ran_drops_everything, |ground| {
    let reactor = bare(ground);
    let witness = Witness::default();
    furnish(&reactor, &witness);
    reactor.call_later(Duration::from_millis(1), stop);
    reactor.run().unwrap();
    drop(reactor);
    assert_eq!(witness.kept(), 0);
});

// 33
on_every_driver!(a_reactor_dropped_in_the_middle_of_a_run_drops_everything, |ground| {
    for turns in 1..12 {
        let reactor = bare(ground);
        let witness = Witness::default();
        furnish(&reactor, &witness);
        reactor.start().unwrap();
        for _ in 0..turns {
            reactor.turn(Some(Duration::ZERO)).unwrap();
        }
        drop(reactor);
        assert_eq!(witness.kept(), 0, "after {turns} turns");
    }
});

// 33
on_every_driver!(a_reactor_dropped_while_its_shutdown_waits_drops_everything, |ground| {
    let reactor = bare(ground);
    let witness = Witness::default();
    furnish(&reactor, &witness);
    let latch = Latch::before(&reactor, Event::Shutdown);
    reactor.start().unwrap();
    stop(&reactor);
    reactor.turn(Some(Duration::ZERO)).unwrap();
    drop(reactor);
    assert_eq!(witness.kept(), 0);
    latch.fire();
});

// 33
on_every_driver!(a_reactor_dropped_between_turns_keeps_nothing_it_was_to_do_next, |ground| {
    let witness = Witness::default();
    // To be called when it runs, which it does.
    let reactor = bare(ground);
    reactor.start().unwrap();
    reactor.call_when_running(witness.call());
    drop(reactor);
    assert_eq!(witness.kept(), 0, "call_when_running");
    // The shutdown has been waited for, and would go on.
    let reactor = bare(ground);
    let latch = Latch::before(&reactor, Event::Shutdown);
    reactor.add_trigger(Phase::After, Event::Shutdown, witness.call());
    reactor.start().unwrap();
    stop(&reactor);
    reactor.turn(Some(Duration::ZERO)).unwrap();
    latch.fire();
    drop(reactor);
    assert_eq!(witness.kept(), 0, "a shutdown that goes on");
});

// 33
on_every_driver!(handles_that_outlive_their_reactor_keep_nothing_and_do_nothing, |ground| {
    let reactor = bare(ground);
    let witness = Witness::default();
    let calls: Vec<DelayedCall> = (0..4)
        .map(|seconds| reactor.call_later(Duration::from_secs(seconds), witness.call()))
        .collect();
    calls[0].cancel().unwrap();
    reactor.turn(Some(Duration::from_secs(2))).unwrap();
    let remote = reactor.remote();
    let trigger = reactor.add_trigger(Phase::After, Event::Shutdown, witness.call());
    drop(reactor);
    assert_eq!(witness.kept(), 0);
    for call in &calls {
        assert!(!call.is_active());
        assert_eq!(call.deadline(), None);
        assert_eq!(call.cancel(), Err(NotPending::Cancelled));
        assert_eq!(call.reset(Duration::ZERO), Err(NotPending::Cancelled));
        assert_eq!(call.delay(Duration::ZERO), Err(NotPending::Cancelled));
    }
    remote.call(|_| panic!("called by nobody"));
    remote.stop();
    assert_eq!(bare(ground).remove_trigger(trigger), Err(marline_core::UnknownTrigger));
});

// 33
on_every_driver!(a_handle_kept_by_its_own_call_makes_no_cycle, |ground| {
    let reactor = bare(ground);
    let witness = Witness::default();
    let slot = Rc::new(RefCell::new(None));
    for cancelled in [false, true] {
        let (kept, own) = (witness.clone(), Rc::clone(&slot));
        let call = reactor.call_later(Duration::from_millis(1), move |_| {
            drop((kept, own.borrow_mut().take()));
        });
        *slot.borrow_mut() = Some(call.clone());
        if cancelled {
            call.cancel().unwrap();
        } else {
            turn_until(&reactor, "the call", || !call.is_active());
        }
        assert_eq!((witness.kept(), Rc::strong_count(&slot)), (0, 1), "cancelled: {cancelled}");
    }
});

on_every_driver!(what_a_dropped_reactor_owes_is_told_to_who_waits, |ground| {
    let reactor = bare(ground);
    let job = Outcome::of(reactor.defer_to_thread(|| ()));
    let name = Outcome::of(reactor.resolve("localhost"));
    let task = Outcome::of(reactor.spawn(std::future::pending::<()>()));
    let connected = Outcome::of(reactor.connect_tcp("127.0.0.1:1", Probe::new()));
    drop(reactor);
    assert!(job.take().is_err());
    assert!(name.take().is_err());
    assert!(task.take().is_err());
    assert!(connected.take().is_err());
});

on_every_driver!(a_dropped_reactor_says_farewell_to_its_connections_once, |ground| {
    let Ends { reactor, port, client, server, connected } =
        Ends::join(ground, Probe::new(), Probe::new());
    drop((port, connected));
    let transport = client.transport();
    drop(reactor);
    // The handle that is left does nothing.
    for end in [&client, &server] {
        assert_eq!((end.story().as_str(), end.reason().as_str()), ("made lost", "Stopped"));
        assert!(end.is_dropped());
    }
    transport.write(b"to nobody");
    transport.lose_connection();
});

// What comes while everything is closed does not come too late.
on_every_driver!(what_farewells_ask_for_is_not_left_in_a_dropped_reactor, |ground| {
    let witness = Witness::default();
    let kept = witness.clone();
    let client =
        Probe::new().on_lost(move |transport| furnish(&transport.reactor().unwrap(), &kept));
    let Ends { reactor, port, client, server, connected } =
        Ends::join(ground, client, Probe::new());
    drop((port, connected, server));
    drop(reactor);
    assert!(client.is_lost() && client.is_dropped());
    assert_eq!(witness.kept(), 0);
});

on_every_driver!(close_all_leaves_nothing_open_and_the_reactor_goes_on, |ground| {
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    let reactor = ends.reactor.clone();
    let (diary, witness) = (Diary::default(), Witness::default());
    let timer = reactor.call_later(Duration::from_secs(1), witness.call());
    reactor.call_soon({
        let (diary, client) = (diary.clone(), ends.client.clone());
        move |reactor| {
            reactor.close_all();
            // After it, not inside.
            assert!(!client.is_lost());
            diary.note("called");
        }
    });
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(diary.take(), "called");
    assert!(reactor.open().is_empty(), "{:?}", reactor.open());
    assert_eq!((witness.kept(), timer.cancel()), (0, Err(NotPending::Cancelled)));
    for end in [&ends.client, &ends.server] {
        assert_eq!((end.story().as_str(), end.reason().as_str()), ("made lost", "Stopped"));
    }
    let again = Ends::begin_on(reactor, Probe::new(), Probe::new());
    again.until("a new connection", |ends| ends.client.is_made() && ends.server.is_made());
});

// Section 7 of the design: dropping a Deferred's result may call anything.
on_every_driver!(a_closure_that_uses_the_reactor_when_it_is_dropped_meets_no_borrow, |ground| {
    struct Busy(Reactor, Diary);
    impl Drop for Busy {
        fn drop(&mut self) {
            self.0.call_later(Duration::ZERO, |_| {}).cancel().unwrap();
            self.0.call_soon(|_| {});
            let id = self.0.add_trigger(Phase::After, Event::Custom("own"), |_| {});
            self.0.remove_trigger(id).unwrap();
            drop(self.0.open());
            self.1.note("dropped");
        }
    }
    let reactor = bare(ground);
    let diary = Diary::default();
    let busy = || {
        let busy = Busy(reactor.clone(), diary.clone());
        move |_: &Reactor| _ = &busy
    };
    reactor.call_later(Duration::from_secs(1), busy()).cancel().unwrap();
    let id = reactor.add_trigger(Phase::After, Event::Shutdown, busy());
    reactor.remove_trigger(id).unwrap();
    drop(reactor.call_later(Duration::ZERO, busy()));
    reactor.call_soon(busy());
    let kept = Busy(reactor.clone(), diary.clone());
    let task: Deferred<()> = reactor.spawn(async move {
        std::future::pending::<()>().await;
        drop(kept);
    });
    reactor.turn(Some(Duration::ZERO)).unwrap();
    task.cancel();
    task.ignore();
    drop(reactor.call_later(Duration::from_secs(1), busy()));
    reactor.call_soon(busy());
    reactor.close_all();
    assert_eq!(diary.take(), ["dropped"; 7].join(" "));
});
