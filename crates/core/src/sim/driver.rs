//! The simulated network as a driver: what a reactor on a simulated host calls. All state is in the world.

use std::any::Any;
use std::fmt::{self, Write};
use std::io::{self, ErrorKind, IoSlice};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::driver::{
    Answer, Capability, Close, Completion, ConnectFault, ConnectOptions, DatagramOptions, Driver,
    Handle, Job, JobId, ListenOptions, Membership, OsError, Outgoing, Sent, SocketOption, Waker,
    Woken,
};
use crate::{Addr, Time};

use super::host::Host;
use super::net::{Net, Ready};
use super::process::{Process, Target, Wake};
use super::world::World;

/// A driver on a simulated host; [`Host::driver`] makes one.
///
/// Where a [`World`] runs its reactor, the world moves time. Otherwise [`wait`](Driver::wait) does: it goes to the next event at
/// once, however far away, so a program runs as fast as it can compute. Only when nothing will ever happen in the world does it
/// sleep really, for other threads to call the waker; after [`World::set_patience`], or at once if nobody has a waker, it is an
/// error of the kind [`ErrorKind::Deadlock`] that says what each socket waits for.
///
/// Jobs run inline when they are begun and are answered at a drawn time, when a worker would have been done with them: 50 µs
/// to 5 ms after one took them up. Dropping the driver closes everything it has, gracefully.
///
/// `TCP_NODELAY` and keep-alive are kept and change nothing: segments always leave at once, and nobody probes. `SO_REUSEADDR` changes
/// nothing for a port either, for closed connections leave none occupied. `SO_SNDBUF` of a datagram socket is kept, for datagrams leave at once. A
/// host has two interfaces, known by any of its addresses: loopback, number 1, and the one to all other hosts, number 2.
pub struct SimDriver {
    host: Host,
    id: u32,
    wake: Arc<Wake>,
    waker: Waker,
}

impl SimDriver {
    /// A driver on the only host of a world of its own, which has loopback and the address 10.0.0.1.
    pub fn alone(seed: u64) -> Self {
        World::new(seed).host("localhost.simulated", [[10, 0, 0, 1].into()]).driver()
    }

    pub(super) fn new(host: Host) -> Self {
        let mut net = host.net.borrow_mut();
        let mut seed = [0; 32];
        net.rng.fill(&mut seed);
        let id = net.processes.len() as u32;
        let mut process = Process::new(host.id, seed, Arc::clone(&net.bell));
        process.alive = !net.hosts[host.id as usize].down;
        let wake = Arc::clone(&process.wake);
        net.processes.push(process);
        drop(net);
        let called = Arc::clone(&wake);
        Self { host, id, wake, waker: Arc::new(move || called.call()) }
    }

    /// The host it lives on.
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// Its number in the world: what [`Delivered::driver`](super::Delivered::driver) says.
    pub const fn number(&self) -> u32 {
        self.id
    }

    fn with<R>(&self, call: impl FnOnce(&mut Net) -> R) -> R {
        call(&mut self.host.net.borrow_mut())
    }

    fn target(&self, net: &Net, handle: Handle) -> Option<Target> {
        net.processes[self.id as usize].handles.get(handle).copied()
    }

    /// Whether something was collected: what is there now makes a round.
    fn collect(&self) -> bool {
        self.with(|net| {
            if !net.processes[self.id as usize].driven {
                net.settle();
            }
            let process = &mut net.processes[self.id as usize];
            process.round = process.ready.len();
            process.round > 0
        })
    }

    fn stalemate(&self) -> io::Error {
        let text = self.with(|net| net.complaint(self.id));
        io::Error::new(ErrorKind::Deadlock, text)
    }
}

impl Driver for SimDriver {
    fn name(&self) -> &'static str {
        "sim"
    }

    fn supports(&self, capability: Capability) -> bool {
        matches!(
            capability,
            Capability::Datagrams
                | Capability::Multicast
                | Capability::Unix
                | Capability::PassDescriptors
                | Capability::Resolve
                | Capability::Work
                | Capability::Signals
        )
    }

    fn now(&mut self) -> Time {
        self.with(|net| net.now)
    }

    fn wall_clock(&mut self) -> SystemTime {
        self.with(|net| {
            let start = net.hosts[self.host.id as usize].wall_start;
            start + Duration::from_nanos(net.now.as_nanos())
        })
    }

    fn log_clock(&mut self) -> SystemTime {
        self.wall_clock()
    }

    fn seed(&mut self) -> [u8; 32] {
        self.with(|net| net.processes[self.id as usize].seed)
    }

    fn waker(&self) -> Waker {
        Arc::clone(&self.waker)
    }

    fn wait(&mut self, until: Option<Time>) -> io::Result<Woken> {
        loop {
            let woken = self.wake.take();
            if self.collect() || woken {
                return Ok(Woken::Perhaps);
            }
            let (driven, now) = self.with(|net| (net.processes[self.id as usize].driven, net.now));
            if driven || until.is_some_and(|until| until <= now) {
                return Ok(Woken::Perhaps);
            }
            if self.with(|net| net.advance(until)) {
                continue;
            }
            let patience = self.with(|net| net.patience);
            if Arc::strong_count(&self.waker) > 1 && self.wake.sleep(patience) {
                return Ok(Woken::Perhaps);
            }
            return Err(self.stalemate());
        }
    }

    fn next(&mut self, scratch: &mut [u8]) -> Option<Completion> {
        self.with(|net| net.next(self.id, scratch))
    }

    fn listen(&mut self, addr: &Addr, options: &ListenOptions) -> Result<(Handle, Addr), OsError> {
        self.with(|net| net.listen(self.id, addr, options))
    }

    fn connect(&mut self, to: &Addr, options: &ConnectOptions) -> Result<Handle, ConnectFault> {
        self.with(|net| net.connect(self.id, to, options))
    }

    fn receive(&mut self, handle: Handle, on: bool) {
        self.with(|net| match self.target(net, handle) {
            Some(Target::End(key, side)) => net.set_receiving(key, side, on),
            Some(Target::Port(key)) => net.set_accepting(key, on),
            Some(Target::Socket(key)) => net.set_hearing(key, on),
            None => {}
        });
    }

    fn send(&mut self, conn: Handle, out: Outgoing<'_>) -> Sent {
        self.with(|net| match self.target(net, conn) {
            Some(Target::End(key, side)) => net.send(key, side, out),
            _ => Sent::Failed(OsError::STALE),
        })
    }

    fn reclaim(&mut self, conn: Handle) -> Vec<u8> {
        self.with(|net| match self.target(net, conn) {
            Some(Target::End(key, side)) => net.reclaim(key, side),
            _ => Vec::new(),
        })
    }

    fn shutdown(&mut self, conn: Handle) -> Result<(), OsError> {
        self.with(|net| match self.target(net, conn) {
            Some(Target::End(key, side)) => net.shutdown(key, side),
            _ => Err(OsError::STALE),
        })
    }

    fn close(&mut self, handle: Handle, how: Close) {
        self.with(|net| net.close(self.id, handle, how));
    }

    fn local_addr(&mut self, handle: Handle) -> Option<Addr> {
        self.with(|net| match self.target(net, handle)? {
            Target::End(key, side) => net.conns.get(key).map(|conn| conn.end(side).local.clone()),
            Target::Port(key) => net.ports.get(key).map(|port| port.local.clone()),
            Target::Socket(key) => net.sockets.get(key).map(|socket| socket.local.clone()),
        })
    }

    fn peer_addr(&mut self, handle: Handle) -> Option<Addr> {
        self.with(|net| match self.target(net, handle)? {
            Target::End(key, side) => net.conns.get(key).map(|conn| conn.end(side).peer.clone()),
            Target::Socket(key) => net.sockets.get(key).and_then(|socket| socket.peer.clone()),
            Target::Port(_) => None,
        })
    }

    fn set_option(&mut self, handle: Handle, option: SocketOption) -> Result<(), OsError> {
        self.with(|net| {
            let (key, side) = match self.target(net, handle) {
                Some(Target::End(key, side)) => (key, side),
                Some(Target::Socket(key)) => return net.set_socket_option(self.id, key, option),
                _ => return Err(OsError::STALE),
            };
            let end = net.conns.get_mut(key).ok_or(OsError::STALE)?.end_mut(side);
            match option {
                SocketOption::NoDelay(on) => end.no_delay = on,
                SocketOption::KeepAlive(on) => end.keep_alive = on,
                _ => return Err(OsError::UNSUPPORTED),
            }
            Ok(())
        })
    }

    fn option(&mut self, handle: Handle, option: SocketOption) -> Result<SocketOption, OsError> {
        self.with(|net| {
            let (key, side) = match self.target(net, handle) {
                Some(Target::End(key, side)) => (key, side),
                Some(Target::Socket(key)) => return net.socket_option(key, option),
                _ => return Err(OsError::STALE),
            };
            let end = net.conns.get(key).ok_or(OsError::STALE)?.end(side);
            Ok(match option {
                SocketOption::NoDelay(_) => SocketOption::NoDelay(end.no_delay),
                SocketOption::KeepAlive(_) => SocketOption::KeepAlive(end.keep_alive),
                _ => return Err(OsError::UNSUPPORTED),
            })
        })
    }

    #[cfg(unix)]
    fn send_descriptor(
        &mut self,
        conn: Handle,
        descriptor: std::os::fd::OwnedFd,
    ) -> Result<(), OsError> {
        self.with(|net| match self.target(net, conn) {
            Some(Target::End(key, side)) => net.pass(key, side, descriptor),
            _ => Err(OsError::STALE),
        })
    }

    #[cfg(unix)]
    fn take_descriptor(&mut self, conn: Handle) -> Option<std::os::fd::OwnedFd> {
        self.with(|net| match self.target(net, conn)? {
            Target::End(key, side) => net.take_passed(key, side),
            _ => None,
        })
    }

    fn bind_datagram(
        &mut self,
        addr: &Addr,
        options: &DatagramOptions,
    ) -> Result<(Handle, Addr), OsError> {
        self.with(|net| net.open_socket(self.id, addr, options))
    }

    fn connect_datagram(&mut self, socket: Handle, to: &Addr) -> Result<(), OsError> {
        self.with(|net| match self.target(net, socket) {
            Some(Target::Socket(key)) => net.connect_socket(self.id, key, to),
            _ => Err(OsError::STALE),
        })
    }

    fn set_membership(
        &mut self,
        socket: Handle,
        membership: &Membership,
        joined: bool,
    ) -> Result<(), OsError> {
        self.with(|net| match self.target(net, socket) {
            Some(Target::Socket(key)) => net.set_group(self.id, key, membership, joined),
            _ => Err(OsError::STALE),
        })
    }

    fn send_datagram(
        &mut self,
        socket: Handle,
        to: Option<&Addr>,
        parts: &[IoSlice<'_>],
    ) -> Result<(), OsError> {
        self.with(|net| match self.target(net, socket) {
            Some(Target::Socket(key)) => net.send_packet(self.id, key, to, parts),
            _ => Err(OsError::STALE),
        })
    }

    fn take_chunk(&mut self, _chunk: u32) -> Vec<u8> {
        self.with(|net| std::mem::take(&mut net.processes[self.id as usize].chunk))
    }

    fn give_back(&mut self, _chunk: u32, buffer: Vec<u8>) {
        self.with(|net| net.keep_buffer(buffer));
    }

    fn datagram_source(&mut self, socket: Handle) -> Option<Addr> {
        self.with(|net| match &net.processes[self.id as usize].source {
            Some((from, addr)) if *from == socket => Some(addr.clone()),
            _ => None,
        })
    }

    fn resolve(&mut self, id: JobId, name: &str) -> Result<(), OsError> {
        self.with(|net| net.resolve(self.id, id, name))
    }

    fn work(&mut self, id: JobId, job: Job) -> Result<(), OsError> {
        self.with(|net| net.check_alive(self.id))?;
        // The job is the user's: it runs while nothing is borrowed.
        let answer = match catch_unwind(AssertUnwindSafe(job)) {
            Ok(result) => Answer::Worked(result),
            Err(panic) => Answer::Panicked(message(panic.as_ref())),
        };
        self.with(|net| net.work(self.id, id, answer));
        Ok(())
    }

    /// At least one, whatever `most` says.
    fn set_workers(&mut self, most: usize) {
        self.with(|net| net.processes[self.id as usize].most_workers = most.max(1));
    }

    fn workers(&self) -> (usize, usize) {
        self.with(|net| net.workers(self.id))
    }

    /// Jobs that no worker had taken up yet are not answered, though they ran when they were begun.
    fn stop_workers(&mut self) {
        let dropped = self.with(|net| net.stop_workers(self.id));
        drop(dropped);
    }

    fn take_answer(&mut self, id: JobId) -> Option<Answer> {
        self.with(|net| {
            let answers = &mut net.processes[self.id as usize].answers;
            let place = answers.iter().position(|(other, _)| *other == id)?;
            Some(answers.swap_remove(place).1)
        })
    }

    fn watch_signal(&mut self, number: i32, on: bool) -> Result<(), OsError> {
        self.with(|net| {
            net.check_alive(self.id)?;
            let signals = &mut net.processes[self.id as usize].signals;
            signals.retain(|other| *other != number);
            if on {
                signals.push(number);
            }
            Ok(())
        })
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

impl Drop for SimDriver {
    fn drop(&mut self) {
        // Dropped while the network is borrowed, which can only be a panic inside it: there is nothing left to save.
        let Ok(mut net) = self.host.net.try_borrow_mut() else { return };
        let dropped = net.kill_process(self.id);
        drop(net);
        drop(dropped);
    }
}

impl fmt::Debug for SimDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDriver").field("host", &self.host).field("number", &self.id).finish()
    }
}

impl Net {
    /// The next completion of a round.
    fn next(&mut self, driver: u32, scratch: &mut [u8]) -> Option<Completion> {
        loop {
            let process = &mut self.processes[driver as usize];
            process.round = process.round.checked_sub(1)?;
            let ready = process.ready.pop_front()?;
            let completion = match ready {
                Ready::End(key, side) => self.end_reports(key, side, scratch),
                Ready::Port(key) => self.port_reports(key),
                Ready::Socket(key) => self.socket_reports(key),
                Ready::Answer(id) => Some(Completion::Answered { id }),
                Ready::Signal(number) => {
                    process.signals.contains(&number).then_some(Completion::Signal { number })
                }
            };
            if let Some(completion) = completion {
                let bytes = match completion {
                    Completion::Received { len, .. } | Completion::ReceivedWith { len, .. } => {
                        &scratch[..len]
                    }
                    Completion::Datagrams { .. } => &self.processes[driver as usize].chunk,
                    _ => &[],
                };
                self.trace.record(self.now, driver, completion, bytes);
                return Some(completion);
            }
        }
    }

    /// What every socket of a driver waits for, when nothing will ever happen.
    fn complaint(&self, driver: u32) -> String {
        let mut text = String::from("nothing will ever happen in this simulated world");
        for (handle, target) in self.processes[driver as usize].handles.iter() {
            // OK: writing to a string cannot fail.
            let _ = match target {
                Target::Port(key) => match self.ports.get(*key) {
                    Some(port) if port.accepting => {
                        write!(text, "; port {} waits for connections", port.local)
                    }
                    Some(port) => write!(text, "; port {} does not accept", port.local),
                    None => Ok(()),
                },
                Target::Socket(key) => match self.sockets.get(*key) {
                    Some(socket) => write!(text, "; socket {} waits for datagrams", socket.local),
                    None => Ok(()),
                },
                Target::End(key, side) => match self.conns.get(*key).map(|conn| conn.end(*side)) {
                    Some(end) => {
                        let waits =
                            if end.receiving { "waits for bytes" } else { "does not receive" };
                        write!(
                            text,
                            "; connection {handle:?} {} -> {} {waits}",
                            end.local, end.peer
                        )
                    }
                    None => Ok(()),
                },
            };
        }
        text
    }
}

/// What a panic says.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without words")
        .to_owned()
}
