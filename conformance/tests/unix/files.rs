//! The files of UNIX sockets: mode, lock, what a crash leaves, removal. On the kernel alone: a simulated host has no files.

use std::fs::{File, Permissions};
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use marline_conformance::Ground;
use marline_core::driver::{ListenOptions, SocketFile};
use marline_core::{ListenError, Port, Reactor};
use rustix::fs::Mode;
use rustix::process::umask;

use super::Folder;
use crate::faults::{CHILD, child, in_child};
use crate::streams::kit::{Outcome, Probe, started, turn_until};

const GROUND: Ground = Ground { driver: "epoll" };
/// Tells a child which path is meant.
const PATH: &str = "MARLINE_CONFORMANCE_PATH";
/// The user who may do nothing.
const NOBODY: u32 = 65_534;

fn listen(reactor: &Reactor, path: &Path, file: SocketFile) -> Result<Port, ListenError> {
    let options = ListenOptions { file, ..Default::default() };
    reactor.listen_unix_with(path, Probe::new, options)
}

fn stop(reactor: &Reactor, port: &Port) {
    let closed = Outcome::of(port.stop_listening());
    turn_until(reactor, "the port to close", || closed.is_there());
    closed.take().unwrap();
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().mode() & 0o7777
}

#[track_caller]
fn in_use(reactor: &Reactor, path: &Path) {
    let error = reactor.listen_unix(path, Probe::new).unwrap_err();
    assert_eq!(error.source.kind(), ErrorKind::AddrInUse, "{error}");
}

// 92
#[test]
fn the_mode_is_exact_whatever_the_umask() {
    // The umask is the process's.
    in_child(module_path!(), "the_mode_is_exact_whatever_the_umask", None, || {
        let (reactor, folder) = (started(GROUND), Folder::new());
        for mask in [0, 0o022, 0o077, 0o777] {
            for wanted in [0o600, 0o660, 0o666, 0o777, 0o040, 0] {
                let before = umask(Mode::from_raw_mode(mask));
                let file = SocketFile { mode: Some(wanted), ..Default::default() };
                let port = listen(&reactor, &folder.file("s"), file);
                umask(before);
                let port = port.unwrap();
                assert_eq!(mode(&folder.file("s")), wanted, "under {mask:o}");
                stop(&reactor, &port);
            }
            let before = umask(Mode::from_raw_mode(mask));
            let port = listen(&reactor, &folder.file("s"), SocketFile::default());
            umask(before);
            assert_eq!(mode(&folder.file("s")), 0o777 & !mask);
            stop(&reactor, &port.unwrap());
        }
    });
}

#[test]
fn who_may_not_write_to_the_file_cannot_connect() {
    const NAME: &str = "who_may_not_write_to_the_file_cannot_connect";
    if std::env::var_os(CHILD).is_some() {
        let answer = UnixStream::connect(std::env::var_os(PATH).unwrap());
        println!("connect: {:?}", answer.map(drop).map_err(|error| error.kind()));
        return;
    }
    if !rustix::process::geteuid().is_root() {
        println!("not tried: only root can be somebody else");
        return;
    }
    let (reactor, folder) = (started(GROUND), Folder::new());
    std::fs::set_permissions(folder.file(""), Permissions::from_mode(0o755)).unwrap();
    // A copy of the test that the other user can reach, wherever it was built.
    let program = folder.file("test");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let module = module_path!().split_once("::").unwrap().1;
    for (wanted, answer) in [(0o600, "Err(PermissionDenied)"), (0o666, "Ok(())")] {
        let file = SocketFile { mode: Some(wanted), ..Default::default() };
        let port = listen(&reactor, &folder.file("s"), file).unwrap();
        let output = std::process::Command::new(&program)
            .args(["--exact", &format!("{module}::{NAME}"), "--nocapture"])
            .env(CHILD, "1")
            .env(PATH, folder.file("s"))
            .current_dir("/")
            .uid(NOBODY)
            .gid(NOBODY)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains(&format!("connect: {answer}")), "{wanted:o}: {said}");
        stop(&reactor, &port);
    }
}

#[test]
fn both_files_are_there_while_it_listens_and_gone_afterwards() {
    let (reactor, folder) = (started(GROUND), Folder::new());
    let port = reactor.listen_unix(folder.file("s"), Probe::new).unwrap();
    assert_eq!(folder.names(), ["s", "s.lock"]);
    assert_eq!(mode(&folder.file("s.lock")) & 0o077, 0);
    stop(&reactor, &port);
    assert_eq!(folder.names(), [""; 0]);
    port.start_listening().unwrap();
    assert_eq!(folder.names(), ["s", "s.lock"]);
    drop(UnixStream::connect(folder.file("s")).unwrap());
    // The end of the reactor is the end of its files.
    drop((port, reactor));
    assert_eq!(folder.names(), [""; 0]);
    let reactor = started(GROUND);
    let bare = SocketFile { lock: false, ..Default::default() };
    let port = listen(&reactor, &folder.file("s"), bare).unwrap();
    assert_eq!(folder.names(), ["s"]);
    stop(&reactor, &port);
    assert_eq!(folder.names(), [""; 0]);
}

/// The test `name` in a child that listens on the path until it is killed; returns once it does.
fn listening_child(name: &str, path: &Path) -> Child {
    let mut child = child(module_path!(), name, None)
        .env(PATH, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("listening")), "the child ended");
    child
}

/// What such a child does.
fn listen_for_ever() {
    let reactor = started(GROUND);
    let path = std::env::var_os(PATH).unwrap();
    let _port = reactor.listen_unix(path, Probe::new).unwrap();
    println!("listening");
    loop {
        reactor.turn(None).unwrap();
    }
}

#[test]
fn what_a_killed_program_left_is_removed_and_replaced() {
    const NAME: &str = "what_a_killed_program_left_is_removed_and_replaced";
    if std::env::var_os(CHILD).is_some() {
        return listen_for_ever();
    }
    let (reactor, folder) = (started(GROUND), Folder::new());
    let mut killed = listening_child(NAME, &folder.file("s"));
    // As long as it lives, the path is its own.
    in_use(&reactor, &folder.file("s"));
    drop(UnixStream::connect(folder.file("s")).unwrap());
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(folder.names(), ["s", "s.lock"]);
    let refused = UnixStream::connect(folder.file("s")).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let port = reactor.listen_unix(folder.file("s"), Probe::new).unwrap();
    drop(UnixStream::connect(folder.file("s")).unwrap());
    stop(&reactor, &port);
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn without_the_lock_what_was_left_is_an_error() {
    let (reactor, folder) = (started(GROUND), Folder::new());
    drop(UnixListener::bind(folder.file("s")).unwrap());
    let bare = SocketFile { lock: false, ..Default::default() };
    let error = listen(&reactor, &folder.file("s"), bare).unwrap_err();
    assert_eq!(error.source.kind(), ErrorKind::AddrInUse);
    assert_eq!(folder.names(), ["s"]);
}

#[test]
fn a_socket_in_use_without_a_lock_is_not_taken_away_nor_disturbed() {
    let (reactor, folder) = (started(GROUND), Folder::new());
    let stream = UnixListener::bind(folder.file("stream")).unwrap();
    let datagram = UnixDatagram::bind(folder.file("datagram")).unwrap();
    in_use(&reactor, &folder.file("stream"));
    in_use(&reactor, &folder.file("datagram"));
    assert_eq!(folder.names(), ["datagram", "stream"]);
    // Nobody has knocked to find out.
    stream.set_nonblocking(true).unwrap();
    assert_eq!(stream.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    datagram.set_nonblocking(true).unwrap();
    assert_eq!(datagram.recv(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn what_is_no_socket_is_never_removed() {
    let (reactor, folder) = (started(GROUND), Folder::new());
    std::fs::write(folder.file("file"), "precious").unwrap();
    std::fs::create_dir(folder.file("folder")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, folder.file("fifo"), Mode::RWXU).unwrap();
    drop(UnixListener::bind(folder.file("dead")).unwrap());
    symlink(folder.file("dead"), folder.file("link")).unwrap();
    let before = folder.names();
    for name in ["file", "folder", "fifo", "link"] {
        in_use(&reactor, &folder.file(name));
    }
    assert_eq!(folder.names(), before);
    assert_eq!(std::fs::read_to_string(folder.file("file")).unwrap(), "precious");
}

#[test]
fn a_lock_that_is_no_file_of_its_own_is_an_error_and_stays() {
    let (reactor, folder) = (started(GROUND), Folder::new());
    std::fs::write(folder.file("precious"), "").unwrap();
    symlink(folder.file("precious"), folder.file("link.lock")).unwrap();
    std::fs::create_dir(folder.file("folder.lock")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, folder.file("fifo.lock"), Mode::RWXU).unwrap();
    let before = folder.names();
    for name in ["link", "folder", "fifo"] {
        reactor.listen_unix(folder.file(name), Probe::new).unwrap_err();
    }
    assert_eq!(folder.names(), before);
}

#[test]
fn a_file_that_was_replaced_meanwhile_is_not_ours_to_remove() {
    let (reactor, folder) = (started(GROUND), Folder::new());
    let port = reactor.listen_unix(folder.file("s"), Probe::new).unwrap();
    std::fs::remove_file(folder.file("s")).unwrap();
    std::fs::remove_file(folder.file("s.lock")).unwrap();
    // Another's, from now on.
    let other = UnixListener::bind(folder.file("s")).unwrap();
    File::create(folder.file("s.lock")).unwrap();
    stop(&reactor, &port);
    assert_eq!(folder.names(), ["s", "s.lock"]);
    drop(UnixStream::connect(folder.file("s")).unwrap());
    drop(other);
    // And one that is gone is no error.
    let port = reactor.listen_unix(folder.file("t"), Probe::new).unwrap();
    std::fs::remove_file(folder.file("t")).unwrap();
    stop(&reactor, &port);
    assert!(!folder.file("t.lock").exists());
}

#[test]
fn of_many_who_want_a_path_at_once_one_has_it_at_a_time() {
    let folder = Folder::new();
    let holders = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let reactor = started(GROUND);
                // However long the others are kept from running while they have it.
                let mut held = 0;
                while held < 100 {
                    match reactor.listen_unix(folder.file("s"), Probe::new) {
                        Ok(port) => {
                            held += 1;
                            assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
                            let kind = folder.file("s").symlink_metadata().unwrap().file_type();
                            assert!(kind.is_socket());
                            assert!(folder.file("s.lock").exists());
                            drop(UnixStream::connect(folder.file("s")).unwrap());
                            holders.fetch_sub(1, Ordering::SeqCst);
                            stop(&reactor, &port);
                        }
                        Err(error) => {
                            assert_eq!(error.source.kind(), ErrorKind::AddrInUse);
                            std::thread::yield_now();
                        }
                    }
                }
            });
        }
    });
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn a_relative_path_is_removed_although_the_process_has_moved() {
    // The directory is the process's.
    in_child(
        module_path!(),
        "a_relative_path_is_removed_although_the_process_has_moved",
        None,
        || {
            let (reactor, folder) = (started(GROUND), Folder::new());
            std::env::set_current_dir(folder.file("")).unwrap();
            let port = reactor.listen_unix("relative", Probe::new).unwrap();
            assert_eq!(port.local_addr(), super::unix("relative"));
            std::env::set_current_dir("/").unwrap();
            assert_eq!(folder.names(), ["relative", "relative.lock"]);
            let mut peer = UnixStream::connect(folder.file("relative")).unwrap();
            stop(&reactor, &port);
            assert_eq!(folder.names(), [""; 0]);
            // Turned away with the port.
            assert_eq!(peer.read(&mut [0]).unwrap_or(0), 0);
        },
    );
}
