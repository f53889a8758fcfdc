//! Files and moved buffers through layers: read in chunks, one at a time, in order with everything else.

use std::any::Any;
use std::cell::Cell;
use std::rc::Rc;

use marline_conformance::on_every_driver;
use marline_core::failure::Failure;
use marline_core::layer::{Layer, LayerIo};
use marline_core::protocol::from_fn;
use marline_core::{Protocol, Transport};

use super::{file, sent, sparse, word};
use crate::streams::kit::{Ends, Outcome, Probe, assert_same, pattern, started, turn_until};

/// Flips all bits, both ways.
#[derive(Clone, Default)]
struct Flip {
    passed: Rc<Cell<u64>>,
    largest: Rc<Cell<usize>>,
}

impl Layer for Flip {
    fn name(&self) -> &'static str {
        "flip"
    }

    fn incoming(&mut self, wire: &[u8], io: &mut LayerIo) -> Result<(), Failure> {
        io.up.extend(wire.iter().map(|byte| !byte));
        Ok(())
    }

    fn outgoing(&mut self, plain: &[u8], io: &mut LayerIo) -> Result<(), Failure> {
        self.passed.set(self.passed.get() + plain.len() as u64);
        self.largest.set(self.largest.get().max(plain.len()));
        io.down.extend(plain.iter().map(|byte| !byte));
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

on_every_driver!(files_and_buffers_pass_the_layers_in_order, |ground| {
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    let (client, server) = (ends.client.transport(), ends.server.transport());
    client.start_layer(Flip::default(), &[]);
    server.start_layer(Flip::default(), &[]);
    let mut expected = Vec::new();
    let mut outcomes = Vec::new();
    for size in [0, 1, 65_536, 65_537, 500_000] {
        client.write(b"<");
        outcomes.push((size, sent(client.send_file(file(size), 0, size as u64))));
        client.write_owned(vec![7; 5000]);
        client.write_sequence([vec![8; 3000], vec![9; 3000]]);
        expected.push(b'<');
        expected.extend_from_slice(&pattern(size));
        expected.extend([vec![7; 5000], vec![8; 3000], vec![9; 3000]].concat());
    }
    assert_eq!(client.pending(), expected.len());
    client.lose_connection();
    ends.until_lost();
    assert_same(&ends.server.bytes(), &expected);
    for (size, outcome) in outcomes {
        assert_eq!(outcome.take().unwrap(), size as u64);
    }
});

on_every_driver!(a_layer_added_behind_a_file_changes_what_follows_it_only, |ground| {
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    let client = ends.client.transport();
    let first = sent(client.send_file(file(400_000), 0, 400_000));
    client.start_layer(Flip::default(), &[]);
    client.write(b"flipped");
    let second = sent(client.send_file(file(100_000), 0, 100_000));
    client.write_owned(vec![0; 4000]);
    ends.until("all", |ends| ends.server.received() == 504_007);
    let flipped = |bytes: &[u8]| bytes.iter().map(|byte| !byte).collect::<Vec<_>>();
    let expected =
        [pattern(400_000), flipped(b"flipped"), flipped(&pattern(100_000)), flipped(&[0; 4000])];
    assert_same(&ends.server.bytes(), &expected.concat());
    assert_eq!((first.take().unwrap(), second.take().unwrap()), (400_000, 100_000));
});

on_every_driver!(a_short_file_fails_and_what_is_behind_it_passes, |ground| {
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    let client = ends.client.transport();
    client.start_layer(Flip::default(), &[]);
    let outcome = sent(client.send_file(file(100_000), 0, 200_000));
    client.write(b"after");
    client.notify_writable();
    ends.until("all", |ends| ends.server.received() == 100_005 && outcome.is_there());
    let error = outcome.take().unwrap_err();
    assert_eq!((error.sent, word(&error.cause)), (100_000, "File(UnexpectedEof)".into()));
    ends.until("writable", |ends| ends.client.has("writable"));
    // Nothing behind it: the end of waiting is told all the same.
    let outcome = sent(client.send_file(file(0), 0, 10));
    client.lose_connection();
    ends.until_lost();
    assert_eq!(outcome.take().unwrap_err().sent, 0);
    assert_eq!(ends.client.reason(), "Done");
});

on_every_driver!(an_abort_drops_a_file_before_the_layers, |ground| {
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    let client = ends.client.transport();
    client.start_layer(Flip::default(), &[]);
    ends.server.transport().pause_reading();
    let outcome = sent(client.send_file(sparse(1 << 30), 0, 1 << 30));
    ends.idle();
    client.abort_connection();
    ends.until("the failure", |_| outcome.is_there());
    let error = outcome.take().unwrap_err();
    assert!(error.sent > 0 && error.sent < 1 << 30);
    assert_eq!(word(&error.cause), "Connection(aborted by this side)");
});

// Counted, not measured: what is in memory is what waits to leave, less what of the file has not been read.
on_every_driver!(a_long_file_to_a_slow_reader_takes_a_chunk_of_memory, |ground| {
    struct Slow(Rc<Cell<u64>>);
    impl Protocol for Slow {
        fn data_received(&mut self, transport: &Transport, data: &[u8]) {
            self.0.set(self.0.get() + data.len() as u64);
            transport.pause_reading();
            let transport = transport.clone();
            let reactor = transport.reactor().unwrap();
            reactor.call_soon(move |_| transport.resume_reading());
        }
    }
    let size: u64 = if ground.is_simulated() { 8 << 20 } else { 256 << 20 };
    let reactor = started(ground);
    let received = Rc::new(Cell::new(0));
    let counter = Rc::clone(&received);
    let slow = from_fn(move |_| Some(Slow(Rc::clone(&counter))));
    let port = reactor.listen_tcp("127.0.0.1:0", slow).unwrap();
    let client = Probe::new();
    let tape = client.tape();
    let connected = Outcome::of(reactor.connect_tcp(port.local_addr(), client));
    turn_until(&reactor, "the connection", || connected.is_there());
    let transport = tape.transport();
    let flip = Flip::default();
    transport.start_layer(flip.clone(), &[]);
    let outcome = sent(transport.send_file(sparse(size), 0, size));
    let mut most = 0;
    while received.get() < size {
        reactor.turn(Some(std::time::Duration::from_millis(100))).unwrap();
        most = most.max(transport.pending() as u64 + flip.passed.get() - size);
    }
    turn_until(&reactor, "the answer", || outcome.is_there());
    assert_eq!(outcome.take().unwrap(), size);
    assert!(most <= 65_536 && flip.largest.get() <= 65_536, "{most}, {}", flip.largest.get());
});
