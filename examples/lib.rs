//! What the example programs have in common: how they are called. Everything else is in the programs, see README.md for the reading order.
#![forbid(unsafe_code)]

use std::fmt::Display;
use std::process::exit;
use std::str::FromStr;

/// The arguments of a program, taken one after the other.
///
/// Whoever asks for help is told how the program is called. So is, with an error, whoever calls it otherwise: no example starts on arguments that it does
/// not understand.
#[derive(Debug)]
pub struct Args {
    usage: &'static str,
    rest: std::vec::IntoIter<String>,
}

impl Args {
    /// The arguments of this process. `usage` is the program's name and what comes behind it.
    #[must_use]
    pub fn new(usage: &'static str) -> Self {
        let all = std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned());
        let all: Vec<_> = all.collect();
        if all.iter().any(|arg| arg == "--help" || arg == "-h") {
            println!("usage: {usage}");
            exit(0);
        }
        Self { usage, rest: all.into_iter() }
    }

    /// The next argument, if there is one.
    pub fn optional<T: FromStr<Err: Display>>(&mut self) -> Option<T> {
        let text = self.rest.next()?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => self.refuse(&format!("{text:?}: {error}")),
        }
    }

    /// The next argument, which there has to be.
    pub fn required<T: FromStr<Err: Display>>(&mut self) -> T {
        self.optional().unwrap_or_else(|| self.refuse("an argument is missing"))
    }

    /// The next argument, which is one of these words; the first of them if there is none.
    pub fn one_of<const N: usize>(&mut self, words: [&'static str; N]) -> &'static str {
        let Some(text) = self.rest.next() else { return words[0] };
        let Some(word) = words.into_iter().find(|word| *word == text) else {
            self.refuse(&format!("{text:?}: none of {}", words.join(", ")));
        };
        word
    }

    /// There are no more.
    pub fn end(mut self) {
        if let Some(text) = self.rest.next() {
            self.refuse(&format!("{text:?}: one argument too many"));
        }
    }

    /// Says what is wrong and how the program is called, and ends it with status 2.
    pub fn refuse(&self, why: &str) -> ! {
        eprintln!("{why}\nusage: {}", self.usage);
        exit(2);
    }
}
