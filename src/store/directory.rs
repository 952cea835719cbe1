//! The data directory: who holds it, which format it is in, and where things lie in it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::Error;
use super::manifest::INDEX_EXTENSION;

/// The format of a directory whose store is alone; every older one is read.
///
/// 1 had the whole log in sled; 2 has segments, and generations of sled; 3 has contexts, keys of calls and
/// sites of accounts; 4 has indexes of segments and data types that are set; 5 has people with sessions and links,
/// time zones of accounts and tokens that live on after a rotation.
pub const FORMAT_VERSION: u32 = 5;

/// The format of a directory whose store shares its log with others, and the newest that is known. What differs is who may
/// add records.
pub const SHARED_FORMAT_VERSION: u32 = 6;

const FORMAT_FILE: &str = "FORMAT";
const FORMAT_PREFIX: &str = "triggerly store ";

/// What `FORMAT` holds while a store is put together.
const UNFINISHED: &str = "triggerly restore, not finished\n";

/// Where verifying builds what it compares with.
pub(super) const SCRATCH: &str = "verify";

/// Says which generation of sled is in force; without it, it is the first.
const CURRENT_FILE: &str = "CURRENT";

/// Says which of the servers of a log this one is.
const SERVER_FILE: &str = "server";

/// What the first generation of sled is called; later ones have a number behind it.
const GENERATION: &str = "sled";

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
        let directory = Directory::hold(path)?;
        directory.check_format()?;
        Ok(directory)
    }

    /// Takes an empty directory for a store that is yet to be put together: until
    /// [`Directory::finish`], nobody takes it for one.
    pub(super) fn lock_unfinished(path: &Path) -> Result<Directory, Error> {
        let directory = Directory::hold(path)?;
        directory.replace(FORMAT_FILE, UNFINISHED)?;
        Ok(directory)
    }

    /// What was put together is a store.
    pub(super) fn finish(&self) -> Result<(), Error> {
        self.sync()?;
        self.write_format()
    }

    fn hold(path: &Path) -> Result<Directory, Error> {
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
        Ok(Directory { path: path.to_owned(), ground, _lock: lock })
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
                Some(Ok(found)) if found > SHARED_FORMAT_VERSION => {
                    Err(Error::Newer { dir: self.path.clone(), found })
                }
                // What an older program doesn't know comes with the first writing.
                Some(Ok(found)) if found < FORMAT_VERSION => self.write_format(),
                Some(Ok(_)) => Ok(()),
                _ => Err(self.not_a_store(format!("{FORMAT_FILE} holds {:?}", head(&text)))),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.claim(),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(self.not_a_store(format!("{FORMAT_FILE} isn't text")))
            }
            Err(source) => Err(Error::io("read", path)(source)),
        }
    }

    /// Claims a directory that has no store yet.
    fn claim(&self) -> Result<(), Error> {
        if self.path.join(GENERATION).exists() || self.segments_path().exists() {
            return Err(self.not_a_store(format!("{FORMAT_FILE} is missing")));
        }
        // Before sled makes anything: its files without this one are not a store.
        self.write_format()
    }

    fn write_format(&self) -> Result<(), Error> {
        self.replace(FORMAT_FILE, &format!("{FORMAT_PREFIX}{FORMAT_VERSION}\n"))
    }

    /// Its store shares its log from now on.
    pub(super) fn share(&self) -> Result<(), Error> {
        self.replace(FORMAT_FILE, &format!("{FORMAT_PREFIX}{SHARED_FORMAT_VERSION}\n"))
    }

    /// The id of the server that the directory is of: 32 hexadecimal digits, made if there is none.
    pub(super) fn server_id(&self) -> Result<String, Error> {
        let path = self.path.join(SERVER_FILE);
        match fs::read_to_string(&path) {
            Ok(text) => {
                let id = text.trim_end();
                let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
                is_id.then(|| id.to_owned()).ok_or_else(|| Error::Damaged {
                    place: path.display().to_string(),
                    why: format!("it holds no id of a server, but {:?}", head(&text)),
                })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut bytes = [0; 16];
                getrandom::fill(&mut bytes)
                    .map_err(|error| Error::io("make", &path)(io::Error::other(error)))?;
                let id = format!("{:032x}", u128::from_be_bytes(bytes));
                self.replace(SERVER_FILE, &format!("{id}\n"))?;
                Ok(id)
            }
            Err(source) => Err(Error::io("read", path)(source)),
        }
    }

    /// Writes a small file. Its name appears with its content, durably, or not at all.
    fn replace(&self, name: &str, content: &str) -> Result<(), Error> {
        let path = self.path.join(name);
        let fresh = path.with_extension("new");
        let write = || -> io::Result<()> {
            let mut file = File::create(&fresh)?;
            file.write_all(content.as_bytes())?;
            file.sync_all()?;
            fs::rename(&fresh, &path)?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(Error::io("write", &path))
    }

    fn not_a_store(&self, why: String) -> Error {
        Error::NotAStore { dir: self.path.clone(), why }
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the generation of sled that is in force lies.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Damaged`] if the file that names it names something else.
    pub fn sled_path(&self) -> Result<PathBuf, Error> {
        let path = self.path.join(CURRENT_FILE);
        match fs::read_to_string(&path) {
            Ok(text) => match generation(text.trim_end()) {
                Some(_) => Ok(self.path.join(text.trim_end())),
                None => Err(Error::Damaged {
                    place: path.display().to_string(),
                    why: format!("it names no generation, but {:?}", head(&text)),
                }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(self.path.join(GENERATION)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(Error::Damaged {
                place: path.display().to_string(),
                why: "it isn't text".to_owned(),
            }),
            Err(source) => Err(Error::io("read", path)(source)),
        }
    }

    /// Where the generation after the one in force is to lie.
    pub(super) fn next_sled_path(&self) -> Result<PathBuf, Error> {
        let current = self.sled_path()?;
        let name = current.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        Ok(self.path.join(format!("{GENERATION}-{}", generation(name).unwrap_or(1) + 1)))
    }

    /// Puts a generation in force, durably.
    pub(super) fn set_current(&self, sled_path: &Path) -> Result<(), Error> {
        let name = sled_path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        self.replace(CURRENT_FILE, &format!("{name}\n"))
    }

    /// Makes a generation's names durable.
    pub(super) fn sync_dir(&self, path: &Path) -> Result<(), Error> {
        for dir in [path, &self.path] {
            File::open(dir).and_then(|dir| dir.sync_all()).map_err(Error::io("sync", dir))?;
        }
        Ok(())
    }

    /// Removes what a crash left behind: generations that aren't in force, and files half written.
    /// Segments and indexes are kept if `is_known`; files of other names are somebody else's.
    pub(super) fn tidy(&self, is_known: &dyn Fn(&str) -> bool) -> Result<(), Error> {
        let current = self.sled_path()?;
        let entries = fs::read_dir(&self.path).map_err(Error::io("read", &self.path))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let left_over = generation(name).is_some() && path != current;
            let removed = if left_over || name == SCRATCH {
                fs::remove_dir_all(&path)
            } else if name.ends_with(".new") {
                fs::remove_file(&path)
            } else {
                continue;
            };
            removed.map_err(Error::io("remove", path))?;
        }
        let dir = self.segments_path();
        for path in fs::read_dir(&dir).map_err(Error::io("read", &dir))?.flatten() {
            let path = path.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if (is_segment_name(name) || is_index_name(name)) && !is_known(name) {
                log::info!("removing segments/{name}, which a crash left behind");
                fs::remove_file(&path).map_err(Error::io("remove", path))?;
            }
        }
        Ok(())
    }

    /// Makes the directory of segments, if it isn't there.
    pub(super) fn make_segments_dir(&self) -> Result<PathBuf, Error> {
        let path = self.segments_path();
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map(|()| path.clone()).map_err(Error::io("make", path))
    }

    /// Where the sealed segments lie.
    #[must_use]
    pub fn segments_path(&self) -> PathBuf {
        self.path.join("segments")
    }

    /// Makes the names of what was made durable: the files in it, and the directories down to it.
    pub(super) fn sync(&self) -> Result<(), Error> {
        let sled = self.sled_path()?;
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

/// The number of a generation by its name.
fn generation(name: &str) -> Option<u64> {
    if name == GENERATION {
        return Some(1);
    }
    name.strip_prefix(GENERATION)?.strip_prefix('-')?.parse().ok().filter(|number| *number > 1)
}

/// Whether a name is one that segments have, finished or not.
pub(super) fn is_segment_name(name: &str) -> bool {
    match name.split_once('.') {
        Some((stem, "parquet")) => is_stem(stem),
        Some((stem, "new")) => is_number(stem),
        _ => false,
    }
}

/// Whether a name is one that indexes have, finished or not.
fn is_index_name(name: &str) -> bool {
    match name.split_once('.') {
        Some((stem, INDEX_EXTENSION)) => is_stem(stem),
        Some((stem, "index.new")) => is_number(stem),
        _ => false,
    }
}

fn is_stem(stem: &str) -> bool {
    let mut parts = stem.split('-');
    parts.by_ref().take(4).filter(|part| is_number(part)).count() == 4 && parts.next().is_none()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
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
    fn a_server_has_one_id() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let directory = Directory::lock(dir.path()).expect("it can be made");
        let id = directory.server_id().expect("an id");
        assert_eq!(id.len(), 32);
        assert_eq!(directory.server_id().expect("an id"), id);
        let other = tempfile::tempdir().expect("a temporary folder");
        let other = Directory::lock(other.path()).expect("it can be made");
        assert_ne!(other.server_id().expect("an id"), id);
        for wrong in ["", "x", "0123456789abcdef0123456789abcdeg", "*"] {
            fs::write(dir.path().join(SERVER_FILE), wrong).expect("it can be written");
            assert!(matches!(directory.server_id(), Err(Error::Damaged { .. })), "{wrong}");
        }
    }

    #[test]
    fn formats() {
        for (text, ok) in [
            ("triggerly store 1\n", true),
            ("triggerly store 2\n", true),
            ("triggerly store 3\n", true),
            ("triggerly store 4\n", true),
            ("triggerly store 5\n", true),
            ("triggerly store 6\n", true),
            ("triggerly store 7\n", false),
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
        fs::write(dir.path().join(FORMAT_FILE), "triggerly store 8\n").expect("it can be written");
        let error = Directory::lock(dir.path()).expect_err("newer");
        assert!(matches!(error, Error::Newer { found: 8, .. }));
        assert!(error.to_string().contains("newer triggerly"));
    }
}
