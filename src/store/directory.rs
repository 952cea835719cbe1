//! The data directory: who holds it, which format it is in, and where things lie in it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::Error;

/// The format of the directory that this program writes; it reads every older one.
pub const FORMAT_VERSION: u32 = 1;

const FORMAT_FILE: &str = "FORMAT";
const FORMAT_PREFIX: &str = "triggerly store ";

/// A data directory that this process alone holds, until this value is dropped.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// The deepest of the directories above that was there before.
    ground: PathBuf,
    /// Open as long as the lock is held; the kernel lets go of it however the process ends.
    _lock: File,
}

impl Directory {
    /// Takes the directory, making it (0700) if it isn't there.
    ///
    /// # Errors
    /// [`Error::Locked`] if another process holds it, [`Error::Newer`] and [`Error::NotAStore`] if
    /// it isn't ours to open, [`Error::Io`] if it can't be read or written.
    pub fn lock(path: &Path) -> Result<Directory, Error> {
        let ground = path.ancestors().skip(1).find(|above| above.exists());
        // A relative path ends in nothing, which is the current directory.
        let ground = ground.unwrap_or(Path::new(".")).to_owned();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(Error::io("make the data directory", path))?;
        let lock_path = path.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(Error::io("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Locked(path.to_owned())),
            Err(TryLockError::Error(source)) => return Err(Error::io("lock", lock_path)(source)),
        }
        let directory = Directory { path: path.to_owned(), ground, _lock: lock };
        directory.check_format()?;
        Ok(directory)
    }

    /// As [`Directory::lock`], but a directory without a store is an error.
    ///
    /// # Errors
    /// Those of [`Directory::lock`], and [`Error::Missing`].
    pub fn lock_existing(path: &Path) -> Result<Directory, Error> {
        match fs::metadata(path.join(FORMAT_FILE)) {
            Ok(_) => Directory::lock(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Error::Missing(path.to_owned()))
            }
            Err(source) => Err(Error::io("read", path)(source)),
        }
    }

    fn check_format(&self) -> Result<(), Error> {
        let path = self.path.join(FORMAT_FILE);
        match fs::read_to_string(&path) {
            Ok(text) => match text.strip_prefix(FORMAT_PREFIX).map(|rest| rest.trim().parse()) {
                Some(Ok(found)) if found > FORMAT_VERSION => {
                    Err(Error::Newer { dir: self.path.clone(), found })
                }
                Some(Ok(_)) => Ok(()),
                _ => Err(self.not_a_store(format!("{FORMAT_FILE} holds {:?}", head(&text)))),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.write_format(&path),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(self.not_a_store(format!("{FORMAT_FILE} isn't text")))
            }
            Err(source) => Err(Error::io("read", path)(source)),
        }
    }

    /// Claims a directory that has no store yet. The name appears with its content or not at all.
    fn write_format(&self, path: &Path) -> Result<(), Error> {
        if self.sled_path().exists() {
            return Err(self.not_a_store(format!("{FORMAT_FILE} is missing")));
        }
        let fresh = path.with_extension("new");
        let write = || -> io::Result<()> {
            let mut file = File::create(&fresh)?;
            writeln!(file, "{FORMAT_PREFIX}{FORMAT_VERSION}")?;
            file.sync_all()?;
            fs::rename(&fresh, path)?;
            // Before sled makes anything: its files without this one are not a store.
            File::open(&self.path)?.sync_all()
        };
        write().map_err(Error::io("write", path))
    }

    fn not_a_store(&self, why: String) -> Error {
        Error::NotAStore { dir: self.path.clone(), why }
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where sled keeps its file.
    #[must_use]
    pub fn sled_path(&self) -> PathBuf {
        self.path.join("sled")
    }

    /// Makes the names of what was made durable: the files in it, and the directories down to it.
    pub(super) fn sync(&self) -> Result<(), Error> {
        let sled = self.sled_path();
        let made = sled.ancestors().take_while(|path| *path != self.ground);
        for path in made.chain([self.ground.as_path()]) {
            let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
            match File::open(path).and_then(|dir| dir.sync_all()) {
                Ok(()) => {}
                // One that only others may read was made by them, and is theirs to sync.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                Err(source) => return Err(Error::io("sync", path)(source)),
            }
        }
        Ok(())
    }
}

fn head(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn one_holder_at_a_time() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let held = Directory::lock(dir.path()).expect("nobody holds it");
        assert!(matches!(Directory::lock(dir.path()), Err(Error::Locked(_))));
        drop(held);
        assert!(Directory::lock(dir.path()).is_ok());
    }

    #[test]
    fn what_is_new_is_private() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("deep/store");
        let _held = Directory::lock(&path).expect("it can be made");
        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn formats() {
        for (text, ok) in [
            ("triggerly store 1\n", true),
            ("triggerly store 2\n", false),
            ("triggerly store x\n", false),
            ("something else", false),
            ("", false),
        ] {
            let dir = tempfile::tempdir().expect("a temporary folder");
            fs::write(dir.path().join(FORMAT_FILE), text).expect("it can be written");
            let result = Directory::lock(dir.path());
            assert_eq!(result.is_ok(), ok, "{text:?}: {result:?}");
        }
        let dir = tempfile::tempdir().expect("a temporary folder");
        fs::write(dir.path().join(FORMAT_FILE), "triggerly store 7\n").expect("it can be written");
        let error = Directory::lock(dir.path()).expect_err("newer");
        assert!(matches!(error, Error::Newer { found: 7, .. }));
        assert!(error.to_string().contains("newer triggerly"));
    }
}
