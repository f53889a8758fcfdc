//! Client and server as protocol objects. The client has up to two questions on their way; the server reads nothing while it thinks.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use marline_core::deferred::{Deferred, Resolver};
use marline_core::{ConnectCause, Connection, Destination, ListenError, Port, Reactor, Transport};
use marline_protocols::line::{LineFormat, LineLink, LineProtocol, LineReceiver};

use super::stage::{LONGEST, QUESTIONS, Stage, number_of, text_of};

// ---- the server

pub(super) fn serve(reactor: &Reactor, stage: &Rc<Stage>) -> Result<Port, ListenError> {
    let stage = Rc::clone(stage);
    reactor.listen_tcp("10.0.0.2:80", move || LineReceiver::new(Thinker(Rc::clone(&stage))))
}

struct Thinker(Rc<Stage>);

impl LineProtocol for Thinker {
    fn format(&self) -> LineFormat {
        LineFormat::default().with_limit(LONGEST)
    }

    fn line_received(&mut self, link: &mut LineLink<'_>, line: &[u8]) {
        let line = text_of(line) + "\r\n";
        let number = number_of(&line);
        self.0.heard(line);
        let Some(reactor) = link.reactor() else { return };
        link.pause_reading();
        let thinking = reactor.sleep(self.0.thinking(number));
        self.0.answers(number, thinking.cancel_handle());
        link.then(thinking, move |me: &mut LineReceiver<Self>, thought, transport| {
            let stage = &me.get_mut().0;
            let answer = stage.answer(number, &thought);
            transport.write(answer.as_bytes());
            stage.told(answer);
            transport.resume_reading();
        });
    }

    fn read_connection_lost(&mut self, link: &mut LineLink<'_>, unended: &[u8]) {
        assert!(unended.is_empty());
        link.lose_connection();
    }
}

// ---- the client

pub(super) fn ask(reactor: &Reactor, stage: &Rc<Stage>) {
    let asker = Asker { stage: Rc::clone(stage), waiting: VecDeque::new() };
    let connecting =
        reactor.connect_tcp(Destination::from("10.0.0.2:80"), LineReceiver::new(asker));
    stage.connects(connecting.cancel_handle());
    let (reactor, stage) = (reactor.clone(), Rc::clone(stage));
    connecting.done(move |connected| match connected {
        Ok(connection) => {
            stage.connected();
            let client =
                Rc::new(Client { connection, stage, next: Cell::new(0), open: Cell::new(0) });
            client.ask_more();
        }
        Err(error) => {
            assert_eq!(error.cause, ConnectCause::Cancelled);
            ask(&reactor, &stage);
        }
    });
}

/// Whoever asks one question after the other.
struct Client {
    connection: Connection<LineReceiver<Asker>>,
    stage: Rc<Stage>,
    next: Cell<u32>,
    open: Cell<u32>,
}

impl Client {
    fn ask_more(self: &Rc<Self>) {
        while self.open.get() < 2 && self.next.get() < QUESTIONS {
            let number = self.next.replace(self.next.get() + 1);
            self.open.set(self.open.get() + 1);
            let asking = self
                .connection
                .with(move |receiver, transport| receiver.get_mut().ask(number, transport));
            let answer = asking.then(|answer| answer);
            self.stage.asks(number, answer.cancel_handle());
            let me = Rc::clone(self);
            answer.done(move |result| {
                me.stage.ended(number, result);
                me.open.set(me.open.get() - 1);
                me.ask_more();
            });
        }
        if self.open.get() == 0 && self.next.get() == QUESTIONS {
            // Answers to what was cancelled still come.
            self.connection.transport().lose_write_connection();
        }
    }
}

struct Asker {
    stage: Rc<Stage>,
    /// Those that the next answers are for, in their order.
    waiting: VecDeque<(u32, Resolver<String>)>,
}

impl Asker {
    fn ask(&mut self, number: u32, transport: &Transport) -> Deferred<String> {
        let (answer, resolver) = Deferred::new();
        self.waiting.push_back((number, resolver));
        let question = self.stage.question(number);
        transport.write(question.as_bytes());
        self.stage.asked(question);
        answer
    }
}

impl LineProtocol for Asker {
    fn format(&self) -> LineFormat {
        LineFormat::default().with_limit(LONGEST)
    }

    fn line_received(&mut self, _link: &mut LineLink<'_>, line: &[u8]) {
        let line = text_of(line) + "\r\n";
        self.stage.got(line.clone());
        let (number, resolver) = self.waiting.pop_front().expect("an answer to nothing");
        assert_eq!(number, number_of(&line));
        // One that was cancelled is told in vain.
        resolver.resolve(line);
    }

    fn read_connection_lost(&mut self, link: &mut LineLink<'_>, unended: &[u8]) {
        assert!(unended.is_empty() && self.waiting.is_empty());
        link.lose_connection();
    }
}
