//! Datagram sockets as such: how they are opened and connected, their options, and multicast. What they receive and send is in
//! `readiness/datagram.rs`.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use marline_core::Addr;
use marline_core::driver::{DatagramOptions, Interface, Membership, OsError, SocketOption};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, bind, sockopt};

use crate::socket::{fault, ip, local_addr, open, shared};
use crate::socket_file::BoundFile;
use crate::unix;

/// A socket for datagrams, the address it is bound to, and the file of that if it is a path. `SO_REUSEADDR` is set only when asked for: on a datagram socket it lets a second
/// program take the port over, and there are no old connections for it to help with.
pub(crate) fn datagrams(
    addr: &Addr,
    options: &DatagramOptions,
) -> Result<(OwnedFd, Addr, Option<BoundFile>), OsError> {
    let (socket, file) = match addr {
        Addr::Unix(path) => on_path(path, options)?,
        _ => (on_port(addr, options)?, None),
    };
    let bound = local_addr(socket.as_fd()).ok_or(OsError::new(ErrorKind::Other))?;
    Ok((socket, bound, file))
}

fn on_port(addr: &Addr, options: &DatagramOptions) -> Result<OwnedFd, OsError> {
    let addr = ip(addr)?;
    let socket = open(addr, SocketType::DGRAM).map_err(fault)?;
    let bound = || -> Result<(), Errno> {
        if options.reuse_address {
            sockopt::set_socket_reuseaddr(&socket, true)?;
        }
        shared(&socket, addr, options.reuse_port, options.only_v6)?;
        if options.broadcast {
            sockopt::set_socket_broadcast(&socket, true)?;
        }
        bind(&socket, &addr)
    };
    bound().map_err(fault)?;
    Ok(socket)
}

fn on_path(
    path: &Path,
    options: &DatagramOptions,
) -> Result<(OwnedFd, Option<BoundFile>), OsError> {
    let socket = unix::socket(SocketType::DGRAM).map_err(fault)?;
    // Who has no name can send, but nobody can answer.
    let file = match path.as_os_str().is_empty() {
        true => None,
        false => BoundFile::bind(socket.as_fd(), path, &options.file)?,
    };
    Ok((socket, file))
}

/// Names the one peer.
pub(crate) fn connect(socket: BorrowedFd<'_>, to: &Addr) -> Result<(), OsError> {
    let connected = match to {
        Addr::Unix(path) => rustix::net::connect(socket, &unix::to_system(path)?),
        _ => rustix::net::connect(socket, &ip(to)?),
    };
    connected.map_err(fault)
}

/// Joins or leaves a group.
pub(crate) fn set_membership(
    socket: BorrowedFd<'_>,
    membership: &Membership,
    joined: bool,
) -> Result<(), OsError> {
    let anywhere = Ipv4Addr::UNSPECIFIED;
    let done = match (membership.group, membership.interface) {
        (IpAddr::V4(group), Interface::Index(index)) => match joined {
            true => sockopt::set_ip_add_membership_with_ifindex(socket, &group, &anywhere, index),
            false => sockopt::set_ip_drop_membership_with_ifindex(socket, &group, &anywhere, index),
        },
        (IpAddr::V4(group), interface) => {
            let interface = match interface {
                Interface::Addr(addr) => addr,
                _ => anywhere,
            };
            match joined {
                true => sockopt::set_ip_add_membership(socket, &group, &interface),
                false => sockopt::set_ip_drop_membership(socket, &group, &interface),
            }
        }
        (IpAddr::V6(group), interface) => {
            let index = index(interface)?;
            match joined {
                true => sockopt::set_ipv6_add_membership(socket, &group, index),
                false => sockopt::set_ipv6_drop_membership(socket, &group, index),
            }
        }
    };
    done.map_err(fault)
}

/// Sets an option that streams do not have, or that all have.
pub(crate) fn set_option(socket: BorrowedFd<'_>, option: SocketOption) -> Result<(), OsError> {
    let is_v6 = is_v6(socket)?;
    let set = match option {
        SocketOption::Broadcast(on) => sockopt::set_socket_broadcast(socket, on),
        SocketOption::ReceiveBuffer(bytes) => {
            sockopt::set_socket_recv_buffer_size(socket, bytes as usize)
        }
        SocketOption::SendBuffer(bytes) => {
            sockopt::set_socket_send_buffer_size(socket, bytes as usize)
        }
        SocketOption::MulticastLoop(on) if is_v6 => sockopt::set_ipv6_multicast_loop(socket, on),
        SocketOption::MulticastLoop(on) => sockopt::set_ip_multicast_loop(socket, on),
        SocketOption::MulticastTtl(hops) if is_v6 => {
            sockopt::set_ipv6_multicast_hops(socket, hops.into())
        }
        SocketOption::MulticastTtl(hops) => sockopt::set_ip_multicast_ttl(socket, hops.into()),
        SocketOption::MulticastInterface(interface) if is_v6 => {
            sockopt::set_ipv6_multicast_if(socket, index(interface)?)
        }
        SocketOption::MulticastInterface(interface) => {
            let none = Ipv4Addr::UNSPECIFIED;
            match interface {
                Interface::Any => sockopt::set_ip_multicast_if(socket, &none),
                Interface::Addr(addr) => sockopt::set_ip_multicast_if(socket, &addr),
                Interface::Index(index) => {
                    sockopt::set_ip_multicast_if_with_ifindex(socket, &none, &none, index)
                }
            }
        }
        _ => return Err(OsError::UNSUPPORTED),
    };
    set.map_err(fault)
}

/// The present value of such an option.
pub(crate) fn option(
    socket: BorrowedFd<'_>,
    option: SocketOption,
) -> Result<SocketOption, OsError> {
    use SocketOption::{
        Broadcast, MulticastInterface, MulticastLoop, MulticastTtl, ReceiveBuffer, SendBuffer,
    };
    let is_v6 = is_v6(socket)?;
    // What the system tells is in the range of what it was told.
    let size = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    let hops = |hops: u32| u8::try_from(hops).unwrap_or(u8::MAX);
    let value = match option {
        Broadcast(_) => sockopt::socket_broadcast(socket).map(Broadcast),
        ReceiveBuffer(_) => {
            sockopt::socket_recv_buffer_size(socket).map(|n| ReceiveBuffer(size(n)))
        }
        SendBuffer(_) => sockopt::socket_send_buffer_size(socket).map(|n| SendBuffer(size(n))),
        MulticastLoop(_) if is_v6 => sockopt::ipv6_multicast_loop(socket).map(MulticastLoop),
        MulticastLoop(_) => sockopt::ip_multicast_loop(socket).map(MulticastLoop),
        MulticastTtl(_) if is_v6 => {
            sockopt::ipv6_multicast_hops(socket).map(|n| MulticastTtl(hops(n)))
        }
        MulticastTtl(_) => sockopt::ip_multicast_ttl(socket).map(|n| MulticastTtl(hops(n))),
        MulticastInterface(_) if is_v6 => sockopt::ipv6_multicast_if(socket).map(|index| {
            MulticastInterface(if index == 0 { Interface::Any } else { Interface::Index(index) })
        }),
        MulticastInterface(_) => sockopt::ip_multicast_if(socket).map(|addr| {
            let any = addr.is_unspecified();
            MulticastInterface(if any { Interface::Any } else { Interface::Addr(addr) })
        }),
        _ => return Err(OsError::UNSUPPORTED),
    };
    value.map_err(fault)
}

fn is_v6(socket: BorrowedFd<'_>) -> Result<bool, OsError> {
    let family = sockopt::socket_domain(socket).map_err(fault)?;
    Ok(family == AddressFamily::INET6)
}

/// IPv6 knows interfaces by number only.
fn index(interface: Interface) -> Result<u32, OsError> {
    match interface {
        Interface::Any => Ok(0),
        Interface::Index(index) => Ok(index),
        Interface::Addr(_) => Err(OsError::new(ErrorKind::InvalidInput)),
    }
}
