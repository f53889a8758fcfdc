//! UNIX streams, the files they leave, descriptors passed over them, and sockets that somebody else has opened: items 53, 54 and 92 to 99.

mod adopting;
mod files;
mod listening;
mod passing;
mod policed;
mod raw;

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use marline_conformance::Ground;
use marline_core::driver::ConnectOptions;
use marline_core::{Addr, CloseReason, Protocol, Reactor, Transport};
use rustix::pipe::pipe;

use crate::streams::kit::{Outcome, started, turn_until};

/// A folder of one check, removed with all that is in it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("marline-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The names of the files in it.
    fn names(&self) -> Vec<String> {
        names(&self.0)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What a porter is told, in order.
#[derive(Default)]
struct Heard {
    /// `d` for a descriptor, each byte as it is.
    script: RefCell<String>,
    descriptors: RefCell<Vec<OwnedFd>>,
    bytes: Cell<usize>,
    /// How many bytes had come before each descriptor.
    places: RefCell<Vec<usize>>,
    transport: RefCell<Option<Transport>>,
    reason: RefCell<Option<CloseReason>>,
}

impl Heard {
    fn script(&self) -> String {
        self.script.borrow().clone()
    }

    fn count(&self) -> usize {
        self.descriptors.borrow().len()
    }

    #[track_caller]
    fn transport(&self) -> Transport {
        self.transport.borrow().clone().expect("no connection was made")
    }

    fn is_lost(&self) -> bool {
        self.reason.borrow().is_some()
    }

    #[track_caller]
    fn reason(&self) -> CloseReason {
        self.reason.borrow().clone().expect("it has not ended")
    }
}

type Hook = Box<dyn FnMut(&Transport)>;

/// A protocol that takes descriptors, and then does what the check wants.
#[derive(Default)]
struct Porter {
    heard: Rc<Heard>,
    taken: Option<Hook>,
    data: Option<Hook>,
}

impl Porter {
    fn on_descriptor(mut self, hook: impl FnMut(&Transport) + 'static) -> Self {
        self.taken = Some(Box::new(hook));
        self
    }
}

impl Protocol for Porter {
    fn connection_made(&mut self, transport: &Transport) {
        *self.heard.transport.borrow_mut() = Some(transport.clone());
    }

    fn descriptor_received(&mut self, transport: &Transport, descriptor: OwnedFd) {
        self.heard.script.borrow_mut().push('d');
        self.heard.places.borrow_mut().push(self.heard.bytes.get());
        self.heard.descriptors.borrow_mut().push(descriptor);
        if let Some(hook) = &mut self.taken {
            hook(transport);
        }
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        self.heard.bytes.set(self.heard.bytes.get() + data.len());
        if data.len() < 1000 {
            self.heard.script.borrow_mut().push_str(&String::from_utf8_lossy(data));
        }
        if let Some(hook) = &mut self.data {
            hook(transport);
        }
    }

    fn connection_lost(&mut self, _: &Transport, reason: &CloseReason) {
        *self.heard.reason.borrow_mut() = Some(reason.clone());
    }
}

/// Two porters joined by a UNIX connection.
struct Pair {
    reactor: Reactor,
    client: Rc<Heard>,
    server: Rc<Heard>,
    _folder: Folder,
}

impl Pair {
    fn join(ground: Ground) -> Self {
        Self::join_with(ground, Porter::default(), Porter::default())
    }

    fn join_with(ground: Ground, client: impl Into<Porter>, server: Porter) -> Self {
        let (reactor, folder) = (started(ground), Folder::new());
        let client = client.into();
        let heard = (Rc::clone(&client.heard), Rc::clone(&server.heard));
        let mut server = Some(server);
        let factory = marline_core::protocol::from_fn(move |_| server.take());
        let path = folder.file("s");
        reactor.listen_unix(&path, factory).unwrap();
        let connected =
            Outcome::of(reactor.connect_unix_with(&path, client, ConnectOptions::default()));
        turn_until(&reactor, "both ends were made", || {
            connected.is_there() && heard.1.transport.borrow().is_some()
        });
        connected.take().unwrap();
        Self { reactor, client: heard.0, server: heard.1, _folder: folder }
    }

    #[track_caller]
    fn until(&self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        turn_until(&self.reactor, what, || condition(self));
    }

    fn sender(&self) -> Transport {
        self.client.transport()
    }
}

/// A descriptor that can be followed: the reader sees its end once every copy of the writer is closed.
fn followed() -> (File, OwnedFd) {
    let (reader, writer) = pipe().unwrap();
    rustix::io::ioctl_fionbio(&reader, true).unwrap();
    (reader.into(), writer)
}

/// Whether every copy of the descriptor is closed. Another test that starts a process has copies of all there are for the moment until that runs its
/// program, so one that is open is looked at again for a while.
fn is_closed(reader: &mut File) -> bool {
    for _ in 0..10_000 {
        match reader.read(&mut [0]) {
            Ok(count) => return count == 0,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(_) => return false,
        }
    }
    false
}

fn unix(path: impl Into<PathBuf>) -> Addr {
    Addr::Unix(path.into())
}
