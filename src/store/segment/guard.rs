//! What stands between the bytes of a file and the decoder: it looks at what each page claims before
//! memory is taken for it.

use std::fs::File;
use std::os::unix::fs::FileExt;

use bytes::{Buf, Bytes, buf::Reader};
use parquet::basic::Encoding;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use super::thrift::{self, PageHeader};

/// Bytes of one page, compressed or not, of a file that another program wrote. Most make pages of 1 MiB;
/// DuckDB makes one of each column of a row group, which has 122,880 rows.
const PAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes in which the header of a page ends; some hold statistics, with texts.
const HEADER_BYTES: [usize; 2] = [4 * 1024, 256 * 1024];

/// Values of one page: texts alone are more than this long, unless they are all the same.
const PAGE_VALUES_MAX: i64 = 1 << 24;

/// Finds the claims of the page whose header these bytes begin with to be within bounds.
pub(super) fn check_page(bytes: &[u8], page_bytes_max: usize) -> Result<()> {
    let wrong = |why: &str| Err(ParquetError::General(why.to_owned()));
    let Ok(header) = thrift::page_header(bytes) else {
        return wrong("the header of a page is garbled");
    };
    check_header(&header, page_bytes_max)
}

/// The same of a header that was read.
pub(super) fn check_header(header: &PageHeader, page_bytes_max: usize) -> Result<()> {
    let wrong = |why: &str| Err(ParquetError::General(why.to_owned()));
    let PageHeader { kind, uncompressed, values, .. } = *header;
    if !(0..=page_bytes_max as i64).contains(&uncompressed) {
        return wrong("a page claims to be larger than any is");
    }
    // Of a dictionary, memory is taken for each value; a text takes at least four bytes of the page.
    let values_max = if kind == 2 { uncompressed } else { PAGE_VALUES_MAX };
    if !(0..=values_max).contains(&values) {
        return wrong("a page claims to hold more values than fit in it");
    }
    Ok(())
}

/// A part of a file that is in memory, and whose places are those of the file.
pub(super) struct Piece {
    /// Where in the file it begins.
    pub offset: u64,
    pub bytes: Bytes,
    /// Bytes that one of its pages may take.
    pub page_bytes_max: usize,
}

impl Piece {
    fn from(&self, start: u64) -> Result<Bytes> {
        let within = start.checked_sub(self.offset).and_then(|at| usize::try_from(at).ok());
        match within {
            Some(at) if at <= self.bytes.len() => Ok(self.bytes.slice(at..)),
            _ => Err(ParquetError::EOF("a page lies outside of its row group".to_owned())),
        }
    }
}

impl Length for Piece {
    fn len(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

impl ChunkReader for Piece {
    type T = Reader<Bytes>;

    /// Only headers are read so.
    fn get_read(&self, start: u64) -> Result<Reader<Bytes>> {
        let bytes = self.from(start)?;
        check_page(&bytes, self.page_bytes_max)?;
        Ok(bytes.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let bytes = self.from(start)?;
        if length > bytes.len() {
            return Err(ParquetError::EOF("a page ends outside of its row group".to_owned()));
        }
        Ok(bytes.slice(..length))
    }
}

/// A file of which a page at a time is in memory.
pub(super) struct Paged {
    pub file: File,
    pub len: u64,
}

impl Paged {
    fn bytes(&self, start: u64, len: usize) -> Result<Bytes> {
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

impl Length for Paged {
    fn len(&self) -> u64 {
        self.len
    }
}

impl ChunkReader for Paged {
    type T = Reader<Bytes>;

    /// Only headers are read so.
    fn get_read(&self, start: u64) -> Result<Reader<Bytes>> {
        let left = usize::try_from(self.len.saturating_sub(start)).unwrap_or(usize::MAX);
        let [few, many] = HEADER_BYTES.map(|bytes| bytes.min(left));
        let bytes = self.bytes(start, few)?;
        let bytes = if check_page(&bytes, PAGE_BYTES_MAX).is_ok() {
            bytes
        } else {
            let bytes = self.bytes(start, many)?;
            check_page(&bytes, PAGE_BYTES_MAX)?;
            bytes
        };
        Ok(bytes.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        if length > PAGE_BYTES_MAX || start.saturating_add(length as u64) > self.len {
            return Err(ParquetError::EOF("a page is larger than it can be".to_owned()));
        }
        self.bytes(start, length)
    }
}

/// Pages, decompressed, of which none says within that it holds more than its header said.
pub(super) struct Checked<P> {
    pub pages: P,
    /// Whether the column has nulls, so that levels come before the values.
    pub optional: bool,
}

impl<P> Checked<P> {
    fn check(&self, page: &Page) -> Result<()> {
        let (values, levels) = match page {
            Page::DictionaryPage { .. } => return Ok(()),
            Page::DataPage { buf, def_level_encoding, .. } => {
                let levels = match buf.first_chunk::<4>() {
                    _ if !self.optional => Some(0),
                    Some(len) if *def_level_encoding == Encoding::RLE => {
                        Some(u32::from_le_bytes(*len) as usize + 4)
                    }
                    _ => None,
                };
                (buf, levels)
            }
            Page::DataPageV2 { buf, def_levels_byte_len, rep_levels_byte_len, .. } => {
                (buf, Some(*def_levels_byte_len as usize + *rep_levels_byte_len as usize))
            }
        };
        match page.encoding() {
            Encoding::DELTA_LENGTH_BYTE_ARRAY => {
                // What follows the levels begins with the number of values, and as much is allotted.
                let claimed = levels.and_then(|len| delta_values(values.get(len..)?));
                match claimed {
                    Some(claimed) if claimed <= u64::from(page.num_values()) => Ok(()),
                    _ => Err(ParquetError::General(
                        "a page claims to hold more values than its header says".to_owned(),
                    )),
                }
            }
            Encoding::DELTA_BYTE_ARRAY => Err(ParquetError::General(
                "its texts are encoded as DELTA_BYTE_ARRAY; write it with another encoding"
                    .to_owned(),
            )),
            _ => Ok(()),
        }
    }
}

/// The third number of the header of DELTA_BINARY_PACKED.
fn delta_values(mut bytes: &[u8]) -> Option<u64> {
    let mut number = || {
        let mut n = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = bytes.split_first()?;
            bytes = rest;
            n |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(n);
            }
        }
        None
    };
    number()?;
    number()?;
    number()
}

impl<P: PageReader> Iterator for Checked<P> {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Result<Page>> {
        self.get_next_page().transpose()
    }
}

impl<P: PageReader> PageReader for Checked<P> {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.pages.get_next_page()?;
        page.iter().try_for_each(|page| self.check(page))?;
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.pages.skip_next_page()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kind, bytes decompressed, bytes, then the header of that kind with the values; numbers in ZigZag.
    fn page(kind: u8, uncompressed: &[u8], field: u8, values: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x15, kind << 1, 0x15];
        bytes.extend_from_slice(uncompressed);
        bytes.extend_from_slice(&[0x15, 2, ((field - 3) << 4) | 0x0c, 0x15]);
        bytes.extend_from_slice(values);
        bytes.extend_from_slice(&[0, 0]);
        bytes
    }

    #[test]
    fn the_pages_of_a_file() {
        let mut file = tempfile::tempfile().expect("a file");
        let mut bytes = b"PAR1".to_vec();
        bytes.extend_from_slice(&page(0, &[20], 5, &[20]));
        let second = bytes.len() as u64;
        // 2 GiB, less one byte.
        bytes.extend_from_slice(&page(0, &[0xfe, 0xff, 0xff, 0xff, 0x0f], 5, &[20]));
        std::io::Write::write_all(&mut file, &bytes).expect("it is written");
        let paged = Paged { file, len: bytes.len() as u64 };
        assert!(paged.get_read(4).is_ok());
        assert!(paged.get_read(second).is_err());
        assert!(paged.get_read(second + 1000).is_err());
        assert_eq!(paged.get_bytes(0, 4).expect("it is there"), &b"PAR1"[..]);
        assert!(paged.get_bytes(0, bytes.len() + 1).is_err());
        assert!(paged.get_bytes(u64::MAX, 4).is_err());
        assert!(paged.get_bytes(0, usize::MAX).is_err());
    }

    #[test]
    fn what_a_page_may_claim() {
        for (bytes, good) in [
            (page(0, &[200, 1], 5, &[20]), true),
            (page(0, &[201, 1], 5, &[20]), false),
            (page(0, &[202, 1], 5, &[20]), false),
            (page(0, &[20], 5, &[21]), false),
            (page(2, &[20], 7, &[20]), true),
            (page(2, &[20], 7, &[22]), false),
            (page(3, &[20], 8, &[0x80, 0x80, 0x80, 0x10]), true),
            (page(3, &[20], 8, &[0x82, 0x80, 0x80, 0x10]), false),
            (vec![], false),
        ] {
            assert_eq!(check_page(&bytes, 100).is_ok(), good, "{bytes:x?}");
        }
    }

    #[test]
    fn what_a_page_may_hold() {
        let checked = |optional| Checked { pages: std::iter::empty::<()>(), optional };
        let page = |buf: &[u8], encoding| Page::DataPage {
            buf: Bytes::copy_from_slice(buf),
            num_values: 3,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let lengths = Encoding::DELTA_LENGTH_BYTE_ARRAY;
        for (optional, buf, encoding, good) in [
            (false, &[128, 1, 4, 3, 0][..], lengths, true),
            (false, &[128, 1, 4, 4, 0], lengths, false),
            (false, &[128, 1], lengths, false),
            (true, &[1, 0, 0, 0, 9, 128, 1, 4, 3, 0], lengths, true),
            (true, &[1, 0, 0, 0, 9, 128, 1, 4, 4, 0], lengths, false),
            (true, &[255, 255, 255, 255, 9, 128, 1, 4, 3, 0], lengths, false),
            (true, &[1, 0], lengths, false),
            (false, &[], Encoding::PLAIN, true),
            (false, &[128, 1, 4, 3, 0], Encoding::DELTA_BYTE_ARRAY, false),
        ] {
            let found = checked(optional).check(&page(buf, encoding));
            assert_eq!(found.is_ok(), good, "{optional} {buf:?} {encoding}");
        }
    }
}
