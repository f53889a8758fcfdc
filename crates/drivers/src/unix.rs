//! Addresses of UNIX sockets, to and from the system, and the sockets of their family. The files they leave are in `socket_file.rs`.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use marline_core::Addr;
use marline_core::driver::OsError;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrAny, SocketAddrUnix, SocketFlags, SocketType, socket_with,
};

use crate::sys;

/// An address of any family, as the engine has it; `None` for families it does not know.
pub(crate) fn addr(any: SocketAddrAny) -> Option<Addr> {
    if any.address_family() == AddressFamily::UNIX {
        return Some(Addr::Unix(path(&any)));
    }
    any.try_into().ok().map(Addr::Ip)
}

/// The name of a UNIX address: a path, an abstract name behind its NUL byte, or nothing for an unnamed end.
fn path(any: &SocketAddrAny) -> PathBuf {
    let name = sys::address_bytes(any).get(FAMILY..).unwrap_or_default();
    let name = match name {
        [0, ..] => name,
        // The NUL behind it is not a part of it, and need not be there.
        path => path.split(|&byte| byte == 0).next().unwrap_or_default(),
    };
    PathBuf::from(OsStr::from_bytes(name))
}

/// A name as the system has it; `InvalidInput` for one that cannot be a socket's: empty, too long, or with a NUL inside a path.
pub(crate) fn to_system(path: &Path) -> Result<SocketAddrUnix, OsError> {
    let name = match path.as_os_str().as_bytes() {
        [] => return Err(OsError::new(ErrorKind::InvalidInput)),
        [0, name @ ..] => SocketAddrUnix::new_abstract_name(name),
        // One byte less than fits: whoever reads the address may want a NUL behind it.
        path if path.len() >= LONGEST => Err(Errno::NAMETOOLONG),
        path => SocketAddrUnix::new(path),
    };
    name.map_err(|_| OsError::new(ErrorKind::InvalidInput))
}

/// Whether it is a path that names a file, and not an abstract name.
pub(crate) fn is_file(path: &Path) -> bool {
    !matches!(path.as_os_str().as_bytes(), [] | [0, ..])
}

/// A UNIX socket that blocks nobody and that no child inherits.
pub(crate) fn socket(kind: SocketType) -> Result<OwnedFd, Errno> {
    socket_with(AddressFamily::UNIX, kind, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)
}

/// Bytes of an address before its name.
const FAMILY: usize = 2;
/// `sun_path`, in bytes.
const LONGEST: usize = 108;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_as_they_were_given() {
        let long = format!("/{}", "x".repeat(106));
        for name in ["/run/socket", "relative", &long, "\0bus", "\0with\0nul", "\0"] {
            let path = Path::new(name);
            let any = SocketAddrAny::from(to_system(path).unwrap());
            assert_eq!(addr(any), Some(Addr::Unix(path.into())), "{name:?}");
        }
        let unnamed = SocketAddrAny::from(SocketAddrUnix::new_unnamed());
        assert_eq!(addr(unnamed), Some(Addr::Unix(PathBuf::new())));
    }

    #[test]
    fn a_name_that_cannot_be_a_sockets_is_invalid_input() {
        let long = format!("/{}", "x".repeat(107));
        let abstract_name = format!("\0{}", "x".repeat(108));
        for name in ["", &long, &abstract_name, "/a\0b", "a\0"] {
            let error = to_system(Path::new(name)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name:?}");
        }
    }
}
