//! `backup`, `restore`: the whole store in one file, and back.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use argh::FromArgs;

use super::{Exit, STREAM, data_dir, output_gone, run_command, run_command_into};
use crate::commands::Command;
use crate::store::{self, BackedUp};

/// Writes everything as it is now into one file, while the server goes on taking calls.
#[derive(FromArgs)]
#[argh(subcommand, name = "backup")]
pub(super) struct Backup {
    /// the file, replaced when the new one is whole; - for standard output
    #[argh(positional)]
    file: PathBuf,

    /// the directory that holds everything (default: data/store)
    #[argh(option)]
    data: Option<PathBuf>,
}

/// Makes a store from a backup, in a directory that is empty or not there yet.
#[derive(FromArgs)]
#[argh(subcommand, name = "restore")]
pub(super) struct Restore {
    /// the file; - for standard input
    #[argh(positional)]
    file: PathBuf,

    /// the directory that is to hold everything (default: data/store)
    #[argh(option)]
    data: Option<PathBuf>,
}

impl Backup {
    pub(super) fn run(self) -> Result<(), Exit> {
        let dir = data_dir(self.data);
        if self.file == Path::new(STREAM) {
            return run_command(&dir, &Command::Backup, false);
        }
        // Its name appears when it is whole; until then an older one of that name stays.
        let mut fresh = self.file.clone().into_os_string();
        fresh.push(".new");
        let fresh = PathBuf::from(fresh);
        let failed = |doing: &'static str, path: &Path| {
            let path = path.display().to_string();
            move |error: io::Error| Exit::Failed(format!("can't {doing} {path}: {error}"))
        };
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&fresh).map_err(failed("make", &fresh))?;
        let written = run_command_into(&dir, &Command::Backup, false, &mut file)
            .and_then(|()| file.sync_all().map_err(failed("sync", &fresh)))
            .and_then(|()| check(&fresh))
            .and_then(|held| {
                fs::rename(&fresh, &self.file).map_err(failed("rename", &fresh))?;
                let parent = self.file.parent().filter(|parent| *parent != Path::new(""));
                let parent = parent.unwrap_or(Path::new("."));
                File::open(parent)
                    .and_then(|parent| parent.sync_all())
                    .map_err(failed("sync", parent))?;
                Ok(held)
            });
        match written {
            Ok(held) => tell(&held),
            Err(exit) => {
                // It is no backup, and would only take up room.
                let _ = fs::remove_file(&fresh);
                Err(exit)
            }
        }
    }
}

/// Reads back what was written: a backup that can't be restored is none.
fn check(path: &Path) -> Result<BackedUp, Exit> {
    let failed = |why: &dyn std::fmt::Display| {
        Exit::Failed(format!("the backup was not written as it should: {why}; try again"))
    };
    let file = File::open(path).map_err(|error| failed(&error))?;
    store::check_backup(file).map_err(|error| failed(&error))
}

impl Restore {
    pub(super) fn run(self) -> Result<(), Exit> {
        let dir = data_dir(self.data);
        let failed = |error: store::RestoreError| Exit::Failed(error.to_string());
        let held = if self.file == Path::new(STREAM) {
            let mut input = BufReader::new(io::stdin().lock());
            // Without anything to read there is nothing to be made either.
            match input.fill_buf() {
                Ok([]) => return Err(Exit::Failed("standard input is empty".to_owned())),
                Ok(_) => {}
                Err(error) => return Err(Exit::Failed(format!("can't read the input: {error}"))),
            }
            store::restore(&dir, input).map_err(failed)?
        } else {
            let open = || {
                File::open(&self.file).map_err(|error| {
                    Exit::Failed(format!("can't open {}: {error}", self.file.display()))
                })
            };
            store::check_backup(open()?).map_err(failed)?;
            store::restore(&dir, open()?).map_err(failed)?
        };
        tell(&held)
    }
}

fn tell(held: &BackedUp) -> Result<(), Exit> {
    let BackedUp { last_seq, segments, bytes } = held;
    writeln!(io::stdout(), "last_seq={last_seq}\nsegments={segments}\nbytes={bytes}")
        .or_else(output_gone)
}
