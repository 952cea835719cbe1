//! Stats: how much there is, and where it lies.

use std::io::Write;

use serde::Serialize;

use super::{Context, Failure};
use crate::model::Seq;
use crate::store::{FORMAT_VERSION, Pace, SHARED_FORMAT_VERSION, Standing};

#[derive(Serialize)]
struct Stats {
    format: u32,
    /// The stream by which it shares its log.
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    standing: Option<String>,
    accounts: usize,
    events: u64,
    users: u64,
    /// The newest position.
    last_seq: Seq,
    /// Up to where the log lies in segments.
    sealed_through: Seq,
    /// Up to where the log is applied to the users, durably.
    applied: Seq,
    segments: usize,
    segment_bytes: u64,
    /// Of the indexes of segments.
    index_bytes: u64,
    /// Records that no index has yet.
    lag: u64,
    /// Segments that have none yet.
    segments_unindexed: usize,
    /// What isn't sealed yet, and the users.
    hot_bytes: u64,
    disk_bytes: u64,
    erasures_pending: usize,
    damaged: usize,
}

pub(super) fn write(context: &Context<'_>, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let store = context.store;
    let accounts = store.accounts().list();
    let mut users = 0;
    for account in &accounts {
        for user in store.users(account.id, None) {
            user?;
            users += 1;
        }
    }
    // What came a moment ago isn't behind.
    store.follow(&Pace { go_on: &|| true })?;
    let sizes = store.sizes()?;
    let stream = store.belonging()?.map(|to| to.name);
    let stats = Stats {
        format: if stream.is_some() { SHARED_FORMAT_VERSION } else { FORMAT_VERSION },
        standing: stream.is_some().then(|| standing(&store.standing())),
        stream,
        accounts: accounts.len(),
        events: store.event_count()?,
        users,
        last_seq: store.last_seq(),
        sealed_through: sizes.sealed_through,
        applied: sizes.applied,
        segments: sizes.segments,
        segment_bytes: sizes.segment_bytes,
        index_bytes: sizes.index_bytes,
        lag: store.lag().records,
        segments_unindexed: sizes.segments_unindexed,
        hot_bytes: sizes.hot_bytes,
        disk_bytes: sizes.disk_bytes,
        erasures_pending: sizes.erasures_pending,
        damaged: store.damage().len(),
    };
    if json {
        serde_json::to_writer(&mut *out, &stats).map_err(std::io::Error::from)?;
        writeln!(out)?;
        return Ok(());
    }
    let Stats { format, accounts, events, users, last_seq, sealed_through, applied, .. } = stats;
    writeln!(out, "format={format}\naccounts={accounts}\nevents={events}\nusers={users}")?;
    writeln!(out, "last_seq={last_seq}\nsealed_through={sealed_through}\napplied={applied}")?;
    let Stats { segments, segment_bytes, hot_bytes, disk_bytes, erasures_pending, damaged, .. } =
        stats;
    writeln!(out, "segments={segments}\nsegment_bytes={segment_bytes}")?;
    let Stats { index_bytes, lag, segments_unindexed, .. } = stats;
    writeln!(out, "index_bytes={index_bytes}\nlag={lag}\nsegments_unindexed={segments_unindexed}")?;
    writeln!(out, "hot_bytes={hot_bytes}")?;
    writeln!(out, "disk_bytes={disk_bytes}\nerasures_pending={erasures_pending}")?;
    writeln!(out, "damaged={damaged}")?;
    if let (Some(stream), Some(standing)) = (stats.stream, stats.standing) {
        writeln!(out, "stream={stream}\nstanding={standing}")?;
    }
    Ok(())
}

/// How a store stands to the log that it shares, in a line.
fn standing(standing: &Standing) -> String {
    match standing {
        Standing::Alone => "not served".to_owned(),
        Standing::Joining => "joining".to_owned(),
        Standing::Member => "member".to_owned(),
        Standing::Trouble(why) => {
            format!("trouble: {}", why.split_whitespace().collect::<Vec<_>>().join(" "))
        }
    }
}
