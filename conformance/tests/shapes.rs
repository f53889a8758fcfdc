//! The ten shapes that programs on the engine have. They were written against the contract before it was fixed, and stay.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use marline_conformance::on_every_driver;
use marline_core::deferred::{Deferred, Resolver};
use marline_core::failure::Failure;
use marline_core::flow::pipe;
use marline_core::layer::{Layer, LayerIo};
use marline_core::protocol::from_fn;
use marline_core::{CloseReason, Connection, Protocol, Reactor, Transport};

type Bytes = Rc<RefCell<Vec<u8>>>;

/// Collects what it receives, and may send something first and close at the end.
struct Collect {
    hello: Vec<u8>,
    got: Bytes,
    /// Stops the reactor when so many bytes are there.
    enough: usize,
    reactor: Reactor,
}

impl Collect {
    fn new(reactor: &Reactor, hello: &[u8], enough: usize) -> (Self, Bytes) {
        let got = Bytes::default();
        let this =
            Self { hello: hello.to_vec(), got: got.clone(), enough, reactor: reactor.clone() };
        (this, got)
    }
}

impl Protocol for Collect {
    fn connection_made(&mut self, transport: &Transport) {
        transport.write(&self.hello);
    }

    fn data_received(&mut self, _: &Transport, data: &[u8]) {
        self.got.borrow_mut().extend_from_slice(data);
        if self.got.borrow().len() >= self.enough {
            let _ = self.reactor.stop();
        }
    }
}

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(data);
    }
}

on_every_driver!(echo, |ground| {
    let reactor = ground.reactor();
    let port = reactor.listen_tcp("127.0.0.1:0", || Echo).unwrap();
    let sent: Vec<u8> = (0..300_000u32).map(|n| n as u8).collect();
    let (client, got) = Collect::new(&reactor, &sent, sent.len());
    reactor.connect_tcp(port.local_addr(), client).ignore();
    reactor.run().unwrap();
    assert!(*got.borrow() == sent);
});

// ---- chat: members leave while the others are told

#[derive(Clone, Default)]
struct Room(Rc<RefCell<BTreeMap<u32, Transport>>>);

struct Member {
    room: Room,
    id: u32,
}

impl Protocol for Member {
    fn connection_made(&mut self, transport: &Transport) {
        self.room.0.borrow_mut().insert(self.id, transport.clone());
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        // Written to, and even closed, under the room's own borrow: no method of a transport calls user code.
        for (id, member) in self.room.0.borrow().iter() {
            if data == b"kick" && *id % 2 == 0 && member != transport {
                member.lose_connection();
            } else {
                member.write(data);
            }
        }
    }

    fn connection_lost(&mut self, _: &Transport, _: &CloseReason) {
        self.room.0.borrow_mut().remove(&self.id);
    }
}

on_every_driver!(chat_with_members_leaving_while_others_are_told, |ground| {
    let reactor = ground.reactor();
    let room = Room::default();
    let (members, ids) = (room.clone(), Cell::new(0));
    let factory = from_fn(move |_| {
        ids.set(ids.get() + 1);
        Some(Member { room: members.clone(), id: ids.get() })
    });
    let port = reactor.listen_tcp("127.0.0.1:0", factory).unwrap();
    let mut all = Vec::new();
    for _ in 0..10 {
        let (client, got) = Collect::new(&reactor, b"", usize::MAX);
        reactor.connect_tcp(port.local_addr(), client).ignore();
        all.push(got);
    }
    let (kicker, got) = Collect::new(&reactor, b"", usize::MAX);
    let addr = port.local_addr();
    let everybody = room.clone();
    turn_until(&reactor, move || everybody.0.borrow().len() == 10);
    let kicker = {
        let slot: Rc<RefCell<Option<Connection<Collect>>>> = Rc::default();
        let keep = Rc::clone(&slot);
        reactor.connect_tcp(addr, kicker).done(move |result| *keep.borrow_mut() = result.ok());
        slot
    };
    let everybody = room.clone();
    turn_until(&reactor, move || everybody.0.borrow().len() == 11);
    turn_until(&reactor, || kicker.borrow().is_some());
    kicker.borrow().as_ref().unwrap().transport().write(b"kick");
    let everybody = room.clone();
    // Ids 2, 4, 6, 8 and 10 go.
    turn_until(&reactor, move || everybody.0.borrow().len() == 6);
    turn_until(&reactor, || *got.borrow() == b"kick");
    turn_until(&reactor, || all.iter().filter(|got| *got.borrow() == b"kick").count() == 5);
});

// ---- proxy with back-pressure

/// Writes without end, as fast as it is let.
struct Fountain {
    sent: Rc<Cell<usize>>,
    total: usize,
}

impl Protocol for Fountain {
    fn connection_made(&mut self, transport: &Transport) {
        self.writable(transport);
    }

    fn writable(&mut self, transport: &Transport) {
        let left = self.total - self.sent.get();
        let now = left.min(65_536);
        transport.write(&vec![7; now]);
        self.sent.set(self.sent.get() + now);
        if now < left {
            transport.notify_writable();
        } else {
            transport.lose_connection();
        }
    }

    fn data_received(&mut self, _: &Transport, _: &[u8]) {}
}

/// Takes whoever connects to another port.
struct ToUpstream {
    upstream: marline_core::Addr,
    worst: Rc<Cell<usize>>,
}

impl Protocol for ToUpstream {
    fn connection_made(&mut self, transport: &Transport) {
        transport.pause_reading();
        let reactor = transport.reactor().unwrap();
        let connected = reactor.connect_tcp(self.upstream.clone(), Echo);
        transport.then(connected, |_: &mut Self, result, downstream| match result {
            Ok(upstream) => {
                pipe(downstream, b"", upstream.transport(), b"").unwrap();
                downstream.resume_reading();
            }
            Err(_) => downstream.abort_connection(),
        });
        let (transport, worst) = (transport.clone(), Rc::clone(&self.worst));
        watch(&reactor, transport, worst);
    }

    fn data_received(&mut self, _: &Transport, _: &[u8]) {}
}

/// Looks at what a transport holds, now and then.
fn watch(reactor: &Reactor, transport: Transport, worst: Rc<Cell<usize>>) {
    worst.set(worst.get().max(transport.pending()));
    if transport.is_open() {
        reactor
            .call_later(Duration::from_millis(1), move |reactor| watch(reactor, transport, worst));
    }
}

/// Reads, but pauses after each piece for a while.
struct SlowReader {
    got: Rc<Cell<usize>>,
}

impl Protocol for SlowReader {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        self.got.set(self.got.get() + data.len());
        transport.pause_reading();
        let transport = transport.clone();
        let reactor = transport.reactor().unwrap();
        reactor.call_later(Duration::from_micros(100), move |_| transport.resume_reading());
    }

    fn connection_lost(&mut self, transport: &Transport, _: &CloseReason) {
        let _ = transport.reactor().unwrap().stop();
    }
}

on_every_driver!(proxy_between_a_fast_and_a_slow_peer_holds_little, |ground| {
    let reactor = ground.reactor();
    let (sent, got, worst) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let total = 20 << 20;
    let counted = Rc::clone(&sent);
    let upstream = reactor
        .listen_tcp("127.0.0.1:0", move || Fountain { sent: Rc::clone(&counted), total })
        .unwrap();
    let (to, held) = (upstream.local_addr(), Rc::clone(&worst));
    let proxy = reactor
        .listen_tcp("127.0.0.1:0", move || ToUpstream {
            upstream: to.clone(),
            worst: Rc::clone(&held),
        })
        .unwrap();
    reactor.connect_tcp(proxy.local_addr(), SlowReader { got: Rc::clone(&got) }).ignore();
    reactor.run().unwrap();
    assert_eq!(got.get(), total);
    // Over 64 KiB the other side is paused; one more receive of 64 KiB may be on its way.
    assert!(worst.get() <= 3 * 65_536, "the proxy held {} bytes", worst.get());
});

// ---- a layer started in mid-stream, as STARTTLS does

struct Xor(u8);

impl Layer for Xor {
    fn name(&self) -> &'static str {
        "xor"
    }

    fn incoming(&mut self, wire: &[u8], io: &mut LayerIo) -> Result<(), Failure> {
        io.up.extend(wire.iter().map(|byte| byte ^ self.0));
        Ok(())
    }

    fn outgoing(&mut self, plain: &[u8], io: &mut LayerIo) -> Result<(), Failure> {
        io.down.extend(plain.iter().map(|byte| byte ^ self.0));
        Ok(())
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

struct Starttls {
    elsewhere: Rc<RefCell<Option<Transport>>>,
}

impl Protocol for Starttls {
    fn connection_made(&mut self, transport: &Transport) {
        *self.elsewhere.borrow_mut() = Some(transport.clone());
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        match data.strip_prefix(b"STARTTLS\n") {
            Some(rest) => {
                transport.write(b"go\n");
                transport.start_layer(Xor(0x55), rest);
                transport.write(b"sec");
                // A handle held elsewhere speaks through the layer at once.
                self.elsewhere.borrow().as_ref().unwrap().write(b"ret ");
            }
            None => transport.write(data),
        }
    }
}

on_every_driver!(layer_started_in_mid_stream_takes_the_rest_and_all_handles, |ground| {
    let reactor = ground.reactor();
    let port = reactor.listen_tcp("127.0.0.1:0", || Starttls { elsewhere: Rc::default() }).unwrap();
    let mut hello = b"STARTTLS\n".to_vec();
    hello.extend(b"echo me".iter().map(|byte| byte ^ 0x55));
    let (client, got) = Collect::new(&reactor, &hello, 3 + 14);
    reactor.connect_tcp(port.local_addr(), client).ignore();
    reactor.run().unwrap();
    let got = got.borrow();
    assert_eq!(&got[..3], b"go\n");
    let plain: Vec<u8> = got[3..].iter().map(|byte| byte ^ 0x55).collect();
    assert_eq!(String::from_utf8_lossy(&plain), "secret echo me");
});

// ---- upgrade with bytes left over

struct Http;
struct WebSocket;

impl Protocol for Http {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        if let Some(rest) = data.strip_prefix(b"UPGRADE\n") {
            transport.write(b"101\n");
            transport.upgrade(WebSocket, rest);
        }
    }
}

impl Protocol for WebSocket {
    fn connection_made(&mut self, transport: &Transport) {
        transport.write(b"hello\n");
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(&data.to_ascii_uppercase());
    }
}

on_every_driver!(upgrade_hands_over_the_bytes_left_over, |ground| {
    let reactor = ground.reactor();
    let port = reactor.listen_tcp("127.0.0.1:0", || Http).unwrap();
    let (client, got) = Collect::new(&reactor, b"UPGRADE\nframe", 4 + 6 + 5);
    reactor.connect_tcp(port.local_addr(), client).ignore();
    reactor.run().unwrap();
    assert_eq!(*got.borrow(), b"101\nhello\nFRAME");
});

// ---- a client that pipelines

#[derive(Default)]
struct Asker {
    waiting: std::collections::VecDeque<Resolver<u8>>,
}

impl Asker {
    fn ask(&mut self, transport: &Transport, question: u8) -> Deferred<u8> {
        let (deferred, resolver) = Deferred::new();
        self.waiting.push_back(resolver);
        transport.write(&[question]);
        deferred
    }
}

impl Protocol for Asker {
    fn data_received(&mut self, _: &Transport, data: &[u8]) {
        for byte in data {
            self.waiting.pop_front().unwrap().resolve(*byte);
        }
    }
}

on_every_driver!(pipelining_client_gets_its_answers_in_order, |ground| {
    let reactor = ground.reactor();
    let port = reactor.listen_tcp("127.0.0.1:0", || Echo).unwrap();
    let answers = Bytes::default();
    let keep = Rc::clone(&answers);
    let stop = reactor.clone();
    reactor.connect_tcp(port.local_addr(), Asker::default()).done(move |connection| {
        let connection = connection.unwrap();
        for question in 0..100 {
            let (keep, stop, again) = (keep.clone(), stop.clone(), connection.clone());
            let asked = connection.try_with(|asker, transport| asker.ask(transport, question));
            asked.unwrap().done(move |answer| {
                keep.borrow_mut().push(answer.unwrap());
                if question == 99 {
                    // We are inside the protocol's own callback: this waits until after it.
                    again
                        .with(move |asker, _| {
                            assert!(asker.waiting.is_empty());
                            stop.stop().unwrap();
                        })
                        .ignore();
                }
            });
        }
    });
    reactor.run().unwrap();
    assert_eq!(*answers.borrow(), (0..100).collect::<Vec<u8>>());
});

// ---- an async handler

on_every_driver!(async_handler_awaits_connections_and_answers, |ground| {
    let reactor = ground.reactor();
    let port = reactor.listen_tcp("127.0.0.1:0", || Echo).unwrap();
    let (addr, handle) = (port.local_addr(), reactor.clone());
    let sum = Rc::new(Cell::new(0));
    let total = Rc::clone(&sum);
    reactor
        .spawn(async move {
            let connection = handle.connect_tcp(addr, Asker::default()).await.unwrap();
            for question in 1..=10 {
                let asked = connection.with(move |asker, t| asker.ask(t, question)).await.unwrap();
                total.set(total.get() + u32::from(asked.await.unwrap()));
            }
            connection.transport().lose_connection();
            handle.stop().unwrap();
        })
        .ignore();
    reactor.run().unwrap();
    assert_eq!(sum.get(), 55);
});

// ---- everything from inside a callback

struct Busybody {
    depth: Rc<Cell<u32>>,
}

impl Busybody {
    fn everything(&self, transport: &Transport) {
        assert_eq!(self.depth.replace(1), 0, "a callback inside a callback of the same protocol");
        let reactor = transport.reactor().unwrap();
        transport.write(b"x");
        transport.pause_reading();
        transport.resume_reading();
        transport.unread(b"y");
        transport.notify_writable();
        let _ = transport.register_producer(Rc::new(transport.clone()), true);
        transport.unregister_producer();
        transport.set_no_delay(true).ok();
        let connection = transport.connection::<Self>();
        if let Some(connection) = connection {
            assert!(connection.try_with(|_, _| ()).is_err());
            connection.with(|me, _| assert_eq!(me.depth.get(), 0)).ignore();
        }
        reactor.call_soon(|_| {});
        reactor.call_later(Duration::ZERO, |_| {}).cancel().unwrap();
        let port = reactor.listen_tcp("127.0.0.1:0", || Echo).unwrap();
        reactor.connect_tcp(port.local_addr(), Echo).ignore();
        port.stop_listening().ignore();
        assert!(reactor.turn(Some(Duration::ZERO)).is_err());
        assert!(reactor.run().is_err());
        self.depth.set(0);
    }
}

impl Protocol for Busybody {
    fn connection_made(&mut self, transport: &Transport) {
        self.everything(transport);
    }

    fn data_received(&mut self, transport: &Transport, _: &[u8]) {
        self.everything(transport);
        transport.lose_connection();
        transport.abort_connection();
    }

    fn connection_lost(&mut self, transport: &Transport, _: &CloseReason) {
        self.everything(transport);
        let _ = transport.reactor().unwrap().stop();
    }
}

on_every_driver!(everything_may_be_called_from_inside_a_callback, |ground| {
    let reactor = ground.reactor();
    let depth = Rc::new(Cell::new(0));
    let inside = Rc::clone(&depth);
    let port =
        reactor.listen_tcp("127.0.0.1:0", move || Busybody { depth: inside.clone() }).unwrap();
    let (client, _) = Collect::new(&reactor, b"z", usize::MAX);
    reactor.connect_tcp(port.local_addr(), client).ignore();
    reactor.run().unwrap();
    assert_eq!(depth.get(), 0);
});

/// Turns the reactor until something is so.
fn turn_until(reactor: &Reactor, mut done: impl FnMut() -> bool) {
    let _ = reactor.start();
    while !done() {
        reactor.turn(None).unwrap();
    }
}
