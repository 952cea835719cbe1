//! What leaves on a connection next: bytes of its own and, behind them, a body that is part of the program.
//!
//! Such a body is never copied, so that whoever asks for it many times and takes nothing costs no memory.

/// It.
#[derive(Default)]
pub(super) struct Out {
    pub bytes: Vec<u8>,
    written: usize,
    behind: &'static [u8],
}

impl Out {
    /// Puts an answer behind what is there. To be called only if [`Out::takes_more`].
    pub fn put(&mut self, mut bytes: Vec<u8>, behind: &'static [u8]) {
        if self.bytes.is_empty() {
            self.bytes = bytes;
        } else {
            self.bytes.append(&mut bytes);
        }
        self.behind = behind;
    }

    /// Whether anything can be put behind it, where it may have so many bytes.
    pub fn takes_more(&self, bytes_max: usize) -> bool {
        self.bytes.len() < bytes_max && self.behind.is_empty()
    }

    /// What is to be written now; nothing, if all of it was.
    pub fn rest(&self) -> &[u8] {
        match &self.bytes[self.written..] {
            [] => self.behind,
            rest => rest,
        }
    }

    /// So many bytes of that were written.
    pub fn written(&mut self, bytes: usize) {
        if self.written < self.bytes.len() {
            self.written += bytes;
        } else {
            self.behind = &self.behind[bytes..];
        }
    }

    /// Lets go of the memory, when all is written.
    pub fn clear(&mut self) {
        *self = Out::default();
    }

    /// Bytes that are yet to be written.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.written + self.behind.len()
    }

    /// Bytes that it holds.
    pub fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_it_leaves_in_its_order() {
        for step in 1..20 {
            let mut out = Out::default();
            out.put(b"one ".to_vec(), b"");
            assert!(out.takes_more(5) && !out.takes_more(4));
            out.put(b"two ".to_vec(), b"three");
            assert!(!out.takes_more(1_000), "what is put would overtake");
            let mut left = Vec::new();
            while out.len() > 0 {
                let bytes = step.min(out.rest().len());
                left.extend_from_slice(&out.rest()[..bytes]);
                out.written(bytes);
            }
            assert_eq!((left.as_slice(), out.rest()), (&b"one two three"[..], &b""[..]), "{step}");
            out.clear();
            assert!(out.takes_more(1) && out.held_bytes() == 0);
        }
    }
}
