//! What any condition and any attributes have to keep to.

use super::find::{Path, elements, find, members};
use super::{Clause, Interval, OfKind, Zone, shown};
use crate::model::json::{self, DEPTH_CEILING};
use crate::model::limits::DEPTH_MAX;
use crate::model::overrides::NONE;
use crate::model::{DataType, Date};

/// A condition on the first line, attributes behind it.
pub(crate) fn questions(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let (condition, attributes) = text.split_once('\n').unwrap_or((text, "{}"));
    let zone: Zone = "America/Sao_Paulo".parse().expect("a zone");
    dates(condition, &zone);
    let clause = Clause::parse(condition, &zone);
    // Whatever it is, nothing panics.
    let _ = clause.as_ref().map(|clause| clause.holds(attributes, &NONE));
    let _ = elements(attributes).count();
    let Ok(object) = json::parse_object(attributes, DEPTH_MAX) else { return };

    let text = json::to_text(&object);
    assert_eq!(members(&text).count(), object.len(), "{text}");
    let mut types = DataType::ALL.into_iter().cycle();
    let mut set = Vec::new();
    for (name, value) in &object {
        assert_eq!(find(&text, &Path::new(name)), Some(&*value.to_string()), "{name} in {text}");
        set.extend(types.next().map(|data_type| (name.as_str(), data_type)));
    }
    let set: OfKind = set.into_iter().collect();
    let converted = shown(&text, &set, &zone);
    let shown = json::parse_object(&converted.text, DEPTH_CEILING).expect("it stays an object");
    assert!(shown.keys().eq(object.keys()), "{text}");
    assert!(converted.not_converted <= object.len() as u64);
    let Ok(clause) = clause else { return };
    let is_space = |c: char| c.is_ascii_whitespace();
    for set in [&NONE, &set] {
        let holds = clause.holds(&text, set);
        let is_set = object.get(clause.path().name()).is_some_and(|value| !value.is_null());
        if condition.ends_with(" exists") && is_set && !condition.contains(['=', '<', '>', '"']) {
            let before = condition.trim_end_matches("exists").trim_ascii_end();
            let negated = before.strip_suffix("not").is_some_and(|name| name.ends_with(is_space));
            assert!(condition.contains("contains") || holds != negated, "{condition} {text}");
        }
    }
}

fn dates(text: &str, zone: &Zone) {
    let Some(date) = zone.parse(text) else { return };
    assert_eq!(zone.parse(&zone.show(date)), Some(date), "{text}");
    assert!(Date::MIN <= date && date <= Date::MAX);
    for interval in [Interval::Hour, Interval::Day, Interval::Week, Interval::Month] {
        assert!(zone.bucket(interval, date).contains(&date), "{text}");
    }
}

/// A few of each.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let attributes = r#"{"plan":"Pro","price":1.50,"a.b":true,"at":"2024-07-04","cart":{"total":"12"},"é\n":[1,"x"],"n":null}"#;
    let conditions = [
        "plan contains pro",
        "price>=1.5",
        "\"a.b\"=true",
        "at<2018-11-04T00:30:00",
        "2018-02-17 23:30:00",
        "cart.total!=12",
        "plan exists",
        "n not exists",
        "\u{e9}=[1, \"x\"]",
    ];
    conditions.map(|condition| format!("{condition}\n{attributes}").into_bytes()).to_vec()
}
