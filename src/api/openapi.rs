//! `GET /openapi.json`: what is here, for programs. The description is kept beside this file, and tests see
//! that it says neither more nor less than what is done.

use super::answer;
use crate::http::{Method, Request, Response};

/// OpenAPI 3.1.
const DESCRIPTION: &str = include_str!("openapi.json");

/// The description, for everybody.
pub(super) fn description(request: &Request) -> Response {
    if !matches!(request.method, Method::Get | Method::Head) {
        return answer::method_not_allowed(request.method, "GET, HEAD", answer::problem);
    }
    Response::new(200, "application/json", DESCRIPTION.as_bytes())
        .with_header("Cache-Control", "public, max-age=3600")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::strategy::{Strategy, ValueTree};
    use proptest::test_runner::TestRunner;
    use serde_json::Value;

    use super::*;
    use crate::api::Route;
    use crate::api::read::Question;
    use crate::ingest::{Code, Kind};
    use crate::query::funnel::Within;

    /// The paths of all ways, as the description has them.
    const PATHS: [&str; 17] = [
        "/v1/events/track",
        "/v1/users/track",
        "/v1/users/{id}",
        "/v1/users",
        "/v1/events",
        "/v1/stats",
        "/v1/export",
        "/healthz",
        "/openapi.json",
        "/metrics",
        "/v1/refused",
        "/v1/users/{id}/timeline",
        "/v1/breakdown",
        "/v1/funnel",
        "/v1/retention",
        "/v1/types",
        "/v1/types/{kind}/{attribute}",
    ];

    /// That of one. Whoever adds a way adds it here and there.
    fn path(route: &Route) -> &'static str {
        match route {
            Route::Track(Kind::Event) => PATHS[0],
            Route::Track(Kind::User) => PATHS[1],
            Route::Read(Question::User(_)) => PATHS[2],
            Route::Read(Question::Users) => PATHS[3],
            Route::Read(Question::Events) => PATHS[4],
            Route::Read(Question::Stats) => PATHS[5],
            Route::Export => PATHS[6],
            Route::Health => PATHS[7],
            Route::Description => PATHS[8],
            Route::Metrics => PATHS[9],
            Route::Refused => PATHS[10],
            Route::Read(Question::Timeline(_)) => PATHS[11],
            Route::Read(Question::Breakdown) => PATHS[12],
            Route::Read(Question::Funnel) => PATHS[13],
            Route::Read(Question::Retention) => PATHS[14],
            Route::Read(Question::Types) => PATHS[15],
            Route::Override(_) => PATHS[16],
            Route::Nowhere => "",
        }
    }

    fn description() -> Value {
        serde_json::from_str(DESCRIPTION).expect("JSON")
    }

    fn operations(description: &Value) -> Vec<(String, String, Value)> {
        let mut operations = Vec::new();
        for (path, item) in description["paths"].as_object().expect("paths") {
            for (method, operation) in item.as_object().expect("an item") {
                if method != "parameters" {
                    operations.push((path.clone(), method.clone(), operation.clone()));
                }
            }
        }
        operations
    }

    /// What a `$ref` stands for.
    fn resolved<'d>(description: &'d Value, value: &'d Value) -> &'d Value {
        match value["$ref"].as_str().and_then(|to| to.strip_prefix('#')) {
            Some(pointer) => description.pointer(pointer).expect(pointer),
            None => value,
        }
    }

    #[test]
    fn every_way_is_described_and_no_other() {
        let description = description();
        let described: BTreeSet<_> =
            operations(&description).into_iter().map(|one| one.0).collect();
        let there: BTreeSet<_> = PATHS.iter().map(|path| (*path).to_owned()).collect();
        assert_eq!(described, there);
        for wanted in PATHS {
            let target = ["{id}", "{kind}", "{attribute}"]
                .iter()
                .fold(wanted.to_owned(), |target, name| target.replace(name, "user"));
            assert_eq!(path(&Route::of(&target)), wanted);
        }
    }

    #[test]
    fn every_code_is_described_with_its_status() {
        let description = description();
        let codes = description["components"]["schemas"]["Code"]["enum"].as_array().expect("codes");
        let described: BTreeSet<_> = codes.iter().filter_map(Value::as_str).collect();
        let all: BTreeSet<_> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(described, all);
        // The statuses that a call may be refused with, for each kind of call.
        let mut told = BTreeSet::new();
        for (path, method, operation) in operations(&description) {
            for (status, answer) in operation["responses"].as_object().expect("answers") {
                let text = resolved(&description, answer)["description"].as_str().expect("text");
                for code in Code::ALL {
                    if text.contains(&format!("`{}`", code.name())) {
                        assert_eq!(*status, code.status().to_string(), "{method} {path}");
                        told.insert(code.name());
                    }
                }
            }
        }
        assert_eq!(told, all, "each is told where it is answered");
    }

    #[test]
    fn times_of_a_funnel_are_those_that_are_taken() {
        let description = description();
        let parameters = description["paths"]["/v1/funnel"]["get"]["parameters"].as_array();
        let within = parameters.expect("a list").iter().find(|one| one["name"] == "within");
        let schema = &within.expect("it is described")["schema"]["anyOf"][0];
        let pattern = schema["pattern"].as_str().expect("a pattern");
        // Each text of it is taken, and the greatest numbers are written in it as they are.
        let texts = pattern.trim_start_matches('^').trim_end_matches('$');
        let texts = proptest::string::string_regex(texts).expect("an expression");
        let mut runner = TestRunner::deterministic();
        for _ in 0..10_000 {
            let text = texts.new_tree(&mut runner).expect("a text").current();
            assert!(Within::parse(&text).is_some(), "{text}");
        }
        for (max, unit) in [(52_560_000, 'm'), (876_000, 'h'), (36_500, 'd')] {
            assert!(pattern.contains(&format!("|{max}){unit}")), "{pattern}");
            assert!(Within::parse(&format!("{max}{unit}")).is_some());
            assert!(Within::parse(&format!("{}{unit}", max + 1)).is_none());
        }
    }

    #[test]
    fn every_operation_has_a_name_of_its_own_and_says_who_may() {
        let operations = operations(&description());
        let names: BTreeSet<_> = operations
            .iter()
            .map(|(.., one)| one["operationId"].as_str().expect("a name"))
            .collect();
        assert_eq!(names.len(), operations.len());
        for (path, method, operation) in &operations {
            assert!(operation["security"].is_array(), "{method} {path}");
        }
    }
}
