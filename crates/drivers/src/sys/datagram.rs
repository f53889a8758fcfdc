//! `recvmmsg(2)` and `sendmmsg(2)`, and the control messages of UDP's segmentation, which rustix does not have. What to send together and
//! what becomes of it is decided in `readiness/datagram.rs`; here are the system's structures, filled and read. Addresses are in `name.rs`.

use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use marline_core::Addr;
use marline_core::driver::{Datagram, Mail, Parcel};
use rustix::io::Errno;

use super::calls::sendmmsg;
use super::name::{Name, get, put};

/// Where datagrams are received: a chunk for each message of a call, all in one buffer, which is moved out while somebody reads them.
///
/// The pages of it that nothing was written to are never touched.
pub(crate) struct Inbox {
    headers: Vec<libc::mmsghdr>,
    pieces: Vec<libc::iovec>,
    names: Vec<Name>,
    controls: Vec<Control>,
    bytes: Vec<u8>,
    /// How many messages the last call brought: from the first on, these slots are to be set up anew.
    used: usize,
}

/// One message of the last call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message {
    /// How many bytes, from the start of the chunk.
    pub(crate) len: usize,
    /// How long each datagram in it is: as long as the message, if there is one.
    pub(crate) segment: usize,
    /// Whether the chunk was too short for it.
    pub(crate) truncated: bool,
}

impl Inbox {
    /// An empty one, which allocates nothing yet.
    pub(crate) const fn new() -> Self {
        Self {
            headers: Vec::new(),
            pieces: Vec::new(),
            names: Vec::new(),
            controls: Vec::new(),
            bytes: Vec::new(),
            used: 0,
        }
    }

    /// Receives up to `most` messages, at least one and without waiting; whatever the last call brought is forgotten. Answers how many
    /// there are, and how many bytes they have together.
    pub(crate) fn receive(
        &mut self,
        fd: BorrowedFd<'_>,
        most: usize,
    ) -> Result<(usize, usize), Errno> {
        self.arm(most);
        self.used = 0;
        loop {
            // SAFETY: `arm` has made at least `most` headers. Each points to a name, a control buffer, an iovec and through that to a chunk,
            // with their true sizes; all of these are owned by `self` and borrowed exclusively for the call. The chunks do not overlap.
            let count = unsafe {
                libc::recvmmsg(
                    fd.as_raw_fd(),
                    self.headers.as_mut_ptr(),
                    most as libc::c_uint,
                    libc::MSG_DONTWAIT,
                    ptr::null_mut(),
                )
            };
            match usize::try_from(count) {
                Ok(count) => {
                    let brought = self.headers.get(..count).unwrap_or_default();
                    self.used = brought.len();
                    let bytes = brought.iter().map(|header| header.msg_len as usize).sum();
                    return Ok((self.used, bytes));
                }
                Err(_) => match last_error() {
                    Errno::INTR => {}
                    errno => return Err(errno),
                },
            }
        }
    }

    /// One message of the last call.
    #[inline]
    pub(crate) fn message(&self, slot: usize) -> Option<Message> {
        let header = self.headers.get(slot).filter(|_| slot < self.used)?;
        let len = header.msg_len as usize;
        let segment = match header.msg_hdr.msg_controllen {
            0 => len,
            _ => self.controls.get(slot).and_then(Control::segment).unwrap_or(len),
        };
        let truncated = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
        Some(Message { len, segment, truncated })
    }

    /// Whether of the messages from this one on none was cut off.
    pub(crate) fn is_whole(&self, first: usize) -> bool {
        let headers = self.headers.get(first..self.used).unwrap_or_default();
        headers.iter().all(|header| header.msg_hdr.msg_flags & libc::MSG_TRUNC == 0)
    }

    /// Where a message of the last call came from.
    #[inline]
    pub(crate) fn source(&self, slot: usize) -> Option<Addr> {
        let header = self.headers.get(slot).filter(|_| slot < self.used)?;
        self.names.get(slot)?.decode(header.msg_hdr.msg_namelen as usize)
    }

    /// The bytes of a message of the last call.
    pub(crate) fn bytes(&self, slot: usize) -> &[u8] {
        let len = self.message(slot).map_or(0, |message| message.len);
        self.bytes.get(slot * CHUNK..).and_then(|chunk| chunk.get(..len)).unwrap_or_default()
    }

    /// Moves the messages of the last call out from one on. Nobody is told of those from an address that nobody understands.
    pub(crate) fn take_all(&mut self, first: usize, mail: &mut Mail) {
        mail.bytes = std::mem::take(&mut self.bytes);
        mail.parcels.clear();
        let slots = first..self.used;
        let (Some(headers), Some(names), Some(controls)) = (
            self.headers.get(slots.clone()),
            self.names.get(slots.clone()),
            self.controls.get(slots.clone()),
        ) else {
            return;
        };
        mail.parcels.reserve(slots.len());
        for (((slot, header), name), control) in slots.zip(headers).zip(names).zip(controls) {
            let Some(from) = name.decode(header.msg_hdr.msg_namelen as usize) else { continue };
            let len = header.msg_len as usize;
            let segment = match header.msg_hdr.msg_controllen {
                0 => len,
                _ => control.segment().unwrap_or(len),
            };
            mail.parcels.push(Parcel { at: slot * CHUNK, len, segment, from });
        }
    }

    /// Gives the buffer back.
    pub(crate) fn give_back(&mut self, bytes: Vec<u8>) {
        self.bytes = bytes;
    }

    /// Sets up what the next call needs for so many messages: everything if there is not room enough yet, else what the system has changed, and
    /// where the chunks are.
    fn arm(&mut self, most: usize) {
        let mut stale = self.used;
        let grows = self.headers.len() < most;
        if grows {
            self.headers.resize(most, empty_header());
            self.pieces.resize(most, libc::iovec { iov_base: ptr::null_mut(), iov_len: CHUNK });
            self.names.resize(most, Name::EMPTY);
            self.controls.resize(most, Control::EMPTY);
            // They may have moved.
            let (mut pieces, mut names) = (self.pieces.as_mut_ptr(), self.names.as_mut_ptr());
            let mut controls = self.controls.as_mut_ptr();
            for header in &mut self.headers {
                header.msg_hdr.msg_name = names.cast();
                header.msg_hdr.msg_iov = pieces;
                header.msg_hdr.msg_iovlen = 1;
                header.msg_hdr.msg_control = controls.cast();
                (pieces, names) = (pieces.wrapping_add(1), names.wrapping_add(1));
                controls = controls.wrapping_add(1);
            }
            stale = most;
        }
        let needed = self.headers.len() * CHUNK;
        if self.bytes.len() != needed {
            // Zeroed by the system: fresh pages are not touched.
            self.bytes = vec![0; needed];
        }
        let base = self.bytes.as_mut_ptr();
        if grows || self.pieces.first().is_some_and(|piece| piece.iov_base != base.cast()) {
            // Another buffer than they point to, or more of them.
            let mut chunk = base;
            for piece in &mut self.pieces {
                piece.iov_base = chunk.cast();
                chunk = chunk.wrapping_add(CHUNK);
            }
        }
        for header in self.headers.iter_mut().take(stale) {
            header.msg_hdr.msg_namelen = size_of::<Name>() as libc::socklen_t;
            header.msg_hdr.msg_controllen = size_of::<Control>() as _;
        }
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("used", &self.used).finish_non_exhaustive()
    }
}

/// Room for what a sending call is told, kept for the next one.
pub(crate) struct Outbox {
    /// These four have an element for each message of a call, [`MESSAGES`] of them once anything was sent.
    headers: Vec<libc::mmsghdr>,
    names: Vec<Name>,
    controls: Vec<Control>,
    /// How many datagrams leave as this message.
    counts: Vec<usize>,
    pieces: Vec<libc::iovec>,
}

/// What has become of a sending call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// So many datagrams have left.
    Some(usize),
    /// Not even the first; whether it was one of several in a message.
    None { errno: Errno, segmented: bool },
}

impl Outbox {
    pub(crate) const fn new() -> Self {
        Self {
            headers: Vec::new(),
            names: Vec::new(),
            controls: Vec::new(),
            counts: Vec::new(),
            pieces: Vec::new(),
        }
    }

    /// Sends datagrams in one system call, as many of them as that takes ([`MESSAGES`]); with `segmented` those of the same length to the
    /// same address as one message that the system cuts. An address that no datagram can be sent to ends them.
    pub(crate) fn send(
        &mut self,
        fd: BorrowedFd<'_>,
        batch: &[Datagram<'_>],
        segmented: bool,
    ) -> Left {
        let messages = self.plan(batch, segmented);
        if messages == 0 {
            return Left::None { errno: Errno::AFNOSUPPORT, segmented: false };
        }
        loop {
            // SAFETY: `plan` has set up so many headers, and there are as many. Each points to an iovec array, and where it has them to a name
            // and a control buffer, with their true lengths; all are elements of vectors of `self` that have not moved since, and `self`
            // is borrowed exclusively for the call. The pieces lie within the bytes of `batch`, which are borrowed for the call and which the
            // system only reads.
            let count = unsafe {
                sendmmsg(
                    fd.as_raw_fd(),
                    self.headers.as_mut_ptr(),
                    messages as libc::c_uint,
                    libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
                )
            };
            return match usize::try_from(count) {
                Ok(sent) => Left::Some(self.counts.iter().take(sent).sum()),
                Err(_) => match last_error() {
                    Errno::INTR => continue,
                    errno => Left::None {
                        errno,
                        segmented: self.counts.first().is_some_and(|count| *count > 1),
                    },
                },
            };
        }
    }

    /// Divides a batch into messages, up to the first that is for an address no datagram can be sent to, and sets their headers up. How many
    /// there are, [`MESSAGES`] at most.
    fn plan(&mut self, batch: &[Datagram<'_>], segmented: bool) -> usize {
        if self.headers.is_empty() {
            self.headers.resize(MESSAGES, empty_header());
            self.names.resize(MESSAGES, Name::EMPTY);
            self.controls.resize(MESSAGES, Control::EMPTY);
            self.counts.resize(MESSAGES, 0);
        }
        self.pieces.clear();
        // No more than that, so that they do not move while headers point to them.
        self.pieces.reserve(batch.len());
        let (names, pieces) = (self.names.as_mut_ptr(), self.pieces.as_mut_ptr());
        let controls = self.controls.as_mut_ptr();
        let mut rest = batch;
        let mut messages = 0;
        let mut named: Option<(&Addr, *mut Name, usize)> = None;
        while let Some(first) = rest.first()
            && messages < MESSAGES
        {
            let (name, name_len) = match (first.to, named) {
                (None, _) => (ptr::null_mut(), 0),
                (Some(to), Some((before, name, len))) if ptr::eq(to, before) => (name, len),
                (Some(to), _) => {
                    let Some(len) = self.names[messages].encode(to) else { break };
                    let name = names.wrapping_add(messages);
                    named = Some((to, name, len));
                    (name, len)
                }
            };
            let count = if segmented { run_of(rest) } else { 1 };
            let (run, after) = rest.split_at(count);
            rest = after;
            let begin = self.pieces.len();
            for datagram in run {
                self.piece(begin, datagram.bytes);
            }
            let header = &mut self.headers[messages].msg_hdr;
            header.msg_name = name.cast();
            header.msg_namelen = name_len as libc::socklen_t;
            header.msg_iov = pieces.wrapping_add(begin);
            header.msg_iovlen = (self.pieces.len() - begin) as _;
            if count > 1 {
                // At most 65,507.
                self.controls[messages] = Control::with_segment(first.bytes.len() as u16);
                header.msg_control = controls.wrapping_add(messages).cast();
                header.msg_controllen = size_of::<Control>() as _;
            } else {
                header.msg_control = ptr::null_mut();
                header.msg_controllen = 0;
            }
            self.counts[messages] = count;
            messages += 1;
        }
        messages
    }

    /// One more piece of a message, or more of its last one.
    #[inline]
    fn piece(&mut self, begin: usize, bytes: &[u8]) {
        let base = bytes.as_ptr().cast_mut();
        if let Some(last) = self.pieces.get_mut(begin..).and_then(<[_]>::last_mut)
            && last.iov_base.addr() + last.iov_len == base.addr()
        {
            // They lie one behind the other, as in a batch they mostly do: the system has one piece to look at instead of dozens.
            last.iov_len += bytes.len();
            return;
        }
        self.pieces.push(libc::iovec { iov_base: base.cast(), iov_len: bytes.len() });
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").finish_non_exhaustive()
    }
}

/// How many of the first datagrams can leave as one message: to one address, of one length, of which the last may fall short.
fn run_of(batch: &[Datagram<'_>]) -> usize {
    let Some(first) = batch.first() else { return 0 };
    let length = first.bytes.len();
    if length == 0 || length > LONGEST_SEGMENT {
        return 1;
    }
    let most = SEGMENTS.min(LONGEST_RUN / length);
    let mut count = 1;
    for next in batch.iter().take(most).skip(1) {
        let same = match (first.to, next.to) {
            (Some(one), Some(other)) => ptr::eq(one, other) || one == other,
            (None, None) => true,
            _ => false,
        };
        if !same || next.bytes.is_empty() || next.bytes.len() > length {
            break;
        }
        count += 1;
        if next.bytes.len() < length {
            break;
        }
    }
    count
}

/// Asks for datagrams that arrived together to be handed over together. Whether the system does that.
pub(crate) fn receive_together(fd: BorrowedFd<'_>) -> bool {
    set(fd, libc::SOL_UDP, libc::UDP_GRO, 1)
}

/// Sets an option of a socket that is an int. Whether the system has it.
pub(crate) fn set(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> bool {
    // SAFETY: `value` is a whole int, outlives the call, which only reads it, and its size is passed.
    let set = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    set == 0
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

fn empty_header() -> libc::mmsghdr {
    // SAFETY: a header of zeros is one with no name, no pieces and no control messages; on some systems it has padding fields that cannot be
    // named.
    unsafe { std::mem::zeroed() }
}

/// One control message with a segment's length.
#[derive(Clone, Copy)]
#[repr(C)]
struct Control {
    header: libc::cmsghdr,
    data: [u8; 8],
}

impl Control {
    const EMPTY: Self = Self {
        // SAFETY: a header is numbers only; on some systems one of them is padding that cannot be named.
        header: unsafe { std::mem::zeroed() },
        data: [0; 8],
    };

    /// `UDP_SEGMENT`: cut what follows into pieces of this length.
    fn with_segment(length: u16) -> Self {
        let mut control = Self::EMPTY;
        control.header.cmsg_len = (HEADER + size_of::<u16>()) as _;
        control.header.cmsg_level = libc::SOL_UDP;
        control.header.cmsg_type = libc::UDP_SEGMENT;
        put(&mut control.data, 0, &length.to_ne_bytes());
        control
    }

    /// `UDP_GRO`: what came is to be cut into pieces of this length.
    fn segment(&self) -> Option<usize> {
        if self.header.cmsg_level != libc::SOL_UDP || self.header.cmsg_type != libc::UDP_GRO {
            return None;
        }
        let length = libc::c_int::from_ne_bytes(get(&self.data, 0)?);
        usize::try_from(length).ok().filter(|length| *length > 0)
    }
}

/// The longest message received. UDP has none longer; a longer one of a UNIX socket is cut off, and reported as too long.
pub(crate) const CHUNK: usize = 65_536;
/// How many messages a call sends at most.
pub(crate) const MESSAGES: usize = 64;
/// What the system cuts at most out of one message.
const SEGMENTS: usize = 64;
const LONGEST_RUN: usize = 65_507;
/// Longer datagrams gain nothing by it, for hardly a network carries them whole.
const LONGEST_SEGMENT: usize = 32_768;
/// Where the data of a control message begins.
const HEADER: usize = size_of::<libc::cmsghdr>();

#[cfg(test)]
mod tests {
    use super::*;

    fn datagrams<'a>(to: &'a Addr, lengths: &[usize], bytes: &'a [u8]) -> Vec<Datagram<'a>> {
        lengths.iter().map(|len| Datagram { to: Some(to), bytes: &bytes[..*len] }).collect()
    }

    #[test]
    fn a_run_is_of_one_address_and_one_length_of_which_the_last_may_fall_short() {
        let (here, there) =
            (Addr::Ip("10.0.0.1:1".parse().unwrap()), Addr::Ip("10.0.0.2:1".parse().unwrap()));
        let bytes = vec![0; 65_507];
        for (lengths, expected) in [
            (&[][..], 0),
            (&[0], 1),
            (&[0, 0], 1),
            (&[5], 1),
            (&[5, 5], 2),
            (&[5, 4], 2),
            (&[5, 5, 4, 5], 3),
            (&[5, 5, 4, 4], 3),
            (&[5, 6], 1),
            (&[5, 5, 0], 2),
            (&[32_768, 32_739], 1),
            (&[32_769, 5], 1),
            (&[32_754, 32_754], 1),
            (&[32_700, 32_700], 2),
            (&[21_835, 21_835, 21_835, 21_835], 3),
            (&[21_836, 21_836, 21_836], 2),
        ] {
            assert_eq!(run_of(&datagrams(&here, lengths, &bytes)), expected, "{lengths:?}");
        }
        assert_eq!(run_of(&datagrams(&here, &[1; 100], &bytes)), 64);
        let mut mixed = datagrams(&here, &[5; 4], &bytes);
        mixed[2].to = Some(&there);
        assert_eq!(run_of(&mixed), 2);
        mixed[1].to = None;
        assert_eq!(run_of(&mixed), 1);
        assert_eq!(run_of(&mixed[1..]), 1);
    }

    #[test]
    fn a_segments_length_is_read_back_only_from_the_message_that_carries_one() {
        let mut control = Control::with_segment(1200);
        assert_eq!(control.segment(), None, "that is what is sent");
        control.header.cmsg_type = libc::UDP_GRO;
        assert_eq!(control.segment(), Some(1200));
    }
}
