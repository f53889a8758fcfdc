//! Random programs of writes, moved buffers, sequences and files, with a reader that stops and goes on: the stream is what was written.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use marline_conformance::{Ground, on_every_driver};
use marline_core::Transport;

use super::{Sent, file, sent};
use crate::streams::kit::{Ends, Probe, assert_same, pattern};

on_every_driver!(any_mix_of_output_arrives_as_written, |ground| {
    for seed in 1..=40 {
        program(ground, seed);
    }
});

fn program(ground: Ground, seed: u64) {
    let written = Rc::new(RefCell::new((Vec::new(), Vec::<Sent>::new())));
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    // Also from inside callbacks, with the bytes lent to them.
    let (log, mut own) = (Rc::clone(&written), Dice(dice.roll(u64::MAX)));
    let client = Probe::new().on_data(move |transport, data| {
        for _ in 0..own.roll(4) {
            step(transport, &log, &mut own, Some(data));
        }
    });
    let ends = Ends::join(ground, client, Probe::new());
    let (client, server) = (ends.client.transport(), ends.server.transport());
    for _ in 0..30 {
        match dice.roll(6) {
            0 => server.pause_reading(),
            1 => server.resume_reading(),
            2 => server.write(&pattern(1 + dice.roll(5000) as usize)),
            _ => step(&client, &written, &mut dice, None),
        }
        if dice.roll(3) == 0 {
            ends.reactor.turn(Some(Duration::from_millis(1))).unwrap();
        }
    }
    server.resume_reading();
    ends.until("all", |ends| {
        let (bytes, files) = &*written.borrow();
        ends.server.received() == bytes.len()
            && client.pending() == 0
            && files.iter().all(Sent::is_there)
    });
    let (bytes, files) = written.take();
    assert_same(&ends.server.bytes(), &bytes);
    for file in files {
        file.take().unwrap();
    }
}

fn step(
    transport: &Transport,
    log: &RefCell<(Vec<u8>, Vec<Sent>)>,
    dice: &mut Dice,
    lent: Option<&[u8]>,
) {
    let len = match dice.roll(4) {
        0 => 1 + dice.roll(10),
        1 => 2040 + dice.roll(20),
        2 => 60_000 + dice.roll(10_000),
        _ => dice.roll(400_000),
    } as usize;
    let bytes = pattern(len);
    match (dice.roll(6), lent) {
        (0, Some(data)) => {
            let part = &data[..dice.roll(data.len() as u64 + 1) as usize];
            log.borrow_mut().0.extend_from_slice(part);
            return transport.write(part);
        }
        (0 | 1, _) => transport.write(&bytes),
        (2, _) => transport.write_owned(bytes.clone()),
        (3, _) => {
            let size = 1 + dice.roll(9000) as usize;
            transport.write_sequence(bytes.chunks(size).map(<[u8]>::to_vec));
        }
        _ => {
            let file = sent(transport.send_file(file(len), 0, len as u64));
            log.borrow_mut().1.push(file);
        }
    }
    log.borrow_mut().0.extend_from_slice(&bytes);
}

/// Marsaglia's xorshift64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}
