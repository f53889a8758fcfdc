//! Datagrams and what becomes of them.

use std::io::ErrorKind;

use super::*;

struct Post {
    world: World,
    from: Node,
    to: Node,
    sender: Handle,
    receiver: Handle,
    addr: Addr,
}

fn post(link: Link) -> Post {
    let (world, hosts) = two_hosts(1);
    world.set_default_link(link);
    let (mut from, mut to) = (Node::new(&hosts[0]), Node::new(&hosts[1]));
    let options = DatagramOptions::default();
    let (sender, _) = from.driver.bind_datagram(&at("0.0.0.0:5000"), &options).unwrap();
    let (receiver, addr) = to.driver.bind_datagram(&at("10.0.0.2:53"), &options).unwrap();
    Post { world, from, to, sender, receiver, addr }
}

impl Post {
    fn send(&mut self, bytes: &[u8]) {
        let parts = [IoSlice::new(bytes)];
        self.from.driver.send_datagram(self.sender, Some(&self.addr), &parts).unwrap();
    }

    /// The first bytes of all that arrive.
    fn arrivals(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(Completion::Datagrams { .. }) = self.to.next_within(Duration::from_secs(5)) {
            all.push(self.to.bytes()[0]);
        }
        all
    }
}

#[test]
fn a_datagram_arrives_whole_with_its_source() {
    let mut post = post(Link { latency: millis(7), ..Link::default() });
    let start = post.world.now();
    let parts = [IoSlice::new(b"que"), IoSlice::new(b"ry")];
    post.from.driver.send_datagram(post.sender, Some(&post.addr), &parts).unwrap();
    let socket = post.receiver;
    assert_eq!(post.to.driver.datagram_source(socket), None);
    assert_eq!(post.to.next(), Some(datagram(socket, 5)));
    assert_eq!(post.to.bytes(), b"query");
    assert_eq!(post.world.now() - start, millis(7));
    let source = post.to.driver.datagram_source(socket);
    assert_eq!(source, Some(at("10.0.0.1:5000")));
}

#[test]
fn an_empty_datagram_arrives_too() {
    let mut post = post(Link::default());
    post.send(b"123456789");
    post.send(b"");
    let socket = post.receiver;
    for len in [9, 0] {
        assert_eq!(post.to.next(), Some(datagram(socket, len)));
    }
}

#[test]
fn loss_duplication_and_reordering_keep_to_their_probabilities() {
    let mut lossy = post(Link { loss: 0.5, ..Link::default() });
    (0..200).for_each(|number| lossy.send(&[number]));
    let arrived = lossy.arrivals();
    assert!((70..130).contains(&arrived.len()), "{}", arrived.len());
    assert!(arrived.is_sorted());

    let mut doubled = post(Link { duplicate: 1.0, ..Link::default() });
    (0..10).for_each(|number| doubled.send(&[number]));
    assert_eq!(doubled.arrivals().len(), 20);

    let mut shuffled = post(Link { reorder: 0.3, ..Link::default() });
    (0..200).for_each(|number| shuffled.send(&[number]));
    let mut arrived = shuffled.arrivals();
    assert!(!arrived.is_sorted());
    arrived.sort_unstable();
    assert_eq!(arrived, (0..200).collect::<Vec<u8>>());
}

#[test]
fn a_socket_that_does_not_read_drops_what_its_buffer_does_not_hold() {
    let mut post = post(Link::default());
    post.to.driver.receive(post.receiver, false);
    (0..100).for_each(|number| post.send(&[number; 10_000]));
    assert_eq!(post.to.next_within(millis(100)), None);
    post.to.driver.receive(post.receiver, true);
    let arrived = post.arrivals();
    assert_eq!(arrived, (0..20).collect::<Vec<u8>>());
    post.send(&[7]);
    assert_eq!(post.arrivals(), [7], "room again");
}

#[test]
fn what_cannot_be_sent_is_an_error_and_what_nobody_hears_is_not() {
    let mut post = post(Link::default());
    let mut send = |to: Option<&str>, len: usize| {
        let bytes = vec![0; len];
        let to = to.map(at);
        post.from.driver.send_datagram(post.sender, to.as_ref(), &[IoSlice::new(&bytes)])
    };
    assert_eq!(send(None, 1), Err(ErrorKind::NotConnected.into()));
    assert_eq!(send(Some("10.0.0.2:53"), 65_508), Err(OsError::from_raw(90)));
    assert_eq!(send(Some("[fd00::2]:53"), 1), Err(ErrorKind::InvalidInput.into()));
    assert_eq!(send(Some("10.9.9.9:53"), 1), Err(ErrorKind::HostUnreachable.into()));
    assert_eq!(send(Some("10.0.0.2:54"), 1), Ok(()));
    assert_eq!(post.arrivals(), b"");
    let (socket, addr) = (post.receiver, post.addr.clone());
    let options = DatagramOptions::default();
    let again = post.to.driver.bind_datagram(&addr, &options);
    assert_eq!(again, Err(ErrorKind::AddrInUse.into()));
    post.to.driver.close(socket, Close::Graceful);
    assert!(post.to.driver.bind_datagram(&addr, &options).is_ok());
}

fn datagram(socket: Handle, len: usize) -> Completion {
    Completion::Datagrams { socket, chunk: 0, len, segment: len, more: false }
}
