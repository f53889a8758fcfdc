//! Layers inside a connection: added at the start or mid-stream, two of them, through closes and hand-overs, and failing ones.

use std::any::Any;
use std::cell::Cell;

use marline_conformance::on_every_driver;
use marline_core::Transport;
use marline_core::failure::Failure;
use marline_core::layer::{Layer, LayerIo};
use marline_core::protocol::from_fn;

use super::kit::{Ends, Outcome, Probe, assert_same, idle, pattern, started, turn_until};

/// A toy: turns each byte around with a key that moves on, so that order and count of bytes matter. Says goodbye with a zero byte of its own
/// behind everything.
struct Xor {
    key: u8,
    down: u8,
    up: u8,
    /// How many bytes went down.
    count: usize,
    goodbye: bool,
}

impl Xor {
    fn new(key: u8) -> Self {
        Self { key, down: 0, up: 0, count: 0, goodbye: false }
    }

    fn with_goodbye(key: u8) -> Self {
        Self { goodbye: true, ..Self::new(key) }
    }
}

impl Layer for Xor {
    fn name(&self) -> &'static str {
        "xor"
    }

    fn incoming(&mut self, wire: &[u8], io: &mut LayerIo) -> Result<(), Failure> {
        for byte in wire {
            io.up.push(byte ^ self.key ^ self.up);
            self.up = self.up.wrapping_add(1);
        }
        Ok(())
    }

    fn outgoing(&mut self, plain: &[u8], io: &mut LayerIo) -> Result<(), Failure> {
        self.count += plain.len();
        for byte in plain {
            io.down.push(byte ^ self.key ^ self.down);
            self.down = self.down.wrapping_add(1);
        }
        Ok(())
    }

    fn closing(&mut self, io: &mut LayerIo) -> Result<(), Failure> {
        if self.goodbye { self.outgoing(b"\0", io) } else { Ok(()) }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

on_every_driver!(a_layer_from_the_start_sees_every_byte_of_both_directions, |ground| {
    let sent = pattern(3_000_000);
    let reactor = started(ground);
    let server = Probe::new().on_data(|transport, data| transport.write(data));
    let mut server = Some(server);
    let factory = from_fn(move |link| {
        link.add_layer(Xor::new(17));
        server.take()
    });
    let port = reactor.listen_tcp("127.0.0.1:0", factory).unwrap();
    let bytes = sent.clone();
    let client = Probe::new().on_made(move |transport| {
        transport.start_layer(Xor::new(17), b"");
        transport.write(&bytes);
    });
    let tape = client.tape();
    reactor.connect_tcp(port.local_addr(), client).ignore();
    turn_until(&reactor, "the echo", || tape.received() == sent.len());
    assert_same(&tape.bytes(), &sent);
    let count = tape.transport().with_layer(|layer: &Xor| layer.count);
    assert_eq!(count, Some(sent.len()));
});

on_every_driver!(a_layer_added_mid_stream_leaves_what_was_written_before_as_it_was, |ground| {
    let mut first = true;
    let server = Probe::new().on_data(move |transport, data| {
        if std::mem::take(&mut first) {
            // The order of calls counts: plain, layered.
            transport.write(b"ok ");
            transport.start_layer(Xor::new(99), &data[3..]);
            transport.write(b"secret");
            assert_eq!(transport.pending(), 9);
        }
    });
    let tape = server.tape();
    let client = Probe::new().on_made(|transport| {
        let mut layered = b"go ".to_vec();
        layered.extend(b"hello".iter().zip(0..).map(|(byte, at): (&u8, u8)| byte ^ 99 ^ at));
        transport.write(&layered);
    });
    let ends = Ends::join(ground, client, server);
    ends.until("the answer", |ends| ends.client.received() == 9);
    let answer = ends.client.bytes();
    assert_eq!(&answer[..3], b"ok ");
    let secret: Vec<u8> =
        answer[3..].iter().zip(0..).map(|(byte, at): (&u8, u8)| byte ^ 99 ^ at).collect();
    assert_eq!(secret, b"secret");
    // The first piece as it came, then what the layer made of its rest.
    assert_eq!(&tape.bytes()[8..], b"hello");
});

on_every_driver!(two_layers_lie_on_top_of_each_other_and_survive_a_hand_over, |ground| {
    let sent = pattern(500_000);
    let next = Probe::new().on_data(|transport, data| transport.write(data));
    let next_tape = next.tape();
    let next = Cell::new(Some(next));
    let server = Probe::new()
        .on_made(|transport| {
            transport.start_layer(Xor::new(3), b"");
            transport.start_layer(Xor::new(5), b"");
        })
        .on_data(move |transport, data| {
            if let Some(next) = next.take() {
                transport.upgrade(next, data);
            }
        });
    let bytes = sent.clone();
    let client = Probe::new().on_made(move |transport| {
        transport.start_layer(Xor::new(3), b"");
        transport.start_layer(Xor::new(5), b"");
        transport.write(&bytes);
    });
    let ends = Ends::join(ground, client, server);
    ends.until("the echo", |ends| ends.client.received() == sent.len());
    assert_same(&ends.client.bytes(), &sent);
    assert_eq!(ends.server.reason(), "Upgraded");
    let topmost = next_tape.transport().with_layer(|layer: &Xor| layer.key);
    assert_eq!(topmost, Some(5));
    // The handle given out before still writes through them.
    ends.server.transport().write(b"through both");
    ends.until("more", |ends| ends.client.received() == sent.len() + 12);
    assert!(ends.client.bytes().ends_with(b"through both"));
});

on_every_driver!(a_close_delivers_everything_through_the_layers_and_then_their_goodbye, |ground| {
    let sent = pattern(4_000_000);
    let bytes = sent.clone();
    let server = Probe::new().on_made(|transport| transport.start_layer(Xor::new(1), b""));
    let client = Probe::new().on_made(move |transport| {
        transport.start_layer(Xor::with_goodbye(1), b"");
        transport.write(&bytes);
        transport.lose_connection();
    });
    let ends = Ends::join(ground, client, server);
    ends.until_lost();
    assert_same(&ends.server.bytes(), &[sent, vec![0]].concat());
    assert_eq!((ends.client.reason(), ends.server.reason()), ("Done".into(), "Done".into()));
});

on_every_driver!(a_half_close_delivers_the_goodbye_too_and_reading_goes_on, |ground| {
    let server = Probe::new()
        .on_made(|transport| transport.start_layer(Xor::new(1), b""))
        .on_read_lost(|transport| {
            transport.write(b"answer");
            transport.lose_connection();
        });
    let client = Probe::new().on_made(|transport| {
        transport.start_layer(Xor::with_goodbye(1), b"");
        transport.write(b"question");
        transport.lose_write_connection();
    });
    let ends = Ends::join(ground, client, server);
    ends.until_lost();
    assert_eq!(ends.server.bytes(), b"question\0");
    assert_eq!(ends.client.bytes(), b"answer");
    assert_eq!(ends.client.story(), "made write_lost data read_lost lost");
});

on_every_driver!(a_pause_holds_what_comes_out_of_the_layers, |ground| {
    let server = Probe::new().on_made(|transport| {
        transport.start_layer(Xor::new(8), b"");
        transport.pause_reading();
    });
    let client = Probe::new().on_made(|transport| {
        transport.start_layer(Xor::new(8), b"");
        transport.write(b"held");
        transport.lose_connection();
    });
    let ends = Ends::join(ground, client, server);
    ends.idle();
    assert_eq!(ends.server.story(), "made");
    ends.server.transport().resume_reading();
    ends.until_lost();
    assert_eq!(
        (ends.server.bytes(), ends.server.story()),
        (b"held".to_vec(), "made data read_lost lost".into())
    );
});

on_every_driver!(an_abort_drops_what_waits_for_the_layers, |ground| {
    let client = Probe::new().on_made(|transport| {
        transport.start_layer(Xor::new(8), b"");
        transport.write(b"dropped");
        transport.abort_connection();
    });
    let ends = Ends::begin(ground, client, Probe::new());
    ends.until("the end", |ends| ends.client.is_lost());
    ends.idle();
    assert_eq!(
        (ends.client.story().as_str(), ends.client.reason().as_str()),
        ("made lost", "Aborted")
    );
    assert_eq!(ends.server.received(), 0);
});

/// A layer that fails, or panics, at a byte `!`, after an alert.
struct Picky {
    panics: bool,
}

impl Layer for Picky {
    fn name(&self) -> &'static str {
        "picky"
    }

    fn incoming(&mut self, wire: &[u8], io: &mut LayerIo) -> Result<(), Failure> {
        let end = wire.iter().position(|byte| *byte == b'!').unwrap_or(wire.len());
        io.up.extend_from_slice(&wire[..end]);
        if end < wire.len() {
            io.down.extend_from_slice(b"alert");
            assert!(!self.panics, "cannot bear it");
            return Err(Failure::msg("does not like it"));
        }
        Ok(())
    }

    fn outgoing(&mut self, plain: &[u8], io: &mut LayerIo) -> Result<(), Failure> {
        io.down.extend_from_slice(plain);
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

on_every_driver!(
    a_layer_that_fails_ends_the_connection_with_its_error_after_its_last_words,
    |ground| {
        let server = Probe::new().on_made(|t| t.start_layer(Picky { panics: false }, b""));
        let ends = Ends::join(ground, Probe::new().on_made(|t| t.write(b"fine")), server);
        ends.until("the bytes", |ends| ends.server.received() == 4);
        ends.client.transport().write(b"!");
        ends.until_lost();
        assert_eq!(ends.server.bytes(), b"fine");
        assert_eq!(
            (ends.server.story().as_str(), ends.server.reason().as_str()),
            ("made data lost", "Failed(does not like it)")
        );
        assert_eq!(ends.client.bytes(), b"alert");
    }
);

on_every_driver!(a_layer_that_panics_ends_the_connection_alone, |ground| {
    let server = Probe::new().on_made(|t| t.start_layer(Picky { panics: true }, b""));
    let ends = Ends::join(ground, Probe::new().on_made(|t| t.write(b"!")), server);
    ends.until_lost();
    assert_eq!(ends.server.reason(), "Panicked(cannot bear it)");
    assert_eq!(ends.client.reason(), "Lost(ConnectionReset)");
    idle(&ends.reactor);
});

/// A layer that keeps what it is given until something comes in, as TLS does before its handshake is over; and whose stream may end inside
/// its own framing, at a byte `.`.
struct Patient {
    kept: Option<Vec<u8>>,
}

impl Layer for Patient {
    fn name(&self) -> &'static str {
        "patient"
    }

    fn start(&mut self, io: &mut LayerIo) -> Result<(), Failure> {
        io.down.push(b'?');
        Ok(())
    }

    fn incoming(&mut self, wire: &[u8], io: &mut LayerIo) -> Result<(), Failure> {
        if let Some(kept) = self.kept.take() {
            io.down.extend_from_slice(&kept);
        }
        let wire = wire.strip_prefix(b"?").unwrap_or(wire);
        io.up.extend(wire.iter().take_while(|byte| **byte != b'.'));
        io.end = wire.contains(&b'.');
        Ok(())
    }

    fn outgoing(&mut self, plain: &[u8], io: &mut LayerIo) -> Result<(), Failure> {
        match &mut self.kept {
            Some(kept) => kept.extend_from_slice(plain),
            None => io.down.extend_from_slice(plain),
        }
        Ok(())
    }

    fn held(&self) -> usize {
        self.kept.as_ref().map_or(0, Vec::len)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

on_every_driver!(a_close_waits_for_what_a_layer_holds_back, |ground| {
    let patient = || Patient { kept: Some(Vec::new()) };
    let client = Probe::new().on_made(move |transport: &Transport| {
        transport.start_layer(patient(), b"");
        transport.write(b"after the greeting");
        assert_eq!(transport.pending(), 18);
        transport.lose_write_connection();
    });
    let ends = Ends::join(ground, client, Probe::half_close());
    ends.until("the greeting", |ends| ends.server.received() == 1);
    ends.idle();
    assert_eq!(ends.client.transport().pending(), 18);
    assert_eq!(ends.server.bytes(), b"?");
    ends.server.transport().write(b"?");
    ends.until("the end", |ends| ends.server.has("read_lost"));
    assert_eq!(ends.server.bytes(), b"?after the greeting");
    assert_eq!(ends.client.story(), "made write_lost");
});

on_every_driver!(the_end_inside_a_layer_is_the_end_of_the_stream, |ground| {
    let client = Probe::new().on_made(|t| t.write(b"last.ignored"));
    let server = Probe::new().on_made(|t| t.start_layer(Patient { kept: None }, b""));
    let ends = Ends::join(ground, client, server);
    ends.until("the end", |ends| ends.server.is_lost());
    assert_eq!(
        (ends.server.bytes(), ends.server.story()),
        (b"last".to_vec(), "made data read_lost lost".into())
    );
    assert_eq!(ends.server.reason(), "Done");
});

on_every_driver!(a_layer_is_looked_at_by_its_type_once_it_is_in_place, |ground| {
    let client = Probe::new().on_made(|transport| {
        assert!(transport.with_layer(|_: &Xor| ()).is_none());
        transport.start_layer(Xor::new(4), b"");
        assert!(
            transport.with_layer(|_: &Xor| ()).is_none(),
            "not in place before the callback ends"
        );
    });
    let ends = Ends::join(ground, client, Probe::new());
    let transport = ends.client.transport();
    assert_eq!(transport.with_layer(|layer: &Xor| layer.key), Some(4));
    assert!(transport.with_layer(|_: &Patient| ()).is_none());
    // Writing while looking is no harm.
    let looked = transport.with_layer(|_: &Xor| transport.write(b"x"));
    assert_eq!(looked, Some(()));
    ends.until("the byte", |ends| ends.server.received() == 1);
    drop(Outcome::of(ends.port.stop_listening()));
});
