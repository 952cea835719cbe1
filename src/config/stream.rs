//! Where the log is that is shared with other servers: options, and their twins in the environment.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::{Error, read, setting};

/// What an address of the engine begins with.
const SCHEMES: [&str; 2] = ["nats://", "tls://"];

/// Characters of a stream's name.
const NAME_CHARS_MAX: usize = 64;

/// For how long what all servers have is kept, unless something else is asked for: a server that was away, and a backup that
/// one is to begin with, may be so old.
const KEEP_DEFAULT: Duration = Duration::from_secs(7 * DAY_SECONDS);

const DAY_SECONDS: u64 = 24 * 60 * 60;

/// The longest that can be asked for, in days.
const KEEP_DAYS_MAX: u64 = 36_500;

/// Options as they were given.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "they are named as the options are")]
pub struct RawStream {
    pub servers: Option<String>,
    pub stream: Option<String>,
    pub stream_keep: Option<String>,
    pub nats_creds: Option<PathBuf>,
    pub nats_ca: Option<PathBuf>,
    pub nats_cert: Option<PathBuf>,
    pub nats_key: Option<PathBuf>,
}

/// A stream on NATS, and how one gets there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// Addresses of NATS servers, of which any will do.
    pub servers: Vec<String>,
    /// The stream's name.
    pub name: String,
    /// For how long it keeps what all servers have.
    pub keep: Keep,
    /// A file with credentials, as `nsc` makes it.
    pub credentials: Option<PathBuf>,
    /// A file with the certificates (PEM) of who may sign those of the servers.
    pub authorities: Option<PathBuf>,
    /// Files with a certificate (PEM) of one's own, and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// How long a stream keeps what all servers have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// For ever.
    All,
    /// So long, and then until it is trimmed.
    For(Duration),
}

impl Default for Keep {
    fn default() -> Keep {
        Keep::For(KEEP_DEFAULT)
    }
}

impl Stream {
    /// The addresses as they may be shown: without the passwords that may stand in them.
    #[must_use]
    pub fn shown(&self) -> String {
        let hidden = |address: &String| match (address.split_once("://"), address.rsplit_once('@'))
        {
            (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
            _ => address.clone(),
        };
        self.servers.iter().map(hidden).collect::<Vec<_>>().join(",")
    }
}

/// Whether a value of `--log` names an engine, and not what is logged.
#[must_use]
pub fn is_engine(value: &str) -> bool {
    SCHEMES.iter().any(|scheme| value.starts_with(scheme))
}

impl RawStream {
    /// Fills in what wasn't given from the environment, and checks it; `None` if no engine is named.
    ///
    /// # Errors
    /// [`Error`] names the option or variable, and what it takes.
    pub fn check(self, env: impl Fn(&str) -> Option<OsString>) -> Result<Option<Stream>, Error> {
        let name = setting("stream", self.stream, "", &env);
        let Some(servers) = self.servers else {
            return match name.1.as_str() {
                "" => Ok(None),
                _ => Err(Error {
                    option: name.0,
                    takes: "a name only where --log names a NATS server, as nats://HOST:PORT",
                    given: name.1,
                }),
            };
        };
        let file = |option, given: Option<PathBuf>| {
            let text = given.map(|path| path.to_string_lossy().into_owned());
            Some(setting(option, text, "", &env).1)
                .filter(|path| !path.is_empty())
                .map(PathBuf::from)
        };
        let (certificate, key) =
            (file("nats-cert", self.nats_cert), file("nats-key", self.nats_key));
        if certificate.is_some() != key.is_some() {
            let given = certificate.or(key).unwrap_or_default().display().to_string();
            let takes = "a file with a certificate, and --nats-key one with its key";
            return Err(Error { option: "--nats-cert".to_owned(), takes, given });
        }
        Ok(Some(Stream {
            servers: read(
                ("--log".to_owned(), servers),
                "addresses of NATS servers, as nats://HOST:PORT,HOST:PORT",
                addresses,
            )?,
            name: read(
                name,
                "the stream's name, of letters, digits, - and _, with --log nats://HOST:PORT",
                |text| {
                    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
                    let fits =
                        (1..=NAME_CHARS_MAX).contains(&text.len()) && text.chars().all(is_plain);
                    fits.then(|| text.to_owned())
                },
            )?,
            keep: read(
                setting("stream-keep", self.stream_keep, "7d", &env),
                "how long the stream keeps what all servers have, as 7d or 12h, or `all`",
                keep,
            )?,
            credentials: file("nats-creds", self.nats_creds),
            authorities: file("nats-ca", self.nats_ca),
            certificate: certificate.zip(key),
        }))
    }
}

/// `7d`, `12h`, `30m`, `10s`, `all`.
fn keep(text: &str) -> Option<Keep> {
    if text == "all" {
        return Some(Keep::All);
    }
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "d" => DAY_SECONDS,
        "h" => 60 * 60,
        "m" => 60,
        "s" => 1,
        _ => return None,
    };
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| is_number)?;
    let seconds = number.checked_mul(seconds)?;
    let fits = (1..=KEEP_DAYS_MAX * DAY_SECONDS).contains(&seconds);
    fits.then(|| Keep::For(Duration::from_secs(seconds)))
}

/// `nats://a:1,b:2`: the scheme holds for all that have none.
fn addresses(text: &str) -> Option<Vec<String>> {
    let scheme = SCHEMES.iter().find(|scheme| text.starts_with(**scheme))?;
    let of = |text: &str| {
        let text = text.trim();
        let host = SCHEMES.iter().find_map(|scheme| text.strip_prefix(scheme)).unwrap_or(text);
        let is_host = !host.is_empty()
            && host.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '/' | '?' | '#'));
        is_host.then(|| if is_engine(text) { text.to_owned() } else { format!("{scheme}{text}") })
    };
    text.split(',').map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_share_their_scheme() {
        for (text, expected) in [
            ("nats://a", Some(vec!["nats://a"])),
            ("nats://a:1,b:2", Some(vec!["nats://a:1", "nats://b:2"])),
            ("tls://a:1, b:2", Some(vec!["tls://a:1", "tls://b:2"])),
            ("nats://a,nats://[::1]:4222", Some(vec!["nats://a", "nats://[::1]:4222"])),
            ("nats://me:secret@a", Some(vec!["nats://me:secret@a"])),
            ("nats://", None),
            ("nats://a,", None),
            ("nats://a/b", None),
            ("nats://a b", None),
            ("info", None),
        ] {
            let expected = expected.map(|all| all.into_iter().map(str::to_owned).collect());
            assert_eq!(addresses(text), expected, "{text}");
        }
    }

    #[test]
    fn a_stream_keeps_for_a_time_or_all() {
        let days = |days: u64| Some(Keep::For(Duration::from_secs(days * 86_400)));
        assert_eq!(days(7), Some(Keep::default()));
        for (text, expected) in [
            ("7d", days(7)),
            ("30d", days(30)),
            ("48h", days(2)),
            ("1440m", days(1)),
            ("86400s", days(1)),
            ("36500d", days(36_500)),
            ("all", Some(Keep::All)),
            ("36501d", None),
            ("0d", None),
            ("7", None),
            ("d", None),
            ("+7d", None),
            ("-7d", None),
            ("1.5d", None),
            ("7 d", None),
            ("7ä", None),
            ("99999999999999999999d", None),
            ("", None),
        ] {
            assert_eq!(keep(text), expected, "{text}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let servers = addresses("nats://me:se@cret@a:1,b:2").unwrap();
        let stream = Stream { servers, ..Stream::default() };
        assert_eq!(stream.shown(), "nats://a:1,nats://b:2");
    }

    #[test]
    fn a_stream_has_a_name_and_an_engine() {
        let check = |servers: Option<&str>, stream: Option<&str>, cert: Option<&str>| {
            let raw = RawStream {
                servers: servers.map(str::to_owned),
                stream: stream.map(str::to_owned),
                nats_cert: cert.map(PathBuf::from),
                ..RawStream::default()
            };
            raw.check(|_| None).map(|stream| stream.map(|stream| stream.name)).map_err(|e| e.option)
        };
        let (engine, long) = (Some("nats://a"), "x".repeat(65));
        assert_eq!(check(None, None, None), Ok(None));
        assert_eq!(check(engine, Some("Site-1_a"), None), Ok(Some("Site-1_a".to_owned())));
        for name in ["a.b", "a b", "ä", "*", ">", &long] {
            assert_eq!(check(engine, Some(name), None), Err("--stream".to_owned()), "{name}");
        }
        assert_eq!(check(engine, None, None), Err("--stream".to_owned()));
        assert_eq!(check(None, Some("a"), None), Err("--stream".to_owned()));
        assert_eq!(check(engine, Some("a"), Some("cert.pem")), Err("--nats-cert".to_owned()));
    }
}
