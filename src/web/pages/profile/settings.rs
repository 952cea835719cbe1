//! Sites, retention, time zone.

use super::{Failure, Field, Page, Response, Visit, answer, done, page};
use crate::model::Sites;
use crate::retention::{DAYS_MAX, Going};
use crate::schema::Zone;
use crate::store::Draft;

/// Sets from where calls of browsers may come: a host a line; from anywhere if there is none.
pub(in crate::web) fn set_sites(visit: &Visit<'_>) -> Result<Response, Failure> {
    let text = visit.field("sites");
    let hosts: Vec<_> =
        text.split([',', '\n', ' ', '\t', '\r']).filter(|host| !host.is_empty()).collect();
    let sites = if hosts.is_empty() { Ok(None) } else { Sites::new(hosts).map(Some) };
    match sites {
        Ok(sites) => {
            visit.change(vec![Draft::sites(visit.account()?.id, sites, visit.at())])?;
            done(visit, "sites")
        }
        Err(error) => {
            let mut page = page(visit)?;
            page.sites = Field::wrong(text, error);
            answer(visit, page)
        }
    }
}

/// Days as they are typed: none for ever.
fn days(text: &str) -> Result<Option<u32>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let days = text.parse().ok().filter(|days| (1..=DAYS_MAX).contains(days));
    days.map(Some).ok_or_else(|| format!("Events are kept for 1 to {DAYS_MAX} days, or for ever"))
}

/// Sets how long events are kept.
pub(in crate::web) fn set_retention(visit: &Visit<'_>) -> Result<Response, Failure> {
    let text = visit.field("days");
    match days(&text) {
        Ok(days) => {
            visit.change(vec![Draft::retention(visit.account()?.id, days, visit.at())])?;
            done(visit, "retention")
        }
        Err(error) => {
            let mut page = page(visit)?;
            page.retention = Field::wrong(text, error);
            answer(visit, page)
        }
    }
}

/// Says what a retention would take now.
pub(super) fn try_retention(visit: &Visit<'_>, text: &str, page: &mut Page) -> Result<(), Failure> {
    match days(text) {
        Err(error) => page.retention = Field::wrong(text, error),
        Ok(days) => {
            page.retention = Field::new(text.trim());
            let going = match days {
                None => Some(Going::default()),
                Some(days) => {
                    let (account, go_on) = (visit.account()?.id, || !visit.stop.is_due());
                    Going::count(&visit.rooms.store, account, days, visit.at(), &go_on)?
                }
            };
            let format = visit.format();
            page.dry_run = Some(match going {
                None => return Err(crate::asking::stopping().into()),
                Some(Going { events: 0, .. }) => "Nothing would go now.".to_owned(),
                Some(Going { events, bytes, .. }) => format!(
                    "{} events would go now, {} as they are exported.",
                    format.count(events),
                    format.bytes(bytes)
                ),
            });
        }
    }
    Ok(())
}

/// Sets the time zone that pages show the account in.
pub(in crate::web) fn set_zone(visit: &Visit<'_>) -> Result<Response, Failure> {
    let text = visit.field("zone");
    match text.trim().parse::<Zone>() {
        Ok(zone) => {
            let (account, name) = (visit.account()?.id, zone.to_string());
            let name = (zone != Zone::UTC).then_some(name.as_str());
            visit.change(vec![Draft::zone(account, name, visit.at())])?;
            done(visit, "zone")
        }
        Err(_) => {
            let mut page = page(visit)?;
            let right = "A zone is called as in the IANA database, as Europe/Berlin";
            page.zone = Field::wrong(text, right);
            answer(visit, page)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_few_or_for_ever() {
        for (text, expected) in [
            ("", Ok(None)),
            (" ", Ok(None)),
            ("1", Ok(Some(1))),
            (" 36500 ", Ok(Some(DAYS_MAX))),
            ("0", Err(())),
            ("36501", Err(())),
            ("-1", Err(())),
            ("ten", Err(())),
        ] {
            assert_eq!(days(text).map_err(drop), expected, "{text}");
        }
    }
}
