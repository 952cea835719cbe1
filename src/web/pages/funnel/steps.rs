//! The steps of a funnel, as addresses spell them: the API in one parameter `steps`, with `where=2:price>10` for the
//! second, and the form in a field for each, with `where2=price>10`.

use percent_encoding::percent_decode_str;

use super::Field;
use crate::asking::CLAUSES_MAX;
use crate::http::Query;
use crate::query::funnel::{STEPS_MAX, STEPS_MIN};
use crate::web::answer::{escaped, sentence};

/// Parameters that the form has fields for.
pub(super) static FIELDS: [&str; 2 * STEPS_MAX + 1] = [
    "within", "step1", "step2", "step3", "step4", "step5", "step6", "step7", "step8", "step9",
    "step10", "where1", "where2", "where3", "where4", "where5", "where6", "where7", "where8",
    "where9", "where10",
];

/// A type, and the conditions of this step alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    kind: String,
    clauses: Vec<String>,
}

/// The steps in order, those that say anything: each has a type, unless [`Steps::untyped`] tells otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Steps(Vec<Step>);

/// Parameters, decoded.
pub(super) type Pairs = Vec<(String, String)>;

impl Steps {
    /// Those that an address has, and its other parameters.
    pub fn of(query: Query<'_>) -> (Steps, Pairs) {
        let mut steps = vec![Step::default(); STEPS_MAX];
        let (mut rest, mut called) = (Vec::new(), 0);
        let all: Pairs = query.all().flatten().filter(|(_, value)| !value.is_empty()).collect();
        if let Some((_, text)) = all.iter().find(|(name, _)| name == "steps") {
            let kinds = text.split(',').map(|kind| percent_decode_str(kind).decode_utf8_lossy());
            for (step, kind) in steps.iter_mut().zip(kinds) {
                step.kind = kind.into_owned();
                called += 1;
            }
        }
        for (name, value) in all {
            let number = |word| numbered(&name, word).filter(|number| *number <= STEPS_MAX);
            if name == "steps" {
                continue;
            } else if let Some(number) = number("step") {
                steps[number - 1].kind = value;
            } else if let Some(number) = number("where") {
                push(&mut steps[number - 1].clauses, value);
            } else if let Some((number, clause)) = of_step(&name, &value, called) {
                push(&mut steps[number - 1].clauses, clause.to_owned());
            } else {
                rest.push((name, value));
            }
        }
        steps.retain(|step| *step != Step::default());
        (Steps(steps), rest)
    }

    /// Steps without conditions.
    pub fn of_kinds(kinds: impl Iterator<Item = String>) -> Steps {
        Steps(kinds.map(|kind| Step { kind, clauses: Vec::new() }).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The first step, from 1, that has conditions but no type that they are of: nothing can be asked then.
    pub fn untyped(&self) -> Option<usize> {
        self.0.iter().position(|step| step.kind.is_empty()).map(|at| at + 1)
    }

    /// The query of the page's address.
    pub fn for_page(&self, rest: &Pairs) -> String {
        let mut pairs = rest.clone();
        for (at, step) in self.0.iter().enumerate() {
            if !step.kind.is_empty() {
                pairs.push((format!("step{}", at + 1), step.kind.clone()));
            }
            let clauses = step.clauses.iter();
            pairs.extend(clauses.map(|clause| (format!("where{}", at + 1), clause.clone())));
        }
        written(&pairs)
    }

    /// The query of a call that asks the same.
    pub fn for_call(&self, rest: &Pairs) -> String {
        let kinds: Vec<_> = self.0.iter().map(|step| escaped(&step.kind)).collect();
        let mut pairs = rest.clone();
        pairs.push(("steps".to_owned(), kinds.join(",")));
        for (at, step) in self.0.iter().enumerate() {
            let clauses = step.clauses.iter();
            pairs.extend(clauses.map(|it| ("where".to_owned(), format!("{}:{it}", at + 1))));
        }
        written(&pairs)
    }

    /// What the form shows: the steps, and room for one more, or for as many as there have to be.
    pub fn fields(&self) -> Vec<Field> {
        let count = (self.0.len() + 1).clamp(STEPS_MIN, STEPS_MAX);
        let mut steps = self.0.clone();
        steps.resize(count, Step::default());
        let field = |(at, step): (usize, Step)| {
            let mut clauses = step.clauses;
            clauses.push(String::new());
            let is_wrong = step.kind.is_empty() && clauses.len() > 1;
            let error = if is_wrong { sentence(&untyped(at + 1)) } else { String::new() };
            Field { number: at + 1, kind: step.kind, error, clauses }
        };
        steps.into_iter().enumerate().map(field).collect()
    }

    /// What each is called.
    pub fn labels(&self) -> Vec<String> {
        let label = |step: &Step| match step.clauses.as_slice() {
            [] => step.kind.clone(),
            clauses => format!("{} where {}", step.kind, clauses.join(" and ")),
        };
        self.0.iter().map(label).collect()
    }
}

/// What is to be done about a step that has conditions alone.
pub(super) fn untyped(number: usize) -> String {
    format!("step {number} has a condition but no type: choose a type, or leave the condition out")
}

/// Adds a condition. One more than there may be is kept, so that the question is refused.
fn push(clauses: &mut Vec<String>, clause: String) {
    if clauses.len() <= CLAUSES_MAX {
        clauses.push(clause);
    }
}

/// The number behind a word, from 1.
fn numbered(name: &str, word: &str) -> Option<usize> {
    let digits = name.strip_prefix(word)?;
    let number: usize = digits.parse().ok()?;
    (number > 0 && digits == number.to_string()).then_some(number)
}

/// The step, of so many, that a condition is of alone, as the API writes it.
fn of_step<'v>(name: &str, value: &'v str, steps: usize) -> Option<(usize, &'v str)> {
    let (digits, clause) = value.split_once(':').filter(|_| name == "where")?;
    let number = digits.parse().ok().filter(|number| (1..=steps).contains(number))?;
    Some((number, clause))
}

fn written(pairs: &Pairs) -> String {
    let pair = |(name, value): &(String, String)| format!("{}={}", escaped(name), escaped(value));
    pairs.iter().map(pair).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asking::Params;
    use crate::model::AccountId;

    #[test]
    fn both_spellings_mean_the_same() {
        let call = "steps=a%2Cb%252Cc&where=1%3Ax%3D1&where=y%3D2&where=2%3Az%3C3&from=2026-01-01";
        let page = "where=y%3D2&from=2026-01-01&step1=a&where1=x%3D1&step2=b%2Cc&where2=z%3C3";
        for query in [call, page] {
            let (steps, rest) = Steps::of(Query::of(query));
            assert_eq!(steps.for_page(&rest), page, "{query}");
            assert_eq!(steps.labels(), ["a where x=1", "b,c where z<3"]);
            let call = steps.for_call(&rest);
            let asked = Params::of(Query::of(&call)).funnel(AccountId(1)).unwrap();
            let steps: Vec<_> =
                asked.steps.iter().map(|step| (step.kind.as_str(), step.clauses.len())).collect();
            assert_eq!((steps, asked.filter.clauses.len()), (vec![("a", 1), ("b,c", 1)], 1));
        }
    }

    #[test]
    fn a_condition_without_a_type_is_kept_and_told_of() {
        for (query, untyped, page) in [
            ("step1=a&step2=b&where2=x%3D1", None, "step1=a&step2=b&where2=x%3D1"),
            ("step1=a&where2=x%3D1", Some(2), "step1=a&where2=x%3D1"),
            ("where1=x%3D1", Some(1), "where1=x%3D1"),
            // Numbers are those that the form has then.
            ("step1=a&step3=b&where5=x%3D1", Some(3), "step1=a&step2=b&where3=x%3D1"),
            ("steps=a,,b&where=2%3Ax%3D1", Some(2), "step1=a&where2=x%3D1&step3=b"),
        ] {
            let (steps, rest) = Steps::of(Query::of(query));
            assert_eq!(steps.untyped(), untyped, "{query}");
            assert_eq!(steps.for_page(&rest), page, "{query}");
            assert_eq!(Steps::of(Query::of(page)).0, steps, "{query}");
            let told: Vec<_> =
                steps.fields().into_iter().filter(|it| !it.error.is_empty()).collect();
            let numbers: Vec<_> = told.iter().map(|field| field.number).collect();
            assert_eq!(numbers, untyped.into_iter().collect::<Vec<_>>(), "{query}");
            assert!(
                told.iter().all(|it| it.clauses == ["x=1", ""] && it.error.contains("no type"))
            );
        }
    }

    #[test]
    fn the_form_has_room_for_one_more() {
        for (query, kinds) in [
            ("", vec!["", ""]),
            ("step1=a", vec!["a", ""]),
            ("step1=a&step2=b", vec!["a", "b", ""]),
            ("step1=a&step2=&step3=c", vec!["a", "c", ""]),
            ("step3=c&step1=a&step11=x&step0=y&step01=z", vec!["a", "c", ""]),
            (
                "steps=1,2,3,4,5,6,7,8,9,10,11",
                vec!["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"],
            ),
        ] {
            let (steps, _) = Steps::of(Query::of(query));
            let fields = steps.fields();
            let shown: Vec<_> = fields.iter().map(|field| field.kind.as_str()).collect();
            assert_eq!(shown, kinds, "{query}");
            assert!(fields.iter().all(|field| field.clauses.last().is_some_and(String::is_empty)));
        }
    }
}
