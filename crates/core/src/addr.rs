//! Addresses of both ends of a transport: compared and hashed by value, always numeric.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// The address of one end of a transport.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Addr {
    /// IPv4 or IPv6 address (with scope where there is one) and port.
    #[doc(alias = "IPv4Address")]
    #[doc(alias = "IPv6Address")]
    Ip(SocketAddr),
    /// Path of a UNIX socket; an abstract name starts with a NUL byte; empty for an unnamed end.
    #[doc(alias = "UNIXAddress")]
    Unix(PathBuf),
    /// What has no address of the network: a process, an in-memory end.
    Named(Box<str>),
}

impl Addr {
    /// The IP address and port, if it is one.
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(addr) => Some(*addr),
            _ => None,
        }
    }

    /// The port, or zero for what has none.
    pub fn port(&self) -> u16 {
        self.ip().map_or(0, |addr| addr.port())
    }

    /// The path, if it is a UNIX socket's.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Unix(path) => Some(path),
            _ => None,
        }
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(addr) => addr.fmt(f),
            Self::Unix(path) => {
                let text = path.to_string_lossy();
                match text.strip_prefix('\0') {
                    Some(name) => write!(f, "@{name}"),
                    None if text.is_empty() => f.write_str("(unnamed)"),
                    None => f.write_str(&text),
                }
            }
            Self::Named(name) => f.write_str(name),
        }
    }
}

impl From<SocketAddr> for Addr {
    fn from(addr: SocketAddr) -> Self {
        Self::Ip(addr)
    }
}

impl From<(IpAddr, u16)> for Addr {
    fn from(addr: (IpAddr, u16)) -> Self {
        Self::Ip(addr.into())
    }
}

/// The address a connection keeps, in 16 bytes for IPv4 (an [`Addr`] is 32 and every idle connection would pay for it).
#[derive(Clone, Debug)]
pub(crate) enum CompactAddr {
    V4(std::net::SocketAddrV4),
    Other(Box<Addr>),
}

impl From<Addr> for CompactAddr {
    fn from(addr: Addr) -> Self {
        match addr {
            Addr::Ip(SocketAddr::V4(addr)) => Self::V4(addr),
            other => Self::Other(Box::new(other)),
        }
    }
}

impl From<&CompactAddr> for Addr {
    fn from(addr: &CompactAddr) -> Self {
        match addr {
            CompactAddr::V4(addr) => Self::Ip(SocketAddr::V4(*addr)),
            CompactAddr::Other(addr) => (**addr).clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_local_address_shows_its_scope() {
        let addr: SocketAddr = "[fe80::1%3]:80".parse().unwrap();
        assert_eq!(Addr::from(addr).to_string(), "[fe80::1%3]:80");
    }

    #[test]
    fn an_abstract_name_is_shown_with_an_at_sign() {
        assert_eq!(Addr::Unix(PathBuf::from("\0bus")).to_string(), "@bus");
        assert_eq!(Addr::Unix(PathBuf::new()).to_string(), "(unnamed)");
    }

    #[test]
    fn compact_addresses_come_back_unchanged() {
        for text in ["127.0.0.1:1", "[::1]:2", "[fe80::1%3]:80"] {
            let addr = Addr::Ip(text.parse().unwrap());
            assert_eq!(Addr::from(&CompactAddr::from(addr.clone())), addr);
        }
        assert_eq!(size_of::<CompactAddr>(), 16);
    }
}
