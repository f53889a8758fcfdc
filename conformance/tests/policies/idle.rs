//! Time-outs of silent, old and stuck connections.

use std::time::Duration;

use marline_conformance::on_every_driver;
use marline_core::Transport;
use marline_protocols::policy::{Deadline, IdleTimeout};

use crate::sending::file;
use crate::streams::kit::{Ends, Probe, turn_until};

const LIMIT: Duration = Duration::from_millis(200);

fn within(policy: IdleTimeout) -> impl FnMut(&Transport) {
    move |transport| transport.start_policy(policy.clone())
}

on_every_driver!(silence_closes_and_bytes_of_either_direction_put_it_off, |ground| {
    let server = Probe::new().on_made(within(IdleTimeout::new(LIMIT)));
    let ends = Ends::join(ground, Probe::new(), server);
    let step = LIMIT * 3 / 4;
    for round in 0..6 {
        let sleep = ends.reactor.now() + step;
        turn_until(&ends.reactor, "a while", || ends.reactor.now() >= sleep);
        match round % 2 {
            0 => ends.client.transport().write(b"x"),
            _ => ends.server.transport().write(b"y"),
        }
    }
    let last = ends.reactor.now();
    ends.until_lost();
    assert!(ends.reactor.now().since(last) >= LIMIT);
    assert_eq!((ends.server.reason(), ends.client.reason()), ("TimedOut".into(), "Done".into()));
    assert_eq!((ends.server.received(), ends.client.received()), (3, 3));
});

on_every_driver!(moved_buffers_and_files_put_it_off_as_writes_do, |ground| {
    // Also while nothing leaves: what counts for a write counts for them.
    for is_stuck in [false, true] {
        let client = Probe::new().on_made(move |transport| {
            if is_stuck {
                transport.pause_reading();
            }
        });
        let ends = Ends::join(ground, client, Probe::new());
        let server = ends.server.transport();
        if is_stuck {
            server.write(&[0; 12_000_000]);
        }
        server.start_policy(IdleTimeout::new(LIMIT));
        for round in 0..6 {
            let sleep = ends.reactor.now() + LIMIT * 3 / 4;
            turn_until(&ends.reactor, "a while", || ends.reactor.now() >= sleep);
            match round % 2 {
                0 => server.write_owned(vec![1; 3000]),
                _ => server.send_file(file(3000), 0, 3000).ignore(),
            }
        }
        let last = ends.reactor.now();
        assert!(!ends.server.is_lost());
        ends.until("the end", |_| !server.is_open());
        assert!(ends.reactor.now().since(last) >= LIMIT);
    }
});

on_every_driver!(a_silent_connection_ends_at_its_moment_and_not_before, |ground| {
    let server = Probe::new().on_made(within(IdleTimeout::new(LIMIT)));
    let ends = Ends::join(ground, Probe::new(), server);
    let made = ends.reactor.now();
    turn_until(&ends.reactor, "the end", || ends.server.is_lost());
    let stood = ends.reactor.now().since(made);
    if ground.is_simulated() {
        // The helper turns in steps of five milliseconds.
        assert!(stood <= LIMIT + Duration::from_millis(5), "{stood:?}");
    }
    assert!(stood + Duration::from_millis(5) >= LIMIT, "{stood:?}");
});

on_every_driver!(a_limit_changed_at_run_time_holds_from_the_last_bytes_on, |ground| {
    let server = Probe::new().on_made(within(IdleTimeout::default()));
    let ends = Ends::join(ground, Probe::new(), server);
    ends.idle();
    let before = ends
        .server
        .transport()
        .with_policy(|idle: &mut IdleTimeout| idle.set_limit(Some(Duration::from_millis(50))));
    assert_eq!(before, Some(Some(IdleTimeout::DEFAULT)));
    ends.until_lost();
    assert_eq!(ends.server.reason(), "TimedOut");
});

on_every_driver!(two_ends_with_full_buffers_that_both_close_do_not_wait_forever, |ground| {
    let stuck = || {
        Probe::new().on_made(|transport| {
            let policy = IdleTimeout::new(Duration::from_secs(3600)).with_close_limit(LIMIT);
            transport.start_policy(policy);
            transport.pause_reading();
            transport.write(&vec![0; 20_000_000]);
            transport.lose_connection();
        })
    };
    let ends = Ends::begin(ground, stuck(), stuck());
    ends.until_lost();
    let reasons = [ends.client.reason(), ends.server.reason()];
    assert!(reasons.contains(&"TimedOut".into()), "{reasons:?}");
});

on_every_driver!(a_close_that_makes_progress_is_not_timed_out, |ground| {
    // The peer takes some, rests for less than the limit, and takes some more. A kernel shows progress when it likes, and a busy machine late: there the limit
    // is one that nothing comes near, and that the whole may last longer than the limit is seen where time is virtual.
    let limit = if ground.is_simulated() { LIMIT } else { Duration::from_secs(15) };
    let server = Probe::new().on_made(move |transport| {
        transport.start_policy(IdleTimeout::new(limit).with_close_limit(limit));
        transport.write(&vec![7; 12_000_000]);
        transport.lose_connection();
    });
    let client = Probe::half_close().on_data(|transport, _| {
        transport.pause_reading();
        let (transport, reactor) = (transport.clone(), transport.reactor().unwrap());
        reactor.call_later(Duration::from_millis(2), move |_| transport.resume_reading());
    });
    let ends = Ends::join(ground, client, server);
    let begin = ends.reactor.now();
    ends.until("the end of it", |ends| ends.server.is_lost());
    assert_eq!(ends.server.reason(), "Done");
    let took = ends.reactor.now().since(begin);
    assert!(took > LIMIT || !ground.is_simulated(), "{took:?}");
    ends.until("all of it", |ends| ends.client.received() == 12_000_000);
});

on_every_driver!(a_deadline_ends_a_connection_however_busy_it_is, |ground| {
    for grace in [Duration::ZERO, LIMIT] {
        let server = Probe::new()
            .on_made(move |t| t.start_policy(Deadline::after(LIMIT).with_grace(grace)))
            .on_data(|transport, data| transport.write(data));
        let client = Probe::new().on_made(|transport| transport.write(b"ping")).on_data(
            |transport, data| {
                let (transport, data) = (transport.clone(), data.to_vec());
                let reactor = transport.reactor().unwrap();
                reactor.call_later(Duration::from_millis(1), move |_| transport.write(&data));
            },
        );
        let ends = Ends::join(ground, client, server);
        ends.until_lost();
        assert_eq!(ends.server.reason(), "TimedOut");
        assert!(ends.server.received() > 40, "it was busy until then");
        let polite = ends.client.reason() == "Done";
        assert_eq!(polite, grace > Duration::ZERO, "{}", ends.client.reason());
    }
});
