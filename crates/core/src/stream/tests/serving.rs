//! Servers of async functions, and clients, on the simulated network.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::rc::Rc;

use crate::ConnectCause;
use crate::deferred::capture_unhandled;
use crate::protocol::from_fn;
use crate::stream::{ByteStream, serve};
use crate::testing::TestReactor;

async fn echo(mut stream: ByteStream) -> io::Result<()> {
    let mut buffer = [0; 1000];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return stream.shutdown().await,
            len => stream.write_all(&buffer[..len]).await?,
        }
    }
}

#[test]
fn each_connection_has_a_task_and_both_ends_know_each_other() {
    let reactor = TestReactor::new();
    let port = reactor.listen_tcp("127.0.0.1:0", serve(echo)).unwrap();
    let clients = (0..10).map(|number| {
        let connecting = reactor.connect_stream(port.local_addr());
        let addr = port.local_addr();
        reactor.spawn(async move {
            let mut stream = connecting.await.unwrap();
            assert_eq!(stream.peer_addr(), addr);
            assert!(stream.local_addr().is_some());
            for round in 0..100u8 {
                let sent = [number, round, 7];
                stream.write_all(&sent).await.unwrap();
                let mut back = [0; 3];
                stream.read_exact(&mut back).await.unwrap();
                assert_eq!(back, sent);
            }
            stream.shutdown().await.unwrap();
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        })
    });
    for client in clients.collect::<Vec<_>>() {
        reactor.result_of(client).unwrap();
    }
    reactor.result_of(port.stop_listening()).unwrap();
    reactor.advance(std::time::Duration::from_secs(60));
    reactor.check_leaks();
}

#[test]
fn an_error_that_a_session_comes_to_is_logged_with_its_peer_and_the_place() {
    let reactor = TestReactor::new();
    let line = line!() + 3;
    let port = reactor.listen_tcp(
        "127.0.0.1:0",
        serve(async |_stream: ByteStream| Err::<(), _>(io::Error::from(ErrorKind::InvalidData))),
    );
    let ((), seen) = capture_unhandled(|| {
        let client = reactor.result_of(reactor.connect_stream(port.unwrap().local_addr())).unwrap();
        reactor.advance(std::time::Duration::from_secs(1));
        let local = client.local_addr();
        let _ = local;
    });
    assert_eq!(seen.len(), 1);
    let error = &seen[0].error;
    let place = format!("(served at {}:{line}:", file!());
    assert!(error.contains(&place) && error.contains("the task of 127.0.0.1:"), "{error}");
    assert!(error.ends_with("failed: invalid data"), "{error}");
}

#[test]
fn a_session_that_answers_nothing_is_fine_too() {
    let reactor = TestReactor::new();
    let count = Rc::new(Cell::new(0));
    let counter = Rc::clone(&count);
    let session = move |stream: ByteStream| {
        let counter = Rc::clone(&counter);
        async move {
            counter.set(counter.get() + 1);
            drop(stream);
        }
    };
    let port = reactor.listen_tcp("127.0.0.1:0", serve(session)).unwrap();
    let mut stream = reactor.result_of(reactor.connect_stream(port.local_addr())).unwrap();
    let ended = reactor.spawn(async move { stream.read(&mut [0]).await.unwrap() });
    assert_eq!(reactor.result_of(ended).unwrap(), 0);
    assert_eq!(count.get(), 1);
}

#[test]
fn a_stream_that_cannot_be_had_is_an_error_and_one_that_nobody_takes_is_closed() {
    let reactor = TestReactor::new();
    let refused = reactor.result_of(reactor.connect_stream("127.0.0.1:9"));
    assert_eq!(refused.unwrap_err().cause, ConnectCause::Refused);

    let attempt = reactor.connect_stream("127.0.0.1:9");
    attempt.cancel();
    assert_eq!(reactor.result_of(attempt).unwrap_err().cause, ConnectCause::Cancelled);

    let heard = Rc::new(Cell::new(false));
    let flag = Rc::clone(&heard);
    let ends = move |mut stream: ByteStream| {
        let flag = Rc::clone(&flag);
        async move {
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
            flag.set(true);
        }
    };
    let port = reactor.listen_tcp("127.0.0.1:0", serve(ends)).unwrap();
    drop(reactor.connect_stream(port.local_addr()));
    reactor.turn_until(|| heard.get());
}

#[test]
fn a_reactor_that_is_closed_drops_its_sessions_and_leaves_nothing() {
    let reactor = TestReactor::new();
    let dropped = Rc::new(Cell::new(0));
    struct Counts(Rc<Cell<u32>>);
    impl Drop for Counts {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let counter = Rc::clone(&dropped);
    let session = move |mut stream: ByteStream| {
        let counts = Counts(Rc::clone(&counter));
        async move {
            let _counts = counts;
            let _ = stream.read(&mut [0]).await;
            std::future::pending::<()>().await;
        }
    };
    let port = reactor.listen_tcp("127.0.0.1:0", serve(session)).unwrap();
    let stream = reactor.result_of(reactor.connect_stream(port.local_addr())).unwrap();
    reactor.advance(std::time::Duration::from_secs(1));
    reactor.close_all();
    assert_eq!(dropped.get(), 1);
    drop(stream);
    reactor.check_leaks();
}

#[test]
fn a_factory_can_be_wrapped_like_any_other() {
    let reactor = TestReactor::new();
    let mut inner = serve(echo);
    let factory = from_fn(move |link| {
        use crate::Factory;
        inner.build_protocol(link)
    });
    let port = reactor.listen_tcp("127.0.0.1:0", factory).unwrap();
    let connecting = reactor.connect_stream(port.local_addr());
    let asked = reactor.spawn(async move {
        let mut stream = connecting.await.unwrap();
        stream.write_all(b"hi").await.unwrap();
        let mut back = [0; 2];
        stream.read_exact(&mut back).await.unwrap();
        back
    });
    assert_eq!(&reactor.result_of(asked).unwrap(), b"hi");
}
