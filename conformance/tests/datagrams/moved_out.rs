//! What a driver has received together and gives away at once: `Driver::take_datagrams`, asked of the driver itself.

use std::time::{Duration, Instant};

use marline_conformance::{Ground, on_every_driver};
use marline_core::Addr;
use marline_core::driver::{Close, Completion, Datagram, DatagramOptions, Driver, Handle};
use marline_core::sim::SimDriver;

/// A driver and the least of a loop round it.
struct Bare(Box<dyn Driver>);

impl Bare {
    fn new(ground: Ground) -> Self {
        Self(match ground.driver {
            "sim" => Box::new(SimDriver::alone(7)),
            name => marline_drivers::open(Some(name)).unwrap().driver,
        })
    }

    fn bind(&mut self) -> (Handle, Addr) {
        let any = Addr::Ip("127.0.0.1:0".parse().unwrap());
        self.0.bind_datagram(&any, &DatagramOptions::default()).unwrap()
    }

    fn next(&mut self) -> Completion {
        let begin = Instant::now();
        loop {
            if let Some(completion) = self.0.next(&mut [0; 16]) {
                return completion;
            }
            assert!(begin.elapsed() < Duration::from_secs(30), "nothing was reported");
            let until = self.0.now() + Duration::from_secs(1);
            self.0.wait(Some(until)).unwrap();
        }
    }

    /// What the next report of datagrams brings, moved out if that can be, each with its sender. How many there were to a report.
    fn receive(&mut self, from: Handle) -> Vec<(Vec<u8>, Addr)> {
        let Completion::Datagrams { socket, chunk, len, segment, more } = self.next() else {
            panic!("no datagrams");
        };
        assert_eq!(socket, from);
        let cut = |bytes: &[u8], segment: usize, sender: &Addr| -> Vec<_> {
            let pieces = bytes.chunks(segment.max(1)).map(<[u8]>::to_vec);
            let pieces: Vec<_> = pieces.map(|piece| (piece, sender.clone())).collect();
            if bytes.is_empty() { vec![(Vec::new(), sender.clone())] } else { pieces }
        };
        let Some(mail) = self.0.take_datagrams(socket) else {
            let sender = self.0.datagram_source(socket).unwrap();
            let bytes = self.0.take_chunk(chunk);
            let one = cut(&bytes[..len], segment, &sender);
            self.0.give_back(chunk, bytes);
            return one;
        };
        // All that was announced is in it.
        assert_eq!(more, mail.parcels.len() > 1);
        assert!(self.0.take_datagrams(socket).is_none(), "it was moved out already");
        let all = mail.parcels.iter();
        let all = all.flat_map(|parcel| cut(mail.bytes_of(parcel), parcel.segment, &parcel.from));
        let all = all.collect();
        self.0.give_back_datagrams(socket, mail);
        all
    }
}

on_every_driver!(what_came_together_is_whole_in_order_and_comes_once, |ground| {
    let mut bare = Bare::new(ground);
    let ((to, addr), (one, first), (other, second)) = (bare.bind(), bare.bind(), bare.bind());
    for round in 0..20_usize {
        let mut expected = Vec::new();
        for number in 0..10 {
            let (socket, sender) = if number % 3 == 0 { (one, &first) } else { (other, &second) };
            let bytes = vec![number as u8; (round * number) % 700];
            bare.0.send_datagrams(socket, &[Datagram { to: Some(&addr), bytes: &bytes }]).unwrap();
            expected.push((bytes, sender.clone()));
        }
        let mut got = Vec::new();
        while got.len() < expected.len() {
            got.extend(bare.receive(to));
        }
        assert_eq!(got, expected, "round {round}");
    }
    assert_eq!(bare.0.next(&mut [0; 16]), None);
});

on_every_driver!(nothing_is_moved_out_that_was_not_reported, |ground| {
    let mut bare = Bare::new(ground);
    let ((to, addr), (from, _)) = (bare.bind(), bare.bind());
    let batch = [Datagram { to: Some(&addr), bytes: b"datagram" }; 3];
    assert!(bare.0.take_datagrams(to).is_none(), "nothing was sent");
    bare.0.send_datagrams(from, &batch).unwrap();
    assert!(bare.0.take_datagrams(to).is_none(), "nothing was reported");
    let mut got = 0;
    while got < 3 {
        got += bare.receive(to).len();
        assert!(bare.0.take_datagrams(from).is_none(), "nothing was sent to this one");
    }
    bare.0.send_datagrams(from, &batch).unwrap();
    assert!(matches!(bare.next(), Completion::Datagrams { .. }));
    bare.0.close(to, Close::Graceful);
    assert!(bare.0.take_datagrams(to).is_none(), "it is closed");
    assert_eq!(bare.0.next(&mut [0; 16]), None);
});
