//! The other end as the system has it: messages with control blocks made by hand.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    sendmsg, socketpair,
};

/// Two ends of a connection without names.
pub(super) fn two() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap()
}

/// Sends a message with a control block for each list of descriptors.
#[track_caller]
pub(super) fn send(socket: impl AsFd, bytes: &[u8], blocks: &[&[OwnedFd]]) {
    let mut space = [MaybeUninit::uninit(); 8192];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let borrowed: Vec<Vec<_>> =
        blocks.iter().map(|block| block.iter().map(AsFd::as_fd).collect()).collect();
    for block in &borrowed {
        assert!(control.push(SendAncillaryMessage::ScmRights(block)));
    }
    let sent = sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::empty()).unwrap();
    assert_eq!(sent, bytes.len());
}
