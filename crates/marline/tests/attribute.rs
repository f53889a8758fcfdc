//! `#[marline::test]` as its users write it: on the simulated network, on a driver, with each kind of function.

use std::time::Duration;

use marline::deferred::Deferred;
use marline::failure::Failure;
use marline::sim::{Host, Link, World};
use marline::testing::Seed;
use marline::{Connection, Protocol, Reactor, Transport};

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(data);
    }
}

/// Sends a line, and closes when it has come back.
struct Once(Option<marline::deferred::Resolver<Vec<u8>>>, Vec<u8>);

impl Protocol for Once {
    fn connection_made(&mut self, transport: &Transport) {
        transport.write(b"hello\n");
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        self.1.extend_from_slice(data);
        if self.1.ends_with(b"\n") {
            transport.lose_connection();
            if let Some(resolver) = self.0.take() {
                resolver.resolve(self.1.clone());
            }
        }
    }
}

async fn exchange(reactor: &Reactor) -> Result<(), Failure> {
    let port = reactor.listen_tcp("127.0.0.1:0", || Echo)?;
    let (answer, resolver) = Deferred::new();
    let _: Connection<Once> =
        reactor.connect_tcp(port.local_addr(), Once(Some(resolver), Vec::new())).await?;
    assert_eq!(answer.await?, b"hello\n");
    Ok(())
}

#[marline::test]
async fn an_echo_comes_back_in_a_simulation(reactor: Reactor) -> Result<(), Failure> {
    assert_eq!(reactor.driver_name(), "sim");
    exchange(&reactor).await
}

#[marline::test(driver = "epoll", timeout = "20s")]
async fn an_echo_comes_back_on_a_kernel(reactor: Reactor) -> Result<(), Failure> {
    assert_eq!(reactor.driver_name(), "epoll");
    exchange(&reactor).await
}

#[marline::test(driver = "epoll", timeout = "50ms")]
#[should_panic(expected = "not over after 50ms")]
fn a_test_on_a_kernel_is_stopped_at_its_time_out(reactor: Reactor) -> Deferred<()> {
    let (late, resolver) = Deferred::new();
    reactor.call_later(Duration::from_secs(3600), |_| resolver.resolve(()));
    late
}

#[marline::test(driver = "epoll", stall = "20ms")]
#[should_panic(expected = "held the loop for")]
fn a_callback_that_holds_the_loop_of_a_kernel_fails_the_test() {
    std::thread::sleep(Duration::from_millis(500));
}

#[marline::test(driver = "dream")]
#[should_panic(expected = "dream")]
fn a_driver_that_there_is_not_is_named() {}

#[marline::test(seed = 0x10, seeds = 1_000)]
fn a_thousand_seeds_are_a_thousand_runs(reactor: Reactor, Seed(seed): Seed) -> Deferred<()> {
    assert!((0x10..0x10 + 1_000).contains(&seed));
    let (done, resolver) = Deferred::<()>::new();
    let delay = reactor.rng(|rng| rng.below(3600));
    reactor.call_later(Duration::from_millis(delay), |_| resolver.resolve(()));
    done
}

#[marline::test(seed = 3, seeds = 9)]
#[should_panic(expected = "failed with seed 5 (")]
fn the_seed_that_failed_is_named(Seed(seed): Seed) -> Result<(), String> {
    if seed == 5 { Err(format!("seed {seed}")) } else { Ok(()) }
}

/// A network with a second host on it, slow to reach.
#[marline::test(timeout = "10m")]
async fn other_hosts_can_be_made_in_the_tests_world(
    reactor: Reactor,
    world: World,
    host: Host,
) -> Result<(), Failure> {
    let far = world.host("far", [[10, 0, 9, 9].into()]);
    world.set_link(&host, &far, Link { latency: Duration::from_secs(7), ..Link::default() });
    world.spawn(&far, |reactor| drop(reactor.listen_tcp("10.0.9.9:7", || Echo)));
    let before = reactor.now();
    let connection = reactor.connect_tcp("10.0.9.9:7", Echo).await?;
    assert!(reactor.now() - before >= Duration::from_secs(14));
    connection.transport().abort_connection();
    Ok(())
}
