//! A connection that is kept: any bytes out, one answer after the other in.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::{Reply, parse};

pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects; an answer that takes longer than 20 s is an error from here on.
    pub fn open(address: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(Connection { stream: BufReader::new(stream) })
    }

    /// Sends bytes, all of them.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes.as_ref())
    }

    /// Says that nothing more will be sent.
    pub fn finish(&self) -> io::Result<()> {
        self.stream.get_ref().shutdown(Shutdown::Write)
    }

    /// The next answer, or `None` if the other side has closed in front of it.
    pub fn reply(&mut self) -> io::Result<Option<Reply>> {
        let Some(mut reply) = self.head()? else { return Ok(None) };
        let length = reply.header("content-length").and_then(|length| length.parse().ok());
        reply.body = vec![0; length.ok_or(ErrorKind::InvalidData)?];
        self.stream.read_exact(&mut reply.body)?;
        Ok(Some(reply))
    }

    /// The head of the next answer; its body, if it has one, is still to come.
    pub fn head(&mut self) -> io::Result<Option<Reply>> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if self.stream.read_until(b'\n', &mut head)? == 0 {
                return if head.is_empty() {
                    Ok(None)
                } else {
                    Err(ErrorKind::UnexpectedEof.into())
                };
            }
        }
        parse(&head).map(Some).ok_or_else(|| ErrorKind::InvalidData.into())
    }

    /// Sends one request without headers of its own and waits for the answer.
    pub fn get(&mut self, target: &str) -> io::Result<Option<Reply>> {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"))?;
        self.reply()
    }
}
