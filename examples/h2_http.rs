//! The crate h2, HTTP/2 alone, on the reactor by tokio's traits and without its runtime: `h2_http serve 127.0.0.1:8000`,
//! `h2_http get 127.0.0.1:8000 /path`, and `h2_http sim 7`, which runs both in a simulated network and prints the hash of all that happened there.

mod http_modes;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, client, server};
use http::{Request, Response};
use marline::stream::{ByteStream, serve};
use marline::task::Exit;
use marline::{ListenError, Port, Reactor};
use marline_examples::Args;

use http_modes::{Failed, Questions};

/// Reads a body, and lets the peer send on as it goes.
async fn length(mut body: RecvStream) -> Result<usize, h2::Error> {
    let mut len = 0;
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        len += chunk.len();
        body.flow_control().release_capacity(chunk.len())?;
    }
    Ok(len)
}

/// Says what was asked for, and how long the body was.
async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Result<(), Failed> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let len = length(request.into_body()).await?;
    let mut body = respond.send_response(Response::new(()), false)?;
    body.send_data(Bytes::from(format!("{method} {path}, {len} bytes\n")), true)?;
    Ok(())
}

fn listen(reactor: &Reactor, addr: &str) -> Result<Port, ListenError> {
    let session = |stream: ByteStream| async move {
        let reactor = stream.transport().reactor();
        let mut connection = match server::handshake(stream).await {
            Ok(connection) => connection,
            Err(error) => return eprintln!("no HTTP/2: {error}"),
        };
        // Every request is a task of its own, and this one moves the bytes of all.
        while let (Some(request), Some(reactor)) = (connection.accept().await, &reactor) {
            match request {
                Ok((request, respond)) => reactor.spawn(answer(request, respond)).ignore(),
                Err(error) => return eprintln!("a connection ended early: {error}"),
            }
        }
    };
    reactor.listen_tcp(addr, serve(session))
}

/// One connection, on which all requests are under way at once; a body of no length is a GET.
async fn ask(reactor: Reactor, questions: Questions) -> Result<String, Failed> {
    let Questions { to, path, bodies } = questions;
    let stream = reactor.connect_stream(&*to).await?;
    let (sender, connection) = client::handshake(stream).await?;
    let carrying = reactor.spawn(connection);
    let mut sender = sender.ready().await?;
    let mut responses = Vec::new();
    for len in bodies {
        let request = match len {
            0 => Request::get(format!("http://{to}{path}")),
            _ => Request::post(format!("http://{to}{path}")),
        };
        let (response, mut body) = sender.send_request(request.body(())?, len == 0)?;
        if len > 0 {
            body.send_data(Bytes::from(vec![b'x'; len]), true)?;
        }
        responses.push(response);
        sender = sender.ready().await?;
    }
    let mut answers = String::new();
    for response in responses {
        let response = response.await?;
        let (status, mut body) = (response.status(), response.into_body());
        let mut text = Vec::new();
        while let Some(chunk) = body.data().await {
            text.extend_from_slice(&chunk?);
        }
        answers += &format!("{status}: {}", String::from_utf8_lossy(&text));
    }
    drop(sender);
    carrying.await??;
    Ok(answers)
}

fn main() -> Exit {
    let args = Args::new("h2_http serve ADDRESS | get ADDRESS PATH | sim SEED");
    http_modes::main(args, listen, ask)
}
