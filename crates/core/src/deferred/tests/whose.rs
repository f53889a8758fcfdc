//! Which connection a failure belongs to that nobody looked at.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::{Number, NumberResolver, Oops, unhandled};
use crate::deferred::Unhandled;
use crate::driver::Handle;
use crate::testing::{CapturedLog, TestReactor};
use crate::{CloseReason, Protocol, Transport};

/// Resolvers of deferreds whose ends were dropped.
type Kept = Rc<RefCell<Vec<NumberResolver>>>;

/// Makes a deferred for each chunk.
struct Asks {
    kept: Kept,
    made: fn() -> Option<NumberResolver>,
    lost: fn(),
    handle: Rc<RefCell<Option<Handle>>>,
}

impl Protocol for Asks {
    fn data_received(&mut self, transport: &Transport, _data: &[u8]) {
        *self.handle.borrow_mut() = crate::log::context().unwrap().connection;
        self.kept.borrow_mut().extend((self.made)());
        transport.write(b"asked");
    }

    fn connection_lost(&mut self, _transport: &Transport, _reason: &CloseReason) {
        (self.lost)();
    }
}

struct Says;

impl Protocol for Says {
    fn connection_made(&mut self, transport: &Transport) {
        transport.write(b"go");
    }

    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {}
}

fn pending() -> Option<NumberResolver> {
    let (deferred, resolver) = Number::new();
    drop(deferred.map(|value| value + 1));
    Some(resolver)
}

struct Scene {
    reactor: TestReactor,
    kept: Kept,
    handle: Handle,
    client: Transport,
}

/// A connection to a server that has made a deferred in `data_received`.
fn scene(made: fn() -> Option<NumberResolver>, lost: fn()) -> Scene {
    let reactor = TestReactor::new();
    let (kept, handle) = (Kept::default(), Rc::default());
    let (served, at) = (Rc::clone(&kept), Rc::clone(&handle));
    let build = move || Asks { kept: Rc::clone(&served), made, lost, handle: Rc::clone(&at) };
    let port = reactor.listen_tcp("127.0.0.1:0", build).unwrap();
    let connecting = reactor.connect_tcp(port.local_addr(), Says);
    reactor.advance(Duration::from_secs(1));
    let client = connecting.try_take().unwrap().unwrap().transport().clone();
    let handle = handle.take().unwrap();
    Scene { reactor, kept, handle, client }
}

#[track_caller]
fn one(reports: &[Unhandled]) -> &Unhandled {
    let [report] = reports else { panic!("{reports:?}") };
    report
}

#[test]
fn a_failure_names_the_connection_in_whose_callback_its_chain_was_begun() {
    let scene = scene(pending, || {});
    // Failed and dropped outside every callback, and outside the reactor.
    let log = CapturedLog::start();
    let reports = unhandled(|| scene.kept.take().remove(0).fail(Oops::Own(1)));
    let made_in = one(&reports).made_in.clone().unwrap();
    assert_eq!(made_in.callback, "data_received");
    assert_eq!(made_in.connection, Some(scene.handle));
    assert!(made_in.protocol.unwrap().ends_with("whose::Asks"));
    let peer = made_in.peer.clone().unwrap();
    assert_eq!(Some(&peer), scene.client.local_addr().as_ref());
    let shown = reports[0].to_string();
    assert!(shown.contains(&format!(" in Asks{:?} {peer}", scene.handle)), "{shown}");
    let event = &log.take_where(|event| event.name == "unhandled_failure")[0];
    assert_eq!(event.field("conn").unwrap(), format!("{:?}", scene.handle));
    assert!(event.field("protocol").unwrap().ends_with("Asks"));
    assert_eq!(event.field("peer").unwrap(), peer.to_string());
}

#[test]
fn a_step_that_fails_later_in_another_callback_belongs_to_the_one_its_chain_was_begun_in() {
    let scene = scene(
        || {
            let (deferred, resolver) = Number::new();
            drop(deferred.and_then(|value| Err::<i64, _>(Oops::Own(value))));
            Some(resolver)
        },
        || {},
    );
    let resolver = scene.kept.take().remove(0);
    let reports = unhandled(|| {
        scene.reactor.call_later(Duration::ZERO, move |_| resolver.resolve(1));
        scene.reactor.advance(Duration::from_secs(1));
    });
    assert_eq!(one(&reports).made_in.as_ref().unwrap().connection, Some(scene.handle));
}

#[test]
fn what_is_abandoned_with_its_protocol_still_names_protocol_and_peer() {
    let scene = scene(pending, || {});
    let peer = scene.client.local_addr();
    let reports = unhandled(|| {
        // The protocol holds the last reference from here on.
        let Scene { reactor, kept, client, .. } = scene;
        drop(kept);
        client.abort_connection();
        reactor.advance(Duration::from_secs(1));
        drop(reactor);
    });
    let made_in = one(&reports).made_in.as_ref().unwrap();
    assert!(made_in.protocol.unwrap().ends_with("whose::Asks"));
    assert_eq!(made_in.peer, peer);
}

#[test]
fn of_a_connection_that_has_long_ended_the_number_is_left() {
    let scene = scene(pending, || {});
    let resolver = scene.kept.take().remove(0);
    scene.client.abort_connection();
    scene.reactor.advance(Duration::from_secs(1));
    // Others come and go, one of them perhaps in its place.
    for _ in 0..2 {
        let port = scene.reactor.listen_tcp("127.0.0.1:0", || Says).unwrap();
        let connecting = scene.reactor.connect_tcp(port.local_addr(), Says);
        scene.reactor.advance(Duration::from_secs(1));
        connecting.try_take().unwrap().unwrap().transport().abort_connection();
        scene.reactor.advance(Duration::from_secs(1));
    }
    let reports = unhandled(|| resolver.fail(Oops::Own(1)));
    let made_in = one(&reports).made_in.as_ref().unwrap();
    assert_eq!(made_in.connection, Some(scene.handle));
    assert_eq!((made_in.protocol, &made_in.peer), (None, &None));
    // Nor is more known when the reactor is gone.
    let scene = self::scene(pending, || {});
    let resolver = scene.kept.take().remove(0);
    drop(scene.client);
    drop(scene.reactor);
    let reports = unhandled(|| resolver.fail(Oops::Own(1)));
    assert_eq!(one(&reports).made_in.as_ref().unwrap().connection, Some(scene.handle));
}

#[test]
fn a_chain_begun_while_its_connection_ends_names_it() {
    let scene = scene(|| None, || drop(Number::failed(Oops::Own(1))));
    let reports = unhandled(|| {
        scene.client.abort_connection();
        scene.reactor.advance(Duration::from_secs(1));
    });
    let made_in = one(&reports).made_in.as_ref().unwrap();
    assert_eq!(made_in.callback, "connection_lost");
    assert_eq!(made_in.connection, Some(scene.handle));
    assert!(made_in.protocol.is_some());
}

#[test]
fn a_chain_that_is_ready_asks_when_it_fails() {
    thread_local! {
        static LATER: RefCell<Vec<Number>> = const { RefCell::new(Vec::new()) };
    }
    let scene = scene(
        || {
            let end = Number::ready(1).and_then(|value| Err(Oops::Own(value)));
            LATER.with_borrow_mut(|later| later.push(end));
            None
        },
        || {},
    );
    let reports = unhandled(|| drop(LATER.take()));
    assert_eq!(one(&reports).made_in.as_ref().unwrap().connection, Some(scene.handle));
}

#[test]
fn a_chain_begun_in_a_timer_or_outside_belongs_to_no_connection() {
    let reactor = TestReactor::new();
    let reports = unhandled(|| {
        reactor.call_later(Duration::ZERO, |_| drop(Number::failed(Oops::Own(1))));
        reactor.advance(Duration::from_secs(1));
        drop(Number::failed(Oops::Own(2)));
    });
    let made_in = reports[0].made_in.as_ref().unwrap();
    assert_eq!((made_in.callback, made_in.connection), ("timer", None));
    assert_eq!(reports[1].made_in, None);
    assert!(!reports[1].to_string().contains(" in "), "{}", reports[1]);
}
