//! Just enough of Thrift's compact protocol to look at what a file claims before it is believed: lists
//! and texts that are longer than what is left, and pages that would take more memory than they may.

/// Elements of one list of structures. A schema, a file or a row group has far fewer parts.
const LIST_MAX: u64 = 65_536;

/// Structures within structures.
const DEPTH_MAX: usize = 16;

/// The bytes aren't what Thrift writes, or claim too much.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// They end too early.
    Short,
    /// They are something else.
    Wrong,
}

/// What the header of a page claims.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PageHeader {
    /// 0 of data, 1 of an index, 2 a dictionary, 3 of data (version 2).
    pub kind: i64,
    /// Bytes that its content takes.
    pub uncompressed: i64,
    /// Bytes that it takes as it lies.
    pub compressed: i64,
    /// Values that it holds.
    pub values: i64,
    /// How they are encoded, by Parquet's number.
    pub encoding: i64,
    /// How it is encoded which of them are there; of a page of data.
    pub levels: i64,
    /// Bytes of the header itself.
    pub len: usize,
}

/// Walks a whole structure and finds it to be within bounds.
pub(super) fn check(bytes: &[u8]) -> Result<(), Fault> {
    Walk { rest: bytes, expected: |_, _, _| true }.structure(0, 0, &mut |_, _, _| {})
}

/// Reads what matters of the header of a page.
pub(super) fn page_header(bytes: &[u8]) -> Result<PageHeader, Fault> {
    let mut header = PageHeader::default();
    let walk = &mut Walk { rest: bytes, expected: of_page };
    walk.structure(0, 0, &mut |within, field, value| match (within, field) {
        (0, 1) => header.kind = value,
        (0, 2) => header.uncompressed = value,
        (0, 3) => header.compressed = value,
        // The three kinds of pages each have a header of their own, that begins with this.
        (5 | 7 | 8, 1) => header.values = value,
        (5 | 7, 2) => header.encoding = value,
        (5, 3) => header.levels = value,
        _ => {}
    })?;
    header.len = bytes.len() - walk.rest.len();
    Ok(header)
}

/// Whether a field of a page's header may be of this kind. The decoder reads those that it knows as what
/// they should be, whatever they say they are; were that something else, it would read on elsewhere.
fn of_page(within: i64, field: i64, kind: u8) -> bool {
    match (within, field) {
        (0, 1..=4) | (5, 1..=4) | (7, 1..=2) | (8, 1..=6) => kind == INTEGER,
        (7, 3) | (8, 7) => matches!(kind, 1 | 2),
        (0, 5..=8) => kind == STRUCTURE,
        _ => true,
    }
}

/// A number of 32 bits.
const INTEGER: u8 = 5;

const STRUCTURE: u8 = 12;

struct Walk<'a> {
    rest: &'a [u8],
    /// Whether a field that lies within that field of the outermost structure (0 if in that itself) may be
    /// of this kind.
    expected: fn(i64, i64, u8) -> bool,
}

/// Is told of each integer: the field of the outermost structure it lies within (0 if it is in that
/// itself), its own field, its value.
type Visit<'v> = &'v mut dyn FnMut(i64, i64, i64);

impl Walk<'_> {
    fn structure(&mut self, within: i64, depth: usize, visit: Visit<'_>) -> Result<(), Fault> {
        let mut field = 0_i64;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Ok(());
            }
            field = match head >> 4 {
                0 => self.integer()?,
                delta => field.checked_add(i64::from(delta)).ok_or(Fault::Wrong)?,
            };
            // The decoder keeps no more than 16 bits of it.
            if i16::try_from(field).is_err()
                || (depth <= 1 && !(self.expected)(within, field, head & 0x0f))
            {
                return Err(Fault::Wrong);
            }
            match head & 0x0f {
                1 | 2 => {}
                kind => {
                    let inner = if depth == 0 { field } else { within };
                    let value = self.value(kind, inner, depth, visit)?;
                    if let Some(value) = value
                        && depth <= 1
                    {
                        visit(within, field, value);
                    }
                }
            }
        }
    }

    fn value(
        &mut self,
        kind: u8,
        within: i64,
        depth: usize,
        visit: Visit<'_>,
    ) -> Result<Option<i64>, Fault> {
        if depth > DEPTH_MAX {
            return Err(Fault::Wrong);
        }
        match kind {
            // A list of truth values: Parquet has none here, and its decoder takes no byte for each, so that
            // a few bytes could claim to be billions of them.
            1 | 2 => return Err(Fault::Wrong),
            3 => self.skip(1)?,
            4..=6 => return self.integer().map(Some),
            7 => self.skip(8)?,
            8 => {
                let len = self.unsigned()?;
                self.skip(len)?;
            }
            9 | 10 => {
                let head = self.byte()?;
                let len = match head >> 4 {
                    15 => self.unsigned()?,
                    len => u64::from(len),
                };
                // Each element takes at least a byte.
                if len > self.rest.len() as u64 {
                    return Err(Fault::Short);
                }
                let kind = head & 0x0f;
                if kind == 12 && len > LIST_MAX {
                    return Err(Fault::Wrong);
                }
                for _ in 0..len {
                    // What is in a list is nobody's business here: deeper than what is visited.
                    self.value(kind, within, depth + 2, visit)?;
                }
            }
            12 => self.structure(within, depth + 1, visit)?,
            // A map: Parquet has none.
            _ => return Err(Fault::Wrong),
        }
        Ok(None)
    }

    fn byte(&mut self) -> Result<u8, Fault> {
        let (first, rest) = self.rest.split_first().ok_or(Fault::Short)?;
        self.rest = rest;
        Ok(*first)
    }

    fn skip(&mut self, len: u64) -> Result<(), Fault> {
        let len = usize::try_from(len).map_err(|_| Fault::Short)?;
        self.rest = self.rest.get(len..).ok_or(Fault::Short)?;
        Ok(())
    }

    /// LEB128.
    fn unsigned(&mut self) -> Result<u64, Fault> {
        let mut n = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            n |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(n);
            }
        }
        Err(Fault::Wrong)
    }

    /// ZigZag.
    fn integer(&mut self) -> Result<i64, Fault> {
        let n = self.unsigned()?;
        Ok((n >> 1) as i64 ^ -((n & 1) as i64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Of a page of data: kind 0, 100 bytes, 40 compressed, then 7 values, encoding 0, levels 3 and 3.
    const PAGE: &[u8] =
        &[0x15, 0, 0x15, 0xc8, 0x01, 0x15, 80, 0x2c, 0x15, 14, 0x15, 0, 0x15, 6, 0x15, 6, 0, 0];

    #[test]
    fn the_header_of_a_page() {
        let expected = PageHeader {
            kind: 0,
            uncompressed: 100,
            compressed: 40,
            values: 7,
            encoding: 0,
            levels: 3,
            len: PAGE.len(),
        };
        assert_eq!(page_header(PAGE), Ok(expected));
        // Numbers, truth values and structures that say they are something else.
        for (at, kind) in [(0, 0x11), (0, 0x18), (2, 0x16), (7, 0x19), (8, 0x12), (12, 0x14)] {
            let mut other = PAGE.to_vec();
            other[at] = kind;
            assert_eq!(page_header(&other), Err(Fault::Wrong), "{at}");
        }
        // The field 65,537, which the decoder takes for the first.
        assert_eq!(page_header(&[0x05, 0x82, 0x80, 0x08, 0, 0]), Err(Fault::Wrong));
        for end in 0..PAGE.len() {
            assert_eq!(page_header(&PAGE[..end]), Err(Fault::Short), "cut at {end}");
        }
    }

    #[test]
    fn claims_without_substance() {
        for (bytes, fault) in [
            // A list of 2^28 structures, and one of as many bytes as there are.
            (&[0x19, 0xfc, 0xff, 0xff, 0xff, 0x7f, 0][..], Fault::Short),
            // A text of 2^28 bytes.
            (&[0x18, 0xff, 0xff, 0xff, 0x7f, b'x', 0][..], Fault::Short),
            // Structures without end.
            (&[0x1c; 100][..], Fault::Wrong),
            // Lists of lists without end.
            (&[0x19; 100][..], Fault::Wrong),
            (&[0x1b, 0][..], Fault::Wrong),
            // A truth value in a list, which the decoder takes no byte for; and one by itself, which is fine.
            (&[0x19, 0x11, 1, 0][..], Fault::Wrong),
            (&[0x11, 0x19, 0x12, 2, 0][..], Fault::Wrong),
        ] {
            assert_eq!(check(bytes), Err(fault), "{bytes:x?}");
        }
        let mut long = vec![0x19, 0xfc, 0x81, 0x80, 0x04];
        long.resize(long.len() + 70_000, 0);
        assert_eq!(check(&long), Err(Fault::Wrong), "65,537 empty structures");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = check(&bytes);
            let _ = page_header(&bytes);
        }
    }
}
