//! What a server is to do, checked: options and their twins in the environment.

pub mod stream;

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use log::LevelFilter;

use crate::client::Proxies;
use crate::public_url::PublicUrl;
use crate::rate;

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

/// How long a request may take to come in, unless somebody says otherwise.
pub const REQUEST_TIMEOUT_DEFAULT: &str = "10s";

/// How long a connection is kept idle, unless somebody says otherwise.
pub const KEEP_ALIVE_DEFAULT: &str = "60s";

/// Connections at a time, at the most. So many descriptors no kernel gives by default.
pub const CONNECTIONS_MAX: usize = 1_000_000;

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
    /// Those that name an engine go to [`RawConfig::stream`].
    pub log: Vec<String>,
    pub stream: stream::RawStream,
    pub access_log: bool,
    pub reserve: Option<String>,
    pub request_timeout: Option<String>,
    pub keep_alive: Option<String>,
    pub max_connections: Option<String>,
    pub max_per_address: Option<String>,
    pub rate: Option<String>,
    pub trust_proxy: Vec<String>,
    pub public_url: Option<String>,
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
    /// Where the log of records is, if it is shared with other servers.
    pub stream: Option<stream::Stream>,
    /// Bytes that are to stay free on the disk; 0 for none.
    pub reserve_bytes: u64,
    /// From the first byte of a request to its last.
    pub request_timeout: Duration,
    /// Between an answer and the next request of a connection.
    pub keep_alive: Duration,
    /// Connections at a time; what there are descriptors for, if there is none.
    pub max_connections: Option<usize>,
    /// Connections of one address at a time; a quarter of all, and loopback addresses apart, if there is
    /// none.
    pub max_per_address: Option<usize>,
    /// How fast calls may come.
    pub rate: rate::Limits,
    /// Which proxies are believed when they say whose call it is.
    pub trust_proxy: Proxies,
    /// Where it is reached from outside, if that isn't where it listens.
    pub public_url: Option<PublicUrl>,
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
        let (level, stream) = logs(self.log, self.stream, &env)?;
        let setting = |option: &'static str, given: Option<String>, default: &str| {
            setting(option, given, default, &env)
        };
        // A worker keeps up with far more than a core's share of connections; measured, as many
        // workers as cores were slower than half of them.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = (cores / 2).clamp(1, WORKERS_MAX);
        Ok(Config {
            data,
            listen: listen(self.listen, &env)?,
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
                    level,
                    "a level (off, error, warn, info, debug, trace), with `,json` or `,text` behind it",
                    LogConfig::parse,
                )?
            },
            stream,
            reserve_bytes: reserve_bytes(self.reserve, &env)?,
            request_timeout: read(
                setting("request-timeout", self.request_timeout, REQUEST_TIMEOUT_DEFAULT),
                "a time as 10s or 500ms, from 100ms to 1h",
                duration,
            )?,
            keep_alive: read(
                setting("keep-alive", self.keep_alive, KEEP_ALIVE_DEFAULT),
                "a time as 60s or 500ms, from 100ms to 1h",
                duration,
            )?,
            max_connections: read(
                setting("max-connections", self.max_connections, "auto"),
                "a number from 1 to 1000000, or auto",
                number_or_auto,
            )?,
            max_per_address: read(
                setting("max-per-address", self.max_per_address, "auto"),
                "a number from 1 to 1000000, or auto",
                number_or_auto,
            )?,
            rate: read(
                setting("rate", self.rate, ""),
                "calls a second from an address, and behind a comma objects a second for an account, \
                 each from 1 to 1000000 or `off`, as 100,5000",
                rate_limits,
            )?,
            trust_proxy: read(
                setting("trust-proxy", joined(self.trust_proxy), ""),
                "networks or addresses of proxies, as 10.0.0.0/8,::1",
                Proxies::parse,
            )?,
            public_url: public_url(self.public_url, &env)?,
        })
    }
}

/// What is logged, beside where that was said, and where the log of records is: two options of one name, of which each is
/// known by its value.
fn logs(
    given: Vec<String>,
    stream: stream::RawStream,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<((String, String), Option<stream::Stream>), Error> {
    let (mut engines, mut levels): (Vec<_>, Vec<_>) =
        given.into_iter().partition(|value| stream::is_engine(value));
    // Where neither was given, the variable may be either.
    let (option, value) = setting("log", levels.pop(), "info", &env);
    let is_engine = stream::is_engine(&value);
    let level =
        if is_engine { ("--log".to_owned(), "info".to_owned()) } else { (option, value.clone()) };
    if let Some(second) = levels.pop() {
        return Err(Error { option: "--log".to_owned(), takes: "one level", given: second });
    }
    let servers = engines.pop().or(is_engine.then_some(value)).or(stream.servers);
    if let Some(second) = engines.pop() {
        let takes = "all NATS servers in one list, as nats://HOST:PORT,HOST:PORT";
        return Err(Error { option: "--log".to_owned(), takes, given: second });
    }
    Ok((level, stream::RawStream { servers, ..stream }.check(env)?))
}

/// An address and a port. No name is looked up: that would take the resolver's shared libraries, which
/// a static binary doesn't have.
fn address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => Some((Ipv4Addr::LOCALHOST, port.parse().ok()?).into()),
        None => text.parse().ok(),
    }
}

/// Where to listen: the option, or `TRIGGERLY_LISTEN`, or [`LISTEN_DEFAULT`].
///
/// # Errors
/// [`Error`] if it is no address and port.
pub fn listen(
    given: Option<String>,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<SocketAddr, Error> {
    read(
        setting("listen", given, LISTEN_DEFAULT, env),
        "an address and a port, as 127.0.0.1:8080 (names other than localhost aren't looked up)",
        address,
    )
}

/// Where it is reached from outside: the option, or `TRIGGERLY_PUBLIC_URL`, or nowhere else than where it
/// listens.
///
/// # Errors
/// [`Error`] if it is no such address.
pub fn public_url(
    given: Option<String>,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<Option<PublicUrl>, Error> {
    read(setting("public-url", given, "", env), PublicUrl::FORMS, |text| {
        if text.is_empty() { Some(None) } else { PublicUrl::parse(text).map(Some) }
    })
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

/// `ADDRESS[,ACCOUNT]`, each a number or `off`; `off` alone is for both.
fn rate_limits(text: &str) -> Option<rate::Limits> {
    let default = rate::Limits {
        address: NonZeroU32::new(rate::ADDRESS_DEFAULT),
        account: NonZeroU32::new(rate::ACCOUNT_DEFAULT),
    };
    let limit = |text: &str| match text {
        "off" => Some(None),
        // `parse` would take a sign.
        _ if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            let limit: NonZeroU32 = text.parse().ok()?;
            (limit.get() <= rate::PER_SECOND_MAX).then_some(Some(limit))
        }
        _ => None,
    };
    match text.split_once(',') {
        None if text.is_empty() => Some(default),
        None if text == "off" => Some(rate::Limits { address: None, account: None }),
        None => Some(rate::Limits { address: limit(text)?, ..default }),
        Some((address, account)) => {
            Some(rate::Limits { address: limit(address)?, account: limit(account)? })
        }
    }
}

/// An option that may come several times, as one list; `None` if it never came.
fn joined(given: Vec<String>) -> Option<String> {
    (!given.is_empty()).then(|| given.join(","))
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

/// Seconds, or with a unit behind: `ms`, `s`, `m` or `h`.
fn duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(unit_at);
    let millis = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let millis = digits.parse::<u64>().ok()?.checked_mul(millis)?;
    (100..=3_600_000).contains(&millis).then(|| Duration::from_millis(millis))
}

/// A number of connections; `auto` leaves it to the machine.
fn number_or_auto(text: &str) -> Option<Option<usize>> {
    if text == "auto" {
        return Some(None);
    }
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| is_number)?;
    (1..=CONNECTIONS_MAX).contains(&number).then_some(Some(number))
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
        assert_eq!(config.rate, rates(100, 5_000));
        assert_eq!(config.trust_proxy, Proxies::default());
    }

    /// 0 for no limit.
    fn rates(address: u32, account: u32) -> rate::Limits {
        rate::Limits { address: NonZeroU32::new(address), account: NonZeroU32::new(account) }
    }

    #[test]
    fn the_public_address_may_be_another() {
        let given = |option: Option<&str>, env: &[(&str, &str)]| {
            let public_url = option.map(str::to_owned);
            check(RawConfig { public_url, ..RawConfig::default() }, env)
                .map(|config| config.public_url.map(|url| url.to_string()))
        };
        let env = [("TRIGGERLY_PUBLIC_URL", "https://example.com/stats/")];
        assert_eq!(given(None, &[]), Ok(None));
        assert_eq!(given(None, &env), Ok(Some("https://example.com/stats".to_owned())));
        assert_eq!(given(Some("http://a:1"), &env), Ok(Some("http://a:1".to_owned())));
        let error = given(Some("example.com"), &env).expect_err("no scheme");
        assert!(error.starts_with("--public-url takes an address"), "{error}");
    }

    #[test]
    fn rates_are_numbers_or_off() {
        for (text, limits) in [
            ("off", Some(rates(0, 0))),
            ("7", Some(rates(7, 5_000))),
            ("7,9", Some(rates(7, 9))),
            ("off,9", Some(rates(0, 9))),
            ("7,off", Some(rates(7, 0))),
            ("off,off", Some(rates(0, 0))),
            ("1000000,1", Some(rates(1_000_000, 1))),
            ("1000001", None),
            ("99999999999", None),
            ("0", None),
            ("7,0", None),
            ("7,", None),
            (",7", None),
            ("7,8,9", None),
            ("+7", None),
            ("-7", None),
            ("7.5", None),
            ("7, 9", None),
            ("OFF", None),
        ] {
            assert_eq!(rate_limits(text), limits, "{text:?}");
        }
    }

    #[test]
    fn proxies_come_in_one_list_or_in_several() {
        let proxies = |text| Proxies::parse(text).expect("networks");
        let given = |options: &[&str], env: &[(&str, &str)]| {
            let trust_proxy = options.iter().map(|&text| text.to_owned()).collect();
            check(RawConfig { trust_proxy, ..RawConfig::default() }, env)
                .map(|config| config.trust_proxy)
        };
        let env = [("TRIGGERLY_TRUST_PROXY", "192.0.2.0/24, ::1")];
        assert_eq!(given(&["10.0.0.0/8", "::1"], &[]), Ok(proxies("10.0.0.0/8,::1")));
        assert_eq!(given(&[], &env), Ok(proxies("192.0.2.0/24,::1")));
        assert_eq!(given(&["10.0.0.0/8"], &env), Ok(proxies("10.0.0.0/8")));
        let error = given(&["10.0.0.0/8", "nowhere"], &env).expect_err("no address");
        assert!(error.starts_with("--trust-proxy takes networks"), "{error}");
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
            ("TRIGGERLY_REQUEST_TIMEOUT", "3"),
            ("TRIGGERLY_KEEP_ALIVE", "1h"),
            ("TRIGGERLY_MAX_CONNECTIONS", "100"),
            ("TRIGGERLY_RATE", "5,6"),
            ("TRIGGERLY_ACCESS_LOG", "1"),
        ];
        let config = check(RawConfig::default(), &env).expect("all from the environment");
        assert_eq!(config.listen.to_string(), "[::1]:1");
        assert_eq!((config.data, config.workers), (PathBuf::from("/env"), 7));
        assert_eq!(config.log, LogConfig { level: LevelFilter::Debug, json: true, access: true });
        assert_eq!(config.reserve_bytes, 16 << 20);
        assert_eq!((config.request_timeout.as_secs(), config.keep_alive.as_secs()), (3, 3_600));
        assert_eq!((config.max_connections, config.max_per_address), (Some(100), None));
        assert_eq!(config.rate, rates(5, 6));
        let raw = RawConfig {
            data: Some("/option".into()),
            listen: Some("127.0.0.1:0".into()),
            workers: Some("3".into()),
            log: vec!["off,text".into()],
            stream: stream::RawStream::default(),
            access_log: true,
            reserve: Some("0".into()),
            request_timeout: Some("500ms".into()),
            keep_alive: Some("2m".into()),
            max_connections: Some("auto".into()),
            max_per_address: Some("7".into()),
            rate: Some("off".into()),
            trust_proxy: Vec::new(),
            public_url: Some("https://example.com".to_owned()),
        };
        let config = check(raw, &env).expect("all from the options");
        assert_eq!(config.listen.to_string(), "127.0.0.1:0");
        assert_eq!((config.data, config.workers), (PathBuf::from("/option"), 3));
        assert_eq!(config.log, LogConfig { level: LevelFilter::Off, json: false, access: true });
        assert_eq!(config.reserve_bytes, 0);
        assert_eq!((config.request_timeout.as_millis(), config.keep_alive.as_secs()), (500, 120));
        assert_eq!((config.max_connections, config.max_per_address), (None, Some(7)));
        assert_eq!(config.rate, rates(0, 0));
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
            ("TRIGGERLY_REQUEST_TIMEOUT", "0"),
            ("TRIGGERLY_REQUEST_TIMEOUT", "99ms"),
            ("TRIGGERLY_REQUEST_TIMEOUT", "ms"),
            ("TRIGGERLY_KEEP_ALIVE", "1 s"),
            ("TRIGGERLY_KEEP_ALIVE", "61m"),
            ("TRIGGERLY_MAX_CONNECTIONS", "0"),
            ("TRIGGERLY_MAX_CONNECTIONS", "+1"),
            ("TRIGGERLY_MAX_PER_ADDRESS", "all"),
            ("TRIGGERLY_RATE", "fast"),
            ("TRIGGERLY_TRUST_PROXY", "10.0.0.0/33"),
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
