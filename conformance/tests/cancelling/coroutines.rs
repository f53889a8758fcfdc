//! Client and server as async functions. Each question is a task with the stream on loan: cancelled, the task drops its future in the middle of a
//! read or a write, and the next takes the stream up from there.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::rc::Rc;

use marline_core::failure::Failure;
use marline_core::stream::{self, ByteStream};
use marline_core::{ConnectCause, ListenError, Port, Reactor};

use super::stage::{HEAD, LONGEST, QUESTIONS, Stage, number_of, text_of};

// ---- the server

pub(super) fn serve(reactor: &Reactor, stage: &Rc<Stage>) -> Result<Port, ListenError> {
    let stage = Rc::clone(stage);
    let session = move |stream| think(Rc::clone(&stage), stream);
    reactor.listen_tcp("10.0.0.2:80", stream::serve(session))
}

async fn think(stage: Rc<Stage>, mut stream: ByteStream) -> io::Result<()> {
    match stream.reader().fill().await {
        // Whoever gave up connecting.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(()),
        filled => filled?,
    };
    loop {
        let mut line = Vec::new();
        if stream.read_until(b'\n', &mut line, LONGEST).await? == 0 {
            return stream.shutdown().await;
        }
        let line = text_of(&line);
        let number = number_of(&line);
        stage.heard(line);
        let Some(reactor) = Reactor::current() else { unreachable!("inside a task") };
        let thinking = reactor.defer_later(stage.thinking(number), |reactor| reactor.yield_now());
        stage.answers(number, thinking.cancel_handle());
        let answer = stage.answer(number, &thinking.await);
        stream.write_all(answer.as_bytes()).await?;
        stage.told(answer);
    }
}

// ---- the client

pub(super) fn ask(reactor: &Reactor, stage: &Rc<Stage>) {
    reactor.spawn(ask_all(reactor.clone(), Rc::clone(stage))).done(|result| match result {
        Ok(Ok(())) => {}
        Ok(Err(failure)) | Err(failure) => panic!("{failure}"),
    });
}

async fn ask_all(reactor: Reactor, stage: Rc<Stage>) -> Result<(), Failure> {
    let stream = loop {
        let connecting = reactor.connect_stream("10.0.0.2:80");
        stage.connects(connecting.cancel_handle());
        match connecting.await {
            Ok(stream) => break stream,
            Err(error) => assert_eq!(error.cause, ConnectCause::Cancelled),
        }
    };
    stage.connected();
    let asker = Asker {
        stream,
        stage: Rc::clone(&stage),
        unsent: Vec::new(),
        waiting: VecDeque::new(),
        head: None,
    };
    let home = Rc::new(Cell::new(Some(asker)));
    for number in 0..QUESTIONS {
        let loan = Loan::take(&home);
        let task = reactor.spawn(async move {
            let mut loan = loan;
            loan.asker().ask(number).await
        });
        stage.asks(number, task.cancel_handle());
        let result = task.and_then(|answer| Ok::<_, Failure>(answer?)).await;
        stage.ended(number, result);
    }
    // Answers to what was cancelled still come.
    let mut loan = Loan::take(&home);
    loan.asker().end().await?;
    Ok(())
}

/// An asker that goes home when whoever has it is dropped.
struct Loan {
    asker: Option<Asker>,
    home: Rc<Cell<Option<Asker>>>,
}

impl Loan {
    fn take(home: &Rc<Cell<Option<Asker>>>) -> Self {
        Self { asker: home.take(), home: Rc::clone(home) }
    }

    fn asker(&mut self) -> &mut Asker {
        self.asker.as_mut().expect("the task before has given it back")
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.home.set(self.asker.take());
    }
}

/// A stream, and what must be known of it to go on after any of its futures was dropped.
struct Asker {
    stream: ByteStream,
    stage: Rc<Stage>,
    /// The rest of a question that is under way.
    unsent: Vec<u8>,
    /// Questions that the next answers are for, in their order.
    waiting: VecDeque<u32>,
    /// The beginning of an answer whose rest is still to come.
    head: Option<[u8; HEAD]>,
}

impl Asker {
    async fn ask(&mut self, number: u32) -> io::Result<String> {
        self.send().await?;
        let question = self.stage.question(number);
        if number % 4 != 1 {
            // All of it or nothing.
            self.stage.doing.set("writing the whole");
            self.stream.write_owned(question.clone().into_bytes()).await?;
        } else {
            self.unsent = question.clone().into_bytes();
        }
        self.waiting.push_back(number);
        self.stage.asked(question);
        self.send().await?;
        loop {
            let answer = self.hear().await?;
            if number_of(&answer) == number {
                return Ok(answer);
            }
        }
    }

    /// Writes what is left of a question, piece by piece.
    async fn send(&mut self) -> io::Result<()> {
        self.stage.doing.set("writing a part");
        while !self.unsent.is_empty() {
            let len = self.stream.write(&self.unsent).await?;
            self.unsent.drain(..len);
        }
        Ok(())
    }

    /// Reads one answer: the head first, then the rest.
    async fn hear(&mut self) -> io::Result<String> {
        let head = match self.head {
            Some(head) => head,
            None => {
                self.stage.doing.set("head");
                let mut head = [0; HEAD];
                self.stream.read_exact(&mut head).await?;
                *self.head.insert(head)
            }
        };
        self.stage.doing.set("rest");
        let mut line = head.to_vec();
        self.stream.read_until(b'\n', &mut line, LONGEST).await?;
        self.head = None;
        let line = text_of(&line);
        assert_eq!(self.waiting.pop_front(), Some(number_of(&line)));
        self.stage.got(line.clone());
        Ok(line)
    }

    /// Sends and hears what is left, and sees that it is all.
    async fn end(&mut self) -> io::Result<()> {
        self.send().await?;
        self.stream.shutdown().await?;
        while !self.waiting.is_empty() {
            self.hear().await?;
        }
        assert_eq!(self.stream.read(&mut [0]).await?, 0, "more than was said");
        Ok(())
    }
}
