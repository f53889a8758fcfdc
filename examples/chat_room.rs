//! The chat room that `chat.rs` runs on the kernel and `chat_sim.rs` in a simulated network.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use marline::protocols::line::{Delimiter, LineFormat, LineLink, LineProtocol, LineReceiver};
use marline::{CloseReason, Transport};

/// Who is in: a name and the way to reach it. All members share one.
#[derive(Clone, Default)]
pub(crate) struct Room(Rc<RefCell<BTreeMap<String, Transport>>>);

impl Room {
    /// A protocol for one who has just connected.
    pub(crate) fn newcomer(&self) -> LineReceiver<Member> {
        LineReceiver::new(Member { room: self.clone(), name: None })
    }

    /// How many are in.
    pub(crate) fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// Tells all but one. Writing calls nobody, so the room may stay borrowed meanwhile.
    fn tell(&self, but: &str, text: &str) {
        for (_, member) in self.0.borrow().iter().filter(|(name, _)| *name != but) {
            member.write_sequence([text.as_bytes(), b"\r\n"]);
        }
    }
}

/// One connection to the room.
pub(crate) struct Member {
    room: Room,
    name: Option<String>,
}

impl LineProtocol for Member {
    /// People come with nc, which ends lines with LF alone, and with telnet.
    fn format(&self) -> LineFormat {
        LineFormat::new(Delimiter::CRLF_OR_LF).with_limit(1000)
    }

    fn connection_made(&mut self, link: &mut LineLink<'_>) {
        link.write(b"Your name?\r\n");
    }

    fn line_received(&mut self, link: &mut LineLink<'_>, line: &[u8]) {
        // What comes from one terminal goes to others: a control character could overwrite there what somebody else has said.
        let text = String::from_utf8_lossy(line).replace(char::is_control, "?");
        if let Some(name) = &self.name {
            return self.room.tell(name, &format!("{name}: {text}"));
        }
        if text.is_empty() || self.room.0.borrow().contains_key(&text) {
            return link.write(b"Taken. Another?\r\n");
        }
        self.room.tell(&text, &format!("{text} has come"));
        link.write(format!("Welcome, {text}\r\n").as_bytes());
        self.room.0.borrow_mut().insert(text.clone(), link.transport().clone());
        self.name = Some(text);
    }

    fn connection_lost(&mut self, _transport: &Transport, _reason: &CloseReason) {
        if let Some(name) = self.name.take() {
            self.room.0.borrow_mut().remove(&name);
            self.room.tell(&name, &format!("{name} has gone"));
        }
    }
}
