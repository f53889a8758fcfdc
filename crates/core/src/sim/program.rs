//! Programs in a world: reactors on its hosts, which the world turns while it moves time.
//! Only a reactor with something to do gets a turn, so a thousand idle hosts cost nothing.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use crate::{Reactor, RunError, Time, Turn};

use super::host::Host;
use super::queue::Event;
use super::world::World;

/// A program on a host: a reactor that the world runs. A cheap handle; dropping it changes nothing.
#[derive(Clone)]
pub struct Program(Rc<Running>);

/// What a world runs.
#[derive(Default)]
pub(super) struct Programs {
    /// By the number of the driver; empty places are drivers that others run.
    list: RefCell<Vec<Option<Rc<Running>>>>,
    is_running: Cell<bool>,
}

struct Running {
    host: Host,
    driver: u32,
    reactor: RefCell<Option<Reactor>>,
    error: RefCell<Option<RunError>>,
}

impl World {
    /// Starts a program: makes a reactor on a host, calls `setup` with it and starts it. It runs when the world does.
    ///
    /// Another thread reaches it as usual. Code of the same thread but outside its callbacks (a test between two runs, another
    /// program) reaches it through [`Reactor::remote`], or calls it before one of the `run` methods begins.
    pub fn spawn(&self, host: &Host, setup: impl FnOnce(&Reactor)) -> Program {
        let driver = host.driver();
        let number = driver.number();
        self.net.borrow_mut().processes[number as usize].driven = true;
        let reactor = Reactor::new(driver);
        setup(&reactor);
        let started = reactor.start();
        let running = Rc::new(Running {
            host: host.clone(),
            driver: number,
            reactor: RefCell::new(Some(reactor)),
            error: RefCell::new(started.err()),
        });
        let mut list = self.programs.list.borrow_mut();
        if list.len() <= number as usize {
            list.resize(number as usize + 1, None);
        }
        list[number as usize] = Some(Rc::clone(&running));
        self.net.borrow_mut().rouse(number);
        Program(running)
    }

    /// Runs all programs for a time.
    ///
    /// # Panics
    ///
    /// As all `run` methods, when it is called from inside a program of this world.
    pub fn run_for(&self, time: Duration) {
        self.run_until(self.now() + time);
    }

    /// Runs all programs until a moment; the clock then shows it.
    pub fn run_until(&self, moment: Time) {
        self.run_to(moment, &mut || true);
        let mut net = self.net.borrow_mut();
        net.now = net.now.max(moment);
    }

    /// Runs all programs until nothing will ever happen any more, or for `limit` at most. Answers whether it is so.
    pub fn run_until_idle(&self, limit: Duration) -> bool {
        self.run_to(self.now() + limit, &mut || true) == Halt::Idle
    }

    /// Runs all programs while a condition holds; it is looked at after every turn. Answers false if nothing will ever happen any more
    /// and it still holds.
    pub fn run_while(&self, mut condition: impl FnMut() -> bool) -> bool {
        !condition() || self.run_to(Time::MAX, &mut condition) == Halt::Condition
    }

    /// Runs all programs until a moment, or as long as a condition holds, which is looked at after every turn.
    pub(crate) fn run_to(&self, until: Time, condition: &mut dyn FnMut() -> bool) -> Halt {
        let before = self.programs.is_running.replace(true);
        assert!(!before, "the world is running already: this was called from inside a program");
        let _guard = Guard(&self.programs.is_running);
        self.look_at_all();
        loop {
            loop {
                let next = self.net.borrow_mut().next_dirty();
                let Some(driver) = next else { break };
                self.turn(driver);
                if !condition() {
                    return Halt::Condition;
                }
            }
            let mut net = self.net.borrow_mut();
            if net.heed_threads() {
                continue;
            }
            match net.next_time() {
                Some(time) if time <= until => _ = net.advance(Some(time)),
                Some(_) => return Halt::Time,
                None => {
                    drop(net);
                    // Another program of this thread may have given one something to do behind its back.
                    self.look_at_all();
                    if self.net.borrow().dirty.is_empty()
                        && self.net.borrow_mut().next_time().is_none()
                    {
                        return Halt::Idle;
                    }
                }
            }
        }
    }

    /// Gives a program a turn, if it has something to do.
    fn turn(&self, driver: u32) {
        let running = self.programs.list.borrow().get(driver as usize).cloned().flatten();
        let Some(running) = running else { return };
        let reactor = running.reactor.borrow().clone();
        let Some(reactor) = reactor else { return };
        let (alive, has_work, now) = {
            let net = self.net.borrow();
            let process = &net.processes[driver as usize];
            (process.alive, !process.ready.is_empty() || process.wake.is_called(), net.now)
        };
        if !alive {
            drop(reactor);
            self.end(&running);
            return;
        }
        if !has_work && reactor.next_wakeup().is_none_or(|wakeup| wakeup > now) {
            self.plan(driver, &reactor);
            return;
        }
        match reactor.turn(Some(Duration::ZERO)) {
            Ok(Turn::Continue) => self.plan(driver, &reactor),
            Ok(Turn::Stopped) => {
                drop(reactor);
                self.end(&running);
            }
            Err(error) => {
                *running.error.borrow_mut() = Some(error);
                drop(reactor);
                self.end(&running);
            }
        }
    }

    /// Has the program called again at its next deadline, or at once if it has work.
    fn plan(&self, driver: u32, reactor: &Reactor) {
        let wakeup = reactor.next_wakeup();
        let mut net = self.net.borrow_mut();
        let now = net.now;
        let process = &mut net.processes[driver as usize];
        if !process.ready.is_empty() || wakeup.is_some_and(|wakeup| wakeup <= now) {
            net.rouse(driver);
        } else if let Some(wakeup) = wakeup
            && process.planned.is_none_or(|planned| planned <= now || wakeup < planned)
        {
            process.planned = Some(wakeup);
            net.queue.push(wakeup, Event::Deadline(driver));
        }
    }

    fn look_at_all(&self) {
        let running: Vec<Rc<Running>> =
            self.programs.list.borrow().iter().flatten().cloned().collect();
        for running in running {
            let reactor = running.reactor.borrow().clone();
            if let Some(reactor) = reactor {
                self.plan(running.driver, &reactor);
            }
        }
    }

    /// A program is over: everything it had is closed.
    fn end(&self, running: &Running) {
        if let Some(place) = self.programs.list.borrow_mut().get_mut(running.driver as usize) {
            *place = None;
        }
        let reactor = running.reactor.borrow_mut().take();
        drop(reactor);
    }
}

impl Program {
    /// Its reactor, or `None` when it is over.
    pub fn reactor(&self) -> Option<Reactor> {
        self.0.reactor.borrow().clone()
    }

    /// Whether it is not over: its reactor has not stopped, nobody has killed it and its host has not crashed.
    pub fn is_running(&self) -> bool {
        self.0.reactor.borrow().is_some()
            && self.0.host.net.borrow().processes[self.0.driver as usize].alive
    }

    /// What went wrong, if it ended so.
    pub fn take_error(&self) -> Option<RunError> {
        self.0.error.borrow_mut().take()
    }

    /// The host it runs on.
    pub fn host(&self) -> &Host {
        &self.0.host
    }

    /// Ends it as `kill -9` does: the kernel closes what it had open, and what it still says leaves no more. Its protocols hear
    /// `connection_lost` when the world runs next, as they are dropped. May be called from inside it.
    pub fn kill(&self) {
        let dropped = self.0.host.net.borrow_mut().kill_process(self.0.driver);
        drop(dropped);
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("host", &self.0.host)
            .field("driver", &self.0.driver)
            .finish_non_exhaustive()
    }
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Halt {
    /// The moment has come.
    Time,
    /// The condition holds no more.
    Condition,
    /// Nothing will ever happen any more.
    Idle,
}

/// Says that the world runs no more, also when a panic says so.
struct Guard<'a>(&'a Cell<bool>);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}
