//! The question of finger, RFC 1288 §2.3: reading and writing it.

use std::error::Error;
use std::fmt;

/// A question: about one user or about all, asked here or by way of other hosts.
///
/// Only what can be sent can be made; [`Display`](fmt::Display) writes it as it is sent, without the end of its line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Query {
    verbose: bool,
    /// Empty: all users.
    user: String,
    /// Asked by way of the last one first.
    hosts: Vec<String>,
}

impl Query {
    /// Asks who is there.
    #[must_use]
    pub const fn list() -> Self {
        Self { verbose: false, user: String::new(), hosts: Vec::new() }
    }

    /// Asks about one user.
    ///
    /// # Errors
    ///
    /// A name that is empty, has spaces, control characters or an `@`, or begins with a slash, which would be read as a switch.
    pub fn user(name: &str) -> Result<Self, QueryError> {
        check(name, 0)?;
        Ok(Self { user: name.into(), ..Self::list() })
    }

    /// Asks for more than usual: the `/W` switch.
    #[must_use]
    pub fn verbose(mut self) -> Self {
        self.verbose = true;
        self
    }

    /// Asks the server to forward the question to this host, which comes before those named earlier.
    ///
    /// # Errors
    ///
    /// A name that could not be a user's either.
    pub fn via(mut self, host: &str) -> Result<Self, QueryError> {
        check(host, 0)?;
        self.hosts.push(host.into());
        Ok(self)
    }

    /// Reads a question, without the end of its line.
    ///
    /// ```abnf
    /// query = [ "/W" [ 1*SP ] ] [ user ] *( "@" host ) *SP   ; a user right behind the switch is refused
    /// ```
    ///
    /// # Errors
    ///
    /// What is no question.
    pub fn parse(line: &[u8]) -> Result<Self, QueryError> {
        let text = match str::from_utf8(line) {
            Ok(text) => text.trim_end_matches(' '),
            Err(error) => return Err(QueryError::Character { at: error.valid_up_to() }),
        };
        let mut query = Self::list();
        let (switch, rest) = text.split_at_checked(2).unwrap_or(("", text));
        let mut names = text;
        if switch.eq_ignore_ascii_case("/W") {
            query.verbose = true;
            names = rest.trim_start_matches(' ');
            if names.len() == rest.len() && !rest.is_empty() && !rest.starts_with('@') {
                return Err(QueryError::Switch { at: 0 });
            }
        }
        let mut at = text.len() - names.len();
        for (number, name) in names.split('@').enumerate() {
            match number {
                0 if name.is_empty() => {}
                0 => {
                    check(name, at)?;
                    query.user = name.into();
                }
                _ => {
                    check(name, at)?;
                    query.hosts.push(name.into());
                }
            }
            at += name.len() + 1;
        }
        Ok(query)
    }

    /// Whether more than usual is asked for.
    #[must_use]
    pub const fn is_verbose(&self) -> bool {
        self.verbose
    }

    /// The user asked about, or `None` for all.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        (!self.user.is_empty()).then_some(&*self.user)
    }

    /// The host to forward to and the question to ask there, or `None` if it is to be answered here.
    #[must_use]
    pub fn forward(&self) -> Option<(&str, Self)> {
        let (host, others) = self.hosts.split_last()?;
        let hosts = others.to_vec();
        Some((host, Self { verbose: self.verbose, user: self.user.clone(), hosts }))
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.verbose {
            let names = !self.user.is_empty() || !self.hosts.is_empty();
            f.write_str(if names { "/W " } else { "/W" })?;
        }
        f.write_str(&self.user)?;
        self.hosts.iter().try_for_each(|host| write!(f, "@{host}"))
    }
}

/// What is no question of finger's. `at` counts bytes from the beginning of the line, or of the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueryError {
    /// A character that has no place in a name: a space, a control character, an `@`; or bytes that are not UTF-8.
    Character {
        /// Offset in bytes.
        at: usize,
    },
    /// A name is missing.
    Empty {
        /// Offset in bytes.
        at: usize,
    },
    /// A name that begins with a slash, or another switch than `/W`.
    Switch {
        /// Offset in bytes.
        at: usize,
    },
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Character { at } => write!(f, "not part of a name at byte {at}"),
            Self::Empty { at } => write!(f, "name missing at byte {at}"),
            Self::Switch { at } => write!(f, "unknown switch at byte {at}"),
        }
    }
}

impl Error for QueryError {}

/// Whether this can be a user's or a host's name, which begins `at` this byte.
fn check(name: &str, at: usize) -> Result<(), QueryError> {
    if name.is_empty() {
        return Err(QueryError::Empty { at });
    }
    if name.starts_with('/') {
        return Err(QueryError::Switch { at });
    }
    match name.find(|c: char| c.is_control() || c.is_whitespace() || c == '@') {
        Some(offset) => Err(QueryError::Character { at: at + offset }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The specification: line, and what it is read as. Lines 2 to 5 are the examples of RFC 1288 §4.
    #[test]
    fn the_table_holds() {
        let table = [
            ("", "list"),
            ("pirmann", "user pirmann"),
            ("ron", "user ron"),
            (
                "hedrick@math1.rutgers.edu@pilot.njin.net",
                "user hedrick via math1.rutgers.edu via pilot.njin.net",
            ),
            ("@math1.rutgers.edu", "list via math1.rutgers.edu"),
            ("/W", "verbose list"),
            ("/W ", "verbose list"),
            ("/w  ron", "verbose user ron"),
            ("/W @a", "verbose list via a"),
            ("/W@a", "verbose list via a"),
            ("ron  ", "user ron"),
            ("jürgen@höhe", "user jürgen via höhe"),
            (" ron", "not part of a name at byte 0"),
            ("ron /W", "not part of a name at byte 3"),
            ("ron smith", "not part of a name at byte 3"),
            ("/Wron", "unknown switch at byte 0"),
            ("/Q", "unknown switch at byte 0"),
            ("/", "unknown switch at byte 0"),
            ("/W /W", "unknown switch at byte 3"),
            ("../../etc/passwd", "user ../../etc/passwd"),
            ("a@", "name missing at byte 2"),
            ("a@@b", "name missing at byte 2"),
            ("a\tb", "not part of a name at byte 1"),
            ("a\0", "not part of a name at byte 1"),
            ("a@b\x1b", "not part of a name at byte 3"),
        ];
        for (line, expected) in table {
            let got = match Query::parse(line.as_bytes()) {
                Err(error) => error.to_string(),
                Ok(query) => {
                    let verbose = if query.verbose { "verbose " } else { "" };
                    let user =
                        query.name().map_or_else(|| "list".into(), |name| format!("user {name}"));
                    let hosts: String =
                        query.hosts.iter().map(|host| format!(" via {host}")).collect();
                    format!("{verbose}{user}{hosts}")
                }
            };
            assert_eq!(got, expected, "{line:?}");
        }
        assert_eq!(Query::parse(b"ab\xff"), Err(QueryError::Character { at: 2 }));
    }

    #[test]
    fn a_question_is_forwarded_to_the_last_host_with_the_others() {
        let query = Query::parse(b"/W a@b@c").unwrap();
        let (host, rest) = query.forward().unwrap();
        assert_eq!((host, rest.to_string().as_str()), ("c", "/W a@b"));
        let (host, rest) = rest.forward().unwrap();
        assert_eq!((host, rest.to_string().as_str()), ("b", "/W a"));
        assert_eq!(rest.forward(), None);
    }

    #[test]
    fn a_question_can_be_built_and_not_built_wrong() {
        let query = Query::user("a").unwrap().via("b").unwrap().via("c").unwrap().verbose();
        assert_eq!(query.to_string(), "/W a@b@c");
        assert_eq!(Query::parse(b"/W a@b@c"), Ok(query));
        for (name, error) in [
            ("", QueryError::Empty { at: 0 }),
            ("/W", QueryError::Switch { at: 0 }),
            ("a\r\nb", QueryError::Character { at: 1 }),
            ("a@b", QueryError::Character { at: 1 }),
        ] {
            assert_eq!(Query::user(name), Err(error));
            assert_eq!(Query::list().via(name), Err(error));
        }
    }
}
