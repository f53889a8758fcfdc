//! What is logged, and what a reactor says is open: the names of protocols, factories and addresses are in it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use marline_conformance::on_every_driver;
use marline_core::testing::{CapturedLog, Level};

use super::kit::{Ends, Outcome, Probe, idle, listen, started, turn_until};

/// What this thread logs while `f` runs, a line an event: level, fields, message.
fn log_of(f: impl FnOnce()) -> Vec<String> {
    let log = CapturedLog::start();
    f();
    let told = log.take_where(|event| event.target == "marline" && event.level <= Level::INFO);
    // What else was logged is of no interest here.
    drop(log.take_errors());
    told.iter()
        .map(|event| {
            let fields: String =
                event.fields.iter().map(|(name, value)| format!(" {name}={value}")).collect();
            format!("{}{fields} message={}", event.level, event.message)
        })
        .collect()
}

fn lines_with<'a>(log: &'a [String], words: &[&str]) -> Vec<&'a String> {
    log.iter().filter(|line| words.iter().all(|word| line.contains(word))).collect()
}

// 78
on_every_driver!(start_and_close_of_a_port_are_logged_with_its_address, |ground| {
    let addr = RefCell::new(String::new());
    let log = log_of(|| {
        let reactor = started(ground);
        let port = listen(&reactor, Probe::new);
        *addr.borrow_mut() = port.local_addr().to_string();
        let stopped = Outcome::of(port.stop_listening());
        turn_until(&reactor, "the stop", || stopped.is_there());
    });
    let addr = addr.into_inner();
    let opened = lines_with(&log, &["INFO", "port opened", &addr]);
    assert_eq!(opened.len(), 1, "{log:#?}");
    assert!(opened[0].contains("factory="), "{opened:?}");
    assert_eq!(lines_with(&log, &["INFO", "port closed", &addr]).len(), 1, "{log:#?}");
    assert_eq!(log.len(), 2, "{log:#?}");
});

// 58: there is no prefix; the protocol's type and its peer are fields.
on_every_driver!(a_panic_is_logged_with_the_protocol_the_peer_and_the_callback, |ground| {
    let peer = RefCell::new(String::new());
    let log = log_of(|| {
        let server = Probe::new().on_data(|_, _| panic!("did not expect that"));
        let ends = Ends::join(ground, Probe::new(), server);
        *peer.borrow_mut() = ends.server.transport().peer_addr().to_string();
        ends.client.transport().write(b"x");
        ends.until_lost();
    });
    let peer = peer.into_inner();
    let errors = lines_with(&log, &["ERROR"]);
    assert_eq!(errors.len(), 1, "{log:#?}");
    for word in ["Probe", &peer, "data_received", "did not expect that"] {
        assert!(errors[0].contains(word), "{word} is not in {}", errors[0]);
    }
});

// 58
on_every_driver!(what_is_open_is_named_by_protocol_peer_and_place, |ground| {
    struct Other;
    impl marline_core::Protocol for Other {
        fn data_received(&mut self, _: &marline_core::Transport, _: &[u8]) {}
    }
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    let peer = ends.server.transport().peer_addr().to_string();
    let named = |name: &str| {
        let open = ends.reactor.open();
        open.iter()
            .filter(|open| open.kind == "connection" && open.what.contains(name))
            .map(|open| (open.what.clone(), open.site.file().to_string()))
            .collect::<Vec<_>>()
    };
    let probes = named("Probe");
    assert_eq!(probes.len(), 2);
    assert!(probes.iter().any(|(what, _)| what.contains(&peer)), "{probes:?}");
    assert!(probes.iter().all(|(_, site)| site.ends_with("logs.rs")), "{probes:?}");
    ends.server.transport().upgrade(Other, b"");
    ends.until("the hand-over", |ends| ends.server.is_lost());
    assert_eq!((named("Probe").len(), named("Other").len()), (1, 1));
});

on_every_driver!(an_ordinary_connection_logs_nothing, |ground| {
    let done = Rc::new(Cell::new(false));
    let log = log_of(|| {
        let ends = Ends::join(ground, Probe::new(), Probe::new());
        ends.client.transport().write(b"x");
        ends.client.transport().lose_connection();
        ends.until_lost();
        idle(&ends.reactor);
        done.set(true);
    });
    assert!(done.get());
    let rest: Vec<_> = log.iter().filter(|line| !line.contains("port ")).collect();
    assert!(rest.is_empty(), "{rest:#?}");
});
