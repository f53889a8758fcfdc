//! A descriptor as the engine carries it from one end of a connection to a driver and back. Where there are none, this type has no values.

use crate::Transport;
use crate::driver::{Driver, Handle, OsError};
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
