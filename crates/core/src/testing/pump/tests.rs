//! The pump: that bytes arrive however they are cut, that ends and resets arrive in order, and that memory is bounded.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::*;
use crate::flow::Producer;
use crate::{CloseReason, Transport};

/// Says something at once, keeps what it hears, and may close when it has heard enough.
#[derive(Default)]
struct Speaker {
    says: Vec<u8>,
    heard: Rc<RefCell<Vec<u8>>>,
    pieces: Rc<RefCell<Vec<usize>>>,
    end: Rc<RefCell<Vec<String>>>,
    half_closes: bool,
    goes_on_after_end: bool,
    closes_at: Option<usize>,
}

impl Speaker {
    fn saying(says: &[u8]) -> Self {
        Self { says: says.to_vec(), ..Self::default() }
    }
}

impl Protocol for Speaker {
    fn connection_made(&mut self, transport: &Transport) {
        transport.write(&self.says);
        if self.half_closes {
            transport.lose_write_connection();
        }
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        self.heard.borrow_mut().extend_from_slice(data);
        self.pieces.borrow_mut().push(data.len());
        if self.closes_at.is_some_and(|len| self.heard.borrow().len() >= len) {
            transport.lose_connection();
        }
    }

    fn read_connection_lost(&mut self, transport: &Transport) {
        self.end.borrow_mut().push("read lost".into());
        if !self.goes_on_after_end {
            transport.lose_connection();
        }
    }

    fn connection_lost(&mut self, _: &Transport, reason: &CloseReason) {
        self.end.borrow_mut().push(reason.to_string());
    }
}

#[test]
fn nothing_moves_before_the_first_step_and_one_step_carries_one_chunk_each_way() {
    let mut pump =
        Pump::new(Speaker::saying(b"abc"), Speaker::saying(b"12")).chunks(Chunks::Bytewise);
    assert_eq!(pump.server().with(|server, _| server.heard.borrow().len()), 0);
    assert!(pump.step());
    assert_eq!(pump.server().with(|server, _| server.heard.borrow().clone()), b"a");
    assert_eq!(pump.client().with(|client, _| client.heard.borrow().clone()), b"1");
    assert_eq!(pump.client().written(), b"bc");
    assert!(pump.step() && pump.step() && !pump.step());
}

#[test]
fn chunks_are_cut_as_told() {
    let pieces = |chunks| {
        let mut pump = Pump::new(Speaker::saying(&[0; 12]), Speaker::default()).chunks(chunks);
        pump.run();
        pump.server().with(|server, _| server.pieces.borrow().clone())
    };
    assert_eq!(pieces(Chunks::Whole), [12]);
    assert_eq!(pieces(Chunks::Bytewise), [1; 12]);
    assert_eq!(pieces(Chunks::Sizes(vec![1, 4])), [1, 4, 1, 4, 1, 1]);
    assert_eq!(pieces(Chunks::Random(3)), pieces(Chunks::Random(3)));
    assert_ne!(pieces(Chunks::Random(3)), pieces(Chunks::Random(4)));
}

#[test]
#[should_panic(expected = "sizes of chunks: [1, 0]")]
fn a_chunk_of_no_bytes_is_refused() {
    let _ = Pump::new(Speaker::default(), Speaker::default()).chunks(Chunks::Sizes(vec![1, 0]));
}

#[test]
fn whatever_the_cuts_both_hear_all_in_order() {
    let text: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
    for seed in 0..20 {
        let (client, server) = (Speaker::saying(&text), Speaker::saying(&text[7..]));
        let mut pump = Pump::new(client, server).chunks(Chunks::Random(seed));
        pump.run();
        assert!(pump.server().with(|server, _| *server.heard.borrow() == text));
        assert!(pump.client().with(|client, _| *client.heard.borrow() == text[7..]));
    }
}

#[test]
fn a_half_close_follows_the_bytes_before_it_and_leaves_the_way_back() {
    let mut client = Speaker { half_closes: true, ..Speaker::saying(b"request") };
    let server = Speaker { goes_on_after_end: true, ..Speaker::default() };
    let (heard, end) = (Rc::clone(&server.heard), Rc::clone(&server.end));
    client.goes_on_after_end = false;
    let answer = Rc::clone(&client.heard);
    let mut pump = Pump::new(client, server).chunks(Chunks::Bytewise);
    assert!(!pump.run_for(7));
    assert_eq!((&heard.borrow()[..], end.borrow().len()), (&b"request"[..], 0));
    pump.run();
    assert_eq!(*end.borrow(), ["read lost"]);
    pump.server().transport().write(b"answer");
    pump.server().transport().lose_connection();
    pump.run();
    assert_eq!(*answer.borrow(), b"answer");
    assert_eq!(*end.borrow(), ["read lost", "closed cleanly"]);
    assert!(matches!(pump.client().reason(), Some(CloseReason::Done)));
}

#[test]
fn a_close_delivers_what_was_written_and_then_closes_the_other_side() {
    let server = Speaker { closes_at: Some(3), ..Speaker::saying(b"a longer goodbye") };
    let client = Speaker::saying(b"bye");
    let heard = Rc::clone(&client.heard);
    let mut pump = Pump::new(client, server).chunks(Chunks::Sizes(vec![2]));
    pump.run();
    assert_eq!(*heard.borrow(), b"a longer goodbye");
    assert!(matches!(pump.client().reason(), Some(CloseReason::Done)));
    assert!(matches!(pump.server().reason(), Some(CloseReason::Done)));
}

#[test]
fn a_reset_destroys_what_is_under_way() {
    let mut pump = Pump::new(Speaker::saying(b"lost"), Speaker::default());
    let end = pump.server().with(|server, _| Rc::clone(&server.end));
    pump.client().transport().abort_connection();
    pump.run();
    assert_eq!(*end.borrow(), ["connection lost: connection reset"]);
    assert!(matches!(pump.client().reason(), Some(CloseReason::Aborted)));
}

#[test]
fn a_reset_after_a_half_close_still_arrives() {
    let client = Speaker { half_closes: true, ..Speaker::default() };
    let server = Speaker { goes_on_after_end: true, ..Speaker::default() };
    let mut pump = Pump::new(client, server);
    pump.run();
    pump.client().transport().abort_connection();
    pump.run();
    assert!(matches!(pump.server().reason(), Some(CloseReason::Lost(_))));
}

#[test]
fn who_writes_to_a_closed_end_is_reset_after_hearing_everything() {
    let client = Speaker { goes_on_after_end: true, ..Speaker::default() };
    let (heard, end) = (Rc::clone(&client.heard), Rc::clone(&client.end));
    let mut pump = Pump::new(client, Speaker::saying(b"last words"));
    pump.server().transport().lose_connection();
    pump.run();
    assert_eq!(*end.borrow(), ["read lost"]);
    pump.client().transport().write(b"are you there?");
    pump.run();
    assert_eq!(*heard.borrow(), b"last words");
    assert_eq!(*end.borrow(), ["read lost", "connection lost: connection reset"]);
}

#[test]
fn bytes_that_cross_a_close_do_no_harm() {
    let client = Speaker::saying(b"crosses the close");
    let end = Rc::clone(&client.end);
    let mut pump = Pump::new(client, Speaker::saying(b"last words")).chunks(Chunks::Bytewise);
    pump.server().transport().lose_connection();
    pump.run();
    assert_eq!(*end.borrow(), ["read lost", "closed cleanly"]);
}

#[test]
fn a_cut_is_heard_on_both_sides() {
    let mut pump = Pump::new(Speaker::saying(b"x"), Speaker::saying(b"y"));
    pump.cut();
    assert!(!pump.step());
    for reason in [pump.client().reason(), pump.server().reason()] {
        assert!(matches!(reason, Some(CloseReason::Lost(_))), "{reason:?}");
    }
}

/// Writes a thousand bytes whenever the loop comes round, unless it is paused.
struct Flood {
    transport: Transport,
    running: Cell<bool>,
    written: Cell<usize>,
    pauses: Cell<usize>,
}

impl Flood {
    fn more(&self) {
        while self.running.get() && self.written.get() < 1_000_000 {
            self.written.set(self.written.get() + 1000);
            self.transport.write(&[b'z'; 1000]);
            if self.transport.pending() > 100_000 {
                // The pause comes after this callback.
                return;
            }
        }
    }
}

impl Producer for Flood {
    fn resume_producing(&self) {
        self.running.set(true);
        self.more();
    }

    fn pause_producing(&self) {
        self.running.set(false);
        self.pauses.set(self.pauses.get() + 1);
    }

    fn stop_producing(&self) {
        self.running.set(false);
    }
}

#[test]
fn a_reader_that_pauses_is_felt_by_the_writers_producer() {
    let mut pump = Pump::new(Speaker::default(), Speaker::default());
    pump.set_window(10_000);
    let flood = Rc::new(Flood {
        transport: pump.client().transport().clone(),
        running: Cell::new(true),
        written: Cell::new(0),
        pauses: Cell::new(0),
    });
    pump.server().transport().pause_reading();
    let producer = Rc::clone(&flood) as Rc<dyn Producer>;
    pump.client().transport().register_producer(producer, true).unwrap();
    flood.more();
    pump.run();
    assert!(!flood.running.get());
    assert!((65_536..250_000).contains(&flood.written.get()), "{}", flood.written.get());
    assert_eq!(pump.server().with(|server, _| server.heard.borrow().len()), 0);

    pump.server().transport().resume_reading();
    pump.run();
    assert_eq!(pump.server().with(|server, _| server.heard.borrow().len()), 1_000_000);
    assert!(flood.pauses.get() > 2);
}

#[test]
fn each_direction_holds_64_kib_and_the_rest_waits_in_the_transport() {
    let mut pump = Pump::new(Speaker::saying(&[b'x'; 200_000]), Speaker::default());
    pump.server().transport().pause_reading();
    pump.run();
    assert_eq!(pump.client().written().len(), 65_536);
    assert_eq!(pump.client().transport().pending(), 200_000 - 2 * 65_536);
}

#[test]
fn time_moves_for_both_and_what_timers_write_is_carried() {
    let mut pump = Pump::new(Speaker::default(), Speaker::default());
    for side in [pump.client().transport(), pump.server().transport()] {
        let transport = side.clone();
        side.reactor()
            .unwrap()
            .call_later(Duration::from_secs(1), move |_| transport.write(b"tick"));
    }
    pump.run();
    assert_eq!(pump.client().with(|client, _| client.heard.borrow().len()), 0);
    pump.advance(Duration::from_secs(1));
    assert_eq!(pump.client().with(|client, _| client.heard.borrow().clone()), b"tick");
    assert_eq!(pump.server().with(|server, _| server.heard.borrow().clone()), b"tick");
}

/// Answers everything with as much.
struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(data);
    }
}

#[test]
fn two_that_talk_for_ever_are_never_quiet() {
    let mut pump = Pump::new(Echo, Echo);
    pump.client().transport().write(b"ball");
    assert!(!pump.run_for(1000));
}

#[test]
fn ends_hear_of_each_other_by_matching_addresses() {
    let pump = Pump::new(Echo, Echo);
    let (client, server) = (pump.client().transport(), pump.server().transport());
    assert_eq!(client.local_addr(), Some(server.peer_addr()));
    assert_eq!(server.local_addr(), Some(client.peer_addr()));
}
