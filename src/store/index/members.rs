//! Going through the members of a JSON object as it lies in the log, fast and without making anything of it.
//!
//! What lies there was read before and is JSON; of what isn't, the members up to there are shown.

/// Bytes that are still to be read.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// A value that a member has. Texts are as they lie between their quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen<'a> {
    Null,
    Boolean(bool),
    Number,
    String(&'a [u8]),
    List,
    /// It is up to whoever is shown it to go through it, or to [`Cursor::skip`] it.
    Object,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str) -> Cursor<'a> {
        Cursor { bytes: text.as_bytes(), at: 0 }
    }

    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.bytes.get(self.at)?;
            if byte > b' ' {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Goes into the object that begins here.
    pub fn enter(&mut self) -> Option<()> {
        self.take(b'{')
    }

    /// The next member of the object that the cursor is in: its name as it lies between its quotes, and its
    /// value. Behind the last one, or where nothing can be read, there is none.
    pub fn member(&mut self) -> Option<(&'a [u8], Seen<'a>)> {
        if self.peek()? == b',' {
            self.at += 1;
        }
        if self.peek()? == b'}' {
            self.at += 1;
            return None;
        }
        let name = self.string()?;
        self.take(b':')?;
        Some((name, self.value()?))
    }

    fn value(&mut self) -> Option<Seen<'a>> {
        Some(match self.peek()? {
            b'"' => Seen::String(self.string()?),
            b'{' => Seen::Object,
            b'[' => {
                self.skip()?;
                Seen::List
            }
            first => {
                let rest = &self.bytes[self.at..];
                let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']') || *byte <= b' ';
                self.at += rest.iter().position(ends).unwrap_or(rest.len());
                match first {
                    b'n' => Seen::Null,
                    b't' => Seen::Boolean(true),
                    b'f' => Seen::Boolean(false),
                    _ => Seen::Number,
                }
            }
        })
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        self.take(b'"')?;
        let begin = self.at;
        loop {
            match *self.bytes.get(self.at)? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        self.bytes.get(begin..self.at - 1)
    }

    /// Goes behind the list or object that begins here.
    pub fn skip(&mut self) -> Option<()> {
        let mut depth = 0u32;
        loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.checked_sub(1)?,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Some(());
            }
        }
    }
}

/// What a string between its quotes says.
pub(super) fn unescaped(raw: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(raw).ok()?;
    if !raw.contains(&b'\\') {
        return Some(text.to_owned());
    }
    serde_json::from_str(&format!("\"{text}\"")).ok()
}
