//! Logs: lines on standard error, for the person who runs the server.

use std::io::Write;

use log::LevelFilter;
use log::kv::{self, Key, VisitSource};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::clock;
use crate::config::LogConfig;

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    level: &'a str,
    target: &'a str,
    message: String,
    #[serde(flatten)]
    fields: Fields,
}

/// What a line says beside its message, for programs.
#[derive(Default, Serialize)]
#[serde(transparent)]
struct Fields(Map<String, Value>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: kv::Value<'kvs>) -> Result<(), kv::Error> {
        let json = match (value.to_u64(), value.to_f64()) {
            (Some(number), _) => number.into(),
            (None, Some(number)) => number.into(),
            (None, None) => value.to_string().into(),
        };
        self.0.insert(key.to_string(), json);
        Ok(())
    }
}

/// Logs what `config` asks for from now on; panics too, with their place.
pub(super) fn start(config: LogConfig) {
    let mut builder = env_logger::Builder::new();
    // The engines tell of their inner life at these levels, which is for their makers. The only error
    // that tiny_http's has to tell is that nobody can connect to it any more, as it should be.
    builder
        .filter_level(config.level)
        .filter_module("sled", config.level.min(LevelFilter::Warn))
        .filter_module("tiny_http", LevelFilter::Off)
        // Asked for or not, whatever else is logged.
        .filter_module("access", if config.access { LevelFilter::Info } else { LevelFilter::Off });
    builder.format(move |out, record| {
        let mut fields = Fields::default();
        if config.json {
            // Gathering them can't fail.
            let _ = record.key_values().visit(&mut fields);
        }
        let line = Line {
            time: clock::now().to_string(),
            level: record.level().as_str(),
            target: record.target(),
            message: record.args().to_string(),
            fields,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Run by the test below in a process of its own: what it sets is there once for each process.
    #[test]
    #[ignore = "it panics, to be looked at from outside"]
    fn panics() {
        start(LogConfig { level: LevelFilter::Warn, json: false, access: false });
        std::thread::spawn(|| panic!("as a test")).join().unwrap_err();
    }

    #[test]
    fn a_panic_is_logged_with_its_place() {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "--ignored", "--nocapture", "cli::logging::tests::panics"]);
        let output = child.output().unwrap();
        let logged = String::from_utf8_lossy(&output.stderr);
        let line = logged.lines().find(|line| line.contains(" ERROR "));
        let line = line.unwrap_or_else(|| panic!("{logged}"));
        assert!(line.contains("src/cli/logging.rs:") && line.ends_with(": as a test"), "{line}");
    }
}
