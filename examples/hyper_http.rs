//! Hyper, the HTTP/1 library, on the reactor: `hyper_http serve 127.0.0.1:8000`, `hyper_http get 127.0.0.1:8000 /path`, and
//! `hyper_http sim 7`, which runs both in a simulated network and prints the hash of all that happened there.

mod http_modes;

use std::convert::Infallible;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, client, server};
use marline::stream::{ByteStream, ReactorTimer, serve};
use marline::task::Exit;
use marline::{ListenError, Port, Reactor};
use marline_examples::Args;

use http_modes::{Failed, Questions};

/// No request may have a longer body.
const MOST: usize = 1 << 20;

/// Says what was asked for, and how long the body was.
async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let (status, text) = match Limited::new(request.into_body(), MOST).collect().await {
        Ok(body) => {
            let len = body.to_bytes().len();
            (StatusCode::OK, format!("{method} {path}, {len} bytes\n"))
        }
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    Ok(response)
}

fn listen(reactor: &Reactor, addr: &str) -> Result<Port, ListenError> {
    let mut http = server::conn::http1::Builder::new();
    http.timer(ReactorTimer::new(reactor)).header_read_timeout(Duration::from_secs(10));
    // Hyper would ask the system's clock, whatever the time is here.
    http.auto_date_header(false);
    let session = move |stream: ByteStream| {
        let serving = http.serve_connection(stream, service_fn(answer));
        async move {
            // A peer that breaks off, or does not speak HTTP, is nobody's fault here.
            if let Err(error) = serving.await {
                eprintln!("a connection ended early: {error}");
            }
        }
    };
    reactor.listen_tcp(addr, serve(session))
}

/// One connection, on which bodies are posted one after the other; a body of no length is a GET.
async fn ask(reactor: Reactor, questions: Questions) -> Result<String, Failed> {
    let Questions { to, path, bodies } = questions;
    let stream = reactor.connect_stream(&*to).await?;
    let (mut sender, connection) = client::conn::http1::handshake(stream).await?;
    let carrying = reactor.spawn(connection);
    let mut answers = String::new();
    for len in bodies {
        let request = match len {
            0 => Request::get(&path),
            _ => Request::post(&path),
        };
        let request = request.header("host", &to).body(Full::new(Bytes::from(vec![b'x'; len])))?;
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        answers += &format!("{status}: {}", String::from_utf8_lossy(&body));
    }
    drop(sender);
    carrying.await??;
    Ok(answers)
}

fn main() -> Exit {
    let args = Args::new("hyper_http serve ADDRESS | get ADDRESS PATH | sim SEED");
    http_modes::main(args, listen, ask)
}
