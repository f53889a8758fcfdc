//! Which driver a program gets: the choice, the ladder and the line that says which one won and why.

use std::error::Error;
use std::fmt;
use std::io;

use marline_core::driver::Driver;
use rustix::process::{Resource, getegid, geteuid, getgid, getrlimit, getuid};

use crate::DRIVERS;

/// Opens the driver called `choice`, or without a choice the first of [`DRIVERS`] that works here.
///
/// # Errors
///
/// A choice that is unknown, not built yet or does not work here is an error, never a fallback.
pub fn open(choice: Option<&str>) -> Result<Opened, OpenError> {
    if let Some(name) = choice {
        return match DRIVERS.iter().find(|candidate| candidate.name == name) {
            Some(candidate) => candidate
                .try_open("as chosen, ")
                .map_err(|source| OpenError::Unusable { name: candidate.name, source }),
            None if PLANNED.contains(&name) => Err(OpenError::NotBuilt { name: name.into() }),
            None => Err(OpenError::Unknown { name: name.into() }),
        };
    }
    let mut passed_over = Vec::new();
    for candidate in DRIVERS {
        match candidate.try_open("") {
            Ok(mut opened) => {
                for (name, error) in &passed_over {
                    opened.report += &format!("; not {name}: {error}");
                }
                return Ok(opened);
            }
            Err(error) => passed_over.push((candidate.name, error)),
        }
    }
    Err(OpenError::None { tried: passed_over })
}

/// Opens the driver that the environment variable `MARLINE_DRIVER` names, or the best; a set-uid program does not look at the variable.
///
/// # Errors
///
/// As [`open`].
pub fn open_from_environment() -> Result<Opened, OpenError> {
    let trusted = getuid() == geteuid() && getgid() == getegid();
    let choice = std::env::var_os("MARLINE_DRIVER").filter(|_| trusted);
    open(choice.map(|name| name.to_string_lossy().into_owned()).as_deref())
}

/// A driver that was opened, and why it is this one.
pub struct Opened {
    /// The driver, to be handed to a reactor.
    pub driver: Box<dyn Driver>,
    /// One line for the log: which driver, what it found, what was passed over.
    pub report: String,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("report", &self.report).finish_non_exhaustive()
    }
}

/// A rung of the ladder.
#[derive(Debug)]
pub struct Candidate {
    /// The driver's name as people write it.
    pub name: &'static str,
    /// Looks whether it works here, and says what it found.
    pub probe: fn() -> io::Result<String>,
    /// Makes one. There may be many in a process and in a thread.
    pub open: fn() -> io::Result<Box<dyn Driver>>,
}

impl Candidate {
    fn try_open(&self, why: &str) -> io::Result<Opened> {
        let found = (self.probe)()?;
        let driver = (self.open)()?;
        let limit = match getrlimit(Resource::Nofile).current {
            Some(limit) => format!("limit {limit} descriptors"),
            None => "no limit of descriptors".to_owned(),
        };
        Ok(Opened { driver, report: format!("driver {}: {why}{found}; {limit}", self.name) })
    }
}

/// Why there is no driver. Its `Debug` form is its text, for a `main` that returns it shows that to people.
#[non_exhaustive]
pub enum OpenError {
    /// No driver has this name.
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// A driver of this name is planned; this build has none.
    NotBuilt {
        /// What was asked for.
        name: String,
    },
    /// The driver that was asked for does not work here.
    Unusable {
        /// Which one.
        name: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// No driver works here.
    None {
        /// What was tried, and what the system said to each.
        tried: Vec<(&'static str, io::Error)>,
    },
}

impl fmt::Debug for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name } => write!(f, "there is no driver {name:?}; known are")?,
            Self::NotBuilt { name } => {
                write!(f, "driver {name:?} is planned but not part of this build; it has")?;
            }
            Self::Unusable { name, source } => {
                write!(f, "driver {name:?} does not work here: {source}; known are")?;
            }
            Self::None { tried } => {
                f.write_str("no driver works here")?;
                for (name, error) in tried {
                    write!(f, "; {name}: {error}")?;
                }
                return Ok(());
            }
        }
        for (at, candidate) in DRIVERS.iter().enumerate() {
            write!(f, "{} {}", if at == 0 { "" } else { "," }, candidate.name)?;
        }
        Ok(())
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unusable { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Names the contract gives to drivers that this crate does not have.
const PLANNED: &[&str] = &["uring", "poll", "select", "portable", "sim", "replay"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_is_one_line_that_names_the_winner_and_the_limit() {
        let opened = open(None).unwrap();
        assert_eq!(opened.driver.name(), "epoll");
        assert!(opened.report.starts_with("driver epoll: kernel "), "{}", opened.report);
        assert!(opened.report.contains("descriptors"), "{}", opened.report);
        assert!(!opened.report.contains('\n'));
    }

    #[test]
    fn a_choice_that_works_is_kept_to() {
        let opened = open(Some("epoll")).unwrap();
        assert_eq!(opened.driver.name(), "epoll");
        assert!(opened.report.contains("as chosen"), "{}", opened.report);
    }

    #[test]
    fn an_unknown_name_is_an_error_that_lists_the_known_ones() {
        let error = open(Some("kqueue")).unwrap_err();
        assert!(matches!(&error, OpenError::Unknown { name } if name == "kqueue"));
        assert_eq!(error.to_string(), "there is no driver \"kqueue\"; known are epoll");
    }

    #[test]
    fn a_planned_name_is_not_called_unknown_and_falls_back_to_nothing() {
        for name in PLANNED {
            let error = open(Some(name)).unwrap_err();
            assert!(matches!(error, OpenError::NotBuilt { .. }), "{name}");
            assert!(error.to_string().ends_with("it has epoll"), "{error}");
        }
    }

    #[test]
    fn a_driver_that_does_not_work_is_an_error_with_the_reason() {
        let broken = Candidate {
            name: "broken",
            probe: || Err(io::ErrorKind::Unsupported.into()),
            open: || Err(io::ErrorKind::Other.into()),
        };
        let source = broken.try_open("").unwrap_err();
        let error = OpenError::Unusable { name: broken.name, source };
        assert_eq!(
            error.to_string(),
            "driver \"broken\" does not work here: unsupported; known are epoll"
        );
    }
}
