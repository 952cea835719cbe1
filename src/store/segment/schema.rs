//! What a segment looks like to Parquet: its columns, how each is encoded, and how large its pieces are.

use std::sync::Arc;

use parquet::basic::{
    Compression, Encoding, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel,
};
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{
    BloomFilterPosition, EnabledStatistics, WriterProperties, WriterPropertiesBuilder,
};
use parquet::schema::types::{ColumnPath, Type, TypePtr};

use super::SegmentError;

/// The format that is written; a greater one is refused, a lesser one is read.
///
/// 1 had no `context`.
pub const FORMAT: u32 = 2;

/// Rows of one row group, which is what is read at once.
///
/// A million generated events (`benches/generator`, 156 bytes of text each), bytes an event at rest and
/// millions of events a second and thread, written / read (with pages of 1 MiB):
///
/// | rows | Zstandard 1 | 3 | 6 |
/// | --- | --- | --- | --- |
/// | 8,192 | 24.4, 1.6 / 4.0 | 22.6, 1.5 / 4.0 | 19.6, 0.7 / 4.4 |
/// | 16,384 | 24.1, 2.0 / 3.5 | 22.4, 1.7 / 3.5 | 19.4, 0.8 / 3.7 |
/// | 32,768 | 24.0, 2.0 / 4.2 | 22.2, 1.9 / 4.2 | 19.3, 0.8 / 4.5 |
/// | 65,536 | 23.9 | 22.2 | 19.2 |
///
/// So small ones cost little, and keep memory low: at most 20 MB while writing, 7 MB while reading
/// (14 MB of events that are all as large as may be), of which the rows keep 4. 6 is smaller than 3 by an eighth and
/// takes twice the time: see [`Effort`].
pub const ROW_GROUP_ROWS_MAX: usize = 16 * 1024;

/// Bytes of the texts of one row group, before compression; the record that reaches it is the last.
pub const ROW_GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How hard Zstandard tries: for what is soon written again, and for what stays as it is.
///
/// A million generated events, merged into one segment: bytes a row, and seconds of a processor that `compact` took, all
/// else included (medians of three; 8 and 12 once). From 8 on it takes at most 8 MiB of memory more than with 6.
///
/// | level | 6 | 8 | 9 | 10 | 12 |
/// | --- | --- | --- | --- | --- | --- |
/// | bytes | 18.7 | 17.4 | 17.4 | 16.8 | 16.5 |
/// | seconds | 2.6 | 3.0 | 2.9 | 3.3 | 4.1 |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Effort {
    /// Level 3.
    #[default]
    Quick,
    /// Level 10.
    Thorough,
}

impl Effort {
    fn level(self) -> i32 {
        match self {
            Effort::Quick => 3,
            Effort::Thorough => 10,
        }
    }
}

/// Bytes of a page, before compression, if rows don't end it first ([`ATTRIBUTES_ROWS`]).
///
/// As other encodings of attributes go, DELTA_LENGTH_BYTE_ARRAY is no smaller than PLAIN and fewer programs read
/// it, and a dictionary is larger.
const PAGE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Rows of a page of attributes, and of one of anything else, in each row group: who looks for a user's events
/// decompresses no more than the pages that they are in, and of attributes what is before the last of them.
///
/// Of 200,000 generated events at level 6 of Zstandard: bytes an event at rest; and microseconds of a processor
/// to get the six or so events of one visit out of a row group, its checksum and their user's id checked (of it
/// for the checksum and the attributes):
///
/// | rows of attributes | rows of others | bytes | a visit |
/// | --- | --- | --- | --- |
/// | all | all | 18.75 | 1,036 (559) |
/// | 4,096 | all | 20.02 | 661 (234) |
/// | 4,096 | 2,048 | 20.13 | 375 (237) |
/// | 2,048 | 2,048 | 21.24 | 313 (176) |
/// | 1,024 | 1,024 | 23.01 | 272 (149) |
///
/// To read whole columns takes within 10 % as long with any of them. Were the rows of a row group ordered by
/// user, attributes would be smaller by 3 % (12.35 bytes an event to 12.71) and those of a visit in one page, of
/// which half is decompressed: not enough to give up the order of the log for.
const ATTRIBUTES_ROWS: usize = 4 * 1024;
const OTHERS_ROWS: usize = 2 * 1024;

/// One in a hundred users that a row group doesn't name has it read in vain.
const BLOOM_FPP: f64 = 0.01;

/// The columns' places.
pub(super) mod column {
    pub const SEQ: usize = 0;
    pub const RECEIVED_AT: usize = 1;
    pub const DATE: usize = 2;
    pub const ACCOUNT: usize = 3;
    pub const KIND: usize = 4;
    pub const TYPE: usize = 5;
    pub const USER_ID: usize = 6;
    pub const ATTRIBUTES: usize = 7;
    pub const CONTEXT: usize = 8;
    pub const VIA: usize = 9;
    pub const COUNT: usize = 10;
}

/// The words of the column `kind`.
pub(super) const KIND_EVENT: &str = "event";
pub(super) const KIND_USER: &str = "user";

/// What a column holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    Number,
    Date,
    Text,
}

/// A column of a schema.
pub(super) struct Column {
    pub name: &'static str,
    pub holds: Holds,
    pub optional: bool,
}

pub(super) const fn required(name: &'static str, holds: Holds) -> Column {
    Column { name, holds, optional: false }
}

pub(super) const fn optional(name: &'static str, holds: Holds) -> Column {
    Column { name, holds, optional: true }
}

/// The columns of a segment, in order. An update of a user has neither `date` nor `type`, its `user_id` is
/// that user's and its `attributes` are the merge patch. In format 1, `context` holds nothing.
pub(super) const COLUMNS: [Column; column::COUNT] = [
    required("seq", Holds::Number),
    required("received_at", Holds::Date),
    optional("date", Holds::Date),
    required("account", Holds::Text),
    required("kind", Holds::Text),
    optional("type", Holds::Text),
    optional("user_id", Holds::Text),
    required("attributes", Holds::Text),
    optional("context", Holds::Text),
    required("via", Holds::Text),
];

/// The schema of these columns, under the name that readers show for a row.
pub(super) fn schema(row: &str, columns: &[Column]) -> Result<TypePtr, SegmentError> {
    let field = |column: &Column| {
        let (physical, logical) = match column.holds {
            Holds::Number => (Physical::INT64, None),
            Holds::Date => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MILLIS))),
            Holds::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        let repetition = if column.optional { Repetition::OPTIONAL } else { Repetition::REQUIRED };
        Type::primitive_type_builder(column.name, physical)
            .with_logical_type(logical)
            .with_repetition(repetition)
            .build()
            .map(Arc::new)
    };
    let fields = columns.iter().map(field).collect::<Result<Vec<_>, _>>().map_err(refused)?;
    let root = Type::group_type_builder(row).with_fields(fields).build().map_err(refused)?;
    Ok(Arc::new(root))
}

/// How a segment is encoded.
pub(super) fn properties(effort: Effort) -> Result<WriterProperties, SegmentError> {
    let path = |column: usize| ColumnPath::from(COLUMNS[column].name);
    let mut builder = base(effort)?
        .set_bloom_filter_position(BloomFilterPosition::AfterRowGroup)
        .set_sorting_columns(Some(vec![SortingColumn {
            column_idx: column::SEQ as i32,
            descending: false,
            nulls_first: false,
        }]))
        .set_column_bloom_filter_enabled(path(column::USER_ID), true)
        .set_column_bloom_filter_fpp(path(column::USER_ID), BLOOM_FPP)
        .set_column_bloom_filter_max_ndv(path(column::USER_ID), ROW_GROUP_ROWS_MAX as u64);
    for column in [column::SEQ, column::RECEIVED_AT, column::DATE] {
        builder = delta(builder, path(column));
    }
    for column in [column::SEQ, column::DATE] {
        builder = builder.set_column_statistics_enabled(path(column), EnabledStatistics::Chunk);
    }
    builder = builder
        .set_data_page_row_count_limit(OTHERS_ROWS)
        .set_column_data_page_row_count_limit(path(column::ATTRIBUTES), ATTRIBUTES_ROWS)
        .set_column_dictionary_enabled(path(column::ATTRIBUTES), false);
    Ok(builder.build())
}

/// What all files have in common.
pub(super) fn base(effort: Effort) -> Result<WriterPropertiesBuilder, SegmentError> {
    let level = ZstdLevel::try_new(effort.level()).map_err(refused)?;
    Ok(WriterProperties::builder()
        .set_created_by(concat!("triggerly version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(level))
        // Texts of people have no place in statistics, and nobody needs pages found by themselves.
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .set_data_page_size_limit(PAGE_BYTES_MAX))
}

/// Numbers that grow slowly.
pub(super) fn delta(builder: WriterPropertiesBuilder, path: ColumnPath) -> WriterPropertiesBuilder {
    builder
        .set_column_dictionary_enabled(path.clone(), false)
        .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED)
}

pub(super) fn refused(error: parquet::errors::ParquetError) -> SegmentError {
    SegmentError::Refused(error.to_string())
}
