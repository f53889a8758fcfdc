//! Where to listen and where to connect, as people write it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::Addr;

/// Where to listen or connect: made from `"127.0.0.1:80"`, `"[::1]:80"`, `"example.org:80"`, a `SocketAddr`, a pair of host and port, or an
/// [`Addr`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Addr(Addr),
    Name(String, u16),
    /// What cannot be read; the text is kept for the error.
    Unreadable(String),
}

impl Destination {
    pub(crate) fn kind(&self) -> &Kind {
        &self.0
    }

    /// The address itself, or the rest of what it may be.
    #[inline]
    pub(crate) fn into_addr(self) -> Result<Addr, Self> {
        match self.0 {
            Kind::Addr(addr) => Ok(addr),
            other => Err(Self(other)),
        }
    }

    /// The address, if it is one and not a name.
    #[inline]
    pub fn addr(&self) -> Option<&Addr> {
        match &self.0 {
            Kind::Addr(addr) => Some(addr),
            _ => None,
        }
    }

    /// The host's name and the port, if it is a name and not an address.
    pub fn name(&self) -> Option<(&str, u16)> {
        match &self.0 {
            Kind::Name(name, port) => Some((name, *port)),
            _ => None,
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Addr(addr) => addr.fmt(f),
            Kind::Name(name, port) => write!(f, "{name}:{port}"),
            Kind::Unreadable(text) => f.write_str(text),
        }
    }
}

impl From<&str> for Destination {
    fn from(text: &str) -> Self {
        if let Ok(addr) = text.parse::<SocketAddr>() {
            return addr.into();
        }
        match text.rsplit_once(':') {
            Some((host, port)) => match port.parse() {
                Ok(port) if is_name(host) => (host, port).into(),
                _ => Self(Kind::Unreadable(text.into())),
            },
            None => Self(Kind::Unreadable(text.into())),
        }
    }
}

/// A host name has no room for what would be half an IPv6 address or a slip of the pen.
fn is_name(host: &str) -> bool {
    !host.is_empty() && !host.contains([':', '[', ']', '/', ' ', '\0'])
}

impl From<&String> for Destination {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<String> for Destination {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<SocketAddr> for Destination {
    #[inline]
    fn from(addr: SocketAddr) -> Self {
        Self(Kind::Addr(addr.into()))
    }
}

impl From<Addr> for Destination {
    #[inline]
    fn from(addr: Addr) -> Self {
        Self(Kind::Addr(addr))
    }
}

impl From<&Addr> for Destination {
    #[inline]
    fn from(addr: &Addr) -> Self {
        addr.clone().into()
    }
}

impl From<(IpAddr, u16)> for Destination {
    fn from(addr: (IpAddr, u16)) -> Self {
        SocketAddr::from(addr).into()
    }
}

impl From<(&str, u16)> for Destination {
    fn from((host, port): (&str, u16)) -> Self {
        match host.parse::<IpAddr>() {
            Ok(ip) => (ip, port).into(),
            Err(_) if is_name(host) => Self(Kind::Name(host.into(), port)),
            Err(_) => Self(Kind::Unreadable(format!("{host}:{port}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_are_told_apart() {
        assert_eq!(
            Destination::from("127.0.0.1:80").addr(),
            Some(&"127.0.0.1:80".parse::<SocketAddr>().unwrap().into())
        );
        assert_eq!(Destination::from("[fe80::1%2]:80").to_string(), "[fe80::1%2]:80");
        assert_eq!(
            Destination::from("example.org:80").kind(),
            &Kind::Name("example.org".into(), 80)
        );
        assert_eq!(Destination::from("example.org:80").name(), Some(("example.org", 80)));
        assert_eq!(Destination::from("127.0.0.1:80").name(), None);
        assert_eq!(Destination::from("example.org").name(), None);
        assert_eq!(Destination::from(("::1", 7)).to_string(), "[::1]:7");
    }

    #[test]
    fn what_cannot_be_read_is_kept_for_the_error() {
        for text in
            ["", "80", ":80", "host:", "host:http", "host:70000", "::1:80", "[::1:80", "a b:1"]
        {
            assert_eq!(Destination::from(text).kind(), &Kind::Unreadable(text.into()), "{text}");
        }
    }
}
