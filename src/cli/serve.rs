//! `serve`: runs the server until it is told to stop.

use std::io;
use std::path::PathBuf;

use argh::FromArgs;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::{Exit, logging};
use crate::app::App;
use crate::config::RawConfig;

/// Runs the server. The first run makes the account `default` and shows its token and key.
#[derive(FromArgs)]
#[argh(subcommand, name = "serve")]
#[argh(
    note = "Each option may come from the environment instead, as TRIGGERLY_LISTEN for --listen."
)]
pub(super) struct Serve {
    /// the directory that holds everything (default: data/store)
    #[argh(option)]
    data: Option<PathBuf>,

    /// the address and port to listen on; port 0 takes a free one (default: 127.0.0.1:8080)
    #[argh(option)]
    listen: Option<String>,

    /// threads that decode and check calls (default: half as many as there are cores)
    #[argh(option)]
    workers: Option<String>,

    /// what is logged to standard error: off, error, warn, info, debug or trace, with `,json`
    /// behind it for one JSON object a line (default: info)
    #[argh(option)]
    log: Option<String>,
}

impl Serve {
    pub(super) fn run(self) -> Result<(), Exit> {
        let Serve { data, listen, workers, log } = self;
        let config =
            RawConfig { data, listen, workers, log }.check(|name| std::env::var_os(name))?;
        logging::start(config.log);
        // From before anything is announced, so that a signal right behind it isn't lost.
        let mut signals = Signals::new([SIGTERM, SIGINT])
            .map_err(|error| Exit::Failed(format!("can't wait for signals: {error}")))?;
        let app = App::start(&config, &mut io::stdout().lock())?;
        // The iterator never ends by itself.
        let signal = signals.forever().next().unwrap_or(SIGTERM);
        log::info!("stopping on signal {signal}");
        Ok(app.stop()?)
    }
}
