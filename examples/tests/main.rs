//! Runs every example against itself: the programs as built, real sockets on loopback, ports chosen by the system.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

/// How long a test waits for a peer before it says so. Nothing depends on how fast anything is.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// The program of an example; cargo builds them beside the tests.
fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(|deps| deps.parent()).unwrap();
    folder.join("examples").join(name)
}

/// A server that runs as a process of its own and is ended with the test.
struct Server {
    child: Child,
    addr: String,
}

impl Server {
    /// Starts an example, which says in its first line where it listens.
    fn start(name: &str, args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut child = Command::new(program(name))
            .args(args)
            .envs(env.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let addr = line
            .split([' ', ';', '\n'])
            .find(|word| word.contains(':'))
            .unwrap_or_else(|| panic!("{name} said {line:?}"));
        Self { addr: addr.to_owned(), child }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(stream: &TcpStream) -> impl Iterator<Item = String> + use<> {
    BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap)
}

fn run(name: &str, args: &[&str]) -> Output {
    let output = Command::new(program(name)).args(args).output().unwrap();
    assert!(output.status.success(), "{name}: {output:?}");
    output
}

#[test]
fn every_program_tells_how_it_is_called_and_starts_on_nothing_else() {
    let wrong: [(&str, &[&str]); 23] = [
        ("echo", &["127.0.0.1:0", "x"]),
        ("chat", &["127.0.0.1:0", "x"]),
        ("timeout", &["127.0.0.1:0", "-1"]),
        ("guarded_echo", &["127.0.0.1:0", "x"]),
        ("throttled_download", &["127.0.0.1:0", "0"]),
        ("throttled_download", &["127.0.0.1:0", "99999999999999999"]),
        ("proxy", &["127.0.0.1:0"]),
        ("udp_time", &["ask", "x"]),
        ("discovery", &["serve", "x", "y"]),
        ("react", &[]),
        ("react", &["127.0.0.1:37", "soon"]),
        ("react", &["127.0.0.1:37", "-1"]),
        ("guess_callbacks", &["-1"]),
        ("guess_async", &["1", "2"]),
        ("fetch_many", &["1", "10"]),
        ("fetch_many", &["0", "10", "127.0.0.1:17"]),
        ("hyper_http", &["get", "127.0.0.1:80"]),
        ("h2_http", &["fetch", "127.0.0.1:80", "/"]),
        ("h2_http", &["sim", "x"]),
        ("pass_descriptor", &["worker"]),
        ("pass_descriptor", &["x", "/nowhere"]),
        ("chat_sim", &["x"]),
        ("sim_trace", &["-1"]),
    ];
    for (name, args) in wrong {
        let output = Command::new(program(name)).args(args).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let usage = format!("\nusage: {name} ");
        assert!(output.status.code() == Some(2) && said.contains(&usage), "{name}: {said}");
        let help = String::from_utf8(run(name, &["--help"]).stdout).unwrap();
        assert!(help.starts_with(usage.trim_start()), "{name}: {help}");
    }
}

#[test]
fn echo_gives_back_what_it_gets() {
    let server = Server::start("echo", &["127.0.0.1:0"], &[]);
    let mut stream = server.connect();
    stream.write_all(b"hello").unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"hello");
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(stream.read(&mut back).unwrap(), 0);
}

#[test]
fn echo_ends_after_the_echoes_it_was_told() {
    let mut server = Server::start("echo", &["127.0.0.1:0"], &[("BENCH_EXIT_AFTER", "2")]);
    let mut stream = server.connect();
    for _ in 0..2 {
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
    }
    assert!(server.child.wait().unwrap().success());
}

#[test]
fn a_driver_that_is_not_there_is_an_error_and_no_fallback() {
    let output = Command::new(program("echo"))
        .arg("127.0.0.1:0")
        .env("MARLINE_DRIVER", "carrier-pigeon")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("carrier-pigeon") && said.contains("epoll"), "{said}");
}

#[test]
fn chat_tells_everybody_else() {
    let server = Server::start("chat", &["127.0.0.1:0"], &[]);
    let (mut ann, mut bob) = (server.connect(), server.connect());
    let (mut to_ann, mut to_bob) = (lines(&ann), lines(&bob));
    assert_eq!(to_ann.next().unwrap(), "Your name?");
    ann.write_all(b"ann\r\n").unwrap();
    assert_eq!(to_ann.next().unwrap(), "Welcome, ann");
    assert_eq!(to_bob.next().unwrap(), "Your name?");
    bob.write_all(b"ann\r\n").unwrap();
    assert_eq!(to_bob.next().unwrap(), "Taken. Another?");
    // As nc ends a line.
    bob.write_all(b"bob\n").unwrap();
    assert_eq!(to_ann.next().unwrap(), "bob has come");
    assert_eq!(to_bob.next().unwrap(), "Welcome, bob");
    ann.write_all(b"hello\r\n").unwrap();
    assert_eq!(to_bob.next().unwrap(), "ann: hello");
    ann.write_all(b"\x1b[2Ka\rann: b\r\n").unwrap();
    assert_eq!(to_bob.next().unwrap(), "ann: ?[2Ka?ann: b");
    drop((ann, to_ann));
    assert_eq!(to_bob.next().unwrap(), "ann has gone");
}

#[test]
fn timeout_answers_and_loses_patience() {
    let server = Server::start("timeout", &["127.0.0.1:0", "0.2"], &[]);
    let stream = server.connect();
    let mut said = lines(&stream);
    assert_eq!(said.next().unwrap(), "220 say HELLO");
    assert_eq!(said.next().unwrap(), "421 too slow");
    assert!(said.next().is_none());

    let patient = Server::start("timeout", &["127.0.0.1:0", "3600"], &[]);
    let mut stream = patient.connect();
    let mut said = lines(&stream);
    stream.write_all(b"HELLO world\r\nNO\r\nQUIT\r\n").unwrap();
    let all: Vec<_> = std::iter::from_fn(|| said.next()).collect();
    assert_eq!(all, ["220 say HELLO", "250 hello, world", "500 what?", "221 bye"]);

    let mut stream = patient.connect();
    stream.write_all(&[b'x'; 200]).unwrap();
    let all: Vec<_> = lines(&stream).collect();
    assert!(all[1].starts_with("500 "), "{all:?}");
}

#[test]
fn guarded_echo_echoes_and_refuses_the_eleventh_of_a_peer() {
    let server = Server::start("guarded_echo", &["127.0.0.1:0"], &[]);
    let mut streams: Vec<_> = (0..10).map(|_| server.connect()).collect();
    for stream in &mut streams {
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
    }
    let mut eleventh = server.connect();
    // Closed at once; if a byte was under way, the system resets instead.
    assert_eq!(eleventh.read(&mut [0]).unwrap_or(0), 0);
    let mut unguarded = Command::new(program("guarded_echo"));
    let refused = unguarded.arg("127.0.0.1:0").env("POLICIES", "idle,limit").output().unwrap();
    assert!(!refused.status.success() && refused.stdout.is_empty(), "a word it does not know");
}

#[test]
fn throttled_download_delivers_all_of_it_no_faster_than_it_may() {
    let server = Server::start("throttled_download", &["127.0.0.1:0", "2000"], &[]);
    let begin = std::time::Instant::now();
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let mut stream = server.connect();
            std::thread::spawn(move || {
                let mut all = Vec::new();
                stream.read_to_end(&mut all).unwrap();
                all.len()
            })
        })
        .collect();
    let sizes: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    assert_eq!(sizes, [1_000_000; 4]);
    // Four megabytes at four a second together, but for the burst of two.
    let took = begin.elapsed();
    assert!(took.as_secs_f64() >= 0.49, "{took:?}");
}

#[test]
fn proxy_carries_both_directions_and_their_ends() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = upstream.local_addr().unwrap().to_string();
    let server = Server::start("proxy", &["127.0.0.1:0", &to], &[]);
    let sent: Vec<u8> = (0..5_000_000u32).map(|n| (n / 7) as u8).collect();
    let expected = sent.clone();
    let mirror = std::thread::spawn(move || {
        let (mut stream, _) = upstream.accept().unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        stream.write_all(&got).unwrap();
    });
    let mut stream = server.connect();
    stream.write_all(&sent).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut got = Vec::new();
    stream.read_to_end(&mut got).unwrap();
    assert!(got == expected, "{} bytes came back of {}", got.len(), expected.len());
    mirror.join().unwrap();
}

#[test]
fn pass_descriptor_serves_one_port_from_workers_that_come_and_go() {
    let folder = std::env::temp_dir().join(format!("marline-examples-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("front.socket");
    let path = path.to_str().unwrap();
    let front = Server::start("pass_descriptor", &["front", "127.0.0.1:0", path], &[]);
    let greeted = || {
        let mut greeting = String::new();
        front.connect().read_to_string(&mut greeting).unwrap();
        greeting
    };
    let one = Server::start("pass_descriptor", &["worker", path], &[]);
    assert_eq!(one.addr, front.addr);
    assert_eq!(greeted(), format!("hello from {}\r\n", one.child.id()));
    let two = Server::start("pass_descriptor", &["worker", path], &[]);
    drop(one);
    for _ in 0..3 {
        assert_eq!(greeted(), format!("hello from {}\r\n", two.child.id()));
    }
    drop((two, front));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn chat_sim_is_the_same_run_for_the_same_seed() {
    let (one, two) = (run("chat_sim", &["7"]), run("chat_sim", &["7"]));
    let said = String::from_utf8(one.stdout).unwrap();
    assert!(said.contains("in the room: 100 of 100"), "{said}");
    assert!(said.contains("then 0 while it was cut off"), "{said}");
    assert_eq!(said.into_bytes(), two.stdout);
}

#[test]
fn sim_trace_depends_on_the_seed_alone() {
    assert_eq!(run("sim_trace", &["1"]).stdout, run("sim_trace", &["1"]).stdout);
    assert_ne!(run("sim_trace", &["1"]).stdout, run("sim_trace", &["2"]).stdout);
}

#[test]
fn udp_time_tells_the_time_and_asks_again_until_somebody_answers() {
    let server = Server::start("udp_time", &["serve", "127.0.0.1:0"], &[]);
    let output = run("udp_time", &["ask", &server.addr]);
    let text = String::from_utf8(output.stdout).unwrap();
    let seconds: u64 = text.split(' ').next().unwrap().parse().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let theirs = seconds.wrapping_sub(2_208_988_800);
    assert!(now.abs_diff(theirs) < 60, "{text}");
    let addr = server.addr.clone();
    drop(server);
    let output = Command::new(program("udp_time")).args(["ask", &addr]).output().unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.matches("nobody there yet").count(), 3, "{text}");
    assert!(text.ends_with("no answer\n"), "{text}");
}

#[test]
fn discovery_finds_every_service_in_the_group() {
    let first = Server::start("discovery", &["serve", "printer", "0", "127.0.0.1"], &[]);
    let port = first.addr.rsplit(':').next().unwrap().to_owned();
    let _second = Server::start("discovery", &["serve", "scanner", &port, "127.0.0.1"], &[]);
    let output = run("discovery", &["ask", &port, "127.0.0.1"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let mut found: Vec<_> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    found.sort_unstable();
    assert_eq!(found, ["printer", "scanner"], "{text}");
}

#[test]
fn react_ends_with_its_task_and_with_the_exit_status_that_fits() {
    let react = |args: &[&str]| Command::new(program("react")).args(args).output().unwrap();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = server.local_addr().unwrap().to_string();
    let answers = std::thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        stream.write_all(&2_208_988_807_u32.to_be_bytes()).unwrap();
        // Held open until the client has closed.
        let _ = stream.read(&mut [0]);
        server
    });
    let output = react(&[&addr, "60"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8(output.stdout).unwrap().ends_with(" seconds since 1970\n"));

    // The system takes the connection, and nobody answers.
    let silent = answers.join().unwrap();
    let output = react(&[&addr, "0.1"]);
    assert_eq!(output.status.code(), Some(75), "{output:?}");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "no answer within 100ms\n");

    drop(silent);
    let output = react(&[&addr]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, format!("cannot connect to {addr}: connection refused\n"));
    let output = Command::new(program("react"))
        .args([&addr, "60"])
        .env("MARLINE_DRIVER", "carrier-pigeon")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("carrier-pigeon"));
}

#[test]
fn react_is_ended_by_a_signal_without_error() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = silent.local_addr().unwrap().to_string();
    let mut child = Command::new(program("react")).args([&addr, "3600"]).spawn().unwrap();
    // It runs, and listens for signals, once it has connected.
    let (mut stream, _) = silent.accept().unwrap();
    let killed = Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
}

#[test]
fn guess_is_the_same_game_by_callbacks_and_by_async_code() {
    for number in ["1", "271828", "499999", "1000000"] {
        let said = stdout_of("guess_callbacks", &[number]);
        assert!(said.starts_with("found in ") && said.ends_with(" guesses\n"), "{said}");
        assert_eq!(said, stdout_of("guess_async", &[number]));
    }
    assert_eq!(stdout_of("guess_async", &["500000"]), "found in 1 guesses\n");
    // A number that nobody looks for: their answers do not fit.
    for name in ["guess_callbacks", "guess_async"] {
        let output = Command::new(program(name)).arg("1000001").output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{name}: {output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said, "they said \"higher\" of 1000000\n", "{name}");
    }
}

#[test]
fn fetch_many_shows_what_each_server_says_and_what_went_wrong_with_the_others() {
    let fetch = |args: &[&str]| Command::new(program("fetch_many")).args(args).output().unwrap();
    let (speaks, silent) = (TcpListener::bind("127.0.0.1:0"), TcpListener::bind("127.0.0.1:0"));
    let (speaks, silent) = (speaks.unwrap(), silent.unwrap());
    let refuses = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let at = speaks.local_addr().unwrap().to_string();
    let never = silent.local_addr().unwrap().to_string();
    let speaking = std::thread::spawn(move || {
        for _ in 0..2 {
            speaks.accept().unwrap().0.write_all(b"be kind\x1b[2J\r\n").unwrap();
        }
    });
    let shown = format!("{at}: be kind[2J\n");
    let output = fetch(&["5", "60", &at]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), shown);

    let output = fetch(&["5", "60", &refuses, &at]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), shown);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, format!("{refuses}: cannot connect to {refuses}: connection refused\n"));
    speaking.join().unwrap();

    let output = fetch(&["5", "0.2", &never]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, format!("{never}: timed out\n"));
    // It had a connection, and has it no more.
    let (mut given_up, _) = silent.accept().unwrap();
    assert_eq!(given_up.read(&mut [0]).unwrap_or(0), 0);
}

#[test]
fn fetch_many_asks_no_more_at_once_than_it_was_told() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = server.local_addr().unwrap().to_string();
    let counting = std::thread::spawn(move || {
        let mut open: Vec<TcpStream> = Vec::new();
        for number in 0..8 {
            open.push(server.accept().unwrap().0);
            if number < 2 {
                continue;
            }
            // Three are asked. Nobody else comes until one of them has had its answer.
            server.set_nonblocking(true).unwrap();
            let more = server.accept();
            assert_eq!(more.unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "a fourth");
            server.set_nonblocking(false).unwrap();
            let mut first = open.remove(0);
            first.write_all(format!("{number}\n").as_bytes()).unwrap();
        }
        open
    });
    let mut child = Command::new(program("fetch_many"))
        .args(["3", "60"])
        .args([&*addr; 8])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let open = counting.join().unwrap();
    assert_eq!(open.len(), 2);
    drop(open);
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{said}");
    // As they came: each of the first was done before another was asked. The last three were open at once.
    let mut said: Vec<_> = said.lines().filter_map(|line| line.rsplit(' ').next()).collect();
    said[5..].sort_unstable();
    assert_eq!(said, ["2", "3", "4", "5", "6", "", "", "7"]);
}

/// What curl says of a URL, or `None` where it is not installed.
fn curl(args: &[&str]) -> Option<String> {
    let output = match Command::new("curl")
        .args(["--silent", "--show-error", "--noproxy", "*"])
        .args(args)
        .output()
    {
        Ok(output) => output,
        Err(error) => {
            // Past the harness, which shows nothing of a test that passes.
            let _ = writeln!(std::io::stderr(), "skipped: no curl: {error}");
            return None;
        }
    };
    assert!(output.status.success(), "curl {args:?}: {output:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

fn stdout_of(name: &str, args: &[&str]) -> String {
    String::from_utf8(run(name, args).stdout).unwrap()
}

#[test]
fn hyper_serves_and_asks_on_the_reactor() {
    let server = Server::start("hyper_http", &["serve", "127.0.0.1:0"], &[]);
    let said = stdout_of("hyper_http", &["get", &server.addr, "/a/b"]);
    assert_eq!(said, "200 OK: GET /a/b, 0 bytes\n");

    // Two requests in one piece, the second cut in the middle of its body.
    let mut stream = server.connect();
    let head = "POST /one HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
    let next = "POST /two HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 6\r\n\r\nhel";
    stream.write_all(format!("{head}{next}").as_bytes()).unwrap();
    stream.write_all(b"lo!").unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert_eq!(said.matches("HTTP/1.1 200 OK\r\n").count(), 2, "{said}");
    assert!(
        said.contains("POST /one, 5 bytes\n") && said.ends_with("POST /two, 6 bytes\n"),
        "{said}"
    );

    // No HTTP at all: an answer that says so, and the next is served.
    let mut stream = server.connect();
    stream.write_all(b"carrier pigeons?\r\n\r\n").unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 400 "), "{said}");

    let url = format!("http://{}/curl", server.addr);
    if let Some(said) = curl(&["--http1.1", &url, &url]) {
        assert_eq!(said, "GET /curl, 0 bytes\n".repeat(2));
        let body = "x".repeat(100_000);
        let said = curl(&["--http1.1", "--data-binary", &body, &url]).unwrap();
        assert_eq!(said, "POST /curl, 100000 bytes\n");
    }
}

#[test]
fn h2_serves_and_asks_on_the_reactor() {
    let server = Server::start("h2_http", &["serve", "127.0.0.1:0"], &[]);
    let said = stdout_of("h2_http", &["get", &server.addr, "/a/b"]);
    assert_eq!(said, "200 OK: GET /a/b, 0 bytes\n");

    // What does not speak HTTP/2 is turned away, and the next is served.
    let mut stream = server.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut said = Vec::new();
    // A goodbye in frames, or none.
    let _ = stream.read_to_end(&mut said);
    assert!(!said.starts_with(b"HTTP/1"), "{said:?}");

    let url = format!("http://{}/curl", server.addr);
    if let Some(said) = curl(&["--http2-prior-knowledge", &url]) {
        assert_eq!(said, "GET /curl, 0 bytes\n");
        let body = "x".repeat(100_000);
        let said = curl(&["--http2-prior-knowledge", "--data-binary", &body, &url]).unwrap();
        assert_eq!(said, "POST /curl, 100000 bytes\n");
    }
}

#[test]
fn http_in_a_simulated_network_is_the_same_run_for_the_same_seed() {
    for name in ["hyper_http", "h2_http"] {
        let said = stdout_of(name, &["sim", "7"]);
        for number in 1..=5 {
            let get = format!("200 OK: GET /{number}, 0 bytes\n");
            assert_eq!(said.matches(&get).count(), 2, "{name}: {said}");
            for len in [10, 300_000] {
                let post = format!("200 OK: POST /{number}, {len} bytes\n");
                assert_eq!(said.matches(&post).count(), 1, "{name}: {said}");
            }
        }
        assert!(said.contains("0 connections are left, trace hash "), "{name}: {said}");
        assert_eq!(said, stdout_of(name, &["sim", "7"]), "{name}");
        assert_ne!(said, stdout_of(name, &["sim", "8"]), "{name}");
    }
}
