//! Descriptors on connections with policies, and on those that a byte budget holds.

use marline_conformance::on_every_driver;
use marline_core::transport::DescriptorCause;
use marline_protocols::policy::{IdleTimeout, Rate, Throttle};

use super::{Pair, Porter, followed};
use crate::policies::Witness;
use crate::streams::kit::idle;

on_every_driver!(a_descriptor_passes_policies_that_see_no_writes, |ground| {
    let pair = Pair::join(ground);
    // Not in place yet when the first descriptor is passed.
    pair.sender().start_policy(IdleTimeout::default());
    for count in 1..=3 {
        pair.sender().send_descriptor(followed().1).unwrap();
        pair.sender().write(b"x");
        pair.until("the descriptor", |pair| pair.server.count() == count);
    }
    pair.until("the byte", |pair| pair.server.script() == "dxdxdx");
});

on_every_driver!(policies_that_see_writes_pass_no_descriptor, |ground| {
    let rate = Rate::new(1000, 1000).unwrap();
    for limits in [false, true] {
        let pair = Pair::join(ground);
        match limits {
            false => pair.sender().start_policy(Witness::default()),
            true => pair.sender().start_policy(Throttle::new().writing(&rate)),
        }
        for _ in 0..2 {
            let error = pair.sender().send_descriptor(followed().1).unwrap_err();
            assert_eq!(error.cause, DescriptorCause::Layered);
            idle(&pair.reactor);
        }
    }
});

on_every_driver!(a_connection_held_by_its_budget_hears_of_no_descriptor, |ground| {
    // The way back is full, and each descriptor is answered with more than may wait.
    let server = Porter::default().on_descriptor(|transport| {
        for _ in 0..2 {
            transport.write(&[0; 20_000]);
        }
    });
    let pair = Pair::join_with(ground, Porter::default(), server);
    let (client, server) = (pair.sender(), pair.server.transport());
    client.pause_reading();
    server.write(&vec![0; 8_000_000]);
    idle(&pair.reactor);
    server.set_budget(server.pending() + 30_000);
    assert!(server.is_reading() && server.pending() > 0);
    for _ in 0..3 {
        client.send_descriptor(followed().1).unwrap();
    }
    client.write(b"xyz");
    pair.until("the first", |pair| pair.server.count() > 0);
    idle(&pair.reactor);
    assert!(!server.is_reading());
    assert_eq!(pair.server.script(), "d", "the others wait with what is behind them");
    server.set_budget(usize::MAX);
    client.resume_reading();
    pair.until("the rest", |pair| pair.server.bytes.get() == 3);
    assert_eq!(pair.server.count(), 3);
    assert!(pair.server.script().ends_with('z'));
});
