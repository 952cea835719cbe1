//! The rows of a count while it is made.

use hashbrown::HashMap;

use super::{Question, ROWS_MAX, Row, SKETCHES_BYTES_MAX, Wanted, Who};
use crate::model::{AccountId, Date};
use crate::query::Failure;
use crate::query::interval::Buckets;
use crate::store::index::{Circumstances, hash_of_user, hash_of_visitor};
use crate::store::{Piece, Sketch};

/// All rows: those of which there is an event.
pub(super) struct Book {
    pub buckets: Buckets,
    pub tallies: Vec<Tally>,
    /// Places in `tallies`, by bucket and type.
    places: HashMap<(u32, u32), usize>,
    kinds: Vec<String>,
    numbers: HashMap<String, u32>,
    from: Option<Date>,
    to: Option<Date>,
    account: AccountId,
    by_type: bool,
}

/// Events of one type in one stretch.
pub(super) struct Tally {
    pub bucket: u32,
    kind: u32,
    pub count: u64,
    /// While they are being counted.
    pub distinct: Option<Box<Distinct>>,
    /// About how many, once that is known.
    pub users: u64,
    pub visitors: u64,
}

/// Who is behind some events.
#[derive(Default)]
pub(super) struct Distinct {
    pub users: Sketch,
    pub visitors: Sketch,
}

impl Distinct {
    /// Users and visitors of so many events, about: each is of one at the most.
    pub fn estimates(&self, events: u64) -> (u64, u64) {
        (self.users.estimate().min(events), self.visitors.estimate().min(events))
    }
}

impl Tally {
    /// Bytes of what `distinct` may take.
    fn sketches_bytes(&self) -> u64 {
        2 * Sketch::bytes_of(self.count) as u64
    }
}

impl Book {
    pub fn new(question: &Question) -> Book {
        Book {
            buckets: Buckets::new(question.interval, question.zone),
            tallies: Vec::new(),
            places: HashMap::new(),
            kinds: Vec::new(),
            numbers: HashMap::new(),
            from: question.filter.from,
            to: question.filter.to,
            account: question.filter.account,
            by_type: question.by_type,
        }
    }

    /// Whether there are more rows than there may be.
    pub fn is_full(&self) -> bool {
        self.tallies.len() > ROWS_MAX
    }

    /// Refuses to go on if there are.
    pub fn check(&self) -> Result<(), Failure> {
        if !self.is_full() {
            return Ok(());
        }
        Err(Failure::TooLarge(format!(
            "the answer would have more than {ROWS_MAX} rows; narrow it with `from`, `to` and `type`, or count \
             by a longer `interval`"
        )))
    }

    /// What of a stretch of time is asked about.
    pub fn clip(&self, start: Date, end: Date) -> (Date, Date) {
        (self.from.map_or(start, |from| from.max(start)), self.to.map_or(end, |to| to.min(end)))
    }

    /// The bucket that a stretch of time is a part of, if all of it is asked about.
    pub fn holding(&mut self, start: Date, millis: i64) -> Option<u32> {
        let end = Date::from_millis(start.millis() + millis);
        if self.clip(start, end) != (start, end) {
            return None;
        }
        let bucket = self.buckets.number(start);
        (end <= self.buckets.bounds(bucket).end).then_some(bucket)
    }

    /// The row of a bucket and a type, if there is one.
    pub fn find(&self, bucket: u32, kind: &str) -> Option<usize> {
        let kind = self.numbers.get(if self.by_type { kind } else { "" })?;
        self.places.get(&(bucket, *kind)).copied()
    }

    /// Adds a number of events.
    pub fn add(&mut self, bucket: u32, kind: &str, count: u64) {
        let kind = self.kind(kind);
        let row = self.row(bucket, kind);
        self.tallies[row].count += count;
    }

    fn kind(&mut self, kind: &str) -> u32 {
        let kind = if self.by_type { kind } else { "" };
        if let Some(number) = self.numbers.get(kind) {
            return *number;
        }
        let number = self.kinds.len() as u32;
        self.kinds.push(kind.to_owned());
        self.numbers.insert(kind.to_owned(), number);
        number
    }

    fn row(&mut self, bucket: u32, kind: u32) -> usize {
        *self.places.entry((bucket, kind)).or_insert_with(|| {
            self.tallies.push(Tally {
                bucket,
                kind,
                count: 0,
                distinct: None,
                users: 0,
                visitors: 0,
            });
            self.tallies.len() - 1
        })
    }

    /// Counts or sketches rows of a piece. Rows that are sketched alone are of tallies that are prepared for it.
    pub fn tell(&mut self, piece: &Piece<'_>, rows: &[u32], wanted: Wanted) {
        // Of each type: its number, and the bucket and the row that it was last in.
        let mut recent: Vec<Option<(u32, u32, Option<usize>)>> = vec![None; piece.kinds().len()];
        let (with_users, with_visitors) =
            (wanted.sketches >= Who::Users, wanted.sketches == Who::Everybody);
        let mut users = vec![None; if with_users { piece.users().len() } else { 0 }];
        let mut visitors = vec![None; if with_visitors { piece.contexts().len() } else { 0 }];
        for row in rows {
            let row = *row as usize;
            let bucket = self.buckets.number(piece.date(row));
            let number = piece.kind(row) as usize;
            let place = match recent[number] {
                Some((_, last, place)) if last == bucket => place,
                known => {
                    let kind =
                        known.map_or_else(|| self.kind(piece.kinds()[number]), |(kind, ..)| kind);
                    let place = if wanted.counts {
                        Some(self.row(bucket, kind))
                    } else {
                        self.places.get(&(bucket, kind)).copied()
                    };
                    recent[number] = Some((kind, bucket, place));
                    place
                }
            };
            // There is no row for what came since they were counted.
            let Some(place) = place else { continue };
            let tally = &mut self.tallies[place];
            if wanted.counts {
                tally.count += 1;
                if with_users {
                    tally.distinct.get_or_insert_default();
                }
            }
            if !with_users {
                continue;
            }
            let Some(distinct) = &mut tally.distinct else { continue };
            if let Some(user) = piece.user(row) {
                let user = user as usize;
                let hash = || hash_of_user(self.account, piece.users()[user]);
                distinct.users.insert(*users[user].get_or_insert_with(hash));
            }
            if with_visitors && let Some(number) = piece.context_number(row) {
                let number = number as usize;
                let visitor = visitors[number].get_or_insert_with(|| {
                    let visitor = Circumstances::of(piece.contexts()[number]).visitor;
                    visitor.map(|visitor| hash_of_visitor(&visitor))
                });
                if let Some(visitor) = visitor {
                    distinct.visitors.insert(*visitor);
                }
            }
        }
    }

    /// Bytes that sketches of all rows may take.
    pub fn sketches_bytes(&self) -> u64 {
        self.tallies.iter().map(Tally::sketches_bytes).sum()
    }

    /// The rows, in portions that can be sketched at a time; all of a bucket are in the same.
    pub fn portions(&self) -> Result<Vec<Vec<usize>>, Failure> {
        let mut rows: Vec<usize> = (0..self.tallies.len()).collect();
        rows.sort_unstable_by_key(|row| self.buckets.bounds(self.tallies[*row].bucket).start);
        let (mut portions, mut bytes) = (vec![Vec::new()], 0);
        for of_bucket in rows.chunk_by(|a, b| self.tallies[*a].bucket == self.tallies[*b].bucket) {
            let more: u64 = of_bucket.iter().map(|row| self.tallies[*row].sketches_bytes()).sum();
            if more > SKETCHES_BYTES_MAX {
                return Err(Failure::TooLarge(format!(
                    "{} types in one stretch of time are more than can have their users told apart; name a \
                     `type`, or count by a shorter `interval`",
                    of_bucket.len()
                )));
            }
            if bytes + more > SKETCHES_BYTES_MAX {
                portions.push(Vec::new());
                bytes = 0;
            }
            bytes += more;
            if let Some(portion) = portions.last_mut() {
                portion.extend(of_bucket);
            }
        }
        Ok(portions)
    }

    /// What the answer shows.
    pub fn into_rows(self) -> Vec<Row> {
        let Book { buckets, mut tallies, kinds, .. } = self;
        let key = |tally: &Tally| {
            (buckets.bounds(tally.bucket).start, kinds[tally.kind as usize].as_str())
        };
        tallies.sort_unstable_by(|a, b| key(a).cmp(&key(b)));
        let row = |tally: &Tally| Row {
            r#type: kinds[tally.kind as usize].clone(),
            from: buckets.begin(tally.bucket),
            count: tally.count,
            users: tally.users,
            visitors: tally.visitors,
        };
        tallies.iter().map(row).collect()
    }
}
