//! What both sides have said and heard, what can be cancelled, and what must be true of it at the end. Knows nothing of how they are written.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::time::Duration;

use marline_core::Rng;
use marline_core::deferred::{CancelHandle, Interrupt};
use marline_core::failure::Failure;

use super::Target;

/// Questions of one exchange.
pub(super) const QUESTIONS: u32 = 7;
/// No line is longer, in bytes.
pub(super) const LONGEST: usize = 50_000;
/// Length of the number that each line begins with, and the space behind it.
pub(super) const HEAD: usize = 6;

#[derive(Debug)]
pub(super) struct Stage {
    seed: u64,
    // ---- what was written and read, line by line, with the ends of the lines
    asked: RefCell<Vec<String>>,
    heard: RefCell<Vec<String>>,
    told: RefCell<Vec<String>>,
    got: RefCell<Vec<String>>,
    /// What each question came to.
    results: RefCell<BTreeMap<u32, Result<String, Failure>>>,
    // ---- what is under way
    connecting: RefCell<Option<CancelHandle>>,
    questions: RefCell<BTreeMap<u32, CancelHandle>>,
    answering: RefCell<Option<(u32, CancelHandle)>>,
    /// What the client of one question at a time is doing.
    pub(super) doing: Cell<&'static str>,
    // ---- what was cancelled
    cancelled: RefCell<BTreeSet<u32>>,
    gone: RefCell<BTreeSet<u32>>,
    struck: RefCell<BTreeMap<&'static str, u32>>,
}

impl Stage {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            asked: RefCell::default(),
            heard: RefCell::default(),
            told: RefCell::default(),
            got: RefCell::default(),
            results: RefCell::default(),
            connecting: RefCell::default(),
            questions: RefCell::default(),
            answering: RefCell::default(),
            doing: Cell::new("waiting"),
            cancelled: RefCell::default(),
            gone: RefCell::default(),
            struck: RefCell::default(),
        }
    }

    // ---- what is said: by the seed and the number alone

    /// A question, with the end of its line.
    pub(super) fn question(&self, number: u32) -> String {
        self.line(number, 'q')
    }

    /// Its answer: what was thought, or that the thinking was cancelled.
    pub(super) fn answer(&self, number: u32, thought: &Result<(), Failure>) -> String {
        match thought {
            Ok(()) => self.line(number, 'a'),
            Err(failure) => {
                assert_eq!(failure.check(), Some(&Interrupt::Cancelled), "{failure}");
                format!("{number:05} gone\r\n")
            }
        }
    }

    fn line(&self, number: u32, kind: char) -> String {
        let mut rng = self.rng(number, kind);
        // Mostly short. In every fourth exchange every other line is more than the system's buffers take, and two are more than may wait to leave.
        let is_long = self.seed % 4 == 3 && rng.chance(0.5);
        let most =
            if is_long { LONGEST as u64 - 100 } else { [10, 100, 2000][rng.below(3) as usize] };
        let len = rng.below(most);
        let text: String = (0..len).map(|_| char::from(b'a' + rng.below(26) as u8)).collect();
        format!("{number:05} {kind}{text}\r\n")
    }

    /// How long the server thinks about a question.
    pub(super) fn thinking(&self, number: u32) -> Duration {
        let mut rng = self.rng(number, 't');
        Duration::from_micros(if rng.chance(0.2) { 0 } else { rng.below(4000) })
    }

    fn rng(&self, number: u32, kind: char) -> Rng {
        Rng::from_number(self.seed << 32 | u64::from(number) << 8 | kind as u64)
    }

    // ---- the client's side

    pub(super) fn connects(&self, handle: CancelHandle) {
        self.connecting.replace(Some(handle));
    }

    pub(super) fn connected(&self) {
        self.connecting.take();
    }

    /// A question is under way, if only in the client.
    pub(super) fn asks(&self, number: u32, handle: CancelHandle) {
        let before = self.questions.borrow_mut().insert(number, handle);
        assert!(before.is_none(), "{number} is asked twice");
    }

    /// A question was written, or will be without fail.
    pub(super) fn asked(&self, line: String) {
        self.asked.borrow_mut().push(line);
    }

    /// An answer was read.
    pub(super) fn got(&self, line: String) {
        self.got.borrow_mut().push(line);
    }

    /// A question came to its end.
    pub(super) fn ended(&self, number: u32, result: Result<String, Failure>) {
        self.questions.borrow_mut().remove(&number);
        let before = self.results.borrow_mut().insert(number, result);
        assert!(before.is_none(), "{number} ended twice");
    }

    // ---- the server's side

    pub(super) fn heard(&self, line: String) {
        self.heard.borrow_mut().push(line);
    }

    pub(super) fn answers(&self, number: u32, handle: CancelHandle) {
        self.answering.replace(Some((number, handle)));
    }

    pub(super) fn told(&self, line: String) {
        self.answering.take();
        self.told.borrow_mut().push(line);
    }

    // ---- cancels

    pub(super) fn strike(&self, target: Target) {
        use Target::{Everything, Handler, Last, Question};

        let connecting = self.connecting.borrow().clone();
        if let Some(handle) = connecting.filter(|_| target != Handler) {
            self.count("connecting");
            handle.cancel();
        }
        let mut questions: Vec<_> = self.questions.borrow().clone().into_iter().collect();
        match target {
            Question => questions.truncate(1),
            Last => _ = questions.drain(..questions.len().saturating_sub(1)),
            Handler => questions.clear(),
            Everything => {}
        }
        for (number, handle) in questions {
            self.count(self.doing.get());
            self.cancelled.borrow_mut().insert(number);
            handle.cancel();
        }
        let answering = self.answering.borrow().clone();
        if let Some((number, handle)) = answering.filter(|_| matches!(target, Handler | Everything))
        {
            self.count("answering");
            self.gone.borrow_mut().insert(number);
            handle.cancel();
        }
    }

    fn count(&self, what: &'static str) {
        *self.struck.borrow_mut().entry(what).or_default() += 1;
    }

    pub(super) fn struck(&self) -> BTreeMap<&'static str, u32> {
        mem::take(&mut self.struck.borrow_mut())
    }

    // ---- the end

    /// What was said on one side was heard on the other, once and in order, and every question has the result that it must have.
    #[track_caller]
    pub(super) fn check(&self) {
        let (asked, told) = (self.asked.borrow(), self.told.borrow());
        same("asked", &asked, &self.heard.borrow());
        same("told", &told, &self.got.borrow());
        assert_eq!(asked.len(), told.len(), "every question that was asked was answered");
        for (question, answer) in asked.iter().zip(told.iter()) {
            let number = number_of(question);
            let gone = self.gone.borrow().contains(&number);
            assert_eq!(*question, self.question(number));
            assert!(
                *answer == self.answer(number, &Ok(()))
                    || (gone && *answer == format!("{number:05} gone\r\n")),
                "{answer:.40} to {question:.40}"
            );
        }
        let results = self.results.borrow();
        assert!(results.keys().copied().eq(0..QUESTIONS), "{:?}", results.keys());
        for (number, result) in results.iter() {
            let told = told.iter().find(|answer| number_of(answer) == *number);
            match result {
                Ok(answer) => assert_eq!(Some(answer), told, "the answer to {number}"),
                Err(failure) => {
                    assert_eq!(failure.check(), Some(&Interrupt::Cancelled), "{failure}");
                    assert!(self.cancelled.borrow().contains(number), "{number}: by whom?");
                }
            }
        }
        let left = (self.questions.borrow().len(), self.answering.borrow().is_some());
        assert_eq!(left, (0, false));
    }
}

/// The number that a line begins with.
pub(super) fn number_of(line: &str) -> u32 {
    line[..HEAD - 1].parse().unwrap_or_else(|error| panic!("{line:.40}: {error}"))
}

/// The line of these bytes, with its end.
pub(super) fn text_of(line: &[u8]) -> String {
    str::from_utf8(line).unwrap().to_owned()
}

#[track_caller]
fn same(what: &str, said: &[String], heard: &[String]) {
    let differs = said.iter().zip(heard).position(|(said, heard)| said != heard);
    if let Some(at) = differs {
        panic!("line {at} that was {what}: {:.40} became {:.40}", said[at], heard[at]);
    }
    assert_eq!(said.len(), heard.len(), "lines that were {what}, and came");
}
