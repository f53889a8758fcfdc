//! What a host offers besides sockets: names, worker threads and signals, all in virtual time.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::Time;
use crate::driver::{Answer, Handle, JobId, OsError};

use super::net::{Net, Ready};
use super::queue::Event;

/// A job that was begun and whose answer is on its way.
#[derive(Debug)]
pub(super) struct JobState {
    driver: u32,
    id: JobId,
    /// When a worker takes it up; a look-up begins at once.
    starts: Time,
    ends: Time,
    /// Whether it occupies a worker.
    works: bool,
    answer: Answer,
}

impl Net {
    /// Plans the answer to a look-up: a literal address, `localhost`, or a name of the world.
    pub(super) fn resolve(&mut self, driver: u32, id: JobId, name: &str) -> Result<(), OsError> {
        self.check_alive(driver)?;
        let addrs = match name.parse::<IpAddr>() {
            Ok(ip) => Ok(vec![ip]),
            Err(_) => self.lookup(name),
        };
        let ends = self.now + self.draw(self.lookup_time);
        let answer = Answer::Resolved(addrs);
        self.plan(JobState { driver, id, starts: self.now, ends, works: false, answer });
        Ok(())
    }

    /// Plans the answer to a job, which has run already, for when a worker would have been done with it.
    pub(super) fn work(&mut self, driver: u32, id: JobId, answer: Answer) {
        let takes = self.draw(self.job_time);
        let process = &mut self.processes[driver as usize];
        let most = process.most_workers;
        let idle = process.workers.iter().position(|free| *free <= self.now);
        let place = idle.unwrap_or_else(|| {
            if process.workers.len() < most {
                process.workers.push(self.now);
                return process.workers.len() - 1;
            }
            let soonest = process.workers.iter().enumerate().min_by_key(|(_, free)| **free);
            soonest.map_or(0, |(place, _)| place)
        });
        let starts = process.workers[place].max(self.now);
        let ends = starts + takes;
        process.workers[place] = ends;
        self.plan(JobState { driver, id, starts, ends, works: true, answer });
    }

    /// Worker threads and waiting jobs.
    pub(super) fn workers(&self, driver: u32) -> (usize, usize) {
        let own = self.jobs.iter().filter(|(_, job)| job.driver == driver && job.works);
        let waiting = own.filter(|(_, job)| job.starts > self.now).count();
        (self.processes[driver as usize].workers.len(), waiting)
    }

    /// Ends the workers: jobs not yet begun are dropped, the others are waited for, which takes no time here.
    pub(super) fn stop_workers(&mut self, driver: u32) -> Vec<Answer> {
        let own = self.jobs.iter().filter(|(_, job)| job.driver == driver && job.works);
        let mut own: Vec<(Time, JobId, Handle)> =
            own.map(|(key, job)| (job.ends, job.id, key)).collect();
        own.sort_unstable();
        let mut dropped = Vec::new();
        for (_, _, key) in own {
            if self.jobs.get(key).is_some_and(|job| job.starts > self.now) {
                dropped.extend(self.jobs.remove(key).map(|job| job.answer));
            } else {
                self.answer_arrives(key);
            }
        }
        self.processes[driver as usize].workers.clear();
        dropped
    }

    pub(super) fn answer_arrives(&mut self, key: Handle) {
        let Some(job) = self.jobs.remove(key) else { return };
        let process = &mut self.processes[job.driver as usize];
        process.answers.push((job.id, job.answer));
        self.report(job.driver, Ready::Answer(job.id));
    }

    /// Raises a signal in every process of a host that watches it; answers how many do.
    pub(super) fn signal(&mut self, host: u32, number: i32) -> usize {
        let mut heard = 0;
        for driver in 0..self.processes.len() {
            let process = &self.processes[driver];
            if process.host == host && process.alive && process.signals.contains(&number) {
                heard += 1;
                if !process.ready.contains(&Ready::Signal(number)) {
                    self.report(driver as u32, Ready::Signal(number));
                }
            }
        }
        heard
    }

    fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, OsError> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if let Some(found) = self.names.get(&name) {
            return found.clone();
        }
        if name == "localhost" {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        Err(OsError::new(ErrorKind::NotFound))
    }

    fn plan(&mut self, job: JobState) {
        let ends = job.ends;
        let key = self.jobs.insert(job);
        self.queue.push(ends, Event::Answer(key));
    }
}
