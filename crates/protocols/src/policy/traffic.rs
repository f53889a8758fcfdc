//! What goes over a connection, as lines of text: for people who look for what is wrong.

use std::any::Any;
use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io;

use marline_core::CloseReason;
use marline_core::log::one_line;
use marline_core::policy::{Direction, Policy, PolicyIo, Watch};

/// How bytes are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrafficFormat {
    /// As text in quotes, with escapes for what is not printable ASCII.
    #[default]
    Text,
    /// As hexadecimal digits.
    Hex,
}

/// Writes a line for each piece of bytes that passes, and for begin and end of the connection:
///
/// ```text
/// 192.0.2.2:50000 connected
/// 192.0.2.2:50000 < 7 "HELO x\n"
/// 192.0.2.2:50000 > 4 "250\n"
/// 192.0.2.2:50000 closed cleanly, 7 received, 4 written
/// ```
///
/// `<` is received, `>` is written. Where it stands decides what it sees: put in place before TLS the wire, after it plain text; before a
/// [`Throttle`](super::Throttle) what the throttle lets out, after it what the protocol does.
#[doc(alias = "TrafficLoggingFactory")]
#[doc(alias = "SpewingFactory")]
pub struct TrafficLog {
    sink: Sink,
    format: TrafficFormat,
    most: usize,
    redact: Option<Redact>,
    peer: String,
    received: u64,
    written: u64,
}

type Redact = Box<dyn for<'a> FnMut(Direction, &'a [u8]) -> Cow<'a, [u8]>>;

enum Sink {
    /// The program's log, at level debug.
    Log,
    Writer(Box<dyn io::Write>),
    /// A writer that failed: nothing more is written.
    Broken,
}

impl TrafficLog {
    /// Bytes shown of each piece, if not said otherwise.
    pub const MOST_SHOWN: usize = 256;

    /// Into the program's log: target `marline::traffic`, level debug.
    pub fn to_log() -> Self {
        Self::to(Sink::Log)
    }

    /// Into a writer, called from inside the loop: one that blocks blocks everything. After its first error nothing more is written to it,
    /// and the log has a warning.
    pub fn to_writer(writer: impl io::Write + 'static) -> Self {
        Self::to(Sink::Writer(Box::new(writer)))
    }

    /// Chooses how bytes are shown.
    pub fn with_format(mut self, format: TrafficFormat) -> Self {
        self.format = format;
        self
    }

    /// Shows at most so many bytes of each piece, and how many more there were.
    pub fn with_most(mut self, bytes: usize) -> Self {
        self.most = bytes;
        self
    }

    /// Passes each piece through `redact` before it is shown: for passwords. It sees pieces as they come, cut anywhere.
    pub fn with_redaction(
        mut self,
        redact: impl for<'a> FnMut(Direction, &'a [u8]) -> Cow<'a, [u8]> + 'static,
    ) -> Self {
        self.redact = Some(Box::new(redact));
        self
    }

    /// Bytes received and written so far.
    pub fn totals(&self) -> (u64, u64) {
        (self.received, self.written)
    }

    fn to(sink: Sink) -> Self {
        Self {
            sink,
            format: TrafficFormat::Text,
            most: Self::MOST_SHOWN,
            redact: None,
            peer: String::new(),
            received: 0,
            written: 0,
        }
    }

    /// Whether anybody reads it.
    fn is_read(&self) -> bool {
        match self.sink {
            Sink::Log => tracing::enabled!(target: "marline::traffic", tracing::Level::DEBUG),
            Sink::Writer(_) => true,
            Sink::Broken => false,
        }
    }

    fn piece(&mut self, direction: Direction, bytes: &[u8]) {
        if !self.is_read() {
            return;
        }
        let shown = match &mut self.redact {
            Some(redact) => redact(direction, bytes),
            None => Cow::Borrowed(bytes),
        };
        let sign = if direction == Direction::Received { '<' } else { '>' };
        let mut line = format!("{} {sign} {} ", self.peer, bytes.len());
        let head = &shown[..shown.len().min(self.most)];
        match self.format {
            TrafficFormat::Text => {
                line.push('"');
                line.extend(head.iter().flat_map(|byte| byte.escape_ascii()).map(char::from));
                line.push('"');
            }
            TrafficFormat::Hex => {
                for byte in head {
                    // Writing to a string does not fail.
                    let _ = write!(line, "{byte:02x}");
                }
            }
        }
        if shown.len() > head.len() {
            let _ = write!(line, " and {} more", shown.len() - head.len());
        }
        self.line(line);
    }

    /// Writes a line; what a peer may have chosen in it (the path of its socket, the text of an error) cannot end it.
    fn line(&mut self, line: String) {
        let mut line = one_line(&line);
        match &mut self.sink {
            Sink::Log => tracing::debug!(target: "marline::traffic", "{line}"),
            Sink::Writer(writer) => {
                line.push('\n');
                if let Err(error) = writer.write_all(line.as_bytes()) {
                    tracing::warn!(target: "marline::traffic", "traffic is logged no longer: {error}");
                    self.sink = Sink::Broken;
                }
            }
            Sink::Broken => {}
        }
    }
}

impl Policy for TrafficLog {
    fn name(&self) -> &'static str {
        "traffic log"
    }

    fn watches(&self) -> Watch {
        Watch::RECEIVED | Watch::WRITTEN
    }

    fn attached(&mut self, io: &mut PolicyIo<'_>) {
        self.peer = io.peer_addr().to_string();
        self.line(format!("{} connected", self.peer));
    }

    fn received(&mut self, bytes: &[u8], _io: &mut PolicyIo<'_>) {
        self.received += bytes.len() as u64;
        self.piece(Direction::Received, bytes);
    }

    fn written(&mut self, bytes: &[u8], _io: &mut PolicyIo<'_>) {
        self.written += bytes.len() as u64;
        self.piece(Direction::Written, bytes);
    }

    fn lost(&mut self, reason: &CloseReason) {
        let (received, written) = self.totals();
        self.line(format!("{} {reason}, {received} received, {written} written", self.peer));
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

impl fmt::Debug for TrafficLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrafficLog")
            .field("received", &self.received)
            .field("written", &self.written)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use marline_core::testing::{CapturedLog, MemoryTransport};
    use marline_core::{Addr, Protocol, Transport};

    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Rc<RefCell<Vec<u8>>>);

    impl io::Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Watched(Option<TrafficLog>);

    impl Protocol for Watched {
        fn connection_made(&mut self, transport: &Transport) {
            transport.start_policy(self.0.take().unwrap());
        }

        fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {}
    }

    /// A peer that has bound its socket to a path that would begin a line of its own, and clear the terminal.
    fn visit_of_a_forger(log: TrafficLog) {
        let path = "/tmp/x\n/run/admin > 3 \"250\"\r\x1b[2J";
        let (here, peer) = (Addr::Unix("/run/here".into()), Addr::Unix(path.into()));
        let peer = MemoryTransport::connect_between(Watched(Some(log)), here, peer);
        peer.receive(b"1\n2");
        peer.end_of_stream();
    }

    #[test]
    fn a_peer_whose_path_has_line_ends_cannot_forge_a_line() {
        let paper = Paper::default();
        visit_of_a_forger(TrafficLog::to_writer(paper.clone()));
        let text = String::from_utf8(paper.0.take()).unwrap();
        let lines: Vec<_> = text.split_inclusive('\n').collect();
        assert_eq!(lines.len(), 3, "{text}");
        for line in lines {
            assert!(line.starts_with(r"/tmp/x\n/run/admin > 3 "), "{line}");
            assert!(!line.trim_end_matches('\n').contains(char::is_control), "{line:?}");
        }
    }

    #[test]
    fn nor_does_it_in_the_programs_log() {
        let log = CapturedLog::start();
        visit_of_a_forger(TrafficLog::to_log());
        let events = log.take_where(|event| event.target == "marline::traffic");
        assert_eq!(events.len(), 3);
        for event in events {
            assert!(!event.message.contains(char::is_control), "{:?}", event.message);
        }
    }
}
