//! `pipe`: a two-way proxy between two connections, in bounded memory.

use marline_conformance::{Ground, on_every_driver};
use marline_core::flow::pipe;
use marline_core::transport::AlreadyRegistered;
use marline_core::{Reactor, Transport};

use super::kit::{
    Probe, Tape, assert_same, connect, idle, listen_once, open_kinds, pattern, started, turn_until,
};

/// Two clients whose connections end at the same reactor, there to be joined: left ~ a | b ~ right.
struct Joint {
    reactor: Reactor,
    left: Tape,
    right: Tape,
    /// The joint's own ends.
    a: Tape,
    b: Tape,
}

impl Joint {
    fn new(ground: Ground, left: Probe, right: Probe) -> Self {
        let reactor = started(ground);
        let [(left, a), (right, b)] = [left, right].map(|outer| {
            let inner = Probe::new();
            let tapes = (outer.tape(), inner.tape());
            let port = listen_once(&reactor, inner);
            connect(&reactor, &port.local_addr(), outer);
            turn_until(&reactor, "the connection", || tapes.1.is_made());
            port.stop_listening().ignore();
            tapes
        });
        idle(&reactor);
        Self { reactor, left, right, a, b }
    }

    fn join(&self) {
        pipe(&self.a.transport(), b"", &self.b.transport(), b"").unwrap();
    }

    fn until(&self, what: &str, condition: impl FnMut() -> bool) {
        turn_until(&self.reactor, what, condition);
    }
}

on_every_driver!(bytes_go_both_ways_and_left_over_ones_first, |ground| {
    let joint = Joint::new(ground, Probe::new(), Probe::new());
    pipe(&joint.a.transport(), b"left over from a, ", &joint.b.transport(), b"from b, ").unwrap();
    joint.left.transport().write(b"and from the left");
    joint.right.transport().write(b"and from the right");
    joint.until("both", || joint.left.received() == 26 && joint.right.received() == 35);
    assert_eq!(joint.right.bytes(), b"left over from a, and from the left");
    assert_eq!(joint.left.bytes(), b"from b, and from the right");
    for tape in [&joint.a, &joint.b] {
        assert_eq!((tape.story().as_str(), tape.reason().as_str()), ("made lost", "Upgraded"));
    }
});

on_every_driver!(a_reader_that_does_not_read_stops_the_writer_in_bounded_memory, |ground| {
    let sent = pattern(48_000_000);
    let bytes = sent.clone();
    let right = Probe::new().on_made(|transport| transport.pause_reading());
    let joint = Joint::new(ground, Probe::new(), right);
    joint.join();
    joint.left.transport().write(&bytes);
    let (a, b) = (joint.a.transport(), joint.b.transport());
    let mut most = 0;
    for _ in 0..20 {
        idle(&joint.reactor);
        most = most.max(b.pending());
    }
    assert!(joint.left.transport().pending() > 0, "the writer goes on as if nobody were slow");
    assert!(most <= 3 * 65_536, "{most} bytes wait in the joint");
    assert_eq!(a.pending(), 0);
    // The other direction is not held up.
    joint.right.transport().write(b"hello");
    joint.until("the other direction", || joint.left.received() == 5);
    joint.right.transport().resume_reading();
    joint.until("all of it", || joint.right.received() == sent.len());
    assert_same(&joint.right.bytes(), &sent);
});

on_every_driver!(the_end_of_one_stream_is_passed_on_after_everything_before_it, |ground| {
    let sent = pattern(5_000_000);
    let bytes = sent.clone();
    let right = Probe::new().on_read_lost(|transport| {
        transport.write(b"and goodbye");
        transport.lose_connection();
    });
    let joint = Joint::new(ground, Probe::half_close(), right);
    joint.join();
    joint.left.transport().write(&bytes);
    joint.left.transport().lose_write_connection();
    joint.until("both ends", || joint.right.is_lost() && joint.left.has("read_lost"));
    assert_same(&joint.right.bytes(), &sent);
    assert_eq!(joint.left.bytes(), b"and goodbye");
    joint.left.transport().lose_connection();
    joint.until("the last end", || joint.left.is_lost());
    idle(&joint.reactor);
    assert_eq!((joint.left.reason(), joint.right.reason()), ("Done".into(), "Done".into()));
    assert_eq!(open_kinds(&joint.reactor), [""; 0]);
});

on_every_driver!(a_connection_that_closes_closes_the_other_after_delivering_everything, |ground| {
    let sent = pattern(5_000_000);
    let bytes = sent.clone();
    let right = Probe::new().on_made(|transport| transport.pause_reading());
    let joint = Joint::new(ground, Probe::new(), right);
    joint.join();
    joint.left.transport().write(&bytes);
    joint.left.transport().lose_connection();
    idle(&joint.reactor);
    joint.right.transport().resume_reading();
    joint.until("both ends", || joint.right.is_lost() && joint.left.is_lost());
    idle(&joint.reactor);
    assert_same(&joint.right.bytes(), &sent);
    assert_eq!(joint.right.story(), "made data read_lost lost");
    assert_eq!(open_kinds(&joint.reactor), [""; 0]);
});

on_every_driver!(a_connection_that_breaks_aborts_the_other, |ground| {
    let joint = Joint::new(ground, Probe::new(), Probe::new());
    joint.join();
    idle(&joint.reactor);
    joint.left.transport().abort_connection();
    joint.until("both ends", || joint.right.is_lost() && joint.left.is_lost());
    idle(&joint.reactor);
    assert_eq!(joint.right.reason(), "Lost(ConnectionReset)");
    assert_eq!(open_kinds(&joint.reactor), [""; 0]);
});

on_every_driver!(
    a_transport_that_has_a_producer_cannot_be_joined_and_nothing_has_happened,
    |ground| {
        struct Idle;
        impl marline_core::flow::Producer for Idle {
            fn resume_producing(&self) {}
            fn stop_producing(&self) {}
        }
        for first in [true, false] {
            let joint = Joint::new(ground, Probe::new(), Probe::new());
            let (a, b) = (joint.a.transport(), joint.b.transport());
            let busy: &Transport = if first { &a } else { &b };
            busy.register_producer(std::rc::Rc::new(Idle), true).unwrap();
            assert_eq!(pipe(&a, b"x", &b, b"y"), Err(AlreadyRegistered));
            joint.left.transport().write(b"still here");
            joint.until("the bytes", || joint.a.received() == 10);
            assert_eq!((joint.a.story().as_str(), joint.b.story().as_str()), ("made data", "made"));
            busy.unregister_producer();
            pipe(&a, b"", &b, b"").unwrap();
            joint.left.transport().write(b"now");
            joint.until("the bytes", || joint.right.received() == 3);
        }
    }
);

on_every_driver!(joining_with_a_connection_already_lost_ends_the_other, |ground| {
    for first in [true, false] {
        let joint = Joint::new(ground, Probe::new(), Probe::new());
        let (gone, other) = if first { (&joint.a, &joint.right) } else { (&joint.b, &joint.left) };
        gone.transport().abort_connection();
        joint.until("its end", || gone.is_lost());
        joint.join();
        joint.until("the other's end", || other.is_lost());
        idle(&joint.reactor);
        assert_eq!(open_kinds(&joint.reactor), [""; 0]);
    }
});

on_every_driver!(a_connection_that_ends_before_the_hand_over_ends_the_other, |ground| {
    for first in [true, false] {
        let joint = Joint::new(ground, Probe::new(), Probe::new());
        joint.join();
        // The protocols of the pipe are not in charge yet.
        let (gone, other) = if first { (&joint.a, &joint.right) } else { (&joint.b, &joint.left) };
        gone.transport().abort_connection();
        joint.until("the other's end", || other.is_lost());
        idle(&joint.reactor);
        assert_eq!(open_kinds(&joint.reactor), [""; 0]);
    }
});
