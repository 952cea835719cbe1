//! Counts and breakdowns beside naive ones, over random events and random questions.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::breakdown::By;
use super::measure::{Aggregate, Measure};
use super::trial::{ACCOUNT, Trial, event};
use super::*;
use crate::model::overrides::AttributeName;
use crate::model::{Change, DataType, Seq};
use crate::schema::{Reading, Typed, find, read};
use crate::store::index::Facet;
use crate::store::{DAY_MILLIS, Draft, Order, Selection};

/// An event of the log.
#[derive(Clone, Debug)]
struct Told {
    kind: String,
    user: Option<String>,
    date: Date,
    attributes: String,
    context: Option<String>,
}

const KINDS: [&str; 3] = ["view", "buy", "sign up"];

/// Around the day on which summer time began in Zurich, and some far away.
fn dates() -> impl Strategy<Value = i64> {
    let march = Date::parse("2024-03-30T20:00:00Z").unwrap().millis();
    prop_oneof![
        8 => (0..40_i64 * 60).prop_map(move |minutes| march + minutes * 60_000),
        2 => (0..500_i64).prop_map(move |days| march + days * 86_400_000),
        1 => select(vec![-1, 0, Date::MIN.millis(), Date::MAX.millis()]),
    ]
}

/// What an attribute may be.
const VALUES: [&str; 26] = [
    "1",
    "1.0",
    "10e-1",
    "-2.5",
    "100000000000000000000000000001",
    "1e400",
    "0.1",
    "7",
    "\"1\"",
    "\"x\"",
    "\"X\"",
    "\"\\u00e9\"",
    "\"é\"",
    "\"yes\"",
    "\"2001-07-04\"",
    "\"2001-07-04T02:00:00+02:00\"",
    "true",
    "false",
    "null",
    "[1]",
    "[\"x\",null]",
    "{\"b\":1}",
    "{}",
    "994204800",
    "\"\"",
    "\"a\\\"b\"",
];

fn told() -> impl Strategy<Value = Told> {
    let attributes = (select(&VALUES[..]), select(&VALUES[..]), select(&VALUES[..]), 0..32_u8)
        .prop_map(|(a, b, c, has)| {
            let mut members = Vec::new();
            if has & 1 == 0 {
                members.push(format!("\"a\":{a}"));
            }
            if has & 2 == 0 {
                members.push(format!("\"o\":{{\"x\":{b},\"b\":{c}}}"));
            }
            if has & 4 == 0 {
                members.push(format!("\"n\":{c}"));
            }
            if has & 8 == 0 {
                members.push(format!("\"page\":{c}"));
            }
            if has & 16 == 0 {
                members.push(format!("\"referrer\":{b}"));
            }
            format!("{{{}}}", members.join(","))
        });
    let context = select(
        &[
            "",
            r#"{"page":"https://a.example/","browser":"Firefox","visitor":"v1"}"#,
            r#"{"page":"2001-07-04","os":"Linux","visitor":"v2"}"#,
            r#"{"browser":"Firefox","device":"mobile","visitor":"v2"}"#,
            r#"{"browser":"Bot","bot":true}"#,
            r#"{"visitor":"v3","prefetch":true}"#,
            r#"{"page":null,"visitor":5}"#,
        ][..],
    );
    let user = select(&["", "u1", "u2", "u3", "é"][..]);
    (select(&KINDS[..]), user, dates(), attributes, context).prop_map(
        |(kind, user, date, attributes, context)| {
            let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            Told {
                kind: kind.to_owned(),
                user: some(user),
                date: Date::from_millis(date),
                attributes,
                context: some(context),
            }
        },
    )
}

fn filter() -> impl Strategy<Value = Filter> {
    let kind = proptest::option::of(select(&["view", "buy", "nothing"][..]));
    let user = proptest::option::weighted(0.2, select(&["u1", "é", "nobody"][..]));
    let date = || proptest::option::weighted(0.4, dates());
    let clauses = proptest::collection::vec(
        select(
            &[
                "a=1",
                "a exists",
                "n!=1",
                "o.x>=0",
                "a contains x",
                "o.b<2001-07-05",
                "context:browser=Firefox",
                "context:page<3",
            ][..],
        ),
        0..2,
    );
    (kind, user, date(), date(), clauses, any::<bool>()).prop_map(
        |(kind, user, from, to, clauses, bots)| Filter {
            kind: kind.map(str::to_owned),
            user_id: user.map(str::to_owned),
            from: from.map(Date::from_millis),
            to: to.map(Date::from_millis),
            clauses: clauses
                .into_iter()
                .map(|text| Clause::parse(text, &Zone::UTC).unwrap())
                .collect(),
            bots,
            ..Filter::of(ACCOUNT)
        },
    )
}

fn interval() -> impl Strategy<Value = Interval> {
    select(vec![Interval::Hour, Interval::Day, Interval::Week, Interval::Month])
}

fn zone() -> impl Strategy<Value = Zone> {
    let names = ["UTC", "Europe/Zurich", "Asia/Kolkata", "Asia/Kathmandu", "America/New_York"];
    select(names.map(|name| name.parse().unwrap()).to_vec())
}

fn measure() -> impl Strategy<Value = Measure> {
    let names = ["count", "users", "sum:a", "avg:n", "min:o.x", "max:a", "sum:o.b", "min:a"];
    select(names.map(|name| Measure::parse(name).unwrap()).to_vec())
}

fn by() -> impl Strategy<Value = By> {
    let names =
        ["a", "n", "o", "o.x", "o.b", "none", "context:page", "context:browser", "context:device"];
    select(names.map(|name| By::parse(name).unwrap()).to_vec())
}

/// A store of these events, of which the first so many are sealed.
fn store_of(events: &[Told], sealed: usize) -> Trial {
    let trial = Trial::new();
    let draft = |told: &Told| {
        let Told { kind, user, date, attributes, context } = told;
        event(kind, user.as_deref(), date.millis(), attributes, context.as_deref())
    };
    let (early, late) = events.split_at(sealed.min(events.len()));
    if !early.is_empty() {
        trial.put(early.iter().map(draft).collect());
        trial.seal();
    }
    if !late.is_empty() {
        trial.put(late.iter().map(draft).collect());
    }
    trial
}

/// Types that are set, or taken back.
fn sets() -> impl Strategy<Value = Vec<(&'static str, &'static str, Option<DataType>)>> {
    let kind = select(&["event:view", "event:buy", "user"][..]);
    let attribute = select(&["a", "n", "o", "o.x", "o.b"][..]);
    let data_type = proptest::option::weighted(0.8, select(&DataType::ALL[..]));
    proptest::collection::vec((kind, attribute, data_type), 0..6)
}

fn set(trial: &Trial, kind: &str, attribute: &str, data_type: Option<DataType>) {
    let (kind, at) = (kind.parse().unwrap(), Date::from_millis(0));
    let attribute = AttributeName::new(attribute).unwrap();
    trial.put(vec![Draft::data_type(ACCOUNT, kind, attribute, data_type, at)]);
}

/// All events that pass, by looking at every record.
fn passing(store: &Store, filter: &Filter) -> Vec<Told> {
    let overrides = store.overrides(ACCOUNT);
    let mut all = Vec::new();
    store
        .select(&Selection::of(1..=Seq::MAX), Order::Ascending, &mut |_, record| {
            if let Change::Event(event) = &record.change
                && filter.wants(event, &overrides)
            {
                all.push(Told {
                    kind: event.kind.to_owned(),
                    user: event.user_id.map(str::to_owned),
                    date: event.date,
                    attributes: event.attributes.to_owned(),
                    context: event.context.map(str::to_owned),
                });
            }
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    all
}

/// How many distinct users and visitors, all told.
fn distinct<'t>(events: impl IntoIterator<Item = &'t Told>) -> (usize, usize) {
    let (mut users, mut visitors) = (BTreeSet::new(), BTreeSet::new());
    for told in events {
        users.extend(told.user.as_deref());
        let context: Value = serde_json::from_str(told.context.as_deref().unwrap_or("{}")).unwrap();
        visitors.extend(context["visitor"].as_str().map(str::to_owned));
    }
    (users.len(), visitors.len())
}

fn naive_stats(store: &Store, question: &stats::Question) -> Value {
    let all = passing(store, &question.filter);
    let told_of = |events: &[&Told]| {
        let (users, visitors) = distinct(events.iter().copied());
        match question.who {
            stats::Who::Everybody => (users, visitors),
            stats::Who::Users => (users, 0),
            stats::Who::Nobody => (0, 0),
        }
    };
    let mut rows: BTreeMap<(Date, &str), Vec<&Told>> = BTreeMap::new();
    for told in &all {
        let start = question.zone.bucket(question.interval, told.date).start;
        let kind = if question.by_type { &told.kind } else { "" };
        rows.entry((start, kind)).or_default().push(told);
    }
    let rows: Vec<Value> = rows
        .into_iter()
        .map(|((start, kind), events)| {
            let (users, visitors) = told_of(&events);
            json!({"type": kind, "from": question.zone.show(start), "count": events.len(), "users": users, "visitors": visitors})
        })
        .collect();
    let (users, visitors) = told_of(&all.iter().collect::<Vec<_>>());
    json!({
        "interval": question.interval.name(), "count": all.len(), "users": users, "visitors": visitors,
        "rows": rows,
    })
}

/// What comes up most.
fn naive_tops(all: &[Told], top: usize) -> tops::Tops {
    let count = |texts: Vec<String>| {
        let events = texts.len() as u64;
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        texts.into_iter().for_each(|text| *counts.entry(text).or_default() += 1);
        let texts = counts.len();
        let mut rows: Vec<(String, u64)> = counts.into_iter().collect();
        rows.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        rows.truncate(top);
        tops::Top { rows, events, texts, is_too_much: false }
    };
    let facet = |facet: Facet| {
        let text = |told: &Told| {
            let (object, name) = match facet.name().strip_prefix("context:") {
                Some(name) => (told.context.as_deref().unwrap_or("{}"), name),
                None => (told.attributes.as_str(), facet.name()),
            };
            let object: Value = serde_json::from_str(object).unwrap();
            object[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned)
        };
        count(all.iter().filter_map(text).collect())
    };
    let kinds = count(all.iter().map(|told| told.kind.clone()).collect());
    tops::Tops { kinds, facets: Facet::ALL.map(facet), missing: 0 }
}

/// What events come to: the outcome and how many values of theirs were no numbers.
fn naive_outcome(store: &Store, measure: &Measure, events: &[&Told]) -> (Option<f64>, u64) {
    let (of, path) = match measure {
        Measure::Count => return (Some(events.len() as f64), 0),
        Measure::Users => return (Some(distinct(events.iter().copied()).0 as f64), 0),
        Measure::Of(of, path) => (*of, path),
    };
    let (mut numbers, mut bad) = (Vec::new(), 0);
    for told in events {
        let set = store.overrides(ACCOUNT).of_events(&told.kind).get(path.name());
        match read(find(&told.attributes, path), set) {
            Reading::NotSet => {}
            Reading::Typed(Typed::Number(number)) => {
                let x: f64 = number.text().parse().unwrap();
                if x.is_finite() { numbers.push(x) } else { bad += 1 }
            }
            _ => bad += 1,
        }
    }
    let sum = numbers.iter().fold(0.0, |sum, x| sum + x);
    let outcome = match of {
        Aggregate::Sum => Some(sum),
        _ if numbers.is_empty() => None,
        Aggregate::Avg => Some(sum / numbers.len() as f64),
        Aggregate::Min => numbers.into_iter().reduce(f64::min),
        Aggregate::Max => numbers.into_iter().reduce(f64::max),
    };
    (outcome, bad)
}

/// A value and the events that have it.
type OfValue<'t> = (Typed<'static>, Vec<&'t Told>);

/// The values of events: each with its JSON and type, in their order. Kept apart from the answer's way: by
/// comparing values one by one.
fn naive_values<'t>(
    store: &Store,
    by: &By,
    events: &'t [Told],
) -> (Vec<OfValue<'t>>, Vec<&'t Told>, u64) {
    let (mut values, mut not_set, mut as_sent) = (Vec::<OfValue<'_>>::new(), Vec::new(), 0);
    for told in events {
        let reading = match by {
            By::Attribute(path) => {
                let set = store.overrides(ACCOUNT).of_events(&told.kind).get(path.name());
                read(find(&told.attributes, path), set)
            }
            By::Context(path) => {
                let raw = told.context.as_deref().and_then(|context| find(context, path));
                read(raw, Some(DataType::String))
            }
        };
        let value = match reading {
            Reading::NotSet => {
                not_set.push(told);
                continue;
            }
            Reading::Typed(value) => value.into_owned(),
            Reading::NotConverted(raw) => {
                as_sent += 1;
                let Reading::Typed(value) = read(Some(raw), None) else { unreachable!() };
                value.into_owned()
            }
        };
        match values.iter_mut().find(|(known, _)| *known == value) {
            Some((_, events)) => events.push(told),
            None => values.push((value, vec![told])),
        }
    }
    values.sort_by(|(a, _), (b, _)| a.cmp(b));
    (values, not_set, as_sent)
}

fn naive_breakdown(store: &Store, question: &breakdown::Question) -> Value {
    let all = passing(store, &question.filter);
    let (mut values, not_set, as_sent) = naive_values(store, &question.by, &all);
    let outcome = |events: &[&Told]| naive_outcome(store, &question.measure, events).0;
    let ascending = matches!(question.measure, Measure::Of(Aggregate::Min, _));
    values.sort_by(|(_, a), (_, b)| match (outcome(a), outcome(b)) {
        (Some(a), Some(b)) if ascending => a.total_cmp(&b),
        (Some(a), Some(b)) => b.total_cmp(&a),
        (a, b) => a.is_none().cmp(&b.is_none()),
    });
    let part = |events: &[&Told]| {
        let mut part = json!({"result": outcome(events), "events": events.len()});
        if let Some(interval) = question.interval {
            let mut buckets: BTreeMap<Date, Vec<&Told>> = BTreeMap::new();
            for told in events {
                let start = question.zone.bucket(interval, told.date).start;
                buckets.entry(start).or_default().push(told);
            }
            let points = buckets.into_iter().map(
                |(start, events)| json!({"from": question.zone.show(start), "result": outcome(&events)}),
            );
            part["series"] = points.collect();
        }
        part
    };
    let rows = values.iter().take(question.top).map(|(value, events)| {
        let mut row = part(events);
        let mut text = String::new();
        match value {
            Typed::Number(number) => text.push_str(&number.canonical()),
            value => value.write_json(&mut text),
        }
        row["value"] = serde_json::from_str(&text).unwrap();
        row["type"] = value.data_type().name().into();
        row
    });
    let rows: Vec<Value> = rows.collect();
    let others: Vec<&Told> =
        values.iter().skip(question.top).flat_map(|(_, events)| events.iter().copied()).collect();
    let mut other = part(&others);
    other["values"] = values.len().saturating_sub(question.top).into();
    let everything: Vec<&Told> = all.iter().collect();
    let (result, bad) = naive_outcome(store, &question.measure, &everything);
    let mut answer = json!({
        "by": question.by, "measure": question.measure, "result": result, "events": all.len(),
        "rows": rows, "other": other, "not_set": part(&not_set), "not_converted": as_sent + bad,
    });
    if let Some(interval) = question.interval {
        answer["interval"] = interval.name().into();
    }
    answer
}

/// Numbers as they are computed: those that are nearly the same are the same.
fn rounded(value: &mut Value) {
    match value {
        Value::Number(number) => {
            let x: f64 = number.to_string().parse().unwrap();
            // A mean may lie just between two of these texts: it is moved by less than matters, so that the last bit of
            // a sum doesn't decide.
            *value = Value::String(format!("{:.9e}", x * (1.0 + 1e-11)));
        }
        Value::Array(values) => values.iter_mut().for_each(rounded),
        Value::Object(members) => members.values_mut().for_each(rounded),
        _ => {}
    }
}

fn assert_same(question: &dyn std::fmt::Debug, answer: &impl serde::Serialize, mut naive: Value) {
    let mut answer: Value = serde_json::to_value(answer).unwrap();
    rounded(&mut answer);
    rounded(&mut naive);
    // Nothing is indexed here but what is sealed.
    answer.as_object_mut().unwrap().remove("lag");
    // The one who wrote them decides on the order of their names.
    assert_eq!(answer, naive, "{question:#?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn answers_are_those_of_looking_at_every_record(
        events in proptest::collection::vec(told(), 0..120),
        sealed in 0..160_usize,
        sets in sets(),
        counts in proptest::collection::vec((filter(), interval(), zone(), any::<bool>()), 16),
        totalled in proptest::collection::vec((filter(), any::<bool>()), 24),
        times in proptest::collection::vec((dates(), dates(), any::<bool>(), 1..6_usize), 12),
        breakdowns in proptest::collection::vec(
            (filter(), by(), measure(), proptest::option::of(interval()), zone(), select(vec![1_usize, 3, 10, 1000])),
            24,
        ),
    ) {
        let trial = store_of(&events, sealed);
        let store = &trial.store;
        for (kind, attribute, data_type) in sets {
            set(&trial, kind, attribute, data_type);
        }
        for (filter, interval, zone, by_type) in counts {
            let (count, missing) = filter.count(store, &Stop::never()).unwrap();
            prop_assert_eq!((count, missing), (passing(store, &filter).len() as u64, 0));
            for who in [stats::Who::Everybody, stats::Who::Users, stats::Who::Nobody] {
                let question = stats::Question { filter: filter.clone(), interval, zone, by_type, who };
                let answer = question.answer(store, &Stop::never()).unwrap();
                assert_same(&question, &answer, naive_stats(store, &question));
            }
        }
        for (filter, who) in totalled {
            let filter = Filter { clauses: Vec::new(), user_id: None, ..filter };
            let all = passing(store, &filter);
            let (users, visitors) = if who { distinct(&all) } else { (0, 0) };
            let naive = totals::Totals { events: all.len() as u64, users: users as u64, visitors: visitors as u64, missing: 0 };
            let question = totals::Question { who, ..totals::Question::of(&filter) };
            assert_eq!(question.answer(store, &Stop::never()).unwrap(), naive, "{question:?}");
        }
        for (from, to, bots, top) in times {
            let (account, from, to) = (ACCOUNT, Date::from_millis(from), Date::from_millis(to));
            let all = passing(store, &Filter { from: Some(from), to: Some(to), bots, ..Filter::of(ACCOUNT) });
            let question = tops::Question { account, from, to, bots, top };
            assert_eq!(question.answer(store, &Stop::never()).unwrap(), naive_tops(&all, top), "{question:?}");
        }
        for (filter, by, measure, interval, zone, top) in breakdowns {
            let question = breakdown::Question { filter, by, measure, interval, zone, top };
            let answer = question.answer(store, &Stop::never()).unwrap();
            assert_same(&question, &answer, naive_breakdown(store, &question));
        }
    }
}

fn count_by(by: &str, measure: &str) -> breakdown::Question {
    breakdown::Question {
        filter: Filter::of(ACCOUNT),
        by: By::parse(by).unwrap(),
        measure: Measure::parse(measure).unwrap(),
        interval: None,
        zone: Zone::UTC,
        top: 10,
    }
}

fn ask(trial: &Trial, question: &breakdown::Question) -> Value {
    let answer =
        breakdown::Breakdown { lag: 0, ..question.answer(&trial.store, &Stop::never()).unwrap() };
    serde_json::to_value(answer).unwrap()
}

#[test]
fn equal_values_are_one_and_types_hold_at_once() {
    let trial = Trial::new();
    let values = ["1", "1.0", "\"1\"", "\"1.00\"", "true", "\"x\"", "null"];
    let event = |value: &&str| event("buy", None, 0, &format!("{{\"a\":{value}}}"), None);
    trial.put(values.iter().map(event).collect());
    let question = count_by("a", "sum:a");
    let row = |value: Value, data_type: &str, result: u64, events: u64| json!({"value": value, "type": data_type, "result": result, "events": events});
    let as_sent = ask(&trial, &question);
    assert_eq!(
        as_sent["rows"],
        json!([
            row(json!(1), "Number", 2, 2),
            row(json!("1"), "String", 0, 1),
            row(json!("1.00"), "String", 0, 1),
            row(json!("x"), "String", 0, 1),
            row(json!(true), "Boolean", 0, 1),
        ])
    );
    assert_eq!((&as_sent["result"], &as_sent["events"]), (&json!(2), &json!(7)));
    assert_eq!(as_sent["not_set"], json!({"result": 0, "events": 1}));
    assert_eq!(as_sent["not_converted"], 4, "texts and a Boolean are no numbers");

    set(&trial, "event:buy", "a", Some(DataType::Number));
    let numbers = ask(&trial, &question);
    assert_eq!(
        numbers["rows"],
        json!([row(json!(1), "Number", 5, 5), row(json!("x"), "String", 0, 1)])
    );
    assert_eq!(numbers["not_converted"], 2, "once as a value, once as a number");

    set(&trial, "event:buy", "a", None);
    assert_eq!(ask(&trial, &question), as_sent);
}

#[test]
fn words_of_a_question() {
    for text in ["count", "users", "sum:a", "avg:a.b", "min:a:b", "max: "] {
        let measure = Measure::parse(text).unwrap();
        assert_eq!(serde_json::to_value(measure).unwrap(), text);
    }
    for text in ["", "Count", "sum", "sum:", "median:a", ":a", "count:a"] {
        assert_eq!(Measure::parse(text), None, "{text}");
    }
    for text in
        ["a", "a.b", "context", "context:page", "context:browser", "context:os", "context:device"]
    {
        let by = By::parse(text).unwrap();
        assert_eq!(matches!(by, By::Context(_)), text.contains(':'));
        assert_eq!(serde_json::to_value(by).unwrap(), text);
    }
    for text in ["", "context:", "context:visitor", "context:Page"] {
        assert_eq!(By::parse(text), None, "{text}");
    }
}

/// Neither by an estimate's error nor by what comes while the answer is made.
#[test]
fn nothing_has_more_users_than_events() {
    let trial = Trial::new();
    let hour = 3_600_000;
    let visitor = |n: u64| format!("{{\"visitor\":\"v{n}\"}}");
    let counts: [u64; 12] = [1, 16, 17, 60, 90, 100, 150, 200, 300, 400, 500, 700];
    for (place, count) in counts.into_iter().enumerate() {
        let event = |n: u64| {
            let (id, attributes) = (format!("{place} {n}"), format!("{{\"of\":{count}}}"));
            event("view", Some(&id), place as i64 * 48 * hour, &attributes, Some(&visitor(n)))
        };
        trial.put((0..count).map(event).collect());
        if place == 6 {
            trial.seal();
        }
    }
    let by_day = |clause: &str, stop: &Stop<'_>| {
        let clauses = [clause].into_iter().filter(|clause| !clause.is_empty());
        let clauses = clauses.map(|clause| Clause::parse(clause, &Zone::UTC).unwrap()).collect();
        let filter = Filter { clauses, ..Filter::of(ACCOUNT) };
        let question = stats::Question {
            filter,
            interval: Interval::Day,
            zone: Zone::UTC,
            by_type: true,
            who: stats::Who::Everybody,
        };
        question.answer(&trial.store, stop).unwrap()
    };
    let assert_no_more = |answer: &stats::Stats| {
        assert!(answer.users <= answer.count && answer.visitors <= answer.count, "{answer:?}");
        assert_eq!(answer.rows.len(), counts.len());
        for row in &answer.rows {
            assert!(row.users <= row.count && row.visitors <= row.count, "{row:?}");
        }
    };
    for clause in ["", "of exists"] {
        let answer = by_day(clause, &Stop::never());
        assert_no_more(&answer);
        assert!(answer.rows.iter().any(|row| row.users == row.count && row.count > 16));
    }
    let by_count = ask(&trial, &count_by("of", "users"));
    assert_eq!(
        by_count["result"],
        by_day("", &Stop::never()).users,
        "the same, however it is asked"
    );
    for row in by_count["rows"].as_array().unwrap().iter().chain([&by_count]) {
        assert!(row["result"].as_u64() <= row["events"].as_u64(), "{row}");
    }
    // It is asked behind the counting, too: those of the last time aren't counted.
    let comes = std::cell::Cell::new(0);
    let coming = || {
        let come = |n| event("view", Some(&format!("new {n}")), 0, "{}", Some(&visitor(n)));
        trial.put((0..20).map(come).collect());
        comes.set(comes.get() + 1);
        false
    };
    let answer = by_day("", &Stop::new(u64::MAX, &coming));
    let come = 20 * comes.get();
    assert!(come > 0 && answer.count < counts.iter().sum::<u64>() + come, "{come}");
    assert_no_more(&answer);
}

#[test]
fn who_is_told_to_stop_stops() {
    let trial = Trial::new();
    trial.put(vec![event("view", None, 0, "{}", None)]);
    let stopped = count_by("a", "count").answer(&trial.store, &Stop::new(u64::MAX, &|| true));
    assert!(matches!(stopped, Err(Failure::Stopping)));
    let filter = Filter { user_id: Some("u".to_owned()), ..Filter::of(ACCOUNT) };
    trial.put(vec![event("view", Some("u"), 0, "{}", None)]);
    let question = stats::Question {
        filter,
        interval: Interval::Day,
        zone: Zone::UTC,
        by_type: true,
        who: stats::Who::Everybody,
    };
    assert!(matches!(
        question.answer(&trial.store, &Stop::new(u64::MAX, &|| true)),
        Err(Failure::Stopping)
    ));
}

#[test]
fn answers_have_bounds() {
    let trial = Trial::new();
    let hour = 3_600_000;
    let events = |count: i64, attributes: &dyn Fn(i64) -> String| {
        let all: Vec<i64> = (0..count).collect();
        for some in all.chunks(1_000) {
            let event = |n: &i64| event("view", Some("u"), n * hour, &attributes(*n), None);
            trial.put(some.iter().map(event).collect());
        }
    };
    let rows = stats::ROWS_MAX as i64;
    events(rows, &|n| format!("{{\"few\":{},\"n\":{n}}}", n % 2));
    let hours = |clauses: &[&str]| {
        let clause = |text: &&str| Clause::parse(text, &Zone::UTC).unwrap();
        let clauses = clauses.iter().map(clause).collect();
        let filter = Filter { clauses, ..Filter::of(ACCOUNT) };
        let question = stats::Question {
            filter,
            interval: Interval::Hour,
            zone: Zone::UTC,
            by_type: true,
            who: stats::Who::Everybody,
        };
        question.answer(&trial.store, &Stop::never()).map(|stats| stats.rows.len())
    };
    let points = |interval| {
        let question = breakdown::Question { interval, ..count_by("few", "count") };
        question.answer(&trial.store, &Stop::never()).map(|answer| answer.rows.len())
    };
    assert!(matches!(hours(&[]), Ok(all) if all == stats::ROWS_MAX));
    assert!(matches!(points(Some(Interval::Hour)), Ok(2)));
    trial.put(vec![event("view", Some("u"), rows * hour, "{\"few\":1,\"n\":0}", None)]);
    for too_many in [hours(&[]), hours(&["few exists"]), points(Some(Interval::Hour))] {
        let says = too_many.unwrap_err().to_string();
        assert!(says.contains("10000") && says.contains("`from`"), "{says}");
    }
    assert!(matches!(hours(&["few=0"]), Ok(5_000)), "what is left out doesn't count");
    // All values together have more points, those that are shown have not.
    let interval = Some(Interval::Day);
    let by_day = ask(&trial, &breakdown::Question { interval, top: 1, ..count_by("n", "count") });
    let series = by_day["rows"][0]["series"].as_array().unwrap();
    assert_eq!(
        (series.len(), &by_day["rows"][0]["result"]),
        (2, &json!(2)),
        "n is 0 first and last"
    );
    let others = by_day["other"]["series"].as_array().unwrap();
    assert_eq!(others.len(), 417);
    let results = others.iter().map(|point| point["result"].as_i64().unwrap());
    assert_eq!((results.sum(), &by_day["other"]["values"]), (rows - 1, &json!(rows - 1)));
    assert!(matches!(points(None), Ok(2)));
}

/// More distinct texts than are remembered, but few values.
#[test]
fn what_is_remembered_is_bounded() {
    let mut values = breakdown::Values::default();
    for n in 0..200_000 {
        let zeros = "0".repeat(n % 900);
        let found = values.find(&format!("{}.{zeros}", n % 7), None);
        // A point without a digit behind it is no number, nor anything else.
        assert_eq!(found.unwrap().number == 0, zeros.is_empty());
    }
    assert_eq!(values.len(), 8);
    assert!(values.remembered_bytes() <= 4 * 1024 * 1024);
    let many =
        (0..=breakdown::VALUES_MAX).find_map(|n| values.find(&format!("\"{n}\""), None).err());
    assert!(matches!(many, Some(Failure::TooLarge(why)) if why.contains("100000")));
    let mut values = breakdown::Values::default();
    let long = "x".repeat(60 * 1024);
    let many = (0..1_000).find_map(|n| values.find(&format!("\"{n}{long}\""), None).err());
    assert!(matches!(many, Some(Failure::TooLarge(why)) if why.contains("8 MiB")));
}

/// What the store says of a question that goes too far is told as any other question is told.
#[test]
fn the_bound_of_the_store_is_told_to_who_asks() {
    let too_much = store::Error::TooMuch { rows: 20_000_001, rows_max: READ_ROWS_MAX };
    let told = Failure::from(too_much).to_string();
    assert!(told.contains("20000001") && told.contains("20000000"), "{told}");
    assert!(matches!(Failure::from(store::Error::Stopped), Failure::Stopping));
    let trial = Trial::new();
    trial.put(vec![event("a", None, 0, "{}", None)]);
    assert!(matches!(
        types::all(&trial.store, ACCOUNT, &Stop::new(u64::MAX, &|| true)),
        Err(Failure::Stopping)
    ));
}

/// Days that aren't those of UTC are read apart where that is less, and otherwise once: here, where what happened
/// came in no order, each of them may be anywhere.
#[test]
fn what_is_read_apart_is_less_than_all() {
    const MONTHS: i64 = 40;
    let day = |n: i64| n * DAY_MILLIS;
    let trial = Trial::new();
    for part in 0..4 {
        let month = |n: i64| part + 4 * n;
        let events =
            (0..10).flat_map(|n| (0..31).map(move |of_month| day(30 * month(n) + of_month)));
        trial.put(events.map(|at| event("a", Some("u"), at, "{}", None)).collect());
        trial.seal();
    }
    let all = 4 * 310;
    let zone = "Europe/Berlin".parse().unwrap();
    let filter = Filter::of(ACCOUNT);
    let question = stats::Question {
        filter,
        interval: Interval::Month,
        zone,
        by_type: true,
        who: stats::Who::Everybody,
    };
    let asked = std::cell::Cell::new(0);
    let stop = || {
        asked.set(asked.get() + 1);
        false
    };
    let answer = question.answer(&trial.store, &Stop::new(all, &stop)).unwrap();
    assert_eq!(answer.count, all);
    assert!(answer.rows.len() as i64 >= MONTHS - 1);
    assert!(answer.rows.iter().all(|row| row.users == 1));
    assert!(asked.get() < MONTHS, "each stretch by itself asks as often");
    let refused = question.answer(&trial.store, &Stop::new(all - 1, &|| false));
    assert!(matches!(refused, Err(Failure::TooMuch { .. })));
}
