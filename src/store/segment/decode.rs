//! Columns out of pages.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parquet::column::reader::{ColumnReaderImpl, get_column_reader, get_typed_column_reader};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::ChunkReader;
use parquet::file::serialized_reader::SerializedPageReader;

use super::guard::Checked;

/// Values that are decoded at once.
const BATCH_ROWS: usize = 1024;

/// What is wrong with something; where it lies is added by who knows.
#[derive(Debug)]
pub(super) struct Fault(pub String);

impl From<ParquetError> for Fault {
    fn from(error: ParquetError) -> Fault {
        Fault(error.to_string())
    }
}

impl From<&str> for Fault {
    fn from(why: &str) -> Fault {
        Fault(why.to_owned())
    }
}

/// Does what the decoder might panic at.
pub(super) fn caught<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err("it holds what no decoder can read".into()))
}

/// A reader of one column of one row group.
pub(super) fn open<T: DataType, R: ChunkReader + 'static>(
    source: &Arc<R>,
    group: &RowGroupMetaData,
    column: usize,
) -> Result<ColumnReaderImpl<T>, Fault> {
    let rows = usize::try_from(group.num_rows()).map_err(|_| "it has less than no rows")?;
    let chunk = group.column(column);
    let pages = SerializedPageReader::new(Arc::clone(source), chunk, rows, None)?;
    let descr = chunk.column_descr_ptr();
    let pages = Checked { pages, optional: descr.max_def_level() > 0 };
    Ok(get_typed_column_reader(get_column_reader(descr, Box::new(pages))))
}

/// All numbers of a column, in the place of a null 0; and, of an optional column, which are there.
pub(super) fn numbers<R: ChunkReader + 'static>(
    source: &Arc<R>,
    group: &RowGroupMetaData,
    column: usize,
    rows: usize,
) -> Result<(Vec<i64>, Vec<i16>), Fault> {
    let mut reader = open::<Int64Type, R>(source, group, column)?;
    let (mut values, mut levels) = (Vec::with_capacity(rows), Vec::new());
    let (records, ..) = reader.read_records(rows, Some(&mut levels), None, &mut values)?;
    if records != rows {
        return Err("a column has fewer rows than the row group".into());
    }
    if values.len() != rows {
        let mut spread = vec![0; rows];
        let there = spread.iter_mut().zip(&levels).filter(|(_, level)| **level == 1);
        there.zip(values).for_each(|((place, _), value)| *place = value);
        values = spread;
    }
    Ok((values, levels))
}

/// Gives each text of a column, in order.
pub(super) fn each_text<R: ChunkReader + 'static>(
    source: &Arc<R>,
    group: &RowGroupMetaData,
    column: usize,
    rows: usize,
    mut visit: impl FnMut(Option<&[u8]>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut reader = open::<ByteArrayType, R>(source, group, column)?;
    let optional = group.column(column).column_descr().max_def_level() > 0;
    let mut values: Vec<ByteArray> = Vec::with_capacity(BATCH_ROWS);
    let mut levels = Vec::with_capacity(BATCH_ROWS);
    let mut left = rows;
    while left > 0 {
        values.clear();
        levels.clear();
        let batch = left.min(BATCH_ROWS);
        let (records, ..) = reader.read_records(batch, Some(&mut levels), None, &mut values)?;
        if records != batch {
            return Err("a column has fewer rows than the row group".into());
        }
        let mut values = values.iter().map(ByteArray::data);
        for row in 0..batch {
            let there = !optional || levels.get(row) == Some(&1);
            let value = if there { values.next() } else { None };
            if there && value.is_none() {
                return Err("a column has fewer values than it says".into());
            }
            visit(value)?;
        }
        left -= batch;
    }
    Ok(())
}

/// The texts of a column, end to end.
#[derive(Default)]
pub(super) struct Texts {
    text: String,
    /// Where each ends; that of a null is marked by [`NULL`].
    ends: Vec<u32>,
}

const NULL: u32 = 1 << 31;

impl Texts {
    /// Reads all texts of a column; together they may take so many bytes.
    pub fn read<R: ChunkReader + 'static>(
        source: &Arc<R>,
        group: &RowGroupMetaData,
        column: usize,
        rows: usize,
        bytes_max: usize,
    ) -> Result<Texts, Fault> {
        debug_assert!(bytes_max < NULL as usize);
        let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(rows));
        each_text(source, group, column, rows, |text| {
            if let Some(text) = text {
                if text.len() > bytes_max - bytes.len() {
                    return Err("its texts are longer than those of a row group ever are".into());
                }
                bytes.extend_from_slice(text);
            }
            ends.push(bytes.len() as u32 | if text.is_none() { NULL } else { 0 });
            Ok(())
        })?;
        let text = String::from_utf8(bytes).map_err(|_| NOT_UTF8)?;
        // The whole is UTF-8, so each text is if none begins within a character.
        if !ends.iter().all(|end| text.is_char_boundary((end & !NULL) as usize)) {
            return Err(NOT_UTF8.into());
        }
        Ok(Texts { text, ends })
    }

    /// Adds the text of one more row; together they may take so many bytes.
    pub fn push(&mut self, text: Option<&str>, bytes_max: usize) -> Result<(), Fault> {
        debug_assert!(bytes_max < NULL as usize);
        let (null, text) = (if text.is_none() { NULL } else { 0 }, text.unwrap_or_default());
        if text.len() > bytes_max - self.text.len() {
            return Err("its texts are longer than those of a row group ever are".into());
        }
        self.text.push_str(text);
        self.ends.push(self.text.len() as u32 | null);
        Ok(())
    }

    /// The text of a row.
    pub fn get(&self, row: usize) -> Option<&str> {
        let end = *self.ends.get(row)?;
        let start =
            row.checked_sub(1).and_then(|row| self.ends.get(row)).map_or(0, |end| end & !NULL);
        if end & NULL != 0 {
            return None;
        }
        self.text.get(start as usize..end as usize)
    }
}

pub(super) const NOT_UTF8: &str = "a text isn't UTF-8";
