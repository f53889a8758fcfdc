//! The settings in the brackets of `#[marline::test(...)]`: `name = literal`, with commas in between.

use std::fmt::Write;

use proc_macro::{Ident, Literal, Span, TokenStream, TokenTree};

use crate::error::Mistake;

/// What they come to: the calls of `Case` that say the same.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Where marline is.
    pub(crate) path: String,
    /// `.seed(7).timeout(...)`, without the driver.
    pub(crate) calls: String,
    pub(crate) driver: Option<String>,
}

/// One setting: its name, and what it was set to.
struct Setting {
    name: Ident,
    value: Literal,
}

pub(crate) fn parse(attribute: TokenStream) -> Result<Settings, Mistake> {
    let mut settings =
        Settings { path: "::marline".to_owned(), calls: String::new(), driver: None };
    let (mut seen, mut seeded) = (Vec::new(), None);
    for Setting { name, value } in split(attribute)? {
        let word = name.to_string();
        if seen.contains(&word) {
            return Err(Mistake::new(name.span(), format!("`{word}` is set twice")));
        }
        // OK: writing to a string cannot fail.
        let _ = match word.as_str() {
            "seed" | "seeds" => {
                seeded = Some(name.span());
                let number = whole_number(&value)?;
                if word == "seeds" && number == 0 {
                    return Err(Mistake::new(value.span(), "no seed at all is no test"));
                }
                write!(settings.calls, ".{word}({number}u64)")
            }
            "timeout" | "stall" => {
                let nanos = duration(&value)?;
                write!(settings.calls, ".{word}(::core::time::Duration::from_nanos({nanos}u64))")
            }
            "driver" => {
                settings.driver = Some(text(&value)?);
                Ok(())
            }
            "crate" => {
                settings.path = path(&value)?;
                Ok(())
            }
            _ => {
                let known = "seed, seeds, timeout, stall, driver, crate";
                let text = format!("there is no setting `{word}`; there are: {known}");
                return Err(Mistake::new(name.span(), text));
            }
        };
        seen.push(word);
    }
    match (seeded, &settings.driver) {
        (Some(at), Some(_)) => Err(Mistake::new(at, "a seed means nothing on a real driver")),
        _ => Ok(settings),
    }
}

fn split(attribute: TokenStream) -> Result<Vec<Setting>, Mistake> {
    let mut settings = Vec::new();
    let mut tokens = attribute.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let TokenTree::Ident(name) = token else {
            return Err(Mistake::new(token.span(), "a setting was expected: `name = value`"));
        };
        let is = |token: Option<&TokenTree>, c| matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == c);
        if !is(tokens.next().as_ref(), '=') {
            return Err(Mistake::new(
                name.span(),
                format!("`{name}` lacks its value: `{name} = ...`"),
            ));
        }
        let value = match tokens.next() {
            Some(TokenTree::Literal(value)) => value,
            other => {
                let at = other.map_or_else(|| name.span(), |token| token.span());
                return Err(Mistake::new(at, format!("`{name}` is set to a number or a \"text\"")));
            }
        };
        settings.push(Setting { name, value });
        if tokens.peek().is_some() && !is(tokens.next().as_ref(), ',') {
            return Err(Mistake::new(Span::call_site(), "settings have commas in between"));
        }
    }
    Ok(settings)
}

fn whole_number(value: &Literal) -> Result<u64, Mistake> {
    let text = value.to_string().replace('_', "");
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.map_err(|_| Mistake::new(value.span(), "a whole number of 64 bits was expected"))
}

/// A number and its unit, in nanoseconds.
fn duration(value: &Literal) -> Result<u64, Mistake> {
    let text = text(value)?;
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let (number, scale) = (
        &text[..text.len() - unit.len()],
        match unit.trim() {
            "ms" => Some(1_000_000),
            "s" => Some(1_000_000_000),
            "m" => Some(60_000_000_000),
            _ => None,
        },
    );
    let nanos = number.parse::<u64>().ok().zip(scale).and_then(|(n, scale)| n.checked_mul(scale));
    match nanos {
        Some(nanos) if nanos > 0 => Ok(nanos),
        _ => Err(Mistake::new(
            value.span(),
            "a time was expected: a number above zero and ms, s or m, as in \"500ms\"",
        )),
    }
}

fn path(value: &Literal) -> Result<String, Mistake> {
    let path = text(value)?;
    let is_path = !path.is_empty()
        && path.chars().all(|c| c.is_alphanumeric() || c == '_' || c == ':')
        && path.parse::<TokenStream>().is_ok();
    if is_path {
        Ok(path)
    } else {
        Err(Mistake::new(value.span(), "a path was expected, as in \"::marline\""))
    }
}

/// What a string literal says; escapes are not needed here.
fn text(value: &Literal) -> Result<String, Mistake> {
    let written = value.to_string();
    let text = written.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    match text {
        Some(text) if !text.contains('\\') => Ok(text.to_owned()),
        _ => Err(Mistake::new(value.span(), "a \"text\" without escapes was expected")),
    }
}
