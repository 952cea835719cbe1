//! Logs: lines on standard error, for the person who runs the server.

use std::io::Write;

use serde::Serialize;

use crate::clock;
use crate::config::LogConfig;

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    level: &'a str,
    target: &'a str,
    message: String,
}

/// Logs what `config` asks for from now on; panics too, with their place.
pub(super) fn start(config: LogConfig) {
    let mut builder = env_logger::Builder::new();
    // The engines tell of their inner life at these levels, which is for their makers. The only error
    // that tiny_http's has to tell is that nobody can connect to it any more, as it should be.
    builder
        .filter_level(config.level)
        .filter_module("sled", config.level.min(log::LevelFilter::Warn))
        .filter_module("tiny_http", log::LevelFilter::Off);
    builder.format(move |out, record| {
        let line = Line {
            time: clock::now().to_string(),
            level: record.level().as_str(),
            target: record.target(),
            message: record.args().to_string(),
        };
        if config.json {
            serde_json::to_writer(&mut *out, &line)?;
            writeln!(out)
        } else {
            let message = line.message.replace('\n', " ");
            writeln!(out, "{} {:5} {}: {message}", line.time, line.level, line.target)
        }
    });
    // Only one is ever started; a second would leave the first as it is.
    let _ = builder.try_init();
    std::panic::set_hook(Box::new(|panic| log::error!("{panic}")));
}
