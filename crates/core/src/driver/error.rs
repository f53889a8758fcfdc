//! An operating system's error as a value that can be copied, compared, recorded and replayed.

use std::fmt;
use std::io::{self, ErrorKind};

/// An error of the operating system, or of what stands in for it.
///
/// `Copy`, because completions are; a recording keeps both words.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OsError {
    kind: ErrorKind,
    /// `errno`, or zero where no system was asked.
    code: i32,
}

impl OsError {
    /// The driver lacks the capability.
    pub const UNSUPPORTED: Self = Self::new(ErrorKind::Unsupported);
    /// The handle is not, or no longer, one of this driver's.
    pub const STALE: Self = Self::new(ErrorKind::NotConnected);

    /// An error that no system has numbered.
    pub const fn new(kind: ErrorKind) -> Self {
        Self { kind, code: 0 }
    }

    /// An error by its number on this system.
    pub fn from_raw(code: i32) -> Self {
        Self { kind: io::Error::from_raw_os_error(code).kind(), code }
    }

    /// What kind of error it is.
    pub const fn kind(self) -> ErrorKind {
        self.kind
    }

    /// The system's number for it (`errno`), if a system was asked.
    pub const fn code(self) -> Option<i32> {
        if self.code == 0 { None } else { Some(self.code) }
    }
}

impl From<io::Error> for OsError {
    fn from(error: io::Error) -> Self {
        Self { kind: error.kind(), code: error.raw_os_error().unwrap_or(0) }
    }
}

impl From<OsError> for io::Error {
    fn from(error: OsError) -> Self {
        match error.code {
            0 => Self::from(error.kind),
            code => Self::from_raw_os_error(code),
        }
    }
}

impl From<ErrorKind> for OsError {
    fn from(kind: ErrorKind) -> Self {
        Self::new(kind)
    }
}

impl fmt::Display for OsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        io::Error::from(*self).fmt(f)
    }
}

impl fmt::Debug for OsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            0 => write!(f, "{:?}", self.kind),
            code => write!(f, "{:?}({code})", self.kind),
        }
    }
}

impl std::error::Error for OsError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_numbered_error_comes_back_with_its_number() {
        let error = OsError::from(io::Error::from_raw_os_error(104));
        assert_eq!(error.code(), Some(104));
        assert_eq!(io::Error::from(error).raw_os_error(), Some(104));
    }

    #[test]
    fn an_error_without_a_number_keeps_its_kind() {
        let error = OsError::from(io::Error::from(ErrorKind::ConnectionReset));
        assert_eq!(error.code(), None);
        assert_eq!(io::Error::from(error).kind(), ErrorKind::ConnectionReset);
    }
}
