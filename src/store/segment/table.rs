//! Reading events or users out of a Parquet file that is no segment, or is none any more: an export that
//! another program wrote back, or a table that somebody made.
//!
//! What matters is that a column has the right name and holds what can be understood. Others are passed
//! over, and their order is free. A page of each column is in memory at a time.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type as Physical};
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int32Type, Int64Type};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::schema::types::ColumnDescriptor;

use super::SegmentError;
use super::decode::{Fault, caught, open};
use super::guard::Paged;
use super::reader::{io_error, parse_tail, read_tail};
use crate::model::Date;

/// Rows that are decoded at once.
const BATCH_ROWS: usize = 1024;

const DAY_MILLIS: i64 = 86_400_000;

/// When something was: an instant, or a text that may say one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment<'a> {
    /// The column holds instants.
    Date(Date),
    /// It holds texts.
    Text(&'a str),
}

/// A row of events. Nothing is checked but that a text is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow<'a> {
    /// Its place in the file, from 1.
    pub row: u64,
    /// Column `seq`.
    pub seq: Option<i64>,
    /// Column `kind`, where segments say `event` or `user`; there need not be one.
    pub record: Option<&'a str>,
    /// Column `type`.
    pub kind: Option<&'a str>,
    /// Column `user_id`, which may hold whole numbers too.
    pub user_id: Option<&'a str>,
    /// Column `date`.
    pub date: Option<Moment<'a>>,
    /// Column `received_at`.
    pub received_at: Option<Moment<'a>>,
    /// Column `attributes`: should be JSON text.
    pub attributes: Option<&'a str>,
    /// Column `context`: should be JSON text.
    pub context: Option<&'a str>,
    /// Column `via`.
    pub via: Option<&'a str>,
}

/// A row of users. Nothing is checked but that a text is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRow<'a> {
    /// Its place in the file, from 1.
    pub row: u64,
    /// Column `id`, which may hold whole numbers too.
    pub id: Option<&'a str>,
    /// Column `email`.
    pub email: Option<&'a str>,
    /// Column `attributes`: should be JSON text.
    pub attributes: Option<&'a str>,
    /// Column `created_at`.
    pub created_at: Option<Moment<'a>>,
    /// Column `updated_at`.
    pub updated_at: Option<Moment<'a>>,
}

/// A Parquet file that somebody made.
pub struct Table {
    source: Arc<Paged>,
    path: PathBuf,
    metadata: ParquetMetaData,
}

impl Table {
    /// Opens a file and reads what columns it has.
    ///
    /// # Errors
    /// [`SegmentError::Io`] if it can't be read, [`SegmentError::Damaged`] if it isn't Parquet.
    pub fn open(path: &Path) -> Result<Table, SegmentError> {
        let file = File::open(path).map_err(|source| io_error("open", path, source))?;
        Table::of(file, path)
    }

    /// The same of a file that is open, and that is called so.
    ///
    /// # Errors
    /// As [`Table::open`].
    pub fn of(file: File, path: &Path) -> Result<Table, SegmentError> {
        let io = |source| io_error("open", path, source);
        let len = file.metadata().map_err(io)?.len();
        let tail = read_tail(&file, path, len, None)?;
        let metadata = caught(|| parse_tail(&tail)).map_err(|Fault(why)| {
            SegmentError::Damaged { place: path.display().to_string(), why }
        })?;
        Ok(Table { source: Arc::new(Paged { file, len }), path: path.into(), metadata })
    }

    /// How many rows it says it has.
    #[must_use]
    pub fn rows(&self) -> u64 {
        let rows = self.metadata.row_groups().iter().map(|group| group.num_rows().max(0) as u64);
        rows.fold(0, u64::saturating_add)
    }

    /// Shows each row, taken as an event, until one breaks off.
    ///
    /// # Errors
    /// [`SegmentError::Unfit`] if there is no column `type` or one that can't be understood, or a row can't
    /// be decoded; the rows before it have been shown.
    pub fn events(
        &self,
        visit: &mut dyn FnMut(EventRow<'_>) -> ControlFlow<()>,
    ) -> Result<(), SegmentError> {
        self.events_behind(0, visit)
    }

    /// The same, but for so many rows at the beginning. Whole row groups of them aren't decoded.
    ///
    /// # Errors
    /// As [`Table::events`].
    pub fn events_behind(
        &self,
        rows: u64,
        visit: &mut dyn FnMut(EventRow<'_>) -> ControlFlow<()>,
    ) -> Result<(), SegmentError> {
        use Wanted::{Moments, Numbers, Texts};
        let columns = [
            ("type", Texts),
            ("seq", Numbers),
            ("kind", Texts),
            ("user_id", Texts),
            ("date", Moments),
            ("received_at", Moments),
            ("attributes", Texts),
            ("context", Texts),
            ("via", Texts),
        ];
        self.scan(
            rows,
            columns,
            |row, at, [kind, seq, record, user_id, date, received_at, attributes, context, via]| {
                Ok(visit(EventRow {
                    row,
                    seq: seq.number(at),
                    record: record.text(at)?,
                    kind: kind.text(at)?,
                    user_id: user_id.text(at)?,
                    date: date.moment(at)?,
                    received_at: received_at.moment(at)?,
                    attributes: attributes.text(at)?,
                    context: context.text(at)?,
                    via: via.text(at)?,
                }))
            },
        )
    }

    /// Shows each row, taken as a user, until one breaks off.
    ///
    /// # Errors
    /// As [`Table::events`], but that the column is `id`.
    pub fn users(
        &self,
        visit: &mut dyn FnMut(UserRow<'_>) -> ControlFlow<()>,
    ) -> Result<(), SegmentError> {
        self.users_behind(0, visit)
    }

    /// The same, but for so many rows at the beginning.
    ///
    /// # Errors
    /// As [`Table::users`].
    pub fn users_behind(
        &self,
        rows: u64,
        visit: &mut dyn FnMut(UserRow<'_>) -> ControlFlow<()>,
    ) -> Result<(), SegmentError> {
        use Wanted::{Moments, Texts};
        let columns = [
            ("id", Texts),
            ("email", Texts),
            ("attributes", Texts),
            ("created_at", Moments),
            ("updated_at", Moments),
        ];
        self.scan(rows, columns, |row, at, [id, email, attributes, created_at, updated_at]| {
            Ok(visit(UserRow {
                row,
                id: id.text(at)?,
                email: email.text(at)?,
                attributes: attributes.text(at)?,
                created_at: created_at.moment(at)?,
                updated_at: updated_at.moment(at)?,
            }))
        })
    }

    /// Decodes these columns, of which the first must be there, and shows them row by row, from behind so
    /// many rows on.
    fn scan<const N: usize>(
        &self,
        behind: u64,
        columns: [(&str, Wanted); N],
        mut visit: impl FnMut(u64, usize, &[Cells; N]) -> Result<ControlFlow<()>, Fault>,
    ) -> Result<(), SegmentError> {
        let mut row = 0;
        self.scan_to(&mut row, behind, columns, &mut visit).map_err(|Fault(why)| {
            SegmentError::Unfit { place: format!("{}, row {}", self.path.display(), row + 1), why }
        })
    }

    fn scan_to<const N: usize>(
        &self,
        row: &mut u64,
        behind: u64,
        columns: [(&str, Wanted); N],
        visit: &mut impl FnMut(u64, usize, &[Cells; N]) -> Result<ControlFlow<()>, Fault>,
    ) -> Result<(), Fault> {
        if self.find(columns[0].0)?.is_none() {
            return Err(Fault(format!("it has no column `{}`", columns[0].0)));
        }
        for group in self.metadata.row_groups() {
            let mut left = usize::try_from(group.num_rows()).unwrap_or(0);
            if row.saturating_add(left as u64) <= behind {
                *row += left as u64;
                continue;
            }
            let mut cells = [const { Cells::Absent }; N];
            for (cells, (name, wanted)) in cells.iter_mut().zip(columns) {
                if let Some(column) = self.find(name)? {
                    *cells = caught(|| Cells::open(&self.source, group, column, wanted))?;
                }
            }
            while left > 0 {
                let batch = left.min(BATCH_ROWS);
                caught(|| cells.iter_mut().try_for_each(|cells| cells.load(batch)))?;
                for at in 0..batch {
                    if *row >= behind && visit(*row + 1, at, &cells)?.is_break() {
                        return Ok(());
                    }
                    *row += 1;
                }
                left -= batch;
            }
        }
        Ok(())
    }

    /// The place of the column of this name.
    fn find(&self, name: &str) -> Result<Option<usize>, Fault> {
        let columns = self.metadata.file_metadata().schema_descr().columns();
        let at = columns
            .iter()
            .position(|column| column.path().parts().first().is_some_and(|part| part == name));
        match at.map(|at| (at, &columns[at])) {
            Some((_, column)) if column.path().parts().len() > 1 || column.max_rep_level() > 0 => {
                Err(Fault(format!("its column `{name}` is nested; it should hold texts")))
            }
            at => Ok(at.map(|(at, _)| at)),
        }
    }
}

/// What a column should hold.
#[derive(Clone, Copy)]
enum Wanted {
    Texts,
    Numbers,
    Moments,
}

/// How many milliseconds a number of a column is.
#[derive(Clone, Copy)]
enum Unit {
    Millis,
    Micros,
    Nanos,
    Days,
}

impl Unit {
    fn of(column: &ColumnDescriptor) -> Option<Unit> {
        match (column.logical_type_ref(), column.converted_type(), column.physical_type()) {
            (Some(LogicalType::Timestamp(timestamp)), _, Physical::INT64) => match timestamp.unit {
                TimeUnit::MILLIS => Some(Unit::Millis),
                TimeUnit::MICROS => Some(Unit::Micros),
                TimeUnit::NANOS => Some(Unit::Nanos),
            },
            (_, ConvertedType::TIMESTAMP_MILLIS, Physical::INT64) => Some(Unit::Millis),
            (_, ConvertedType::TIMESTAMP_MICROS, Physical::INT64) => Some(Unit::Micros),
            (_, ConvertedType::DATE, Physical::INT32) => Some(Unit::Days),
            _ => None,
        }
    }

    /// What is finer than a millisecond moves towards the past, as in texts.
    fn date(self, number: i64) -> Date {
        Date::from_millis(match self {
            Unit::Millis => number,
            Unit::Micros => number.div_euclid(1000),
            Unit::Nanos => number.div_euclid(1_000_000),
            Unit::Days => number.saturating_mul(DAY_MILLIS),
        })
    }
}

/// Some rows of a column.
enum Cells {
    Absent,
    Texts(Batch<ByteArrayType>),
    /// Numbers of 64 bits; as texts, where such are wanted.
    Long(Batch<Int64Type>, Option<Unit>, Vec<String>),
    /// Numbers of 32 bits.
    Short(Batch<Int32Type>, Option<Unit>, Vec<String>),
}

impl Cells {
    fn open(
        source: &Arc<Paged>,
        group: &RowGroupMetaData,
        column: usize,
        wanted: Wanted,
    ) -> Result<Cells, Fault> {
        let descr = group.column(column).column_descr();
        let unit = Unit::of(descr);
        let unfit = |should: &str| {
            Err(Fault(format!("its column `{}` should hold {should}", descr.name())))
        };
        match (descr.physical_type(), wanted) {
            (Physical::BYTE_ARRAY, Wanted::Texts | Wanted::Moments) => {
                Ok(Cells::Texts(Batch::open(source, group, column)?))
            }
            (Physical::INT64 | Physical::INT32, Wanted::Moments) if unit.is_none() => {
                unfit("timestamps or texts")
            }
            (Physical::INT64 | Physical::INT32, Wanted::Texts) if unit.is_some() => unfit("texts"),
            (Physical::INT64, _) => {
                Ok(Cells::Long(Batch::open(source, group, column)?, unit, Vec::new()))
            }
            (Physical::INT32, _) => {
                Ok(Cells::Short(Batch::open(source, group, column)?, unit, Vec::new()))
            }
            (_, Wanted::Texts) => unfit("texts"),
            (_, Wanted::Numbers) => unfit("whole numbers"),
            (_, Wanted::Moments) => unfit("timestamps or texts"),
        }
    }

    fn load(&mut self, rows: usize) -> Result<(), Fault> {
        match self {
            Cells::Absent => Ok(()),
            Cells::Texts(batch) => batch.load(rows),
            Cells::Long(batch, _, texts) => {
                batch.load(rows)?;
                *texts = batch.values.iter().map(i64::to_string).collect();
                Ok(())
            }
            Cells::Short(batch, _, texts) => {
                batch.load(rows)?;
                *texts = batch.values.iter().map(i32::to_string).collect();
                Ok(())
            }
        }
    }

    fn text(&self, at: usize) -> Result<Option<&str>, Fault> {
        Ok(match self {
            Cells::Absent => None,
            Cells::Texts(batch) => match batch.get(at).map(ByteArray::data) {
                Some(bytes) => Some(std::str::from_utf8(bytes).map_err(|_| "a text isn't UTF-8")?),
                None => None,
            },
            Cells::Long(batch, _, texts) => batch.place(at).map(|at| texts[at].as_str()),
            Cells::Short(batch, _, texts) => batch.place(at).map(|at| texts[at].as_str()),
        })
    }

    fn number(&self, at: usize) -> Option<i64> {
        match self {
            Cells::Long(batch, ..) => batch.get(at).copied(),
            Cells::Short(batch, ..) => batch.get(at).map(|number| i64::from(*number)),
            _ => None,
        }
    }

    fn moment(&self, at: usize) -> Result<Option<Moment<'_>>, Fault> {
        match self {
            Cells::Long(_, Some(unit), _) | Cells::Short(_, Some(unit), _) => {
                Ok(self.number(at).map(|number| Moment::Date(unit.date(number))))
            }
            _ => Ok(self.text(at)?.map(Moment::Text)),
        }
    }
}

/// Some values of a column, those of them that are there.
struct Batch<T: DataType> {
    reader: ColumnReaderImpl<T>,
    values: Vec<T::T>,
    /// For each row its place among the values; none for a null.
    places: Vec<Option<usize>>,
    levels: Vec<i16>,
    optional: bool,
}

impl<T: DataType> Batch<T> {
    fn open(
        source: &Arc<Paged>,
        group: &RowGroupMetaData,
        column: usize,
    ) -> Result<Batch<T>, Fault> {
        Ok(Batch {
            reader: open(source, group, column)?,
            values: Vec::new(),
            places: Vec::new(),
            levels: Vec::new(),
            optional: group.column(column).column_descr().max_def_level() > 0,
        })
    }

    fn load(&mut self, rows: usize) -> Result<(), Fault> {
        self.values.clear();
        self.levels.clear();
        self.places.clear();
        let levels = Some(&mut self.levels);
        let (records, ..) = self.reader.read_records(rows, levels, None, &mut self.values)?;
        let mut next = 0;
        for row in 0..records {
            let there = !self.optional || self.levels.get(row) == Some(&1);
            self.places.push(there.then_some(next));
            next += usize::from(there);
        }
        if records != rows || next > self.values.len() {
            return Err("a column has fewer rows than the row group".into());
        }
        Ok(())
    }

    fn place(&self, at: usize) -> Option<usize> {
        *self.places.get(at)?
    }

    fn get(&self, at: usize) -> Option<&T::T> {
        self.values.get(self.place(at)?)
    }
}
