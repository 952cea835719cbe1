//! The pages of a column as they lie in a row group, one after another, decompressed into memory that
//! serves again.

use parquet::basic::Compression;
use zstd::bulk::Decompressor;
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

use super::decode::Fault;
use super::guard::check_header;
use super::thrift;

/// Parquet's numbers of encodings.
const PLAIN: i64 = 0;
const PLAIN_DICTIONARY: i64 = 2;
const RLE: i64 = 3;
const DELTA_BINARY_PACKED: i64 = 5;
const RLE_DICTIONARY: i64 = 8;

/// What a page holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// Texts that pages behind it refer to by number.
    Dictionary,
    /// Values as they are.
    Plain,
    /// Numbers into the dictionary.
    Numbers,
    /// Numbers by what they are more than the one before.
    Deltas,
}

/// A page as it lies.
pub(super) struct Page<'b> {
    pub holds: Holds,
    /// Values, nulls among them.
    pub values: usize,
    packed: &'b [u8],
    compression: Compression,
    /// Bytes when it is decompressed.
    len: usize,
}

/// What decompresses, and the memory it does so into.
#[derive(Default)]
pub(super) struct Unpacker {
    zstd: Option<Decompressor<'static>>,
    /// The same for pages that aren't needed to their end.
    partly: Option<Decoder<'static>>,
    bytes: Vec<u8>,
}

/// Bytes that are decompressed before it is asked whether they are enough.
const STEP_BYTES: usize = 64 * 1024;

/// The pages that are left of a column.
pub(super) struct Pages<'b> {
    rest: &'b [u8],
    compression: Compression,
    page_bytes_max: usize,
}

impl<'b> Pages<'b> {
    /// Those of a column that lies in these bytes; decompressed, one may take so many.
    pub fn of(bytes: &'b [u8], compression: Compression, page_bytes_max: usize) -> Pages<'b> {
        Pages { rest: bytes, compression, page_bytes_max }
    }

    fn take(&mut self) -> Result<Page<'b>, Fault> {
        let header = thrift::page_header(self.rest).map_err(|_| "a page's header is garbled")?;
        check_header(&header, self.page_bytes_max)?;
        let odd = "a page is encoded as none of a segment is";
        let holds = match (header.kind, header.encoding) {
            (2, PLAIN | PLAIN_DICTIONARY) => Holds::Dictionary,
            (0, _) if header.levels != RLE => return Err(odd.into()),
            (0, PLAIN) => Holds::Plain,
            (0, PLAIN_DICTIONARY | RLE_DICTIONARY) => Holds::Numbers,
            (0, DELTA_BINARY_PACKED) => Holds::Deltas,
            _ => return Err(odd.into()),
        };
        let end =
            usize::try_from(header.compressed).ok().and_then(|len| len.checked_add(header.len));
        let (page, rest) = end
            .and_then(|end| self.rest.split_at_checked(end))
            .ok_or("a page ends outside of its column")?;
        self.rest = rest;
        let (packed, compression) = (&page[header.len..], self.compression);
        let values = usize::try_from(header.values).map_err(|_| odd)?;
        let len = usize::try_from(header.uncompressed).map_err(|_| odd)?;
        Ok(Page { holds, values, packed, compression, len })
    }
}

impl<'b> Iterator for Pages<'b> {
    type Item = Result<Page<'b>, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        let page = (!self.rest.is_empty()).then(|| self.take())?;
        if page.is_err() {
            self.rest = &[];
        }
        Some(page)
    }
}

impl Unpacker {
    /// What a page holds.
    pub fn unpack<'p>(&'p mut self, page: &Page<'p>) -> Result<&'p [u8], Fault> {
        let bytes = match page.compression {
            Compression::UNCOMPRESSED => page.packed,
            Compression::ZSTD(_) => self.decompress(page.packed, page.len)?,
            _ => return Err("a column is compressed as none of a segment is".into()),
        };
        if bytes.len() != page.len {
            return Err("a page is other than as long as it says".into());
        }
        Ok(bytes)
    }

    /// Decompresses a page step by step, and shows what there is of it so far, until that is said to be
    /// enough. Says whether it was.
    pub fn unpack_until(
        &mut self,
        page: &Page<'_>,
        enough: &mut dyn FnMut(&[u8]) -> Result<bool, Fault>,
    ) -> Result<bool, Fault> {
        let Compression::ZSTD(_) = page.compression else { return enough(self.unpack(page)?) };
        let zstd = match &mut self.partly {
            Some(zstd) => zstd,
            none => none.insert(Decoder::new().map_err(undone)?),
        };
        zstd.reinit().map_err(undone)?;
        if self.bytes.len() < page.len {
            self.bytes.resize(page.len, 0);
        }
        let (mut input, mut there) = (InBuffer::around(page.packed), 0);
        while there < page.len {
            let end = page.len.min(there + STEP_BYTES);
            let mut output = OutBuffer::around(&mut self.bytes[there..end]);
            zstd.run(&mut input, &mut output).map_err(undone)?;
            let more = output.pos();
            if more == 0 {
                return Ok(false);
            }
            there += more;
            if enough(&self.bytes[..there])? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn decompress(&mut self, packed: &[u8], len: usize) -> Result<&[u8], Fault> {
        let zstd = match &mut self.zstd {
            Some(zstd) => zstd,
            none => none.insert(Decompressor::new().map_err(undone)?),
        };
        self.bytes.clear();
        self.bytes.reserve(len);
        zstd.decompress_to_buffer(packed, &mut self.bytes).map_err(undone)?;
        Ok(&self.bytes)
    }
}

fn undone(error: std::io::Error) -> Fault {
    Fault(format!("a page doesn't decompress: {error}"))
}
