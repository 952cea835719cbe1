//! What one event costs a question: finding an attribute, reading it, a condition on it, the bucket of its
//! date. Times are of one event.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use triggerly::model::Date;
use triggerly::schema::{Clause, Interval, Kind, Overrides, Path, Reading, Zone, find, read};

/// Events that are gone through, so that no branch is learnt by heart.
const EVENTS: usize = 10_000;

fn events() -> Vec<String> {
    let event = |n: usize| {
        format!(
            r#"{{"plan":"pro-{n}","price":{n}.5,"page":"https://shop.example/products/{n}?ref=mail","ok":true,"cart":{{"items":[{n},2,3],"total":{n}}},"note":"a few words to go over, {n}"}}"#
        )
    };
    (0..EVENTS).map(event).collect()
}

fn each_event(c: &mut Criterion) {
    let events = events();
    let zone: Zone = "Europe/Zurich".parse().expect("a zone");
    let none = Overrides::default();
    let none = none.of(&Kind::User);
    let mut group = c.benchmark_group("10,000 events");
    group.throughput(Throughput::Elements(EVENTS as u64));
    let mut each = |name: &str, of: &mut dyn FnMut(&str) -> bool| {
        group.bench_function(name, |b| {
            b.iter(|| events.iter().filter(|event| of(black_box(event))).count());
        });
    };
    for name in ["plan", "page", "cart.total", "note", "missing"] {
        let path = Path::new(name);
        each(&format!("find {name}"), &mut |event| find(event, &path).is_some());
    }
    for name in ["plan", "price"] {
        let path = Path::new(name);
        each(&format!("read {name}"), &mut |event| {
            matches!(read(find(event, &path), None), Reading::Typed(_))
        });
    }
    for text in ["plan=pro-7", "price>100", "page contains MAIL", "cart.total>5"] {
        let clause = Clause::parse(text, &zone).expect("a condition");
        each(text, &mut |event| clause.holds(event, none));
    }
    for (name, step) in [("in order", 1_000), ("at random", 7_919_000_000)] {
        let mut millis = 0_i64;
        each(&format!("day, {name}"), &mut |_| {
            millis = (millis + step) % 1_000_000_000_000;
            zone.bucket(Interval::Day, Date::from_millis(millis)).start < Date::MAX
        });
    }
}

criterion_group!(benches, each_event);
criterion_main!(benches);
