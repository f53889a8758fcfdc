//! What can be called to listen and to connect, and on ports and connectors.

use std::time::Duration;

use marline_core::driver::ConnectOptions;
use marline_core::protocol::shared;
use marline_core::{Addr, Destination};

use super::super::actor::{Actor, Maker};
use super::super::play::Scene;

/// Where the ports of this node listen.
pub(super) fn here(scene: &Scene<'_>) -> Destination {
    match &scene.here().host {
        Some(host) if !host.addrs().is_empty() && scene.play.nodes.len() > 1 => {
            (host.addrs()[0], 0).into()
        }
        _ => "127.0.0.1:0".into(),
    }
}

pub(in super::super) fn listen(scene: &Scene<'_>) {
    let Some(reactor) = scene.reactor() else { return };
    if scene.here().ports.borrow().len() >= 4 {
        return;
    }
    let (maker, id) = Maker::new(scene.play, scene.node, true);
    let maker = shared(maker);
    for _ in 0..1 + scene.play.below(2) {
        // Out of ports or descriptors is no broken promise.
        if let Ok(port) = reactor.listen_tcp(here(scene), maker.clone()) {
            scene.play.addresses.borrow_mut().push(port.local_addr());
            scene.here().ports.borrow_mut().push((port, id));
        }
    }
}

pub(super) fn somewhere(scene: &Scene<'_>) -> Destination {
    let addr = scene.play.pick(&scene.play.addresses);
    let ip = addr.as_ref().and_then(Addr::ip);
    match (scene.play.below(12), ip) {
        (0, _) => "127.0.0.1:1".into(),
        (1, _) => "no destination".into(),
        (2, Some(ip)) if !scene.play.names.is_empty() => {
            let name = &scene.play.names[scene.play.below(scene.play.names.len())];
            (name.as_str(), ip.port()).into()
        }
        (_, Some(ip)) => ip.into(),
        (_, None) => "127.0.0.1:1".into(),
    }
}

pub(super) fn options(scene: &Scene<'_>) -> ConnectOptions {
    let mut options = ConnectOptions::default();
    if scene.play.chance(0.1) {
        options.timeout = Some(Duration::from_micros(scene.play.below(2000) as u64));
    }
    options
}

pub(in super::super) fn connect(scene: &Scene<'_>) {
    let Some(reactor) = scene.reactor() else { return };
    if scene.here().lines.borrow().len() >= 20 && scene.play.chance(0.7) {
        return;
    }
    let (to, options) = (somewhere(scene), options(scene));
    scene.play.model.borrow_mut().log(format!("      node {} to {to}", scene.node));
    if scene.play.chance(0.5) {
        let actor = Actor::<0>::new(scene.play, scene.node, false, None);
        let id = actor.id;
        scene.play.watch_connect(scene.node, id, reactor.connect_tcp_with(to, actor, options));
    } else {
        let actor = Actor::<1>::new(scene.play, scene.node, false, None);
        let id = actor.id;
        scene.play.watch_connect(scene.node, id, reactor.connect_tcp_with(to, actor, options));
    }
}

pub(super) fn connector(scene: &Scene<'_>) {
    let Some(reactor) = scene.reactor() else { return };
    let (to, options) = (somewhere(scene), options(scene));
    scene.play.model.borrow_mut().log(format!("      node {} to {to}", scene.node));
    let (maker, _) = Maker::new(scene.play, scene.node, false);
    let connector = reactor.connector_tcp_with(to, maker, options);
    scene.here().connectors.borrow_mut().push(connector);
}

pub(super) fn connector_connect(scene: &Scene<'_>) {
    let Some(connector) = scene.play.pick(&scene.here().connectors) else { return };
    // What comes of it is for the factory's notices to tell.
    let _ = connector.connect();
}

pub(super) fn connector_stop(scene: &Scene<'_>) {
    let Some(connector) = scene.play.pick(&scene.here().connectors) else { return };
    let _ = connector.stop_connecting();
}

pub(super) fn connector_disconnect(scene: &Scene<'_>) {
    let Some(connector) = scene.play.pick(&scene.here().connectors) else { return };
    if let Some(transport) = connector.transport() {
        let end = scene
            .here()
            .lines
            .borrow()
            .iter()
            .find(|line| line.transport == transport)
            .map(|line| line.end);
        let Some(end) = end else { return };
        scene.play.model.borrow_mut().lose(end);
    }
    connector.disconnect();
}

pub(super) fn stop_listening(scene: &Scene<'_>) {
    let Some((port, factory)) = scene.play.pick(&scene.here().ports) else { return };
    let deferred = port.stop_listening();
    scene.play.check(!port.is_listening(), || "a port listens after stop_listening".into());
    scene.play.watch(scene.node, "stop_listening", deferred, move |play, result| {
        let panicked = play.model.borrow().factories[factory].stop_panicked;
        // It may have been cancelled, which is a random call like the others.
        if let Err(failure) = result {
            let text = failure.to_string();
            play.check(panicked || text == "cancelled", || {
                format!("stop_listening failed: {text}")
            });
        }
    });
}

pub(super) fn start_listening(scene: &Scene<'_>) {
    let Some((port, _)) = scene.play.pick(&scene.here().ports) else { return };
    if port.start_listening().is_ok() {
        let mut addresses = scene.play.addresses.borrow_mut();
        if !addresses.contains(&port.local_addr()) {
            addresses.push(port.local_addr());
        }
    }
}

pub(super) fn pause_port(scene: &Scene<'_>) {
    let Some((port, _)) = scene.play.pick(&scene.here().ports) else { return };
    if scene.play.chance(0.3) {
        port.pause();
    } else {
        port.resume();
    }
}
