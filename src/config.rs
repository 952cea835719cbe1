//! What a server is to do, checked: options and their twins in the environment.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use log::LevelFilter;

/// Where the store lies unless somebody says otherwise.
pub const DATA_DEFAULT: &str = "data/store";

/// Where the server listens unless somebody says otherwise.
pub const LISTEN_DEFAULT: &str = "127.0.0.1:8080";

/// Workers at the most: they only decode and check, so more than cores are of no use.
pub const WORKERS_MAX: usize = 64;

/// What is kept free on the disk unless somebody says otherwise.
pub const RESERVE_DEFAULT: &str = "256M";

/// The smallest reserve but none, in bytes. What is being written when it is reached has to fit.
pub const RESERVE_BYTES_MIN: u64 = 8 * 1024 * 1024;

/// An option that makes no sense.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{option} takes {takes}, not {given:?}")]
pub struct Error {
    /// The option, or the variable it came from.
    pub option: String,
    /// What it takes.
    pub takes: &'static str,
    /// What it got.
    pub given: String,
}

/// Options of `serve` as they were given.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "they are named as the options are")]
pub struct RawConfig {
    pub data: Option<PathBuf>,
    pub listen: Option<String>,
    pub workers: Option<String>,
    pub log: Option<String>,
    pub access_log: bool,
    pub reserve: Option<String>,
}

/// What a server is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The directory of the store.
    pub data: PathBuf,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Threads that decode and check.
    pub workers: usize,
    /// What is logged, and how.
    pub log: LogConfig,
    /// Bytes that are to stay free on the disk; 0 for none.
    pub reserve_bytes: u64,
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// From which level on.
    pub level: LevelFilter,
    /// As a JSON object a line instead of text.
    pub json: bool,
    /// A line for each request, whatever the level.
    pub access: bool,
}

impl RawConfig {
    /// Fills in what wasn't given from the environment, then from the defaults, and checks it.
    ///
    /// # Errors
    /// [`Error`] names the option or variable, and what it takes.
    pub fn check(self, env: impl Fn(&str) -> Option<OsString>) -> Result<Config, Error> {
        let data = data_dir(self.data, &env);
        let setting = |option: &'static str, given: Option<String>, default: &str| {
            setting(option, given, default, &env)
        };
        // A worker keeps up with far more than a core's share of connections; measured, as many
        // workers as cores were slower than half of them.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = (cores / 2).clamp(1, WORKERS_MAX);
        Ok(Config {
            data,
            listen: read(
                setting("listen", self.listen, LISTEN_DEFAULT),
                "an address and a port, as 127.0.0.1:8080 (names other than localhost aren't looked up)",
                address,
            )?,
            workers: read(
                setting("workers", self.workers, &workers.to_string()),
                "a number from 1 to 64",
                |text| text.parse().ok().filter(|workers| (1..=WORKERS_MAX).contains(workers)),
            )?,
            log: LogConfig {
                access: read(
                    setting("access-log", self.access_log.then(|| "1".to_owned()), "0"),
                    "1 or 0",
                    |text| ["0", "1"].iter().position(|known| *known == text).map(|at| at == 1),
                )?,
                ..read(
                    setting("log", self.log, "info"),
                    "a level (off, error, warn, info, debug, trace), with `,json` or `,text` behind it",
                    LogConfig::parse,
                )?
            },
            reserve_bytes: reserve_bytes(self.reserve, &env)?,
        })
    }
}

/// An address and a port. No name is looked up: that would take the resolver's shared libraries, which
/// a static binary doesn't have.
fn address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => Some((Ipv4Addr::LOCALHOST, port.parse().ok()?).into()),
        None => text.parse().ok(),
    }
}

/// How much is to stay free: the option, or `TRIGGERLY_RESERVE`, or [`RESERVE_DEFAULT`].
///
/// # Errors
/// [`Error`] if it is no size, or too small to be of use.
pub fn reserve_bytes(
    given: Option<String>,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<u64, Error> {
    read(
        setting("reserve", given, RESERVE_DEFAULT, env),
        "a size as 256M (K, M, G or bytes), at least 8M, or 0 for none",
        |text| size(text).filter(|bytes| *bytes == 0 || *bytes >= RESERVE_BYTES_MIN),
    )
}

/// Bytes, or KiB, MiB, GiB with a letter behind.
fn size(text: &str) -> Option<u64> {
    let (digits, unit) = match text.bytes().last()? {
        b'K' | b'k' => (&text[..text.len() - 1], 1 << 10),
        b'M' | b'm' => (&text[..text.len() - 1], 1 << 20),
        b'G' | b'g' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    // `parse` would take a sign.
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse::<u64>().ok().filter(|_| is_number)?.checked_mul(unit)
}

/// An option, its variable or its default, beside where it came from.
fn setting(
    option: &'static str,
    given: Option<String>,
    default: &str,
    env: impl Fn(&str) -> Option<OsString>,
) -> (String, String) {
    let variable = format!("TRIGGERLY_{}", option.to_uppercase().replace('-', "_"));
    match (given, env(&variable).filter(|value| !value.is_empty())) {
        (Some(given), _) => (format!("--{option}"), given),
        (None, Some(value)) => (variable, value.to_string_lossy().into_owned()),
        (None, None) => (format!("--{option}"), default.to_owned()),
    }
}

/// The directory of the store: the option, or `TRIGGERLY_DATA`, or [`DATA_DEFAULT`].
pub fn data_dir(given: Option<PathBuf>, env: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    given
        .or_else(|| env("TRIGGERLY_DATA").filter(|dir| !dir.is_empty()).map(PathBuf::from))
        .unwrap_or_else(|| PathBuf::from(DATA_DEFAULT))
}

fn read<T>(
    (option, given): (String, String),
    takes: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, Error> {
    parse(&given).ok_or(Error { option, takes, given })
}

impl LogConfig {
    fn parse(text: &str) -> Option<LogConfig> {
        let (level, json) = match text.split_once(',') {
            None => (text, false),
            Some((level, "text")) => (level, false),
            Some((level, "json")) => (level, true),
            Some(_) => return None,
        };
        Some(LogConfig { level: LevelFilter::from_str(level).ok()?, json, access: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(raw: RawConfig, env: &[(&str, &str)]) -> Result<Config, String> {
        let env = |name: &str| {
            env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        };
        raw.check(env).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults() {
        let config = check(RawConfig::default(), &[("TRIGGERLY_LOG", "")]).expect("the defaults");
        assert_eq!(config.data, PathBuf::from("data/store"));
        assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
        assert!((1..=WORKERS_MAX).contains(&config.workers));
        assert_eq!(config.log, LogConfig { level: LevelFilter::Info, json: false, access: false });
        assert_eq!(config.reserve_bytes, 256 << 20);
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("8388608", Some(8 << 20)),
            ("8192K", Some(8 << 20)),
            ("8m", Some(8 << 20)),
            ("3G", Some(3 << 30)),
            ("16777215G", Some(16_777_215 << 30)),
            ("17179869184G", None),
            ("99999999999999999999", None),
            ("", None),
            ("M", None),
            ("-1M", None),
            ("+8M", None),
            ("8 M", None),
            ("8MB", None),
            ("8.5M", None),
            ("８M", None),
        ] {
            assert_eq!(size(text), bytes, "{text:?}");
        }
    }

    #[test]
    fn a_reserve_is_none_or_large_enough_to_be_of_use() {
        for (text, bytes) in
            [("0", Some(0)), ("0G", Some(0)), ("8M", Some(8 << 20)), ("8191K", None), ("1", None)]
        {
            let found = reserve_bytes(Some(text.to_owned()), |_| None);
            assert_eq!(found.ok(), bytes, "{text}");
        }
    }

    #[test]
    fn the_option_wins_over_the_environment() {
        let env = [
            ("TRIGGERLY_LISTEN", "[::1]:1"),
            ("TRIGGERLY_DATA", "/env"),
            ("TRIGGERLY_WORKERS", "7"),
            ("TRIGGERLY_LOG", "debug,json"),
            ("TRIGGERLY_RESERVE", "16M"),
            ("TRIGGERLY_ACCESS_LOG", "1"),
        ];
        let config = check(RawConfig::default(), &env).expect("all from the environment");
        assert_eq!(config.listen.to_string(), "[::1]:1");
        assert_eq!((config.data, config.workers), (PathBuf::from("/env"), 7));
        assert_eq!(config.log, LogConfig { level: LevelFilter::Debug, json: true, access: true });
        assert_eq!(config.reserve_bytes, 16 << 20);
        let raw = RawConfig {
            data: Some("/option".into()),
            listen: Some("127.0.0.1:0".into()),
            workers: Some("3".into()),
            log: Some("off,text".into()),
            access_log: true,
            reserve: Some("0".into()),
        };
        let config = check(raw, &env).expect("all from the options");
        assert_eq!(config.listen.to_string(), "127.0.0.1:0");
        assert_eq!((config.data, config.workers), (PathBuf::from("/option"), 3));
        assert_eq!(config.log, LogConfig { level: LevelFilter::Off, json: false, access: true });
        assert_eq!(config.reserve_bytes, 0);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (variable, value) in [
            ("TRIGGERLY_LISTEN", "8080"),
            ("TRIGGERLY_LISTEN", "127.0.0.1:99999"),
            ("TRIGGERLY_WORKERS", "0"),
            ("TRIGGERLY_WORKERS", "65"),
            ("TRIGGERLY_LISTEN", "example.com:80"),
            ("TRIGGERLY_LISTEN", "localhost:http"),
            ("TRIGGERLY_ACCESS_LOG", "yes"),
            ("TRIGGERLY_LOG", "loud"),
            ("TRIGGERLY_LOG", "info,xml"),
            ("TRIGGERLY_RESERVE", "4M"),
        ] {
            let error = check(RawConfig::default(), &[(variable, value)]).expect_err(value);
            assert!(error.starts_with(variable) && error.contains(value), "{error}");
        }
        for (given, address) in [
            ("localhost:80", "127.0.0.1:80"),
            ("0.0.0.0:0", "0.0.0.0:0"),
            ("[::]:8080", "[::]:8080"),
        ] {
            let config = check(RawConfig::default(), &[("TRIGGERLY_LISTEN", given)]).expect(given);
            assert_eq!(config.listen.to_string(), address);
        }
        let raw = RawConfig { listen: Some("nowhere".into()), ..RawConfig::default() };
        let error = check(raw, &[]).expect_err("no port");
        assert!(error.starts_with("--listen takes an address"), "{error}");
    }
}
