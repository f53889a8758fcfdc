//! What can be called on connections as streams of bytes. Both ends are streams here, and what each says is known by its place: byte by byte, a reader
//! finds whatever was lost, doubled or moved.

use std::future::{Future, ready};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use marline_core::Destination;
use marline_core::stream::{ByteStream, serve};

use super::super::play::{Kind, Play, Scene};
use super::network::{here, options};

/// One end, and how far it is.
pub(in super::super) struct Held {
    stream: ByteStream,
    sent: usize,
    received: usize,
}

/// No end says more than this.
const MOST: usize = 200_000;

/// The byte at this place of whatever a stream says.
const fn byte_at(place: usize) -> u8 {
    (place ^ (place >> 7) ^ (place >> 13)) as u8
}

fn said(from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(byte_at).collect()
}

pub(super) fn listen(scene: &Scene<'_>) {
    let Some(reactor) = scene.reactor() else { return };
    if scene.here().stream_ports.borrow().len() >= 2 {
        return;
    }
    let (play, node, token) = (Rc::clone(scene.play), scene.node, scene.play.token("session"));
    let session = move |stream| {
        let _token = &token;
        keep(&play, node, stream);
        let _inside = play.enter();
        play.act(Scene { play: &play, node, kind: Kind::Made, line: None, lent: &[] });
        ready(())
    };
    // Out of ports or descriptors is no broken promise.
    if let Ok(port) = reactor.listen_tcp(here_for_streams(scene), serve(session)) {
        scene.play.stream_addresses.borrow_mut().push(port.local_addr());
        scene.here().stream_ports.borrow_mut().push(port);
    }
}

/// Of several hosts, ports that nobody finds who looks for an actor.
fn here_for_streams(scene: &Scene<'_>) -> Destination {
    match &scene.here().host {
        Some(host) if !host.addrs().is_empty() && scene.play.nodes.len() > 1 => {
            (host.addrs()[0], 80 + scene.play.below(3) as u16).into()
        }
        _ => here(scene),
    }
}

pub(super) fn connect(scene: &Scene<'_>) {
    let Some(reactor) = scene.reactor() else { return };
    let Some(to) = scene.play.pick(&scene.play.stream_addresses) else { return };
    if scene.here().streams.borrow().len() >= 6 {
        return;
    }
    let connecting = reactor.connect_stream_with(to, options(scene));
    let (play, node) = (Rc::clone(scene.play), scene.node);
    let connected = connecting.map(move |stream| keep(&play, node, stream));
    scene.play.watch(scene.node, "connect_stream", connected, |_, _| {});
}

fn keep(play: &Play, node: usize, stream: ByteStream) {
    if play.calm.get() {
        return;
    }
    let held = Held { stream, sent: 0, received: 0 };
    play.nodes[node].streams.borrow_mut().push(held);
}

/// Polls a future once and drops it: what was not done in that one poll must not have been begun.
fn attempt<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// Takes a stream, which nobody else has meanwhile, and puts it back unless `f` is done with it.
fn with(scene: &Scene<'_>, f: impl FnOnce(&Play, &mut Held) -> bool) {
    let Some(mut held) = scene.play.take(&scene.here().streams) else { return };
    if f(scene.play, &mut held) && !scene.play.calm.get() {
        scene.here().streams.borrow_mut().push(held);
    }
}

pub(super) fn read(scene: &Scene<'_>) {
    with(scene, |play, held| {
        let len = 1 + play.below(3000);
        let mut bytes = vec![0; len];
        let came = match play.below(4) {
            0 => attempt(held.stream.read(&mut bytes)).and_then(Result::ok),
            1 => attempt(held.stream.read_exact(&mut bytes)).and_then(Result::ok).map(|()| len),
            2 => {
                let mut line = Vec::new();
                let read = attempt(held.stream.read_until(byte_at(len), &mut line, len));
                bytes = line;
                read.and_then(Result::ok)
            }
            _ => {
                let filled = attempt(held.stream.reader().fill()).and_then(Result::ok);
                let here = held.stream.reader().buffered();
                bytes = here[..here.len().min(len)].to_vec();
                held.stream.reader().consume(bytes.len());
                filled.map(|filled| filled.min(len))
            }
        };
        let came = &bytes[..came.unwrap_or(0)];
        let expected = said(held.received, came.len());
        play.check(came == expected, || format!("a stream: wrong from byte {}", held.received));
        held.received += came.len();
        true
    });
}

pub(super) fn write(scene: &Scene<'_>) {
    with(scene, |play, held| {
        let most = [20, 2000, 90_000][play.below(12).saturating_sub(9)];
        let len = (1 + play.below(most)).min(MOST - held.sent.min(MOST));
        let bytes = said(held.sent, len);
        let written = if play.chance(0.5) {
            attempt(held.stream.write(&bytes)).and_then(Result::ok)
        } else {
            let owned = attempt(held.stream.write_owned(bytes));
            owned.and_then(Result::ok).map(|()| len)
        };
        held.sent += written.unwrap_or(0);
        true
    });
}

/// Ends a direction, or both, one way or another.
pub(super) fn end(scene: &Scene<'_>) {
    with(scene, |play, held| {
        match play.below(5) {
            0 => _ = attempt(held.stream.shutdown()),
            1 => _ = attempt(held.stream.flush()),
            2 => held.stream.transport().abort_connection(),
            3 => held.stream.transport().lose_connection(),
            _ => return false,
        }
        true
    });
}

/// Parts the halves and joins them again, or loses one of them.
pub(super) fn split(scene: &Scene<'_>) {
    let Some(held) = scene.play.take(&scene.here().streams) else { return };
    let Held { stream, sent, received } = held;
    let (read, write) = stream.split();
    if scene.play.chance(0.3) {
        if scene.play.chance(0.5) {
            drop(read);
            drop(write);
        } else {
            drop(write);
            drop(read);
        }
        return;
    }
    let joined = read.reunite(write);
    scene.play.check(joined.is_ok(), || "two halves of one stream do not fit".into());
    if let Ok(stream) = joined {
        scene.here().streams.borrow_mut().push(Held { stream, sent, received });
    }
}
