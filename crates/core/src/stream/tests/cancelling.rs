//! Futures dropped at every point at which they wait: no byte is lost, none comes twice, none comes that was not said to be written.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::ErrorKind;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::Rng;
use crate::sim::{Link, World};
use crate::stream::{ByteStream, serve};

/// Counts the times that anything waits, down to the one at which it is dropped.
#[derive(Clone)]
struct Whim {
    left: Rc<Cell<u64>>,
    waits: Rc<Cell<u64>>,
    drops: Rc<Cell<u64>>,
    /// Draws the next, or there is none.
    again: Option<Rc<RefCell<Rng>>>,
}

impl Whim {
    /// Drops the future that waits as the so-many-th, counted from zero, and no other.
    fn once(at: u64) -> Self {
        Self {
            left: Rc::new(Cell::new(at)),
            waits: Rc::default(),
            drops: Rc::default(),
            again: None,
        }
    }

    /// Drops every third or so.
    fn often(seed: u64) -> Self {
        let again = Some(Rc::new(RefCell::new(Rng::from_number(seed))));
        Self { again, ..Self::once(0) }
    }

    /// Runs a future, or drops it and answers `None`.
    fn run<F: Future>(&self, future: F) -> Whimsical<F> {
        Whimsical { future: Some(Box::pin(future)), whim: self.clone() }
    }

    fn strikes(&self) -> bool {
        self.waits.set(self.waits.get() + 1);
        if self.left.get() > 0 {
            self.left.set(self.left.get() - 1);
            return false;
        }
        self.drops.set(self.drops.get() + 1);
        let next = self.again.as_ref().map_or(u64::MAX, |rng| rng.borrow_mut().below(6));
        self.left.set(next);
        true
    }
}

struct Whimsical<F> {
    future: Option<Pin<Box<F>>>,
    whim: Whim,
}

impl<F: Future> Future for Whimsical<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = &mut self.future else { return Poll::Ready(None) };
        if let Poll::Ready(value) = future.as_mut().poll(context) {
            return Poll::Ready(Some(value));
        }
        if self.whim.strikes() {
            self.future = None;
            return Poll::Ready(None);
        }
        Poll::Pending
    }
}

/// Sends lines of drawn lengths by drawn calls, half of them more than the network holds.
async fn speak(mut stream: ByteStream, text: Vec<u8>, mut rng: Rng, whim: Whim) {
    let mut at = 0;
    while at < text.len() {
        let len = rng.below(3000).min((text.len() - at) as u64) as usize;
        let piece = &text[at..at + len];
        match rng.below(4) {
            0 => {
                let _ = whim.run(stream.flush()).await;
            }
            1 => {
                if let Some(written) = whim.run(stream.write_owned(piece.to_vec())).await {
                    written.unwrap();
                    at += len;
                }
            }
            _ => {
                if let Some(written) = whim.run(stream.write(piece)).await {
                    at += written.unwrap();
                }
            }
        }
    }
    while whim.run(stream.shutdown()).await.map(Result::unwrap).is_none() {}
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
}

/// Reads all by drawn calls.
async fn listen(mut stream: ByteStream, mut rng: Rng, whim: Whim) -> Vec<u8> {
    stream.reader().set_limit(2500);
    let mut got = Vec::new();
    loop {
        let len = rng.below(2000) as usize + 1;
        match rng.below(4) {
            0 => {
                let mut some = vec![0; len];
                match whim.run(stream.read(&mut some)).await.map(Result::unwrap) {
                    Some(0) => return got,
                    Some(read) => got.extend_from_slice(&some[..read]),
                    None => {}
                }
            }
            1 => {
                let mut some = vec![0; len * 3];
                match whim.run(stream.read_exact(&mut some)).await {
                    Some(Ok(())) => got.extend_from_slice(&some),
                    Some(Err(error)) => assert_eq!(error.kind(), ErrorKind::UnexpectedEof),
                    None => {}
                }
            }
            2 => {
                let before = got.len();
                let line = whim.run(stream.read_until(b'\n', &mut got, 2000)).await;
                match line {
                    Some(Ok(read)) => assert_eq!(got.len() - before, read),
                    Some(Err(error)) => assert_eq!(error.kind(), ErrorKind::InvalidData),
                    None => assert_eq!(got.len(), before),
                }
            }
            _ => {
                if let Some(filled) = whim.run(stream.reader().fill()).await {
                    let used = filled.unwrap().min(len);
                    got.extend_from_slice(&stream.reader().buffered()[..used]);
                    stream.reader().consume(used);
                }
            }
        }
    }
}

/// One of them at each end of a network that cuts the bytes anywhere and holds few of them.
fn play(seed: u64, length: usize, whim: &Whim) {
    let world = World::new(seed);
    let jitter = Duration::from_millis(2);
    let link = Link { split: true, jitter, bandwidth: Some(1_000_000), ..Link::default() };
    world.set_default_link(link);
    let hosts = [1, 2].map(|number| {
        let host = world.host(&format!("host-{number}"), [[10, 0, 0, number].into()]);
        host.set_buffers(1500, 1500);
        host
    });
    let mut rng = Rng::from_number(seed);
    let text: Vec<u8> = (0..length)
        .map(|at| if rng.below(500) == 0 { b'\n' } else { (at % 241) as u8 + 11 })
        .collect();
    let heard = Rc::new(RefCell::new(None));
    let (place, listens, seed_there) = (Rc::clone(&heard), whim.clone(), seed ^ 0xface);
    world.spawn(&hosts[0], |reactor| {
        let session = move |stream| {
            let (place, whim) = (Rc::clone(&place), listens.clone());
            async move {
                let got = listen(stream, Rng::from_number(seed_there), whim).await;
                *place.borrow_mut() = Some(got);
            }
        };
        reactor.listen_tcp("10.0.0.1:7", serve(session)).unwrap();
    });
    let (sent, speaks) = (text.clone(), whim.clone());
    world.spawn(&hosts[1], |reactor| {
        let connecting = reactor.connect_stream("10.0.0.1:7");
        let task = async move { speak(connecting.await.unwrap(), sent, rng, speaks).await };
        reactor.spawn(task).ignore();
    });
    assert!(world.run_until_idle(Duration::from_secs(600)), "seed {seed} does not end");
    let got = heard.take().unwrap_or_else(|| panic!("seed {seed}: not all was heard"));
    let differs = got.iter().zip(&text).position(|(one, other)| one != other);
    assert_eq!((differs, got.len()), (None, text.len()), "seed {seed}");
    assert_eq!(world.connections(), 0, "seed {seed}");
}

#[test]
fn a_future_dropped_at_any_one_of_the_points_where_it_waits_loses_no_byte() {
    let all = Whim::once(u64::MAX);
    play(1, 6000, &all);
    let waits = all.waits.get();
    assert!(waits > 100, "only {waits} points");
    for at in 0..waits {
        let whim = Whim::once(at);
        play(1, 6000, &whim);
        assert_eq!(whim.drops.get(), 1);
    }
}

#[test]
fn futures_dropped_all_the_time_lose_no_byte() {
    for seed in 0..60 {
        let whim = Whim::often(seed);
        play(seed, 20_000, &whim);
        assert!(whim.drops.get() > 10, "seed {seed}: {} drops", whim.drops.get());
    }
}
