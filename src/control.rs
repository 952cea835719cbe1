//! Commands to the server that holds the store, over a socket in the data directory.
//!
//! ```text
//! client: the command as one line of JSON, and behind it whatever the command takes as input
//! server: frames of output (length in 4 bytes, big-endian, then so many bytes), an empty frame,
//!         and a line of JSON: {"failed":null} or {"failed":"why"}, also with "note": what else is told
//! ```
//! Only the user who runs the server can connect: the socket is 0600, and the process makes nothing
//! that others may touch. Who can connect can read the store's files anyway.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::commands::{Command, Context, Failure, Imports, Input, Note};
use crate::public_url::Whereabouts;
use crate::refused::Refused;
use crate::store::{Store, Writer};

const SOCKET: &str = "control.sock";

/// Bytes of a command.
const COMMAND_BYTES_MAX: u64 = 64 * 1024;

/// Bytes of a frame. The server's are smaller; a longer one is no frame of ours.
const FRAME_BYTES_MAX: u32 = 16 * 1024 * 1024;

/// Commands at a time.
const CONNECTIONS_MAX: usize = 64;

/// How long a client may take to say what it wants.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Bytes that fit into a socket's address (`sun_path`, unix(7)), its end included.
const ADDRESS_BYTES_MAX: usize = 108;

#[derive(Serialize, Deserialize)]
struct Ending {
    failed: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Note,
}

/// Calls `use_path` with a name for the socket that is short enough, however deep `dir` lies.
fn with_address<T>(dir: &Path, use_path: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let path = dir.join(SOCKET);
    if path.as_os_str().len() < ADDRESS_BYTES_MAX {
        return use_path(&path);
    }
    let open = File::open(dir)?;
    use_path(&PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", open.as_raw_fd())))
}

/// Listens in the store's directory, from a thread of its own that lives as long as the process.
///
/// # Errors
/// If the socket can't be made.
pub fn listen(
    store: &Arc<Store>,
    writer: &Arc<Writer>,
    imports: &Arc<Imports>,
    refused: &Arc<Refused>,
    whereabouts: Whereabouts,
) -> io::Result<()> {
    let dir = store.dir().to_owned();
    // Listening alone keeps nothing open.
    let (store, writer) = (Arc::downgrade(store), Arc::downgrade(writer));
    let (imports, refused) = (Arc::clone(imports), Arc::clone(refused));
    let whereabouts = Arc::new(whereabouts);
    // Whoever holds the directory's lock owns the name; a socket that lies there is a dead one's.
    match fs::remove_file(dir.join(SOCKET)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = with_address(&dir, |path| UnixListener::bind(path))?;
    fs::set_permissions(dir.join(SOCKET), fs::Permissions::from_mode(0o600))?;
    let open = Arc::new(AtomicUsize::new(0));
    thread::Builder::new().name("control".into()).spawn(move || {
        for connection in listener.incoming() {
            let Ok(connection) = connection else {
                // Out of descriptors, most likely; that passes.
                thread::sleep(Duration::from_millis(100));
                continue;
            };
            let (Some(store), Some(writer)) = (store.upgrade(), writer.upgrade()) else { return };
            let (imports, refused) = (Arc::clone(&imports), Arc::clone(&refused));
            let whereabouts = Arc::clone(&whereabouts);
            let place = Place::take(&open);
            if place.0.load(SeqCst) > CONNECTIONS_MAX {
                // If it isn't heard, the connection's end is.
                let failed = Some("too many commands at a time; try again".to_owned());
                let _ = end(&connection, &Ending { failed, note: None });
                continue;
            }
            let served = thread::Builder::new().name("command".into()).spawn(move || {
                let context = Context {
                    store: &store,
                    writer: &writer,
                    imports: &imports,
                    refused: &refused,
                    whereabouts: &whereabouts,
                };
                serve(&connection, &context);
                drop(place);
            });
            if let Err(error) = served {
                log::warn!("a command was not served: {error}");
            }
        }
    })?;
    Ok(())
}

/// One of the connections that are open; free again when dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(open: &Arc<AtomicUsize>) -> Place {
        open.fetch_add(1, SeqCst);
        Place(Arc::clone(open))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// Removes the socket's name; the server is about to let go of the directory.
pub fn unlink(dir: &Path) {
    // It may be gone already, and a name that stays is removed by the next server.
    let _ = fs::remove_file(dir.join(SOCKET));
}

/// Does the command that comes over a connection.
pub fn serve(connection: &UnixStream, context: &Context<'_>) {
    if let Err(error) = try_to_serve(connection, context) {
        log::debug!("a command's connection broke: {error}");
    }
}

fn try_to_serve(connection: &UnixStream, context: &Context<'_>) -> io::Result<()> {
    connection.set_read_timeout(Some(SILENCE_MAX))?;
    let mut line = String::new();
    let mut input = BufReader::with_capacity(64 * 1024, connection);
    (&mut input).take(COMMAND_BYTES_MAX).read_line(&mut line)?;
    // Input comes from a person's disk or pipe, and takes the time that it takes.
    connection.set_read_timeout(None)?;
    let mut frames = Frames { connection, broken: false };
    let outcome = match serde_json::from_str::<Command>(&line) {
        Ok(command) => {
            let hang_up = || drop(connection.shutdown(Shutdown::Read));
            let input = Input { bytes: Box::new(input), hang_up: Box::new(hang_up) };
            command.run(context, input, &mut frames)
        }
        Err(_) => Err(Failure::Refused(
            "the server doesn't know this command; are both the same version?".to_owned(),
        )),
    };
    let ending = match outcome {
        Ok(note) => Ending { failed: None, note },
        Err(Failure::Output(error)) => return Err(error),
        Err(failure) => Ending { failed: Some(failure.to_string()), note: None },
    };
    end(connection, &ending)
}

fn end(mut connection: &UnixStream, ending: &Ending) -> io::Result<()> {
    let mut bytes = 0_u32.to_be_bytes().to_vec();
    serde_json::to_writer(&mut bytes, ending)?;
    bytes.push(b'\n');
    connection.write_all(&bytes)
}

/// Output as frames. There is no limit to how long they may wait to be read: the reader may be a
/// person with a pager.
struct Frames<'c> {
    connection: &'c UnixStream,
    /// A frame was cut short; whatever came behind it would be read as its rest.
    broken: bool,
}

impl Write for Frames<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // An empty frame would be the end.
        let Some(bytes) = bytes.chunks(1 << 20).next() else { return Ok(0) };
        if self.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.broken = true;
        self.connection.write_all(&(bytes.len() as u32).to_be_bytes())?;
        self.connection.write_all(bytes)?;
        self.broken = false;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether somebody listens for commands in `dir`.
#[must_use]
pub fn is_served(dir: &Path) -> bool {
    with_address(dir, |path| UnixStream::connect(path)).is_ok()
}

/// Why a command didn't get through to a server.
#[derive(Debug)]
pub enum CallError {
    /// Nobody listens.
    Absent,
    /// The server did not do it, and says why.
    Failed(String),
    /// What came back could not be written.
    Output(io::Error),
    /// The connection broke.
    Broken(io::Error),
}

impl From<io::Error> for CallError {
    fn from(error: io::Error) -> CallError {
        CallError::Broken(error)
    }
}

/// A command under way, seen by who asked for it.
pub struct Call {
    connection: UnixStream,
    /// What became of saying which command it is. One that is turned away is told so before it has
    /// said all.
    said: io::Result<()>,
}

/// Asks the server that holds `dir` for a command.
///
/// # Errors
/// [`CallError::Absent`] if there is none, [`CallError::Broken`].
pub fn call(dir: &Path, command: &Command) -> Result<Call, CallError> {
    let connection = with_address(dir, |path| UnixStream::connect(path)).map_err(|error| {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => CallError::Absent,
            _ => CallError::Broken(error),
        }
    })?;
    Call::over(connection, command)
}

impl Call {
    /// Asks whoever [serves](serve) the other end of a connection.
    ///
    /// # Errors
    /// [`CallError::Broken`].
    pub fn over(connection: UnixStream, command: &Command) -> Result<Call, CallError> {
        let mut line = serde_json::to_vec(command).map_err(io::Error::from)?;
        line.push(b'\n');
        let said = (&connection).write_all(&line);
        Ok(Call { connection, said })
    }

    /// Where the command's input goes.
    ///
    /// # Errors
    /// If there are no descriptors left.
    pub fn input(&self) -> io::Result<impl Write + Send + use<>> {
        self.connection.try_clone()
    }

    /// Says that no more input comes.
    pub fn end_input(&self) {
        // It may be broken, which is as good.
        let _ = self.connection.shutdown(Shutdown::Write);
    }

    /// Ends the conversation, if it hasn't ended: whoever waits for the other side waits no more.
    pub fn hang_up(&self) {
        // It may be broken, which is as good.
        let _ = self.connection.shutdown(Shutdown::Both);
    }

    /// Writes the command's output to `out` as it comes, until it is done. Gives what else it tells.
    ///
    /// # Errors
    /// [`CallError`], but for [`CallError::Absent`].
    pub fn hear(&self, out: &mut dyn Write) -> Result<Note, CallError> {
        let mut input = BufReader::with_capacity(64 * 1024, &self.connection);
        let mut frame = Vec::new();
        loop {
            let mut len = [0; 4];
            if let Err(error) = input.read_exact(&mut len) {
                let said = self.said.as_ref().err().map(|said| io::Error::from(said.kind()));
                return Err(CallError::Broken(said.unwrap_or(error)));
            }
            match u32::from_be_bytes(len) {
                0 => break,
                len if len > FRAME_BYTES_MAX => {
                    return Err(CallError::Broken(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "the server speaks otherwise",
                    )));
                }
                len => {
                    frame.resize(len as usize, 0);
                    input.read_exact(&mut frame)?;
                    out.write_all(&frame).map_err(CallError::Output)?;
                }
            }
        }
        let mut line = String::new();
        input.take(COMMAND_BYTES_MAX).read_line(&mut line)?;
        let Ending { failed, note } = serde_json::from_str(&line).map_err(io::Error::from)?;
        failed.map_or(Ok(note), |why| Err(CallError::Failed(why)))
    }
}
