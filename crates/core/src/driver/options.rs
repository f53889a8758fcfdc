//! How to listen, bind and connect, and the options of a socket, as values that every driver understands.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::Addr;

/// How to listen. The default is what servers want; write `ListenOptions { backlog: 10, ..Default::default() }`, for there will be more fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenOptions {
    /// How many connections may wait to be accepted; the system caps it. 1024.
    pub backlog: u32,
    /// `SO_REUSEADDR`: bind although old connections of the address linger. On.
    pub reuse_address: bool,
    /// `SO_REUSEPORT`: share the port with other sockets that also say so, each getting a share of the connections. Off.
    pub reuse_port: bool,
    /// `IPV6_V6ONLY`: an IPv6 socket takes no IPv4. On, on every system.
    pub only_v6: bool,
    /// `TCP_NODELAY` on what is accepted: the reactor gathers the writes of a callback itself. On.
    pub no_delay: bool,
    /// For a UNIX socket: how its file is made.
    pub file: SocketFile,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            backlog: 1024,
            reuse_address: true,
            reuse_port: false,
            only_v6: true,
            no_delay: true,
            file: SocketFile::default(),
        }
    }
}

/// How the file of a UNIX socket is made when something listens on its path; means nothing for an abstract name, which has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketFile {
    /// The mode of the file, `0o660` say: who may write to it may connect. `None` leaves it to the umask. From the beginning nobody
    /// may connect who may not in the end. Permissions alone: more than `0o777` is an error.
    pub mode: Option<u32>,
    /// Whether a lock, the file `PATH.lock`, tells a socket in use from one left behind by a program that was killed: who holds the lock
    /// removes a socket left behind, and nobody listens on a path whose lock is held. Without it, a file left behind is an error. On.
    ///
    /// A crash leaves both files behind; the next start cleans up. Only a dead socket is ever removed: no file of another kind, and no socket
    /// that somebody listens on without a lock.
    #[doc(alias = "wantPID")]
    pub lock: bool,
}

impl Default for SocketFile {
    fn default() -> Self {
        Self { mode: None, lock: true }
    }
}

/// How to bind a datagram socket; write `DatagramOptions { broadcast: true, ..Default::default() }`, for there will be more fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatagramOptions {
    /// `SO_REUSEADDR`: several sockets share the port; each gets what is sent to a multicast group, one of them what is sent to it alone. Off.
    #[doc(alias = "listenMultiple")]
    pub reuse_address: bool,
    /// `SO_REUSEPORT`: share the port with other sockets of the same user that also say so, each getting a share of the senders. Off.
    pub reuse_port: bool,
    /// `IPV6_V6ONLY`: an IPv6 socket takes no IPv4. On, on every system.
    pub only_v6: bool,
    /// `SO_BROADCAST`: sending to a broadcast address is allowed. Off.
    pub broadcast: bool,
    /// For a UNIX socket: how its file is made.
    pub file: SocketFile,
}

impl Default for DatagramOptions {
    fn default() -> Self {
        Self {
            reuse_address: false,
            reuse_port: false,
            only_v6: true,
            broadcast: false,
            file: SocketFile::default(),
        }
    }
}

/// How to connect; write `ConnectOptions { timeout: None, ..Default::default() }`, for there will be more fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectOptions {
    /// The local address to connect from.
    #[doc(alias = "bindAddress")]
    pub bind: Option<Addr>,
    /// `SO_REUSEADDR` on that local address. On.
    pub reuse_address: bool,
    /// `TCP_NODELAY`. On.
    pub no_delay: bool,
    /// How long name lookup and connecting may take together, 30 seconds; `None` is as long as the system tries. Kept by the reactor,
    /// not by the driver.
    pub timeout: Option<Duration>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            bind: None,
            reuse_address: true,
            no_delay: true,
            timeout: Some(Duration::from_secs(30)),
        }
    }
}

/// What a socket that somebody else opened is to be used as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adopt {
    /// A listening stream socket.
    Port,
    /// A connected stream socket.
    Connection,
    /// A bound datagram socket.
    Datagrams,
}

/// Membership of a multicast group, on one interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Membership {
    /// The group's address.
    pub group: IpAddr,
    /// Where to listen for it.
    pub interface: Interface,
}

/// A network interface, as multicast needs one named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Interface {
    /// The system chooses by its routes.
    #[default]
    Any,
    /// The one that has this address (IPv4 only).
    Addr(Ipv4Addr),
    /// By number, as in a scope id.
    Index(u32),
}

/// An option of a socket, with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SocketOption {
    /// `TCP_NODELAY`: small segments leave at once.
    NoDelay(bool),
    /// `SO_KEEPALIVE`: probe an idle peer, by the system's times.
    KeepAlive(bool),
    /// `SO_BROADCAST`: sending to a broadcast address is allowed.
    Broadcast(bool),
    /// `SO_RCVBUF` in bytes: what the system holds for us. Systems round it, and may tell twice the number set.
    ReceiveBuffer(u32),
    /// `SO_SNDBUF` in bytes: what the system holds of ours.
    SendBuffer(u32),
    /// `IP_MULTICAST_LOOP`, `IPV6_MULTICAST_LOOP`: what is sent to a group reaches members on this host, too.
    MulticastLoop(bool),
    /// `IP_MULTICAST_TTL`, `IPV6_MULTICAST_HOPS`: how many routers a datagram to a group may pass.
    MulticastTtl(u8),
    /// `IP_MULTICAST_IF`, `IPV6_MULTICAST_IF`: which interface datagrams to a group leave by.
    MulticastInterface(Interface),
}
