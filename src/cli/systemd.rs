//! `systemd`: the unit that runs the server.

use std::path::PathBuf;

use argh::FromArgs;

use super::Exit;

/// x
#[derive(FromArgs)]
#[argh(subcommand, name = "systemd")]
pub(super) struct Systemd {
    /// x
    #[argh(option)]
    data: Option<PathBuf>,
}
impl Systemd {
    pub(super) fn run(self) -> Result<(), Exit> {
        drop(self.data);
        Ok(())
    }
}
