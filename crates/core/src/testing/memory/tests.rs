//! The in-memory transport: what it shows of the engine's promises, and what the test can do as the peer.

use std::any::Any;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::driver::SocketOption;
use crate::failure::Failure;
use crate::flow::{Producer, pipe};
use crate::layer::{Layer, LayerIo};
use crate::protocol::from_fn;
use crate::testing::{CapturedLog, assert_no_result, success_result_of};
use crate::{Time, Unavailable};

type Notes = Rc<RefCell<Vec<String>>>;

/// Notes what it is told, and does what a script says when data comes.
struct Notebook {
    notes: Notes,
    on_made: fn(&Transport),
    on_data: fn(&Transport, &[u8]),
    keeps_writing: bool,
}

impl Notebook {
    fn new(on_data: fn(&Transport, &[u8])) -> (Self, Notes) {
        let notes = Notes::default();
        let keeps_writing = false;
        (Self { notes: Rc::clone(&notes), on_made: |_| {}, on_data, keeps_writing }, notes)
    }

    fn note(&self, text: impl Into<String>) {
        self.notes.borrow_mut().push(text.into());
    }
}

impl Protocol for Notebook {
    fn connection_made(&mut self, transport: &Transport) {
        self.note("made");
        (self.on_made)(transport);
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        self.note(format!("data {}", data.escape_ascii()));
        (self.on_data)(transport, data);
        self.note("done");
    }

    fn read_connection_lost(&mut self, transport: &Transport) {
        self.note("read lost");
        if !self.keeps_writing {
            transport.lose_connection();
        }
    }

    fn write_connection_lost(&mut self, _: &Transport) {
        self.note("write lost");
    }

    fn writable(&mut self, _: &Transport) {
        self.note("writable");
    }

    fn connection_lost(&mut self, _: &Transport, reason: &CloseReason) {
        self.note(format!("lost: {reason}"));
    }
}

fn connect(on_data: fn(&Transport, &[u8])) -> (MemoryTransport<Notebook>, Notes) {
    let (protocol, notes) = Notebook::new(on_data);
    (MemoryTransport::connect(protocol), notes)
}

fn take(notes: &Notes) -> Vec<String> {
    notes.take()
}

// ---- data and closing

#[test]
fn what_arrives_is_told_and_what_is_written_is_seen() {
    let (peer, notes) = connect(|transport, data| transport.write_sequence([b"<", data, b">"]));
    peer.receive(b"one");
    peer.receive_bytewise(b"ab");
    assert_eq!(take(&notes), ["made", "data one", "done", "data a", "done", "data b", "done"]);
    assert_eq!(peer.written(), b"<one><a><b>");
    assert_eq!(peer.take_written(), b"<one><a><b>");
    assert_eq!(peer.written(), b"");
    assert!(peer.is_open() && peer.reason().is_none());
}

#[test]
fn a_large_piece_arrives_in_order_and_whole() {
    let (peer, notes) = connect(|transport, data| transport.write(data));
    let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    peer.receive(&bytes);
    assert!(peer.take_written() == bytes);
    assert_eq!(notes.borrow().iter().filter(|note| *note == "done").count(), 4);
}

#[test]
fn closing_delivers_what_was_written_and_is_told_after_the_callback() {
    let (peer, notes) = connect(|transport, _| {
        transport.write(b"bye");
        transport.lose_connection();
        transport.write(b"too late");
    });
    peer.receive(b"x");
    assert_eq!(take(&notes), ["made", "data x", "done", "lost: closed cleanly"]);
    assert_eq!(peer.written(), b"bye");
    assert!(!peer.is_open() && !peer.is_closing() && !peer.is_aborted() && peer.is_write_closed());
    peer.receive(b"nobody hears this");
    assert_eq!(take(&notes), [""; 0]);
}

#[test]
fn aborting_drops_what_the_same_callback_wrote() {
    let (peer, notes) = connect(|transport, _| {
        transport.write(b"dropped");
        transport.abort_connection();
    });
    peer.receive(b"x");
    assert_eq!(take(&notes), ["made", "data x", "done", "lost: aborted by this side"]);
    assert_eq!(peer.written(), b"");
    assert!(peer.is_aborted());
}

#[test]
fn the_end_of_the_peers_stream_closes_unless_the_protocol_goes_on() {
    let (peer, notes) = connect(|_, _| {});
    peer.end_of_stream();
    assert_eq!(take(&notes), ["made", "read lost", "lost: closed cleanly"]);

    let (mut protocol, notes) = Notebook::new(|_, _| {});
    protocol.keeps_writing = true;
    let peer = MemoryTransport::connect(protocol);
    peer.end_of_stream();
    peer.transport().write(b"still here");
    peer.transport().lose_write_connection();
    assert_eq!(peer.written(), b"still here");
    assert_eq!(take(&notes), ["made", "read lost", "write lost", "lost: closed cleanly"]);
}

#[test]
fn a_half_close_leaves_the_other_direction_open() {
    let (peer, notes) = connect(|transport, _| transport.lose_write_connection());
    peer.receive(b"1");
    assert!(peer.is_write_closed() && peer.is_open());
    peer.receive(b"2");
    assert_eq!(take(&notes), ["made", "data 1", "done", "write lost", "data 2", "done"]);
    peer.transport().write(b"no longer");
    assert_eq!(peer.written(), b"");
}

#[test]
fn a_connection_that_breaks_is_told_once_with_the_error() {
    let (peer, notes) = connect(|_, _| {});
    peer.lose(ErrorKind::ConnectionReset);
    peer.lose(ErrorKind::TimedOut);
    peer.transport().abort_connection();
    peer.settle();
    assert_eq!(take(&notes), ["made", "lost: connection lost: connection reset"]);
    assert!(
        matches!(peer.reason(), Some(CloseReason::Lost(error)) if error.kind() == ErrorKind::ConnectionReset)
    );
    assert!(!peer.is_aborted());
}

#[test]
fn dropping_it_ends_the_connection() {
    let (peer, notes) = connect(|_, _| {});
    drop(peer);
    assert_eq!(take(&notes), ["made", "lost: the reactor stopped"]);
}

#[test]
fn a_connection_lost_inside_connection_made_has_its_reason() {
    let (mut protocol, notes) = Notebook::new(|_, _| {});
    protocol.on_made = Transport::abort_connection;
    let peer = MemoryTransport::connect(protocol);
    assert!(matches!(peer.reason(), Some(CloseReason::Aborted)));
    assert_eq!(take(&notes), ["made", "lost: aborted by this side"]);
}

#[test]
#[should_panic(expected = "after the end of its stream")]
fn a_peer_that_has_ended_its_stream_cannot_send() {
    let (peer, _notes) = connect(|_, _| {});
    peer.end_of_stream();
    peer.receive(b"x");
}

#[test]
#[should_panic(expected = "after the end of its stream")]
fn a_peer_whose_connection_broke_cannot_send() {
    let (peer, _notes) = connect(|_, _| {});
    peer.lose(ErrorKind::ConnectionReset);
    peer.receive(b"x");
}

// ---- pausing, giving back, handing over

#[test]
fn while_paused_nothing_arrives_and_on_resume_all_does_in_order() {
    let (peer, notes) = connect(|transport, data| {
        if data == b"1" {
            transport.pause_reading();
        }
    });
    peer.receive(b"1");
    peer.receive(b"2");
    peer.end_of_stream();
    assert!(peer.is_paused());
    assert_eq!(take(&notes), ["made", "data 1", "done"]);
    peer.transport().resume_reading();
    assert_eq!(take(&notes), [""; 0], "resuming calls nobody");
    assert!(!peer.is_paused());
    assert_eq!(take(&notes), ["data 2", "done", "read lost", "lost: closed cleanly"]);

    let (peer, _notes) = connect(|transport, _| transport.pause_reading());
    peer.receive(b"1");
    peer.receive(b"destroyed");
    peer.transport().write(b"seen");
    peer.settle();
    peer.lose(ErrorKind::ConnectionReset);
    assert!(!peer.is_paused() && peer.reason().is_some());
    assert_eq!(peer.written(), b"seen");
}

#[test]
fn bytes_given_back_come_again_before_others() {
    let (peer, notes) = connect(|transport, data| {
        if data.len() < 4 {
            transport.unread(data);
        }
    });
    peer.receive(b"ab");
    peer.receive(b"cd");
    assert_eq!(take(&notes), ["made", "data ab", "done", "data abcd", "done"]);
}

#[test]
fn a_protocol_hands_over_with_the_bytes_it_did_not_use() {
    let (protocol, notes) = Notebook::new(|transport, data| {
        let (next, rest) = (Notebook::new(|transport, data| transport.write(data)).0, &data[1..]);
        transport.upgrade(next, rest);
    });
    let peer = MemoryTransport::connect(protocol);
    peer.receive(b"!rest");
    assert_eq!(
        take(&notes),
        ["made", "data !rest", "done", "lost: handed over to another protocol"]
    );
    assert_eq!(peer.take_written(), b"rest");
    // The connection's type is the first protocol's; both are notebooks.
    peer.with(|notebook, _| assert_eq!(*notebook.notes.borrow(), ["made", "data rest", "done"]));
    assert!(peer.is_open() && peer.reason().is_none());
}

#[test]
fn no_transport_method_calls_the_protocol_before_the_callback_is_over() {
    let (peer, notes) = connect(|transport, _| {
        transport.pause_reading();
        transport.unread(b"u");
        transport.resume_reading();
        transport.notify_writable();
        transport.lose_write_connection();
        transport.lose_connection();
        transport.abort_connection();
    });
    peer.receive(b"x");
    assert_eq!(take(&notes), ["made", "data x", "done", "lost: aborted by this side"]);
}

// ---- output that has to wait

/// Counts what it is asked.
#[derive(Default)]
struct Source {
    notes: Notes,
    /// What a pull producer writes, piece by piece.
    pieces: RefCell<Vec<&'static [u8]>>,
    transport: RefCell<Option<Transport>>,
}

impl Producer for Source {
    fn resume_producing(&self) {
        self.notes.borrow_mut().push("resume".into());
        let Some(transport) = self.transport.borrow().clone() else { return };
        let piece = self.pieces.borrow_mut().pop();
        match piece {
            Some(piece) => transport.write(piece),
            None => transport.unregister_producer(),
        }
    }

    fn pause_producing(&self) {
        self.notes.borrow_mut().push("pause".into());
    }

    fn stop_producing(&self) {
        self.notes.borrow_mut().push("stop".into());
    }
}

#[test]
fn a_push_producer_is_paused_when_the_peer_does_not_read_and_resumed_when_it_does() {
    let (peer, _notes) = connect(|_, _| {});
    let source = Rc::new(Source::default());
    peer.set_window(1000);
    peer.transport().register_producer(Rc::clone(&source) as Rc<dyn Producer>, true).unwrap();
    peer.transport().write(&[b'x'; 60_000]);
    assert_eq!(peer.written().len(), 1000);
    assert_eq!(peer.transport().pending(), 59_000);
    assert_eq!(take(&source.notes), [""; 0]);
    peer.transport().write(&[b'y'; 10_000]);
    peer.settle();
    assert_eq!(take(&source.notes), ["pause"]);
    assert_eq!(peer.drain().len(), 70_000);
    assert_eq!(take(&source.notes), ["resume"]);
    peer.transport().lose_connection();
    assert!(peer.is_closing(), "it waits for its producer");
    peer.lose(ErrorKind::ConnectionReset);
    assert_eq!(take(&source.notes), ["stop"]);
}

#[test]
fn a_pull_producer_is_asked_whenever_the_peer_has_taken_everything() {
    let (peer, _notes) = connect(|_, _| {});
    let source = Rc::new(Source::default());
    *source.pieces.borrow_mut() = vec![b"three", b"second", b"first"];
    *source.transport.borrow_mut() = Some(peer.transport().clone());
    peer.set_window(3);
    peer.transport().register_producer(Rc::clone(&source) as Rc<dyn Producer>, false).unwrap();
    peer.transport().lose_connection();
    assert_eq!(peer.written(), b"fir");
    assert_eq!(take(&source.notes), ["resume"]);
    assert!(peer.is_closing());
    assert_eq!(peer.drain(), b"firstsecondthree");
    assert_eq!(take(&source.notes), ["resume"; 3]);
    assert!(matches!(peer.reason(), Some(CloseReason::Done)));
    source.transport.take();
}

#[test]
fn closing_waits_for_the_peer_to_take_what_was_written() {
    let (peer, notes) = connect(|_, _| {});
    peer.set_window(2);
    peer.transport().write(b"abcdef");
    peer.transport().notify_writable();
    peer.transport().lose_connection();
    assert!(peer.is_closing() && !peer.is_open());
    assert_eq!(peer.take_written(), b"ab");
    assert_eq!(peer.take_written(), b"cd");
    assert!(peer.reason().is_some());
    assert_eq!(peer.take_written(), b"ef");
    assert_eq!(take(&notes).last().unwrap(), "lost: closed cleanly");
}

#[test]
fn writable_is_told_once_when_all_has_left() {
    let (peer, notes) = connect(|_, _| {});
    peer.set_window(4);
    peer.transport().write(b"abcdef");
    peer.transport().notify_writable();
    assert_eq!(peer.written(), b"abcd");
    assert_eq!(take(&notes), ["made"]);
    assert_eq!(peer.drain(), b"abcdef");
    assert_eq!(take(&notes), ["writable"]);
}

// ---- layers

/// Turns every byte round in the case of letters; `#` from below ends the stream, `!` breaks the layer.
struct Swap;

impl Layer for Swap {
    fn name(&self) -> &'static str {
        "swap"
    }

    fn start(&mut self, io: &mut LayerIo) -> Result<(), Failure> {
        io.down.extend_from_slice(b"[");
        Ok(())
    }

    fn incoming(&mut self, wire: &[u8], io: &mut LayerIo) -> Result<(), Failure> {
        for byte in wire {
            match byte {
                b'#' => io.end = true,
                b'!' => return Err(Failure::msg("bad byte")),
                byte => io.up.push(byte ^ 0x20),
            }
        }
        Ok(())
    }

    fn outgoing(&mut self, plain: &[u8], io: &mut LayerIo) -> Result<(), Failure> {
        io.down.extend(plain.iter().map(|byte| byte ^ 0x20));
        Ok(())
    }

    fn closing(&mut self, io: &mut LayerIo) -> Result<(), Failure> {
        io.down.extend_from_slice(b"]");
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[test]
fn a_layer_lies_below_every_handle_from_when_it_was_started() {
    let (peer, notes) = connect(|transport, data| {
        if data == b"start" {
            transport.write(b"ok ");
            transport.start_layer(Swap, b"REST");
        } else {
            transport.write(b"heard");
        }
    });
    peer.receive(b"start");
    assert_eq!(take(&notes), ["made", "data start", "done", "data rest", "done"]);
    assert_eq!(peer.take_written(), b"ok [HEARD");
    assert_eq!(peer.transport().with_layer::<Swap, _>(|layer| layer.name()), Some("swap"));
    peer.receive(b"END#");
    assert_eq!(take(&notes), ["data end", "done", "read lost", "lost: closed cleanly"]);
    assert_eq!(peer.written(), b"HEARD]");
}

#[test]
fn a_layer_that_fails_ends_the_connection_with_its_reason() {
    let (peer, notes) = connect(|transport, _| transport.start_layer(Swap, b""));
    peer.receive(b"start");
    peer.receive(b"!");
    assert!(
        matches!(peer.reason(), Some(CloseReason::Failed(failure)) if failure.to_string() == "bad byte")
    );
    assert_eq!(take(&notes).last().unwrap(), "lost: bad byte");
}

// ---- time, handles, addresses

#[test]
fn timers_run_in_order_each_at_its_own_time() {
    let (peer, _notes) = connect(|_, _| {});
    let start = peer.reactor().now();
    let times = Rc::<RefCell<Vec<Time>>>::default();
    for seconds in [2, 1] {
        let times = Rc::clone(&times);
        peer.reactor().call_later(Duration::from_secs(seconds), move |reactor| {
            times.borrow_mut().push(reactor.now());
            reactor.call_later(Duration::from_millis(1500), move |reactor| {
                times.borrow_mut().push(reactor.now());
            });
        });
    }
    peer.advance(Duration::from_secs(3));
    let seen: Vec<_> = times.borrow().iter().map(|at| at.since(start).as_millis()).collect();
    assert_eq!(seen, [1000, 2000, 2500]);
    assert_eq!(peer.reactor().now().since(start), Duration::from_secs(3));
    peer.advance(Duration::from_secs(60));
    assert_eq!(times.borrow().len(), 4);
}

#[test]
#[should_panic(expected = "still busy after")]
fn a_call_that_schedules_itself_without_delay_is_noticed() {
    fn again(reactor: &Reactor) {
        reactor.call_soon(again);
    }
    let (peer, _notes) = connect(|_, _| {});
    again(peer.reactor());
    peer.settle();
}

#[test]
fn moving_the_clock_from_inside_a_callback_runs_nothing_before_it_ends() {
    let (protocol, _notes) = Notebook::new(|_, _| {});
    let peer = Rc::new(MemoryTransport::connect(protocol));
    let order = Notes::default();
    let (inside, first, second) = (Rc::clone(&peer), Rc::clone(&order), Rc::clone(&order));
    peer.reactor()
        .call_later(Duration::from_secs(1), move |_| second.borrow_mut().push("timer".into()));
    peer.reactor().call_soon(move |_| {
        inside.advance(Duration::from_secs(5));
        first.borrow_mut().push("callback".into());
    });
    peer.settle();
    assert_eq!(take(&order), ["callback", "timer"]);
}

#[test]
fn with_from_inside_a_callback_waits_for_its_end() {
    let (peer, notes) = connect(|transport, _| {
        let connection = transport.connection::<Notebook>().unwrap();
        assert_eq!(connection.try_with(|_, _| ()), Err(Unavailable::Busy));
        let later = connection.with(|notebook, _| notebook.note("with"));
        assert_no_result(&later);
        later.ignore();
    });
    peer.receive(b"x");
    assert_eq!(take(&notes), ["made", "data x", "done", "with"]);
    assert_eq!(success_result_of(peer.connection().with(|_, _| 7)), 7);
}

#[test]
fn addresses_and_options_are_told() {
    let (protocol, _notes) = Notebook::new(|_, _| {});
    let local = Addr::Named("here".into());
    let peer =
        MemoryTransport::connect_between(protocol, local.clone(), ([10, 0, 0, 9].into(), 25));
    assert_eq!(peer.transport().local_addr(), Some(local));
    assert_eq!(peer.transport().peer_addr().to_string(), "10.0.0.9:25");
    assert!(peer.transport().no_delay().unwrap());
    peer.transport().set_no_delay(false).unwrap();
    peer.transport().set_keep_alive(true).unwrap();
    assert!(!peer.transport().no_delay().unwrap() && peer.transport().keep_alive().unwrap());
    peer.transport().abort_connection();
    assert_eq!(peer.transport().local_addr(), None);
    assert_eq!(peer.transport().peer_addr().port(), 25);
    assert!(peer.transport().raw().option(SocketOption::NoDelay(true)).is_err());
}

#[test]
fn the_protocol_of_a_factory_comes_with_its_layers_or_not_at_all() {
    let mut factory = from_fn(|link| {
        assert_eq!(link.local().map(|addr| addr.port()), Some(80));
        link.add_layer(Swap);
        (link.peer().port() == 50_000)
            .then(|| Notebook::new(|transport, data| transport.write(data)).0)
    });
    let peer = MemoryTransport::accept(&mut factory).unwrap();
    peer.receive(b"ABC");
    assert_eq!(peer.written(), b"[ABC");
    peer.with(|notebook, _| assert_eq!(take(&notebook.notes), ["made", "data abc", "done"]));
    assert!(MemoryTransport::accept(&mut from_fn(|_| None::<Notebook>)).is_none());
}

#[test]
fn two_connections_on_one_reactor_can_be_piped_with_back_pressure() {
    let (one, _notes) = connect(|_, _| {});
    let other = one.beside(Notebook::new(|_, _| {}).0);
    assert_eq!(other.transport().peer_addr().port(), 50_001);
    other.set_window(1000);
    pipe(one.transport(), b"first ", other.transport(), b"").unwrap();
    one.receive(b"second ");
    assert_eq!(other.take_written(), b"first second ");

    let mut sent = 0;
    while !one.is_paused() {
        one.receive(&[b'x'; 10_000]);
        sent += 10_000;
        assert!(sent <= 80_000, "the slow side is not felt");
    }
    one.receive(b"last");
    one.end_of_stream();
    assert!(other.drain().ends_with(b"xlast"));
    assert!(!one.is_paused() && other.is_write_closed() && other.is_open());
    other.lose(ErrorKind::ConnectionReset);
    assert!(one.is_aborted());
}

#[test]
fn dropping_one_of_two_ends_its_connection_alone() {
    let (one, notes) = connect(|_, _| {});
    let other = one.beside(Notebook::new(|_, _| {}).0);
    drop(one);
    assert_eq!(take(&notes), ["made", "lost: the reactor stopped"]);
    assert!(other.is_open());
}

// ---- panics

#[test]
fn a_protocol_that_panics_ends_its_connection_alone() {
    let log = CapturedLog::start();
    let (peer, notes) = connect(|_, _| panic!("no good"));
    peer.receive(b"x");
    assert!(
        matches!(peer.reason(), Some(CloseReason::Panicked(message)) if &*message == "no good")
    );
    assert!(peer.is_aborted());
    assert_eq!(take(&notes).last().unwrap(), "lost: the protocol panicked: no good");
    assert_eq!(log.take_errors().len(), 1);
}

#[test]
#[should_panic(expected = "Notebook panicked: an assertion of the protocol's")]
fn a_panic_that_nobody_asked_about_fails_the_test_at_its_end() {
    let (peer, _notes) = connect(|_, _| panic!("an assertion of the protocol's"));
    peer.receive(b"x");
}

#[test]
fn an_assertion_about_the_protocol_fails_the_test_with_its_own_message() {
    let (peer, _notes) = connect(|_, _| {});
    let failed = catch_unwind(AssertUnwindSafe(|| peer.with(|_, _| panic!("as it is"))));
    assert_eq!(failed.unwrap_err().downcast_ref::<String>().unwrap(), "as it is");
}
