//! Reaching a protocol from outside: `Connection::with`, `try_with`, `Transport::then`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use marline_conformance::on_every_driver;
use marline_core::deferred::Deferred;
use marline_core::failure::Failure;
use marline_core::{Connection, Transport, Unavailable};

use super::kit::{Ends, Outcome, Probe};

on_every_driver!(with_runs_now_and_answers_at_once, |ground| {
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    let connection = ends.connected.take().unwrap();
    let outcome = Outcome::of(connection.with(|probe, transport| {
        transport.write(b"written by with");
        probe.number += 1;
        probe.number
    }));
    assert_eq!(outcome.take().unwrap(), 1);
    assert_eq!(connection.try_with(|probe, _| probe.number), Ok(1));
    ends.until("the bytes", |ends| ends.server.received() == 15);
});

on_every_driver!(inside_a_callback_try_with_is_busy_and_with_runs_right_after_it, |ground| {
    let log: Rc<RefCell<Vec<&'static str>>> = Rc::default();
    let notes = Rc::clone(&log);
    let client = Probe::new().on_data(move |transport, _| {
        let connection = transport.connection::<Probe>().unwrap();
        assert_eq!(connection.try_with(|_, _| ()), Err(Unavailable::Busy));
        let (first, second) = (Rc::clone(&notes), Rc::clone(&notes));
        let answer = Rc::clone(&notes);
        connection
            .with(move |probe, transport| {
                probe.number = 7;
                first.borrow_mut().push("first");
                // And again from inside: after this one.
                let connection: Connection<Probe> = transport.connection().unwrap();
                assert_eq!(connection.try_with(|_, _| ()), Err(Unavailable::Busy));
                let third = Rc::clone(&first);
                connection.with(move |_, _| third.borrow_mut().push("third")).ignore();
            })
            .done(move |result| {
                result.unwrap();
                answer.borrow_mut().push("answer");
            });
        connection.with(move |_, _| second.borrow_mut().push("second")).ignore();
        notes.borrow_mut().push("callback");
    });
    let ends = Ends::join(ground, client, Probe::new().on_made(|t| t.write(b"x")));
    ends.until("all of it", |_| log.borrow().len() == 5);
    assert_eq!(*log.borrow(), ["callback", "first", "answer", "second", "third"]);
    let connection = ends.connected.take().unwrap();
    assert_eq!(connection.try_with(|probe, _| probe.number), Ok(7));
});

on_every_driver!(another_connection_is_reached_at_once_from_inside_a_callback, |ground| {
    let other: Rc<RefCell<Option<Connection<Probe>>>> = Rc::default();
    let handle = Rc::clone(&other);
    let server = Probe::new().on_data(move |_, data| {
        let other = handle.borrow().clone().unwrap();
        other
            .try_with(|probe, transport| {
                probe.number += data.len() as u32;
                transport.write(b"thanks");
            })
            .unwrap();
    });
    let ends = Ends::join(ground, Probe::new(), server);
    let connection = ends.connected.take().unwrap();
    *other.borrow_mut() = Some(connection.clone());
    connection.transport().write(b"12345");
    ends.until("the answer", |ends| ends.server.received() == 11);
    assert_eq!(connection.try_with(|probe, _| probe.number), Ok(11));
    other.take();
});

on_every_driver!(a_lost_connection_is_gone_for_all_that_still_wait, |ground| {
    let results: Rc<RefCell<Vec<bool>>> = Rc::default();
    let list = Rc::clone(&results);
    let client = Probe::new().on_data(move |transport, _| {
        let connection = transport.connection::<Probe>().unwrap();
        let answers = Rc::clone(&list);
        // Queued while it stands; when its turn comes it is no more.
        connection.with(|_, _| panic!("must not be called")).done(
            move |result: Result<(), Failure>| {
                let gone = result.unwrap_err();
                answers.borrow_mut().push(gone.check::<Unavailable>() == Some(&Unavailable::Gone));
            },
        );
        transport.abort_connection();
        assert_eq!(connection.try_with(|_, _| ()), Err(Unavailable::Gone));
    });
    let ends = Ends::join(ground, client, Probe::new().on_made(|t| t.write(b"x")));
    ends.until_lost();
    assert_eq!(*results.borrow(), [true]);
    let connection = ends.connected.take().unwrap();
    assert_eq!(connection.try_with(|_, _| ()), Err(Unavailable::Gone));
    let gone = Outcome::of(connection.with(|_, _| ())).take().unwrap_err();
    assert_eq!(gone.check::<Unavailable>(), Some(&Unavailable::Gone));
});

on_every_driver!(closing_connections_are_still_reached, |ground| {
    let ends = Ends::join(ground, Probe::new(), Probe::new().on_made(|t| t.pause_reading()));
    let connection = ends.connected.take().unwrap();
    connection.transport().write(&vec![0; 12_000_000]);
    connection.transport().lose_connection();
    ends.idle();
    assert_eq!(connection.try_with(|probe, _| probe.number), Ok(0));
    assert_eq!(ends.client.story(), "made");
});

on_every_driver!(a_panic_inside_with_ends_that_connection, |ground| {
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    let connection = ends.connected.take().unwrap();
    let result = Outcome::of(connection.with::<()>(|_, _| panic!("inside with")));
    ends.until_lost();
    assert!(result.take().is_err());
    assert_eq!(
        (ends.client.story().as_str(), ends.client.reason().as_str()),
        ("made lost", "Panicked(inside with)")
    );
    assert_eq!(ends.server.reason(), "Lost(ConnectionReset)");
});

// ---- then

on_every_driver!(then_goes_on_inside_the_protocol_when_the_result_is_there, |ground| {
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    let (deferred, resolver) = Deferred::<u32>::new();
    let transport = ends.client.transport();
    transport.then(deferred, |probe: &mut Probe, result, transport| {
        probe.number = result.unwrap();
        transport.write(b"done");
    });
    ends.reactor.call_soon(move |_| resolver.resolve(5));
    ends.until("the bytes", |ends| ends.server.received() == 4);
    let connection = ends.connected.take().unwrap();
    assert_eq!(connection.try_with(|probe, _| probe.number), Ok(5));
});

on_every_driver!(then_fired_from_inside_a_callback_of_the_protocol_runs_after_it, |ground| {
    let (inside, ran) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(false)));
    let (outer, flag) = (Rc::clone(&inside), Rc::clone(&ran));
    let client = Probe::new().on_data(move |transport, _| {
        outer.set(true);
        let (deferred, resolver) = Deferred::<()>::new();
        let (busy, flag) = (Rc::clone(&outer), Rc::clone(&flag));
        transport.then(deferred, move |_: &mut Probe, _, _| {
            assert!(!busy.get());
            flag.set(true);
        });
        resolver.resolve(());
        // One that is there already, too.
        transport.then(Deferred::<()>::ready(()), |probe: &mut Probe, _, _| probe.number += 1);
        outer.set(false);
    });
    let ends = Ends::join(ground, client, Probe::new().on_made(|t| t.write(b"x")));
    ends.until("it", |_| ran.get());
    let connection = ends.connected.take().unwrap();
    assert_eq!(connection.try_with(|probe, _| probe.number), Ok(1));
});

on_every_driver!(then_is_dropped_unheard_once_the_connection_is_lost, |ground| {
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    let held = Rc::new(());
    let (deferred, resolver) = Deferred::<()>::new();
    let captured = Rc::clone(&held);
    ends.client.transport().then(deferred, move |_: &mut Probe, _, _: &Transport| {
        drop(captured);
        panic!("must not be called");
    });
    ends.client.transport().lose_connection();
    ends.until_lost();
    resolver.resolve(());
    ends.idle();
    assert_eq!(Rc::strong_count(&held), 1, "and what it held is dropped");
    assert_eq!(ends.client.reason(), "Done");
});
