//! Text that cannot be mistaken for something else: how what a peer may have chosen is written into a line of the log.

use std::fmt::{self, Write};

/// Writes a message: its lines after the first begin with a tab, and what is left of control characters is escaped.
pub(super) fn lines(out: &mut impl Write, text: &str) -> fmt::Result {
    for (number, line) in text.trim_end_matches('\n').split('\n').enumerate() {
        if number > 0 {
            out.write_str("\n\t")?;
        }
        escaped(out, line, |c| is_hostile(c) && c != '\t')?;
    }
    Ok(())
}

/// A text on one line, for logs of one's own: control characters, line separators and what changes the direction of writing are escaped with
/// backslash sequences, so that what a peer has chosen can neither forge a line nor reach a terminal as a command.
///
/// ```
/// assert_eq!(marline_core::log::one_line("a\n\x1b[2J"), r"a\n\u{1b}[2J");
/// ```
#[must_use]
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    // Writing to a string cannot fail.
    let _ = inline(&mut line, text);
    line
}

/// Writes a text on one line.
pub(super) fn inline(out: &mut impl Write, text: &str) -> fmt::Result {
    escaped(out, text, is_hostile)
}

/// Writes the value of a field: quoted, unless it is one plain word.
pub(super) fn quoted(out: &mut impl Write, text: &str) -> fmt::Result {
    let plain = |c: char| !c.is_whitespace() && !is_hostile(c) && c != '"' && c != '\\';
    if !text.is_empty() && text.chars().all(plain) {
        return out.write_str(text);
    }
    out.write_char('"')?;
    escaped(out, text, |c| is_hostile(c) || matches!(c, '"' | '\\'))?;
    out.write_char('"')
}

/// Writes a text, with a backslash sequence for each character that is `special`.
fn escaped(out: &mut impl Write, mut text: &str, special: impl Fn(char) -> bool) -> fmt::Result {
    while let Some((at, c)) = text.char_indices().find(|(_, c)| special(*c)) {
        write!(out, "{}{}", &text[..at], c.escape_default())?;
        text = &text[at + c.len_utf8()..];
    }
    out.write_str(text)
}

/// Control characters (C0, DEL and C1, with all that starts an escape sequence), line separators, and what changes the direction of writing.
fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use crate::log::Event;

    fn text(event: Event) -> String {
        event.to_string()
    }

    #[test]
    fn hostile_bytes_can_forge_neither_a_line_nor_a_field_nor_an_escape_sequence() {
        let hostile =
            "x\n2026-11-21T15:00:00+00:00 INFO shop: paid\r\u{1b}[2J\u{9b}1m\u{7f}\u{202e}\0";
        let event = Event::new(Level::WARN, "shop", hostile).with("who", hostile);
        let text = event.to_text();
        let lines: Vec<_> = text.split('\n').collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[1].starts_with("\t2026"));
        let control = |c: char| (c.is_control() && c != '\n' && c != '\t') || c == '\u{202e}';
        assert!(!text.contains(control), "{text:?}");
        let field = r#" who="x\n2026-11-21T15:00:00+00:00 INFO shop: paid\r\u{1b}[2J\u{9b}1m\u{7f}\u{202e}\u{0}""#;
        assert!(text.ends_with(field), "{text}");
    }

    #[test]
    fn a_value_is_quoted_when_it_could_be_taken_for_more_than_one() {
        let event = Event::new(Level::INFO, "shop", "sold")
            .with("plain", "[::1]:80")
            .with("empty", "")
            .with("two", "a b=c")
            .with("quote", "\"a\\")
            .with("number", 3)
            .with("yes", true);
        assert_eq!(
            text(event),
            r#"INFO shop: sold plain=[::1]:80 empty="" two="a b=c" quote="\"a\\" number=3 yes=true"#
        );
    }

    #[test]
    fn further_lines_begin_with_a_tab_and_the_last_line_break_is_no_line() {
        assert_eq!(text(Event::new(Level::INFO, "a\nb", "one\ntwo\n\n")), "INFO a\\nb: one\n\ttwo");
        assert_eq!(text(Event::new(Level::INFO, "a", "")), "INFO a: ");
    }
}
