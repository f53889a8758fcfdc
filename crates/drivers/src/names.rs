//! Looking names up: `getaddrinfo(3)`, through std, on a worker thread.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, ToSocketAddrs};

use marline_core::driver::{Answer, OsError};

/// Looks a name up. Blocks, for as long as the system's resolver likes.
pub(crate) fn look_up(name: &str) -> Answer {
    Answer::Resolved(match (name, 0).to_socket_addrs() {
        Ok(found) => {
            let mut addrs: Vec<IpAddr> = Vec::new();
            for addr in found {
                if !addrs.contains(&addr.ip()) {
                    addrs.push(addr.ip());
                }
            }
            if addrs.is_empty() { Err(OsError::new(ErrorKind::NotFound)) } else { Ok(addrs) }
        }
        Err(error) => Err(fault(&error)),
    })
}

/// std keeps the resolver's own verdict (`EAI_...`) only as text: what has neither a number nor a kind of its own means that there is
/// no address to be had, for now or for ever.
fn fault(error: &io::Error) -> OsError {
    match (error.raw_os_error(), error.kind()) {
        (Some(code), _) => OsError::from_raw(code),
        (None, kind @ ErrorKind::InvalidInput) => OsError::new(kind),
        (None, _) => OsError::new(ErrorKind::NotFound),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_needs_no_name_server() {
        let Answer::Resolved(Ok(addrs)) = look_up("::1") else { panic!("not resolved") };
        assert_eq!(addrs, ["::1".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn a_name_that_cannot_be_is_not_found_or_invalid() {
        for (name, kind) in
            [("no such name", ErrorKind::NotFound), ("nul\0inside", ErrorKind::InvalidInput)]
        {
            let Answer::Resolved(Err(error)) = look_up(name) else { panic!("{name:?} resolved") };
            assert_eq!(error.kind(), kind, "{name:?}");
        }
    }
}
