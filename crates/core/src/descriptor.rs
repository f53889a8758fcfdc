//! A descriptor as the engine carries it from one end of a connection to a driver and back. Where there are none, this type has no values.

use std::fs::File;
use std::io;

use crate::Transport;
use crate::driver::{Driver, Handle, OsError, Sent};
use crate::transport::AnyProtocol;

/// A descriptor that is carried along.
#[cfg(unix)]
pub(crate) use std::os::fd::OwnedFd as Descriptor;

/// A descriptor, where there are none.
#[cfg(not(unix))]
#[derive(Debug)]
pub(crate) enum Descriptor {}

/// Gives the driver a descriptor, to leave with the next byte.
#[cfg(unix)]
pub(crate) fn send(
    driver: &mut dyn Driver,
    conn: Handle,
    descriptor: Descriptor,
) -> Result<(), OsError> {
    driver.send_descriptor(conn, descriptor)
}

#[cfg(not(unix))]
pub(crate) fn send(_: &mut dyn Driver, _: Handle, descriptor: Descriptor) -> Result<(), OsError> {
    match descriptor {}
}

/// Takes the next descriptor that came with the bytes reported last.
#[cfg(unix)]
pub(crate) fn take(driver: &mut dyn Driver, conn: Handle) -> Option<Descriptor> {
    driver.take_descriptor(conn)
}

#[cfg(not(unix))]
pub(crate) fn take(_: &mut dyn Driver, _: Handle) -> Option<Descriptor> {
    None
}

/// Gives a protocol a descriptor that came along.
#[cfg(unix)]
pub(crate) fn give(protocol: &mut dyn AnyProtocol, transport: &Transport, descriptor: Descriptor) {
    protocol.descriptor_received(transport, descriptor);
}

#[cfg(not(unix))]
pub(crate) fn give(_: &mut dyn AnyProtocol, _: &Transport, descriptor: Descriptor) {
    match descriptor {}
}

/// Has the driver send a file; it comes back if the driver does not.
#[cfg(unix)]
pub(crate) fn send_file(
    driver: &mut dyn Driver,
    conn: Handle,
    file: Descriptor,
    offset: u64,
    length: u64,
) -> Result<Sent, (OsError, Descriptor)> {
    driver.send_file(conn, file, offset, length)
}

#[cfg(not(unix))]
pub(crate) fn send_file(
    _: &mut dyn Driver,
    _: Handle,
    file: Descriptor,
    _: u64,
    _: u64,
) -> Result<Sent, (OsError, Descriptor)> {
    match file {}
}

/// What can be read of a file from a place on, whatever its own position; blocks.
#[cfg(unix)]
pub(crate) fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, bytes, offset)
}

#[cfg(not(unix))]
pub(crate) fn read_at(_: &File, _: &mut [u8], _: u64) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(unix))]
impl From<Descriptor> for File {
    fn from(descriptor: Descriptor) -> Self {
        match descriptor {}
    }
}
