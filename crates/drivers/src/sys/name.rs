//! The address of a datagram as the system has it: written for sending, read after receiving. No unsafe code.

use std::ffi::OsString;
use std::mem::offset_of;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use marline_core::Addr;

/// The bytes of a `sockaddr` of any family.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Name([u8; 112]);

impl Name {
    pub(super) const EMPTY: Self = Self([0; 112]);

    /// Writes an address; how long it is.
    pub(super) fn encode(&mut self, addr: &Addr) -> Option<usize> {
        let bytes = &mut self.0;
        match addr {
            Addr::Ip(SocketAddr::V4(addr)) => {
                put(bytes, 0, &(libc::AF_INET as libc::sa_family_t).to_ne_bytes());
                put(bytes, offset_of!(libc::sockaddr_in, sin_port), &addr.port().to_be_bytes());
                put(bytes, offset_of!(libc::sockaddr_in, sin_addr), &addr.ip().octets());
                Some(size_of::<libc::sockaddr_in>())
            }
            Addr::Ip(SocketAddr::V6(addr)) => {
                type In6 = libc::sockaddr_in6;
                put(bytes, 0, &(libc::AF_INET6 as libc::sa_family_t).to_ne_bytes());
                put(bytes, offset_of!(In6, sin6_port), &addr.port().to_be_bytes());
                put(bytes, offset_of!(In6, sin6_flowinfo), &addr.flowinfo().to_be_bytes());
                put(bytes, offset_of!(In6, sin6_addr), &addr.ip().octets());
                put(bytes, offset_of!(In6, sin6_scope_id), &addr.scope_id().to_ne_bytes());
                Some(size_of::<In6>())
            }
            Addr::Unix(path) => {
                let path = path.as_os_str().as_bytes();
                let is_abstract = path.first() == Some(&0);
                let most = size_of::<libc::sockaddr_un>() - PATH - usize::from(!is_abstract);
                if path.is_empty() || path.len() > most || (!is_abstract && path.contains(&0)) {
                    return None;
                }
                put(bytes, 0, &(libc::AF_UNIX as libc::sa_family_t).to_ne_bytes());
                put(bytes, PATH, path);
                // A longer name may have stood here. There is room: a path is shorter than it may be, an abstract name than all this.
                put(bytes, PATH + path.len(), &[0]);
                Some(PATH + path.len() + usize::from(!is_abstract))
            }
            _ => None,
        }
    }

    /// Reads an address that the system wrote, of so many bytes.
    #[inline]
    pub(super) fn decode(&self, len: usize) -> Option<Addr> {
        if len == size_of::<libc::sockaddr_in>() && self.family() == libc::AF_INET {
            return self.decode_v4();
        }
        self.decode_any(len)
    }

    fn family(&self) -> libc::c_int {
        libc::c_int::from(libc::sa_family_t::from_ne_bytes([self.0[0], self.0[1]]))
    }

    #[inline]
    fn decode_v4(&self) -> Option<Addr> {
        let port = u16::from_be_bytes(get(&self.0, offset_of!(libc::sockaddr_in, sin_port))?);
        let ip = get::<4>(&self.0, offset_of!(libc::sockaddr_in, sin_addr))?;
        Some(Addr::Ip(SocketAddrV4::new(Ipv4Addr::from(ip), port).into()))
    }

    #[inline(never)]
    fn decode_any(&self, len: usize) -> Option<Addr> {
        let bytes = self.0.get(..len)?;
        let family = match bytes.get(..2) {
            Some(family) => libc::c_int::from(libc::sa_family_t::from_ne_bytes(get(family, 0)?)),
            // The name of a UNIX socket that has none is nothing at all.
            None => libc::AF_UNIX,
        };
        match family {
            libc::AF_INET if len >= size_of::<libc::sockaddr_in>() => self.decode_v4(),
            libc::AF_INET6 => {
                type In6 = libc::sockaddr_in6;
                let port = u16::from_be_bytes(get(bytes, offset_of!(In6, sin6_port))?);
                let flow = u32::from_be_bytes(get(bytes, offset_of!(In6, sin6_flowinfo))?);
                let ip = get::<16>(bytes, offset_of!(In6, sin6_addr))?;
                let scope = u32::from_ne_bytes(get(bytes, offset_of!(In6, sin6_scope_id))?);
                Some(Addr::Ip(SocketAddrV6::new(Ipv6Addr::from(ip), port, flow, scope).into()))
            }
            libc::AF_UNIX => {
                let path = bytes.get(PATH..).unwrap_or_default();
                let path = match path.first() {
                    // Every byte of an abstract name counts; a path ends at its NUL, if that fitted.
                    Some(0) => path,
                    _ => path.split(|byte| *byte == 0).next().unwrap_or_default(),
                };
                Some(Addr::Unix(PathBuf::from(OsString::from_vec(path.to_vec()))))
            }
            _ => None,
        }
    }
}

pub(super) fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

pub(super) fn get<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// Where the path begins.
const PATH: usize = offset_of!(libc::sockaddr_un, sun_path);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back_from_the_systems_form_unchanged() {
        for text in ["127.0.0.1:1", "255.255.255.255:65535", "[::1]:53", "[fe80::1%7]:80"] {
            let addr = Addr::Ip(text.parse().unwrap());
            let mut name = Name::EMPTY;
            let len = name.encode(&addr).unwrap();
            assert_eq!(name.decode(len), Some(addr));
        }
        for path in
            ["/tmp/socket", "\0abstract\0name", &"p".repeat(107), &format!("\0{}", "a".repeat(107))]
        {
            let addr = Addr::Unix(path.into());
            let mut name = Name::EMPTY;
            let len = name.encode(&addr).unwrap();
            assert_eq!(name.decode(len), Some(addr));
        }
        for path in ["", "with\0nul", &"p".repeat(108), &format!("\0{}", "a".repeat(108))] {
            let mut name = Name::EMPTY;
            assert_eq!(name.encode(&Addr::Unix(path.into())), None, "{path:?}");
        }
        let mut name = Name::EMPTY;
        assert_eq!(name.encode(&Addr::Named("process".into())), None);
        // The name of a UNIX socket that has none is its family, or nothing at all.
        let mut name = Name::EMPTY;
        put(&mut name.0, 0, &(libc::AF_UNIX as libc::sa_family_t).to_ne_bytes());
        for len in [0, 2] {
            assert_eq!(name.decode(len), Some(Addr::Unix(PathBuf::new())), "{len} bytes");
        }
    }

    #[test]
    fn a_path_written_over_a_longer_one_is_not_a_letter_longer() {
        let mut name = Name::EMPTY;
        for path in ["/a/long/path", "/short", "\0abstract", "/a"] {
            let addr = Addr::Unix(path.into());
            let len = name.encode(&addr).unwrap();
            assert_eq!(name.decode(len), Some(addr), "{path:?}");
        }
    }
}
