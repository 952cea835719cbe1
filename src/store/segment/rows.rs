//! The records of one row group, decoded.

use std::sync::Arc;

use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::ChunkReader;

use super::decode::{Fault, Texts, each_text, numbers};
use super::schema::{KIND_EVENT, KIND_USER, ROW_GROUP_BYTES_MAX, column};
use crate::model::record::{Event, Keyed, UserPatch};
use crate::model::{AccountId, Change, Date, Record, Seq, Via};

/// Bytes of the texts of one column of one row group: what is written with room to spare.
pub(super) const TEXT_BYTES_MAX: usize = 2 * ROW_GROUP_BYTES_MAX;

/// Records of one row group, in the order of their `seq`.
pub struct Rows {
    account: AccountId,
    seq: Vec<i64>,
    received_at: Vec<i64>,
    /// 0 for updates of users.
    date: Vec<i64>,
    users: Vec<bool>,
    via: Vec<Via>,
    kinds: Texts,
    user_ids: Texts,
    attributes: Texts,
    contexts: Texts,
    /// By row.
    keys: Vec<(usize, Keyed)>,
}

/// One record, picked out of a row group.
pub(super) struct Picked<'a> {
    pub seq: i64,
    pub received_at: i64,
    pub date: i64,
    pub via: Via,
    /// None of an update of a user.
    pub kind: Option<&'a str>,
    pub user_id: Option<&'a str>,
    pub attributes: &'a str,
    pub context: Option<&'a str>,
}

impl Rows {
    /// Decodes a row group whose bytes were found to be as written, and finds each row to be a record.
    pub(super) fn read<R: ChunkReader + 'static>(
        source: &Arc<R>,
        group: &RowGroupMetaData,
        format: u32,
        account: AccountId,
        rows: usize,
    ) -> Result<Rows, Fault> {
        let texts = |column| Texts::read(source, group, column, rows, TEXT_BYTES_MAX);
        let (seq, _) = numbers(source, group, column::SEQ, rows)?;
        let (received_at, _) = numbers(source, group, column::RECEIVED_AT, rows)?;
        let (date, dated) = numbers(source, group, column::DATE, rows)?;
        let users = words(source, group, column::KIND, rows, |word| match word {
            word if word == KIND_EVENT.as_bytes() => Some(false),
            word if word == KIND_USER.as_bytes() => Some(true),
            _ => None,
        })?;
        let via = words(source, group, column::VIA, rows, |word| {
            [Via::Public, Via::Secret, Via::Import]
                .into_iter()
                .find(|via| via.name().as_bytes() == word)
        })?;
        if format == 1 {
            each_text(source, group, column::CONTEXT, rows, |text| match text {
                None => Ok(()),
                Some(_) => Err("a record has a context, which this format has none of".into()),
            })?;
        }
        let rows = Rows {
            account,
            seq,
            received_at,
            date,
            users,
            via,
            kinds: texts(column::TYPE)?,
            user_ids: texts(column::USER_ID)?,
            attributes: texts(column::ATTRIBUTES)?,
            contexts: texts(column::CONTEXT)?,
            keys: Vec::new(),
        };
        rows.check(&dated)?;
        Ok(rows)
    }

    /// None yet, of an account.
    pub(super) fn of(account: AccountId) -> Rows {
        Rows {
            account,
            seq: Vec::new(),
            received_at: Vec::new(),
            date: Vec::new(),
            users: Vec::new(),
            via: Vec::new(),
            kinds: Texts::default(),
            user_ids: Texts::default(),
            attributes: Texts::default(),
            contexts: Texts::default(),
            keys: Vec::new(),
        }
    }

    /// Adds one that was picked out of a row group.
    pub(super) fn push(&mut self, row: Picked<'_>) -> Result<(), Fault> {
        if self.seq.last().map_or(row.seq < 1, |last| row.seq <= *last) {
            return Err("its records are out of order".into());
        }
        if row.kind.is_none() && row.user_id.is_none() {
            return Err("an update of a user has no id".into());
        }
        self.seq.push(row.seq);
        self.received_at.push(row.received_at);
        self.date.push(row.date);
        self.users.push(row.kind.is_none());
        self.via.push(row.via);
        self.kinds.push(row.kind, TEXT_BYTES_MAX)?;
        self.user_ids.push(row.user_id, TEXT_BYTES_MAX)?;
        self.attributes.push(Some(row.attributes), TEXT_BYTES_MAX)?;
        self.contexts.push(row.context, TEXT_BYTES_MAX)?;
        Ok(())
    }

    fn check(&self, dated: &[i16]) -> Result<(), Fault> {
        if self.seq.first().is_some_and(|first| *first < 1) || !self.seq.is_sorted_by(|a, b| a < b)
        {
            return Err("its records are out of order".into());
        }
        for (row, user) in self.users.iter().enumerate() {
            let (dated, typed) = (dated.get(row) == Some(&1), self.kinds.get(row).is_some());
            if *user && (dated || typed || self.user_ids.get(row).is_none()) {
                return Err("an update of a user has what events have, or no id".into());
            }
            if !(*user || dated && typed) {
                return Err("an event has no type or no date".into());
            }
        }
        Ok(())
    }

    /// The same, some of them the first of a submission that has a key; by row.
    pub(super) fn with_keys(self, keys: Vec<(usize, Keyed)>) -> Rows {
        Rows { keys, ..self }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seq.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seq.is_empty()
    }

    /// The place in the log of one of them. `row` is below [`Rows::len`].
    #[must_use]
    pub fn seq(&self, row: usize) -> Seq {
        self.seq[row] as Seq
    }

    /// One of them, with its place in the log. `row` is below [`Rows::len`].
    #[must_use]
    pub fn get(&self, row: usize) -> (Seq, Record<'_>) {
        (self.seq(row), self.record(row))
    }

    /// Each record with its place in the log, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Seq, Record<'_>)> + ExactSizeIterator {
        self.iter_from(0)
    }

    /// The records from this place in the log on.
    pub fn iter_from(
        &self,
        seq: Seq,
    ) -> impl DoubleEndedIterator<Item = (Seq, Record<'_>)> + ExactSizeIterator {
        let first = self.seq.partition_point(|here| (*here as Seq) < seq);
        (first..self.len()).map(|row| (self.seq[row] as Seq, self.record(row)))
    }

    fn record(&self, row: usize) -> Record<'_> {
        let (account, via) = (self.account, self.via[row]);
        let attributes = self.attributes.get(row).unwrap_or_default();
        let (user_id, context) = (self.user_ids.get(row), self.contexts.get(row));
        let change = if self.users[row] {
            let id = user_id.unwrap_or_default();
            Change::User(UserPatch { account, via, id, patch: attributes, context })
        } else {
            Change::Event(Event {
                account,
                via,
                kind: self.kinds.get(row).unwrap_or_default(),
                user_id,
                date: Date::from_millis(self.date[row]),
                attributes,
                context,
            })
        };
        let keyed = self.keys.binary_search_by_key(&row, |(row, _)| *row).ok();
        let keyed = keyed.map(|at| self.keys[at].1);
        Record { received_at: Date::from_millis(self.received_at[row]), keyed, change }
    }
}

/// The words of a column that has only some.
fn words<T, R: ChunkReader + 'static>(
    source: &Arc<R>,
    group: &RowGroupMetaData,
    column: usize,
    rows: usize,
    meaning: impl Fn(&[u8]) -> Option<T>,
) -> Result<Vec<T>, Fault> {
    let mut words = Vec::with_capacity(rows);
    each_text(source, group, column, rows, |word| {
        words.push(word.and_then(&meaning).ok_or("a `kind` or `via` is none that there is")?);
        Ok(())
    })?;
    Ok(words)
}
