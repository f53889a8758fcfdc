//! Processor time to send a file over loopback: `marline-file [--has] read|sendfile|write|owned|send_file`. The first two are bare loops of system calls on a
//! blocking socket, the others the engine; only the sending thread is counted. `--has` only tells whether the engine was built in.

#![forbid(unsafe_code)]

use std::process::ExitCode;

mod bare;
#[cfg(feature = "drivers")]
mod engine;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1).peekable();
    let ask = words.next_if(|word| word == "--has").is_some();
    let how = words.next().unwrap_or_default();
    let done = match how.as_str() {
        _ if ask && cfg!(feature = "drivers") => Ok(()),
        "read" | "sendfile" if !ask => bare::run(how == "sendfile"),
        #[cfg(feature = "drivers")]
        "write" => engine::run(engine::How::Write),
        #[cfg(feature = "drivers")]
        "owned" => engine::run(engine::How::Owned),
        #[cfg(feature = "drivers")]
        "send_file" => engine::run(engine::How::SendFile),
        #[cfg(not(feature = "drivers"))]
        "write" | "owned" | "send_file" => {
            eprintln!("not built in (feature of marline-bench: drivers)");
            return ExitCode::from(3);
        }
        _ => {
            eprintln!("usage: marline-file [--has] read|sendfile|write|owned|send_file");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("marline-file: {why}");
            ExitCode::FAILURE
        }
    }
}
