//! NATS's own protocol, as much as is needed to ask JetStream and to publish by hand.
//! (<https://docs.nats.io/reference/reference-protocols/nats-protocol>)
//!
//! It shares nothing with the server's client, so that the two can't be wrong together.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(3);

pub struct Nats {
    stream: BufReader<TcpStream>,
    /// Where answers go: those to others aren't to be taken for one's own.
    inbox: String,
}

impl Nats {
    /// Connects and says hello.
    pub fn connect(address: SocketAddr) -> io::Result<Nats> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let inbox = format!("_INBOX.{}", stream.local_addr()?.port());
        let mut nats = Nats { stream: BufReader::new(stream), inbox };
        nats.line()?;
        let hello = json!({
            "verbose": false, "pedantic": false, "headers": true, "no_responders": true,
            "lang": "test", "version": "0", "protocol": 1,
        });
        let inbox = &nats.inbox;
        nats.send(&format!("CONNECT {hello}\r\nSUB {inbox} 1\r\nPING\r\n"))?;
        while nats.line()? != "PONG" {}
        Ok(nats)
    }

    /// Asks, and gives the JSON that is the answer; an error that is told in it is an error here.
    pub fn ask(&mut self, subject: &str, question: &Value) -> io::Result<Value> {
        self.publish(subject, &[], question.to_string().as_bytes())
    }

    /// Publishes a message with headers and gives what it is answered with, which for the subject of a stream is
    /// where in it the message is.
    pub fn publish(
        &mut self,
        subject: &str,
        headers: &[(&str, &str)],
        payload: &[u8],
    ) -> io::Result<Value> {
        let mut head = "NATS/1.0\r\n".to_owned();
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        let (before, all) = (head.len(), head.len() + payload.len());
        let command = format!("HPUB {subject} {} {before} {all}\r\n{head}", self.inbox);
        self.stream.get_mut().write_all(&[command.as_bytes(), payload, b"\r\n"].concat())?;
        let answer: Value = serde_json::from_slice(&self.message()?).map_err(io::Error::other)?;
        match answer.get("error") {
            Some(error) => Err(io::Error::other(error.to_string())),
            None => Ok(answer),
        }
    }

    /// The payload of the next message.
    fn message(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let line = self.line()?;
            let words: Vec<&str> = line.split(' ').collect();
            let number = |back: usize| -> io::Result<usize> {
                let word = words.len().checked_sub(back).and_then(|at| words.get(at));
                word.and_then(|word| word.parse().ok()).ok_or(ErrorKind::InvalidData.into())
            };
            let (head, all) = match words[0] {
                "MSG" => (0, number(1)?),
                "HMSG" => (number(2)?, number(1)?),
                "PING" => {
                    self.send("PONG\r\n")?;
                    continue;
                }
                "-ERR" => return Err(io::Error::other(line)),
                _ => continue,
            };
            let mut message = vec![0; all + 2];
            self.stream.read_exact(&mut message)?;
            message.truncate(all);
            return Ok(message.split_off(head));
        }
    }

    fn send(&mut self, text: &str) -> io::Result<()> {
        self.stream.get_mut().write_all(text.as_bytes())
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}
