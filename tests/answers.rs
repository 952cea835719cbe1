//! Every answer is what one gets who reads an export line by line and counts by hand: on random events and
//! users, with random filters and zones, while types are set and taken back, parts are sealed, users and
//! events erased and the server killed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod naive;
mod support;

use std::collections::BTreeMap;

use naive::Event;
use naive::questions::{self, Filter, Key, Measure, Tally};
use naive::values::{Clause, DATES, Overrides, TYPES, Test};
use naive::zones::{DAY, INTERVALS, Interval, ZONES, Zone, millis};
use serde_json::{Map, Value, json};
use support::random::Random;
use support::server::verb;
use support::{Reply, Server, escape, merge, request};

/// Distinct counts are exact up to so many; beyond, they are off by six times the standard error at the most, which
/// is 1.5 %, and of few by so many that chance makes it once in a billion estimates.
const EXACT_MAX: u64 = 16;
const ERROR_MAX: f64 = 6.0 * 0.015;
const LOST_MAX: f64 = 3.0;

/// Those who come and go, beside those who are asked about by name.
const CROWD: u64 = 300;

const KINDS: [&str; 4] = ["view", "buy", "sign up", "Ünïcode 😀"];

const USERS: [&str; 12] =
    ["u1", "u2", "u3", "ann@example.com", "Zoë", "😀", "a/b", "7", "x=y", "u10", "u11", "u12"];

const NAMES: [&str; 10] =
    ["n", "s", "mixed", "when", "flag", "list", "o", "o.a", "o.deep.x", "odd = \"name\""];

#[test]
fn answers_are_right() {
    check(&mut Random::new(), 8, 12);
}

#[test]
#[ignore = "takes minutes"]
fn many_answers_are_right() {
    let mut random = Random::new();
    for store in 0..12 {
        println!("store {store}");
        check(&mut random, 25, 30);
    }
}

fn check(random: &mut Random, rounds: u64, asked: u64) {
    let dir = tempfile::tempdir().unwrap();
    let mut scene = Scene::new(Server::start(dir.path()));
    for round in 0..rounds {
        scene.track(random);
        for _ in 0..2 {
            match random.within(0..10) {
                0..3 => scene.compact(),
                3..7 => scene.set_type(random),
                7 => scene.take_back_a_type(random),
                8 if round > 1 => scene.erase(random),
                9 if random.one_in(3) => scene.server = scene.server.again(),
                _ => {}
            }
        }
        let events = scene.events();
        for _ in 0..asked {
            scene.ask(&events, random);
        }
        scene.check_types(&events);
    }
}

/// A server, and what is known of it.
struct Scene {
    server: Server,
    /// Attributes of events as they were sent, by the number that is one of them.
    sent: Vec<Map<String, Value>>,
    /// What was sent of users, in order: before how many of those events, who, and the patch.
    patches: Vec<(usize, &'static str, Map<String, Value>)>,
    overrides: Overrides,
}

impl Scene {
    fn new(server: Server) -> Scene {
        Scene { server, sent: Vec::new(), patches: Vec::new(), overrides: Overrides::new() }
    }

    fn track(&mut self, random: &mut Random) {
        let mut lines = String::new();
        for _ in 0..random.within(20..120) {
            let mut attributes = attributes(random);
            attributes.insert("#".to_owned(), self.sent.len().into());
            let mut event = attributes.clone();
            self.sent.push(attributes);
            event.insert("type".to_owned(), kind(random).into());
            event.insert("date".to_owned(), naive::zones::text(moment(random)).into());
            let user = match random.within(0..6) {
                0 => None,
                1..4 => Some(random.pick(&USERS).to_owned()),
                _ => Some(format!("m{}", random.within(0..CROWD))),
            };
            if let Some(user) = user {
                event.insert("user_id".to_owned(), user.into());
            }
            let event = Value::from(event).to_string();
            if random.one_in(8) { self.pixel(&event, random) } else { lines += &(event + "\n") }
        }
        let target = format!("/v1/events/track?api_token={}", self.server.api_token);
        let headers = [("Content-Type", "application/x-ndjson")];
        let reply = support::post(self.server.address, &target, &headers, lines.as_bytes());
        assert_eq!(reply.status, 200, "{reply:?}");
        for _ in 0..random.within(0..12) {
            let user = random.pick(&USERS);
            let patch = patch(random);
            let mut sent = patch.clone();
            sent.insert("id".to_owned(), user.into());
            self.server.track("users", &Value::from(sent).to_string());
            self.patches.push((self.sent.len(), user, patch));
        }
    }

    /// As browsers call, and bots.
    fn pixel(&self, event: &str, random: &mut Random) {
        let agents = [
            "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        ];
        let referers =
            ["https://example.com/", "https://example.com/pricing", "https://example.com/ü?a=1"];
        let mut headers =
            vec![("User-Agent", random.pick(&agents)), ("Referer", random.pick(&referers))];
        if random.one_in(5) {
            headers.push(("Sec-Purpose", "prefetch"));
        }
        let target = self.server.target("events", event);
        let reply = request(self.server.address, "GET", &target, &headers);
        assert_eq!(reply.status, 200, "{event}: {reply:?}");
    }

    fn compact(&self) {
        let output = verb(&self.server.dir, &["compact"]);
        assert!(output.status.success(), "{output:?}");
    }

    fn of_type(&self, method: &str, kind: &str, name: &str, body: &str) -> Reply {
        let target = format!("/v1/types/{}/{}", escape(kind), escape(name));
        let bearer = format!("Authorization: Bearer {}", self.server.secret_key);
        let length = body.len();
        let text = format!(
            "{method} {target} HTTP/1.1\r\nHost: t\r\n{bearer}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        support::parse(&support::raw(self.server.address, text.as_bytes())).expect("an answer")
    }

    fn set_type(&mut self, random: &mut Random) {
        let kind =
            if random.one_in(5) { "user".to_owned() } else { format!("event:{}", kind(random)) };
        let (name, to) = (random.pick(&NAMES), random.pick(&TYPES));
        let reply = self.of_type("PUT", &kind, name, &json!({"type": to}).to_string());
        assert_eq!(reply.status, 200, "{kind} {name} {to}: {reply:?}");
        self.overrides.insert((kind, name.to_owned()), to);
    }

    fn take_back_a_type(&mut self, random: &mut Random) {
        if self.overrides.is_empty() {
            return;
        }
        let nth = random.within(0..self.overrides.len() as u64) as usize;
        let (kind, name) = self.overrides.keys().nth(nth).cloned().unwrap();
        let reply = self.of_type("DELETE", &kind, &name, "");
        assert_eq!(reply.status, 200, "{kind} {name}: {reply:?}");
        let again = self.of_type("DELETE", &kind, &name, "");
        assert_eq!(again.status, 404, "{kind} {name}: {again:?}");
        self.overrides.remove(&(kind, name));
    }

    fn erase(&mut self, random: &mut Random) {
        let target = if random.one_in(2) {
            let gone = random.pick(&USERS);
            self.patches.retain(|(_, user, _)| *user != gone);
            format!("/v1/users/{}", escape(gone))
        } else {
            let from = 1 + random.within(0..28);
            format!(
                "/v1/events?type={}&from=2025-03-{from:02}&to=2025-03-{:02}",
                escape(kind(random)),
                from + 2
            )
        };
        let bearer = format!("Bearer {}", self.server.secret_key);
        let reply = request(self.server.address, "DELETE", &target, &[("Authorization", &bearer)]);
        assert!([200, 404].contains(&reply.status), "{target}: {reply:?}");
    }

    /// What is exported, with the attributes as they were sent.
    fn events(&self) -> Vec<Event> {
        let mut events = naive::exported(&self.server);
        for event in &mut events {
            let number = event.attributes["#"].as_u64().unwrap() as usize;
            let of_kind = format!("event:{}", event.kind);
            let shown = naive::values::shown(&self.sent[number], &of_kind, &self.overrides);
            assert!(event.attributes == shown, "{:?}\nshould be\n{shown:?}", event.attributes);
            event.attributes = self.sent[number].clone();
        }
        events
    }

    #[track_caller]
    fn answer(&self, target: &str) -> Value {
        let reply = self.server.read(target);
        assert_eq!(reply.status, 200, "{target}: {reply:?}");
        let answer = reply.json();
        assert!(answer.get("missing").is_none(), "{target}: {answer}");
        answer
    }

    fn ask(&self, events: &[Event], random: &mut Random) {
        match random.within(0..12) {
            0..3 => self.ask_stats(events, random),
            3 => self.ask_funnel(events, random),
            4 => self.ask_retention(events, random),
            5..8 => self.ask_breakdown(events, random),
            8 => self.ask_timeline(events, random),
            9 => self.ask_users(events, random),
            _ => self.ask_events(events, random),
        }
    }

    fn ask_stats(&self, events: &[Event], random: &mut Random) {
        let filter = filter(events, random);
        let interval = random.pick(&INTERVALS);
        let target = format!("/v1/stats?interval={}{}", interval.name(), filter.parameters());
        let answer = self.answer(&target);
        let counted = filter.counted(events, &self.overrides);
        let (all, rows) = questions::stats(&counted, filter.zone, interval);
        let is = |what: &str, of: &Value, tally: &Tally| {
            assert_eq!(of["count"], tally.count, "{target}: {what}");
            about(&of["users"], tally.users.len(), &target);
            about(&of["visitors"], tally.visitors.len(), &target);
        };
        is("all", &answer, &all);
        let told = answer["rows"].as_array().unwrap();
        let keys: Vec<(i64, String)> =
            told.iter().map(|row| (at(&row["from"]), text(&row["type"]))).collect();
        assert!(keys.iter().eq(rows.keys()), "{target}:\n{keys:?}\nshould be\n{:?}", rows.keys());
        for (row, (key, tally)) in told.iter().zip(&rows) {
            is(&format!("{key:?}"), row, tally);
        }
    }

    fn ask_funnel(&self, events: &[Event], random: &mut Random) {
        let filter = Filter { kind: None, ..filter(events, random) };
        let steps: Vec<String> =
            (0..random.within(2..5)).map(|_| kind(random).to_owned()).collect();
        let (within, millis) = random.pick(&[
            ("30m", 1_800_000),
            ("12h", DAY / 2),
            ("7d", 7 * DAY),
            ("90d", 90 * DAY),
        ]);
        let target = format!(
            "/v1/funnel?steps={}&within={within}{}",
            escape(&steps.join(",")),
            filter.parameters()
        );
        let answer = self.answer(&target);
        let reached = questions::funnel(&filter.counted(events, &self.overrides), &steps, millis);
        let told = answer["steps"].as_array().unwrap();
        assert_eq!(told.len(), steps.len(), "{target}");
        for (n, row) in told.iter().enumerate() {
            assert_eq!(row["type"], steps[n], "{target}");
            assert_eq!(row["users"], reached[n], "{target}: {answer} should be {reached:?}");
            let share = |of: u64| if of == 0 { 0.0 } else { reached[n] as f64 / of as f64 };
            near(&row["of_first"], share(reached[0]), &target);
            near(&row["of_previous"], share(reached[n.saturating_sub(1)]), &target);
        }
    }

    fn ask_retention(&self, events: &[Event], random: &mut Random) {
        let filter = Filter { kind: None, ..filter(events, random) };
        let interval = random.pick(&INTERVALS[1..]);
        let (first, back) = (kind(random), kind(random));
        let target = format!(
            "/v1/retention?first={}&back={}&interval={}{}",
            escape(first),
            escape(back),
            interval.name(),
            filter.parameters()
        );
        let counted = filter.counted(events, &self.overrides);
        let cohorts = questions::retention(&counted, first, back, filter.zone, interval);
        if cohorts.values().any(|(_, back)| back.len() > 100) {
            let reply = self.server.read(&target);
            assert_eq!(
                (reply.status, reply.code().as_str()),
                (400, "question_too_large"),
                "{target}"
            );
            return;
        }
        let answer = self.answer(&target);
        let told = answer["cohorts"].as_array().unwrap().iter().map(|cohort| {
            let back = cohort["back"].as_array().unwrap();
            let back = back.iter().map(|back| back.as_u64().unwrap()).collect();
            (at(&cohort["from"]), (cohort["users"].as_u64().unwrap(), back))
        });
        let told: BTreeMap<i64, (u64, Vec<u64>)> = told.collect();
        assert_eq!(told, cohorts, "{target}");
    }

    fn ask_breakdown(&self, events: &[Event], random: &mut Random) {
        let filter = filter(events, random);
        let by = match random.within(0..6) {
            0 => random.pick(&["context:page", "context:browser", "context:os", "context:device"]),
            _ => random.pick(&NAMES),
        };
        let name = random.pick(&["n", "n", "mixed", "o.a", "when", "s"]).to_owned();
        let measure = match random.within(0..8) {
            0 => Measure::Users,
            1 => Measure::Sum(name),
            2 => Measure::Avg(name),
            3 => Measure::Min(name),
            4 => Measure::Max(name),
            _ => Measure::Count,
        };
        let top = random.pick(&[1, 3, 10, 1000]);
        let interval = random.one_in(3).then(|| random.pick(&INTERVALS[1..]));
        let mut target = format!(
            "/v1/breakdown?by={}&measure={}&top={top}{}",
            escape(by),
            escape(&measure.text()),
            filter.parameters()
        );
        if let Some(interval) = interval {
            target += &format!("&interval={}", interval.name());
        }
        let answer = self.answer(&target);
        let counted = filter.counted(events, &self.overrides);
        let (mut values, without, as_sent) = questions::by_value(&counted, by, &self.overrides);
        let (_, unmeasured) = measure.numbers(&counted, &self.overrides);
        assert_eq!(answer["not_converted"], as_sent + unmeasured, "{target}: {answer}");
        let is = |what: &str, told: &Value, events: &[&Event], with_series: bool| {
            let of = format!("{target}: {what} of {answer:#}");
            assert_eq!(told["events"], events.len(), "{of}");
            self.comes_to(&told["result"], events, &measure, &of);
            let Some(interval) = interval.filter(|_| with_series) else {
                assert!(told.get("series").is_none(), "{of}");
                return;
            };
            let mut points: BTreeMap<i64, Vec<&Event>> = BTreeMap::new();
            for event in events {
                points.entry(filter.zone.start(event.date, interval)).or_default().push(event);
            }
            let told = told["series"].as_array().unwrap();
            assert!(told.iter().map(|point| at(&point["from"])).eq(points.keys().copied()), "{of}");
            for (told, events) in told.iter().zip(points.values()) {
                self.comes_to(&told["result"], events, &measure, &of);
            }
        };
        is("all", &answer, &counted, false);
        is("those without a value", &answer["not_set"], &without, true);
        let rows = answer["rows"].as_array().unwrap();
        assert_eq!(rows.len(), top.min(values.len()), "{target}: {answer}");
        let (mut before, mut least): (Option<(f64, Key)>, f64) = (None, f64::INFINITY);
        // Of the least of numbers, that which comes first is the least.
        let size = |value: &Value| match measure {
            Measure::Min(_) => -value.as_f64().unwrap_or(f64::INFINITY),
            _ => value.as_f64().unwrap_or(f64::NEG_INFINITY),
        };
        for row in rows {
            let key = Key::told(row["type"].as_str().unwrap(), &row["value"]);
            let events = values.remove(&key);
            let events = events.unwrap_or_else(|| panic!("{target}: {key:?} once in {answer:#}"));
            is(&format!("{key:?}"), row, &events, true);
            least = size(&row["result"]);
            if let Some((size, other)) = before {
                assert!(
                    size > least || size == least && other < key,
                    "{target}: in order: {answer:#}"
                );
            }
            before = Some((least, key));
        }
        let others: Vec<&Event> = values.values().flatten().copied().collect();
        assert_eq!(answer["other"]["values"], values.len(), "{target}");
        is("the others", &answer["other"], &others, true);
        for (key, events) in &values {
            let result = measure.of(events, &self.overrides);
            let size = size(&result.map_or(Value::Null, Value::from));
            let about = if matches!(measure, Measure::Count) { 0.0 } else { 1e-9 * size.abs() };
            assert!(
                size.is_infinite() || size <= least + about,
                "{target}: {key:?} belongs to {answer:#}"
            );
        }
    }

    /// Whether a result is what these events come to.
    #[track_caller]
    fn comes_to(&self, told: &Value, events: &[&Event], measure: &Measure, of: &str) {
        match measure.of(events, &self.overrides) {
            None => assert!(told.is_null(), "{of}"),
            Some(users) if matches!(measure, Measure::Users) => about(told, users as usize, of),
            Some(result) => {
                let told = told.as_f64().unwrap_or_else(|| panic!("{of}"));
                let (numbers, _) = measure.numbers(events, &self.overrides);
                let size: f64 = numbers.iter().map(|number| number.abs()).sum();
                assert!((told - result).abs() <= 1e-12 * size, "{told} for {result}: {of}");
            }
        }
    }

    fn ask_events(&self, events: &[Event], random: &mut Random) {
        let filter = filter(events, random);
        let order = random.pick(&["asc", "desc"]);
        // Bots are shown, unless one says that they aren't to be.
        let without_bots = !filter.bots && random.one_in(2);
        let mut parameters = filter.parameters().replace("&bots=1", "");
        if without_bots {
            parameters += "&bots=0";
        }
        let target = format!("/v1/events?order={order}{parameters}");
        let mut met = Vec::new();
        let mut cursor = String::new();
        loop {
            let limit = random.pick(&[1000, 1000, 40]);
            let page = self.answer(&format!("{target}&limit={limit}{cursor}"));
            met.extend(page["events"].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={}", escape(next)),
                None => break,
            }
        }
        let mut wanted = filter.all(events, &self.overrides);
        wanted.retain(|event| !(without_bots && event.is_nobodys()));
        if order == "desc" {
            wanted.reverse();
        }
        let met_seqs: Vec<_> = met.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
        let seqs: Vec<_> = wanted.iter().map(|event| event.seq).collect();
        let differing = wanted.iter().find(|event| !met_seqs.contains(&event.seq));
        assert_eq!(met_seqs, seqs, "{target}: {differing:?}, {:?}", self.overrides);
    }

    /// Users as their patches make them, by id.
    fn users(&self) -> BTreeMap<&'static str, Map<String, Value>> {
        let mut users: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
        for (_, id, patch) in &self.patches {
            merge(users.entry(id).or_default(), patch);
        }
        users
    }

    fn ask_timeline(&self, events: &[Event], random: &mut Random) {
        let user = random.pick(&USERS);
        let mut wanted = Vec::new();
        let mut before = Map::new();
        let mut patches = self.patches.iter().filter(|(_, id, _)| *id == user).peekable();
        let mut change = |patch: &Map<String, Value>| {
            let mut change = (BTreeMap::new(), BTreeMap::new());
            changes("", &before, patch, &mut change);
            merge(&mut before, patch);
            let (set, removed) = change;
            let nothing = set.is_empty() && removed.is_empty();
            (!nothing).then(|| json!({"via": "public", "set": set, "removed": removed}))
        };
        for event in events {
            let number = event.attributes["#"].as_u64().unwrap() as usize;
            while let Some((_, _, patch)) = patches.next_if(|(at, _, _)| *at <= number) {
                wanted.extend(change(patch));
            }
            if event.user.as_deref() == Some(user) {
                wanted.push(json!(event.seq));
            }
        }
        wanted.extend(patches.filter_map(|(_, _, patch)| change(patch)));
        wanted.reverse();
        let mut met = Vec::new();
        let mut cursor = String::new();
        let target = format!("/v1/users/{}/timeline", escape(user));
        // Values are shown as of the types that are set; that is a question of its own.
        if self.overrides.keys().any(|(kind, _)| kind == "user") {
            return;
        }
        loop {
            let limit = random.pick(&[1000, 30]);
            let reply = self.server.read(&format!("{target}?limit={limit}{cursor}"));
            if reply.status == 404 {
                break;
            }
            let page = reply.json();
            for row in page["timeline"].as_array().unwrap_or_else(|| panic!("{target}: {page}")) {
                met.push(match row.get("event") {
                    Some(event) => {
                        assert_eq!((&row["seq"], &row["at"]), (&event["seq"], &event["date"]));
                        row["seq"].clone()
                    }
                    None => row["change"].clone(),
                });
            }
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={}", escape(next)),
                None => break,
            }
        }
        assert_eq!(met, wanted, "{target}");
    }

    fn ask_users(&self, events: &[Event], random: &mut Random) {
        let zone = random.pick(&ZONES);
        let users = self.users();
        let clauses: Vec<Clause> =
            (0..random.within(0..3)).map(|_| clause(events, random)).collect();
        let q = random.one_in(3).then(|| random.pick(&["u1", "zoë", "EXAMPLE", "Ü-mail", "/"]));
        let mut wanted: Vec<&str> = Vec::new();
        for (id, attributes) in &users {
            let email = attributes.get("email").and_then(Value::as_str).unwrap_or_default();
            let is_found = |q: &str| {
                let q = q.to_lowercase();
                id.to_lowercase().contains(&q) || email.to_lowercase().contains(&q)
            };
            let holds = |clause: &Clause| {
                let reading =
                    naive::values::read(attributes, &clause.name, "user", &self.overrides);
                clause.holds(&reading)
            };
            if q.is_none_or(is_found) && clauses.iter().all(holds) {
                wanted.push(id);
            }
        }
        let count =
            |id: &str| events.iter().filter(|event| event.user.as_deref() == Some(id)).count();
        let (sort, descending) =
            (random.pick(&["", "id", "event_count", "n", "s", "created_at"]), random.one_in(2));
        match sort {
            "" | "id" if descending && sort == "id" => wanted.reverse(),
            "event_count" if descending => {
                wanted.sort_by_key(|id| std::cmp::Reverse(count(id)));
            }
            "event_count" => wanted.sort_by_key(|id| count(id)),
            _ => {}
        }
        let mut target = format!("/v1/users?tz={}", zone.name());
        if !sort.is_empty() {
            target += &format!("&sort={sort}&order={}", if descending { "desc" } else { "asc" });
        }
        for clause in &clauses {
            target += &format!("&where={}", escape(&clause.text()));
        }
        if let Some(q) = q {
            target += &format!("&q={}", escape(q));
        }
        let mut met: Vec<(String, Value)> = Vec::new();
        let mut cursor = String::new();
        loop {
            let limit = random.pick(&[1000, 5]);
            let page = self.answer(&format!("{target}&limit={limit}{cursor}"));
            let rows = page["users"].as_array().unwrap();
            met.extend(rows.iter().map(|row| (text(&row["id"]), row.clone())));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={}", escape(next)),
                None => break,
            }
        }
        let mut ids: Vec<&str> = met.iter().map(|(id, _)| id.as_str()).collect();
        if !["", "id", "event_count"].contains(&sort) {
            // In which order these are is told apart; here, that each comes once.
            self.in_order(sort, descending, &met, &target);
            ids.sort_unstable();
        }
        assert_eq!(ids, wanted, "{target}");
        for (id, row) in &met {
            assert_eq!(row["event_count"], count(id), "{target}: {row}");
            let mut shown = naive::values::shown(&users[id.as_str()], "user", &self.overrides);
            let email = shown.shift_remove("email").unwrap_or_default();
            assert_eq!(
                (&row["email"], &row["attributes"]),
                (&email, &Value::from(shown)),
                "{target}"
            );
        }
    }

    /// Users by an attribute: by type, then by value, and last those without.
    fn in_order(&self, sort: &str, descending: bool, met: &[(String, Value)], target: &str) {
        if sort == "created_at" {
            let dates: Vec<i64> = met.iter().map(|(_, row)| at(&row["created_at"])).collect();
            assert!(
                dates.is_sorted_by(|a, b| if descending { a >= b } else { a <= b }),
                "{target}"
            );
            return;
        }
        let users = self.users();
        let keys = met.iter().map(|(id, _)| {
            match naive::values::read(&users[id.as_str()], sort, "user", &self.overrides) {
                naive::values::Reading::Typed(value) => (0, Some(Key::of(value)), id),
                naive::values::Reading::NotConverted(_) => (1, None, id),
                naive::values::Reading::NotSet => (2, None, id),
            }
        });
        let keys: Vec<_> = keys.collect();
        for pair in keys.windows(2) {
            let (a, b) = (&pair[0], &pair[1]);
            let values = if descending { b.1.cmp(&a.1) } else { a.1.cmp(&b.1) };
            let order = a.0.cmp(&b.0).then(values);
            let order = if a.0 == 1 { order } else { order.then(a.2.cmp(b.2)) };
            assert!(order.is_le(), "{target}: {a:?} before {b:?}");
        }
    }

    /// Every attribute that there is, how many values it has, and of which types.
    fn check_types(&self, events: &[Event]) {
        let mut wanted: BTreeMap<(String, String), BTreeMap<&str, u64>> = BTreeMap::new();
        let mut add = |kind: &str, attributes: &Map<String, Value>| {
            naive::values::each("", attributes, &mut |name, value| {
                let types = wanted.entry((kind.to_owned(), name.to_owned())).or_default();
                if let Some(typed) = naive::values::recognised(value) {
                    *types.entry(typed.name()).or_default() += 1;
                }
            });
        };
        for event in events {
            add(&format!("event:{}", event.kind), &event.attributes);
        }
        for (_, _, patch) in &self.patches {
            add("user", patch);
        }
        wanted.retain(|_, types| !types.is_empty());
        for key in self.overrides.keys() {
            wanted.entry(key.clone()).or_default();
        }
        let answer = self.answer("/v1/types");
        let told = answer["types"].as_array().unwrap().iter().map(|row| {
            let key = (text(&row["kind"]), text(&row["attribute"]));
            assert_eq!(row["override"], json!(self.overrides.get(&key)), "{row}");
            if let Some(set) = self.overrides.get(&key) {
                assert_eq!(row["type"], *set);
            }
            (key, (row["values"].clone(), row["recognised"].clone()))
        });
        let told: BTreeMap<_, _> = told.collect();
        let wanted: BTreeMap<_, _> = wanted
            .into_iter()
            .map(|(key, types)| (key, (json!(types.values().sum::<u64>()), json!(types))))
            .collect();
        for (key, types) in &wanted {
            // In which order the types are told is nobody's business.
            let told = told.get(key).map(|(values, types)| (values, sorted(types)));
            assert_eq!(told, Some((&types.0, sorted(&types.1))), "{key:?}");
        }
        assert_eq!(told.len(), wanted.len(), "{told:?}");
    }
}

fn sorted(object: &Value) -> BTreeMap<&String, &Value> {
    object.as_object().expect("an object").iter().collect()
}

type Change = (BTreeMap<String, Value>, BTreeMap<String, Value>);

/// What a patch sets, with what was there, and what it takes out.
fn changes(within: &str, before: &Map<String, Value>, patch: &Map<String, Value>, to: &mut Change) {
    for (name, value) in patch {
        let (old, full) = (before.get(name), format!("{within}{name}"));
        match (old, value) {
            (None, Value::Null) => {}
            (Some(old), Value::Null) => drop(to.1.insert(full, old.clone())),
            (Some(Value::Object(old)), Value::Object(patch)) => {
                changes(&format!("{full}."), old, patch, to);
            }
            (old, value) => {
                let mut alone = Map::new();
                merge(&mut alone, &Map::from_iter([(name.clone(), value.clone())]));
                let value = alone.remove(name).unwrap_or_default();
                if old != Some(&value) {
                    to.0.insert(full, json!({"from": old, "to": value}));
                }
            }
        }
    }
}

#[track_caller]
fn about(told: &Value, exact: usize, target: &str) {
    let (told, exact) = (told.as_u64().unwrap_or_else(|| panic!("{target}: {told}")), exact as u64);
    if exact <= EXACT_MAX {
        assert_eq!(told, exact, "{target}");
    } else {
        let most = ERROR_MAX * exact as f64 + LOST_MAX;
        assert!(told.abs_diff(exact) as f64 <= most, "{target}: {told} for {exact}");
    }
}

#[track_caller]
fn near(told: &Value, exact: f64, target: &str) {
    let told = told.as_f64().unwrap_or_else(|| panic!("{target}: {told}"));
    assert!((told - exact).abs() <= 1e-9 * exact.abs().max(1e-300), "{target}: {told} for {exact}");
}

fn at(date: &Value) -> i64 {
    millis(date.as_str().expect("a date"))
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

fn kind(random: &mut Random) -> &'static str {
    let n = random.within(0..8);
    KINDS[(n / 2).min(n / 4 + n % 2) as usize]
}

/// Of six weeks in which clocks are changed, and sometimes of a day on which they are changed back.
fn moment(random: &mut Random) -> i64 {
    let day = match random.within(0..20) {
        0 => 20_387,
        1 => 20_177,
        _ => 20_148 + random.within(0..42) as i64,
    };
    let time = match random.within(0..4) {
        0 => random.within(0..24) as i64 * 3_600_000,
        1 => (random.within(0..48) as i64 * 1_800_000 - 1).max(0),
        _ => random.within(0..DAY as u64) as i64,
    };
    day * DAY + time
}

fn attributes(random: &mut Random) -> Map<String, Value> {
    let mut map = Map::new();
    let mut put = |name: &str, value: Value| {
        map.insert(name.to_owned(), value);
    };
    for name in ["n", "s", "mixed", "when", "flag", "list", "o", "o.a", "odd = \"name\""] {
        if random.one_in(3) {
            continue;
        }
        let value = match name {
            "n" => number(random),
            "s" => string(random),
            "when" => random.pick(&DATES).0.into(),
            "flag" => random.one_in(2).into(),
            "list" => list(random),
            // Seldom, for it hides what lies within `o`.
            "o.a" if !random.one_in(8) => continue,
            "o" => object(random),
            _ => any(random),
        };
        put(name, if random.one_in(15) { any(random) } else { value });
    }
    map
}

fn patch(random: &mut Random) -> Map<String, Value> {
    let mut patch = Map::new();
    for name in ["n", "s", "o", "when", "mixed", "email"] {
        let value = match name {
            _ if random.one_in(2) => continue,
            _ if random.one_in(6) => Value::Null,
            "n" => number(random),
            "o" => object(random),
            "email" => random.pick(&["ü-mail@example.com", "b@example.org"]).into(),
            _ => any(random),
        };
        patch.insert(name.to_owned(), value);
    }
    patch
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

fn number(random: &mut Random) -> Value {
    let odd = [
        "0",
        "-0",
        "1",
        "1.0",
        "1e0",
        "-7.25",
        "0.1",
        "100",
        "1E2",
        "1234567890123456789012345678901234567890",
        "1234567890123456789012345678901234567891",
        "1700000000",
        "1700000000000",
        "-86400",
        "99999999999.5",
        "9007199254740993",
        "1e-7",
    ];
    match random.within(0..3) {
        0 => parsed(random.pick(&odd)),
        _ => random.within(0..12).into(),
    }
}

fn string(random: &mut Random) -> Value {
    let odd = [
        "",
        "a",
        "A",
        "Zürich 😀",
        "ZÜRICH",
        "it's",
        "a=b",
        "yes",
        "No",
        "on",
        "1",
        "0",
        " 12 ",
        "+7",
        "1e3",
        "0x10",
        "1700000000",
        "1700000000000",
        "[1, 2]",
        "{\"a\": 1}",
        "[broken",
        "null",
        "true",
        "say \"hi\"",
        "new\nline",
        "2025-3-1",
        "x > y",
        "b c",
    ];
    random.pick(&odd).into()
}

fn list(random: &mut Random) -> Value {
    (0..random.within(0..4)).map(|_| scalar(random)).collect()
}

fn object(random: &mut Random) -> Value {
    let mut object = json!({"a": scalar(random), "deep": {"x": scalar(random)}});
    if random.one_in(4) {
        object["deep"] = scalar(random);
    }
    if random.one_in(6) {
        object["deep.x"] = scalar(random);
    }
    object
}

fn scalar(random: &mut Random) -> Value {
    match random.within(0..9) {
        0 => Value::Null,
        1 => random.one_in(2).into(),
        2 => random.pick(&DATES).0.into(),
        3..6 => number(random),
        _ => string(random),
    }
}

fn any(random: &mut Random) -> Value {
    match random.within(0..8) {
        0 => list(random),
        1 => object(random),
        _ => scalar(random),
    }
}

fn filter(events: &[Event], random: &mut Random) -> Filter {
    let zone = if random.one_in(2) { Zone::Utc } else { random.pick(&ZONES) };
    let mut from = random.one_in(2).then(|| date(zone, random));
    let mut to = random.one_in(2).then(|| date(zone, random));
    if let (Some(earlier), Some(later)) = (&mut from, &mut to)
        && earlier.1 > later.1
        && !random.one_in(10)
    {
        std::mem::swap(earlier, later);
    }
    let clauses = if random.one_in(2) { 0 } else { random.within(1..3) };
    Filter {
        kind: random.one_in(2).then(|| kind(random).to_owned()),
        user: random.one_in(6).then(|| random.pick(&USERS).to_owned()),
        from,
        to,
        clauses: (0..clauses).map(|_| clause(events, random)).collect(),
        zone,
        bots: random.one_in(4),
    }
}

/// A bound, as it is written and as what it means.
fn date(zone: Zone, random: &mut Random) -> (String, i64) {
    let at = moment(random);
    let (written, day) = (naive::zones::text(at), at.div_euclid(DAY));
    match random.within(0..4) {
        0 => (written[..10].to_owned(), zone.midnight(day)),
        1 => (written[..10].replace('-', "/"), zone.midnight(day)),
        2 => (written.replace('Z', "+02:00"), at - 2 * 3_600_000),
        _ => (written, at),
    }
}

fn clause(events: &[Event], random: &mut Random) -> Clause {
    let name = random.pick(&NAMES).to_owned();
    let literal = |random: &mut Random| {
        // One that there is, more often than not.
        let of_one = (!events.is_empty() && !random.one_in(4)).then(|| {
            let event = &events[random.within(0..events.len() as u64) as usize];
            naive::values::find(&event.attributes, &name).cloned()
        });
        let value = of_one.flatten().unwrap_or_else(|| scalar(random));
        match value {
            Value::String(text) => text,
            value => value.to_string(),
        }
    };
    let test = match random.within(0..10) {
        0 => Test::Exists,
        1 => Test::NotExists,
        2 => Test::Contains(literal(random)),
        _ => {
            let sign = random.pick(&["=", "=", "!=", "<", "<=", ">", ">="]);
            Test::Compare(sign, literal(random))
        }
    };
    Clause { name, test }
}

#[test]
fn what_answers_are_compared_with_is_right_itself() {
    use naive::values::Decimal;
    let sorted = ["-1e3", "-7.25", "-7.2", "-0", "1e-7", "0.1", "1", "9.99", "10", "12e0", "1e2"];
    for (n, a) in sorted.iter().enumerate() {
        for (m, b) in sorted.iter().enumerate() {
            assert_eq!(Decimal::of(a).cmp(&Decimal::of(b)), n.cmp(&m), "{a} {b}");
        }
    }
    assert_eq!(Decimal::of("1.0"), Decimal::of("10e-1"));
    for (zone, at, day, hour) in [
        (
            Zone::Utc,
            "2025-03-30T01:30:00.000Z",
            "2025-03-30T00:00:00.000Z",
            "2025-03-30T01:00:00.000Z",
        ),
        (
            Zone::Berlin,
            "2025-03-30T01:30:00.000Z",
            "2025-03-29T23:00:00.000Z",
            "2025-03-30T01:00:00.000Z",
        ),
        (
            Zone::Berlin,
            "2025-03-30T22:30:00.000Z",
            "2025-03-30T22:00:00.000Z",
            "2025-03-30T22:00:00.000Z",
        ),
        (
            Zone::Kolkata,
            "2025-03-30T18:29:00.000Z",
            "2025-03-29T18:30:00.000Z",
            "2025-03-30T17:30:00.000Z",
        ),
        (
            Zone::NewYork,
            "2025-03-09T12:00:00.000Z",
            "2025-03-09T05:00:00.000Z",
            "2025-03-09T12:00:00.000Z",
        ),
        (
            Zone::NewYork,
            "2025-03-10T03:59:00.000Z",
            "2025-03-09T05:00:00.000Z",
            "2025-03-10T03:00:00.000Z",
        ),
    ] {
        let at = millis(at);
        assert_eq!(naive::zones::text(at), naive::zones::text(millis(&naive::zones::text(at))));
        let start = |interval| naive::zones::text(zone.start(at, interval));
        assert_eq!(
            (start(Interval::Day).as_str(), start(Interval::Hour).as_str()),
            (day, hour),
            "{zone:?}"
        );
    }
    assert_eq!(
        naive::zones::text(Zone::Utc.start(millis("2025-03-30T01:30:00.000Z"), Interval::Week)),
        "2025-03-24T00:00:00.000Z"
    );
    for (text, at) in DATES {
        assert_eq!(
            triggerly::model::Date::parse(text).map(|date| date.millis()),
            Some(at),
            "{text}"
        );
    }
}
