//! Stats: how much there is, and where it lies.

use std::io::Write;
use std::ops::ControlFlow;

use serde::Serialize;

use super::{Context, Failure};
use crate::model::{Change, Seq};
use crate::store::{FORMAT_VERSION, Order};

#[derive(Default, Serialize)]
struct Stats {
    format: u32,
    accounts: usize,
    events: u64,
    users: u64,
    last_seq: Seq,
    disk_bytes: u64,
}

pub(super) fn write(context: &Context<'_>, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let store = context.store;
    let accounts = store.accounts().list();
    let mut stats = Stats {
        format: FORMAT_VERSION,
        accounts: accounts.len(),
        last_seq: store.last_seq(),
        disk_bytes: store.sizes().disk_bytes,
        ..Stats::default()
    };
    store.scan(1..=stats.last_seq, Order::Ascending, &mut |_, record| {
        stats.events += u64::from(matches!(record.change, Change::Event(_)));
        Ok(ControlFlow::Continue(()))
    })?;
    for account in &accounts {
        for user in store.users(account.id, None) {
            user?;
            stats.users += 1;
        }
    }
    if json {
        serde_json::to_writer(&mut *out, &stats).map_err(std::io::Error::from)?;
        writeln!(out)?;
        return Ok(());
    }
    let Stats { format, accounts, events, users, last_seq, disk_bytes } = stats;
    writeln!(out, "format={format}\naccounts={accounts}\nevents={events}\nusers={users}")?;
    writeln!(out, "last_seq={last_seq}\ndisk_bytes={disk_bytes}")?;
    Ok(())
}
