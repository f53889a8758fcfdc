//! The bytes of a socket address as the system wrote them.

use rustix::net::SocketAddrAny;

/// All bytes of an address, its family first. For UNIX addresses, whose path may fill `sun_path` to the last byte: rustix asserts that
/// there is a NUL after it, and a stranger's socket must not be able to make it panic.
pub(crate) fn bytes(addr: &SocketAddrAny) -> &[u8] {
    // SAFETY: `SocketAddrAny` keeps as its invariant that the first `addr_len` bytes of its storage, where `as_ptr` points, are initialized, and
    // that they are no more than the storage has. They live, and stay unchanged, as long as the borrow of `addr` that the slice carries on.
    unsafe { std::slice::from_raw_parts(addr.as_ptr().cast(), addr.addr_len() as usize) }
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketAddrUnix};

    use super::*;

    #[test]
    fn an_address_is_its_family_and_then_its_name() {
        for (addr, name) in [
            (SocketAddrUnix::new("/a").unwrap(), &b"/a\0"[..]),
            (SocketAddrUnix::new_abstract_name(b"bus").unwrap(), b"\0bus"),
            (SocketAddrUnix::new_unnamed(), b""),
        ] {
            let any = SocketAddrAny::from(addr);
            let (family, rest) = bytes(&any).split_at(2);
            assert_eq!(family, AddressFamily::UNIX.as_raw().to_ne_bytes());
            assert_eq!(rest, name);
        }
    }
}
