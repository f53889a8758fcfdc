//! Question and answer of ident, RFC 1413: reading and writing them.
//!
//! White space is accepted wherever the notes on syntax allow it, and none is written.

use std::error::Error;
use std::fmt;

use marline_core::deferred::Interrupt;

/// The question: the two ports of a TCP connection. [`Display`](fmt::Display) writes it as it is sent, without the end of its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ports {
    /// The port on the host that is asked.
    pub on_server: u16,
    /// The port on the host that asks.
    pub on_client: u16,
}

impl Ports {
    /// Reads a question, without the end of its line.
    ///
    /// ```abnf
    /// request = 1*5DIGIT "," 1*5DIGIT   ; with white space anywhere but inside a number
    /// ```
    ///
    /// # Errors
    ///
    /// What is no pair of numbers, or not one of ports.
    pub fn parse(line: &[u8]) -> Result<Self, PortsError> {
        let Some(comma) = line.iter().position(|byte| *byte == b',') else {
            return Err(PortsError::Malformed);
        };
        let on_server = number(&line[..comma]).ok_or(PortsError::Malformed)?;
        let on_client = number(&line[comma + 1..]).ok_or(PortsError::Malformed)?;
        match (u16::try_from(on_server), u16::try_from(on_client)) {
            (Ok(on_server @ 1..), Ok(on_client @ 1..)) => Ok(Self { on_server, on_client }),
            _ => Err(PortsError::Range { on_server, on_client }),
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.on_server, self.on_client)
    }
}

/// What is no question of ident's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PortsError {
    /// Not two numbers of up to five digits with a comma in between.
    Malformed,
    /// A number is 0, or above 65,535.
    Range {
        /// The first number.
        on_server: u32,
        /// The second number.
        on_client: u32,
    },
}

impl fmt::Display for PortsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("not a pair of ports"),
            Self::Range { on_server, on_client } => {
                write!(f, "not ports: {on_server} and {on_client}")
            }
        }
    }
}

impl Error for PortsError {}

/// Whom a connection belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    system: String,
    charset: Option<String>,
    user: Vec<u8>,
}

impl Identity {
    /// A user by the name that mail or finger would use.
    ///
    /// # Errors
    ///
    /// As [`other`](Self::other).
    pub fn unix(user: impl Into<Vec<u8>>) -> Result<Self, IdentityError> {
        Self::new("UNIX", None, user.into())
    }

    /// A text that identifies the owner in some other way, such as an encrypted token.
    ///
    /// # Errors
    ///
    /// A text that is empty, has more than 512 bytes or a NUL, CR or LF, or begins with a space or a tab, of which readers do not agree
    /// whether they belong to it.
    pub fn other(user: impl Into<Vec<u8>>) -> Result<Self, IdentityError> {
        Self::new("OTHER", None, user.into())
    }

    /// The same, in another character set than `US-ASCII`.
    ///
    /// # Errors
    ///
    /// A name that is no token, or has a comma.
    pub fn with_charset(self, charset: &str) -> Result<Self, IdentityError> {
        Self::new(&self.system, Some(charset), self.user)
    }

    fn new(system: &str, charset: Option<&str>, user: Vec<u8>) -> Result<Self, IdentityError> {
        let token = |text: &str| is_token(text) && !text.contains(',');
        if !token(system) || !charset.is_none_or(token) {
            return Err(IdentityError::Token);
        }
        if user.len() > USER {
            return Err(IdentityError::TooLong { limit: USER, length: user.len() });
        }
        if let Some(at) = user.iter().position(|byte| matches!(byte, b'\0' | b'\r' | b'\n')) {
            return Err(IdentityError::Byte { at });
        }
        if user.first().is_none_or(|byte| is_space(*byte)) {
            return Err(IdentityError::Byte { at: 0 });
        }
        Ok(Self { system: system.into(), charset: charset.map(Into::into), user })
    }

    /// The user, in bytes of the [character set](Self::charset).
    #[must_use]
    pub fn user(&self) -> &[u8] {
        &self.user
    }

    /// The operating system: `UNIX` and its like, or `OTHER` if the user is none in the usual sense.
    #[must_use]
    pub fn system(&self) -> &str {
        &self.system
    }

    /// The character set.
    #[must_use]
    pub fn charset(&self) -> &str {
        self.charset.as_deref().unwrap_or("US-ASCII")
    }
}

/// What is no identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdentityError {
    /// The name of an operating system or of a character set is none.
    Token,
    /// The user has `length` bytes, and `limit` is the most.
    TooLong {
        /// The greatest length, in bytes.
        limit: usize,
        /// The length of the user refused, in bytes.
        length: usize,
    },
    /// The user has a byte that cannot be sent there, or none at all.
    Byte {
        /// Offset in the user, in bytes.
        at: usize,
    },
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token => f.write_str("no name of a system or a character set"),
            Self::TooLong { limit, length } => {
                write!(f, "user of {length} bytes is above the limit of {limit}")
            }
            Self::Byte { at } => write!(f, "not part of a user at byte {at}"),
        }
    }
}

impl Error for IdentityError {}

/// Why a server does not tell whom a connection belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// A port was out of range.
    InvalidPort,
    /// There is no such connection, or nobody it belongs to.
    NoUser,
    /// The user wishes not to be told.
    HiddenUser,
    /// Whatever else there is.
    #[doc(alias = "IdentError")]
    UnknownError,
    /// A reason of the server's own.
    Other(ErrorToken),
}

impl fmt::Display for Refusal {
    /// Writes it as it is sent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidPort => "INVALID-PORT",
            Self::NoUser => "NO-USER",
            Self::HiddenUser => "HIDDEN-USER",
            Self::UnknownError => "UNKNOWN-ERROR",
            Self::Other(token) => &token.0,
        })
    }
}

impl Error for Refusal {}

/// A lookup that was cancelled, or panicked, is an unknown error.
impl From<Interrupt> for Refusal {
    fn from(_: Interrupt) -> Self {
        Self::UnknownError
    }
}

/// A reason that RFC 1413 does not name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ErrorToken(Box<str>);

impl ErrorToken {
    /// Makes one of a text that begins with `X` and has 2 to 64 letters, digits and marks, no colon among them; `None` of any other.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let own = text.starts_with('X') && text.len() > 1;
        (own && is_token(text)).then(|| Self(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The answer: for which ports, and what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Answer {
    /// The ports of the question.
    pub ports: Ports,
    /// Whom the connection belongs to.
    pub result: Result<Identity, Refusal>,
}

impl Answer {
    /// Reads an answer, without the end of its line.
    ///
    /// ```abnf
    /// reply  = ports ":" ( "ERROR" ":" token / "USERID" ":" opsys [ "," charset ] ":" *WSP user )
    /// ```
    ///
    /// White space before the user is not taken for part of it, against the letter of the RFC: its own examples have some, and so has what
    /// servers send.
    ///
    /// # Errors
    ///
    /// What is no answer.
    pub fn parse(line: &[u8]) -> Result<Self, AnswerError> {
        let mut parts = line.splitn(3, |byte| *byte == b':');
        let ports = Ports::parse(parts.next().unwrap_or_default()).map_err(AnswerError::Ports)?;
        let kind = parts.next().and_then(token).ok_or(AnswerError::Kind)?;
        let rest = parts.next().ok_or(AnswerError::Kind)?;
        let result = if kind.eq_ignore_ascii_case("ERROR") {
            Err(refusal(token(rest).ok_or(AnswerError::Refusal)?)?)
        } else if kind.eq_ignore_ascii_case("USERID") {
            Ok(identity(rest)?)
        } else {
            return Err(AnswerError::Kind);
        };
        Ok(Self { ports, result })
    }

    /// Appends the answer as it is sent, without the end of its line.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let Self { ports, result } = self;
        match result {
            Err(refusal) => out.extend_from_slice(format!("{ports}:ERROR:{refusal}").as_bytes()),
            Ok(Identity { system, charset, user }) => {
                let (comma, charset) = charset.as_ref().map_or(("", ""), |charset| (",", charset));
                let head = format!("{ports}:USERID:{system}{comma}{charset}:");
                out.extend_from_slice(head.as_bytes());
                out.extend_from_slice(user);
            }
        }
    }
}

/// What is no answer of ident's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AnswerError {
    /// The ports are none.
    Ports(PortsError),
    /// Neither `USERID` nor `ERROR`, and a colon behind it.
    Kind,
    /// The error is neither one of the RFC's nor one that begins with `X`.
    Refusal,
    /// The system, the character set or the user is none.
    Identity(IdentityError),
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ports(error) => error.fmt(f),
            Self::Kind => f.write_str("neither USERID nor ERROR"),
            Self::Refusal => f.write_str("unknown error name"),
            Self::Identity(error) => error.fmt(f),
        }
    }
}

impl Error for AnswerError {}

fn refusal(name: &str) -> Result<Refusal, AnswerError> {
    let known = [Refusal::InvalidPort, Refusal::NoUser, Refusal::HiddenUser, Refusal::UnknownError];
    match known.into_iter().find(|known| known.to_string().eq_ignore_ascii_case(name)) {
        Some(known) => Ok(known),
        None => ErrorToken::new(name).map(Refusal::Other).ok_or(AnswerError::Refusal),
    }
}

fn identity(rest: &[u8]) -> Result<Identity, AnswerError> {
    let no_token = AnswerError::Identity(IdentityError::Token);
    let colon = rest.iter().position(|byte| *byte == b':').ok_or(no_token)?;
    let mut field = rest[..colon].splitn(2, |byte| *byte == b',');
    let system = field.next().and_then(token).ok_or(no_token)?;
    let charset = field.next().map(|charset| token(charset).ok_or(no_token)).transpose()?;
    let user = &rest[colon + 1..];
    let start = user.iter().position(|byte| !is_space(*byte)).unwrap_or(user.len());
    Identity::new(system, charset, user[start..].to_vec()).map_err(AnswerError::Identity)
}

/// A number of up to five digits with white space around it.
fn number(text: &[u8]) -> Option<u32> {
    let text = str::from_utf8(trim(text)).ok()?;
    let digits = (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// A token with white space around it.
fn token(text: &[u8]) -> Option<&str> {
    str::from_utf8(trim(text)).ok().filter(|text| is_token(text))
}

/// 1 to 64 printing characters other than the colon.
fn is_token(text: &str) -> bool {
    let character = |byte: u8| byte.is_ascii_graphic() && byte != b':';
    (1..=64).contains(&text.len()) && text.bytes().all(character)
}

fn trim(text: &[u8]) -> &[u8] {
    let from = text.iter().position(|byte| !is_space(*byte)).unwrap_or(text.len());
    let to = text.iter().rposition(|byte| !is_space(*byte)).map_or(from, |at| at + 1);
    &text[from..to]
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// The greatest length of a user, in bytes.
const USER: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    /// The specification: line, and what it is read as. The first ones are the examples of RFC 1413.
    #[test]
    fn the_table_of_questions_holds() {
        let table = [
            ("6191, 23", "6191,23"),
            ("6193,23", "6193,23"),
            (" \t6193\t , 23 ", "6193,23"),
            ("00001,65535", "1,65535"),
            ("0,23", "not ports: 0 and 23"),
            ("6193,65536", "not ports: 6193 and 65536"),
            ("99999,0", "not ports: 99999 and 0"),
            ("123456,1", "not a pair of ports"),
            ("6193 23", "not a pair of ports"),
            ("6193,", "not a pair of ports"),
            (",", "not a pair of ports"),
            ("", "not a pair of ports"),
            ("1,2,3", "not a pair of ports"),
            ("61 93,23", "not a pair of ports"),
            ("+1,23", "not a pair of ports"),
            ("1x,23", "not a pair of ports"),
            ("http,23", "not a pair of ports"),
        ];
        for (line, expected) in table {
            let got = Ports::parse(line.as_bytes());
            let got = got.map_or_else(|error| error.to_string(), |ports| ports.to_string());
            assert_eq!(got, expected, "{line:?}");
        }
    }

    /// Line, and what is written for it.
    #[test]
    fn the_table_of_answers_holds() {
        let table = [
            ("6193, 23 : USERID : UNIX : stjohns", "6193,23:USERID:UNIX:stjohns"),
            ("6195, 23 : ERROR : NO-USER", "6195,23:ERROR:NO-USER"),
            ("1,2:ERROR:HIDDEN-USER", "1,2:ERROR:HIDDEN-USER"),
            ("1,2:ERROR:INVALID-PORT\t", "1,2:ERROR:INVALID-PORT"),
            ("1,2: error :unknown-error", "1,2:ERROR:UNKNOWN-ERROR"),
            ("1,2:ERROR:XBUSY", "1,2:ERROR:XBUSY"),
            ("1,2:USERID:OTHER,UTF-8:a b: c ", "1,2:USERID:OTHER,UTF-8:a b: c "),
            ("1,2:USERID: UNIX , US-ASCII :x", "1,2:USERID:UNIX,US-ASCII:x"),
            ("1,2:ERROR:BUSY", "unknown error name"),
            ("1,2:ERROR:X", "unknown error name"),
            ("1,2:ERROR:", "unknown error name"),
            ("1,2:ERROR:NO-USER:", "unknown error name"),
            ("1,2:ERROR", "neither USERID nor ERROR"),
            ("1,2:USER:UNIX:a", "neither USERID nor ERROR"),
            ("1,2", "neither USERID nor ERROR"),
            ("1,2:USERID:UNIX", "no name of a system or a character set"),
            ("1,2:USERID::a", "no name of a system or a character set"),
            ("1,2:USERID:UNIX,:a", "no name of a system or a character set"),
            ("1,2:USERID:UN IX:a", "no name of a system or a character set"),
            ("1,2:USERID:UNIX: ", "not part of a user at byte 0"),
            ("1,2:USERID:UNIX:a\0", "not part of a user at byte 1"),
            ("0,2:USERID:UNIX:a", "not ports: 0 and 2"),
            ("x", "not a pair of ports"),
        ];
        for (line, expected) in table {
            let got = match Answer::parse(line.as_bytes()) {
                Err(error) => error.to_string(),
                Ok(answer) => {
                    let mut out = Vec::new();
                    answer.encode(&mut out);
                    String::from_utf8(out).unwrap()
                }
            };
            assert_eq!(got, expected, "{line:?}");
        }
        let Ok(identity) = Answer::parse(b"1,2:USERID:UNIX:\xfc").unwrap().result else {
            panic!("an error")
        };
        assert_eq!((identity.user(), identity.charset()), (&b"\xfc"[..], "US-ASCII"));
    }

    #[test]
    fn what_could_not_be_sent_cannot_be_made() {
        assert_eq!(Identity::unix("a\r\nb"), Err(IdentityError::Byte { at: 1 }));
        assert_eq!(Identity::other(""), Err(IdentityError::Byte { at: 0 }));
        assert_eq!(Identity::other(" a"), Err(IdentityError::Byte { at: 0 }));
        let too_long = IdentityError::TooLong { limit: 512, length: 513 };
        assert_eq!(Identity::unix("x".repeat(513)), Err(too_long));
        let identity = Identity::unix("x".repeat(512)).unwrap();
        assert_eq!(identity.clone().with_charset("a:b"), Err(IdentityError::Token));
        assert_eq!(identity.clone().with_charset("a,b"), Err(IdentityError::Token));
        assert_eq!(identity.with_charset("UTF-8").unwrap().charset(), "UTF-8");
        for text in ["", "X", "BUSY", "X:", "X Y", "Xé"] {
            assert_eq!(ErrorToken::new(text), None, "{text}");
        }
        assert!(ErrorToken::new(&format!("X{}", "y".repeat(63))).is_some());
        assert!(ErrorToken::new(&format!("X{}", "y".repeat(64))).is_none());
    }
}
