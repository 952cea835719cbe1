use super::*;
use crate::model::overrides::NONE;
use crate::model::{DataType, Object};
use proptest::prelude::*;
use serde_json::{Value, json};

fn clause(text: &str) -> Clause {
    Clause::parse(text, &Zone::UTC).expect(text)
}

const ATTRIBUTES: &str = r#"{"plan":"Pro","price":10.50,"big":12345678901234567890123456789012345678901,"ok":true,"at":"2024-07-04T12:00:00Z","tags":["a","B",3,1.0,true,"2024-07-04",[1]],"cart":{"total":3,"x":null},"null":null,"empty":"","a=b":"c","exists":"e","sp ace":" x ","text":"10","ü":"GRÜN"}"#;

#[test]
fn conditions() {
    for (text, holds) in [
        ("plan=Pro", true),
        ("plan = Pro ", true),
        ("plan=pro", false),
        ("plan!=pro", true),
        ("plan!=Pro", false),
        ("plan<Q", true),
        ("plan>P", true),
        (r#"plan="Pro""#, true),
        (r#"plan="Pro" "#, true),
        ("plan contains r", true),
        ("plan contains PRO", true),
        ("plan contains proo", false),
        ("plan contains x", false),
        ("ü contains grün", true),
        ("ü contains GRÜ", true),
        ("ü contains u", false),
        ("plan exists", true),
        ("plan not exists", false),
        ("price=10.5", true),
        ("price=+1.05e1", true),
        ("price=10.50000000000000000000000000001", false),
        ("price<10.50000000000000000000000000001", true),
        ("price<=10.5", true),
        ("price>=10.5", true),
        ("price>10.5", false),
        ("price>9", true),
        ("price=abc", false),
        ("price!=abc", true),
        ("price<abc", false),
        ("price>=abc", false),
        ("price contains 1", false),
        ("big>12345678901234567890123456789012345678900", true),
        ("big<12345678901234567890123456789012345678902", true),
        ("big=12345678901234567890123456789012345678901", true),
        ("big<1e41", true),
        ("big>1e40", true),
        ("ok=true", true),
        ("ok=false", false),
        ("ok>false", true),
        ("ok=1", false),
        ("ok!=1", true),
        ("at=2024-07-04T14:00:00+02:00", true),
        ("at>2024-07-04", true),
        ("at<2024-07-05", true),
        ("at>=Thu, 04 Jul 2024 12:00:00 GMT", true),
        ("at=yesterday", false),
        ("at contains 2024", false),
        ("tags contains a", true),
        ("tags contains b", false),
        ("tags contains 3", true),
        ("tags contains 1", true),
        ("tags contains true", true),
        ("tags contains 2024/07/04", true),
        ("tags contains [1]", true),
        ("tags contains 2", false),
        (r#"tags=["a","B",3,1.0,true,"2024-07-04",[ 1 ]]"#, true),
        ("tags=a", false),
        ("tags<z", false),
        (r#"cart={"total" : 3, "x":null}"#, true),
        ("cart.total=3", true),
        ("cart.total>2.9", true),
        ("cart.x exists", false),
        ("cart.y exists", false),
        ("cart.y not exists", true),
        ("null exists", false),
        ("null not exists", true),
        ("null=null", false),
        ("null!=null", true),
        ("empty=", true),
        ("empty!=", false),
        ("empty exists", true),
        ("plan=", false),
        ("missing=", false),
        ("missing!=1", true),
        ("missing<1", false),
        ("missing contains a", false),
        (r#""a=b"=c"#, true),
        (r#" "a=b" = c"#, true),
        (r#""a=b" contains C"#, true),
        (r#""a=b" exists"#, true),
        (r#""a=b" not exists"#, false),
        (r#""pl\u0061n"=Pro"#, true),
        ("exists=e", true),
        ("exists exists", true),
        ("sp ace=x", false),
        (r#"sp ace=" x ""#, true),
        ("sp ace contains x", true),
        ("text=10", true),
        ("text=10.0", false),
        ("text<9", true),
        ("plan  exists", true),
        ("plan\t exists ", true),
        ("plan not  exists", false),
        ("  plan  not\texists  ", false),
        ("nope not  exists", true),
        ("plan  contains   r", true),
        ("plan\tcontains\tr", true),
        (r#""plan"  exists"#, true),
        (r#""plan"  not  exists"#, false),
        (r#""plan"  contains r"#, true),
        (r#""plan"   =Pro"#, true),
        ("plan contains <b>", false),
        (r#"plan="=5""#, false),
        (r#"plan!="=5""#, true),
        ("plan=!5", false),
        ("not exists", false),
        ("plan=a contains b", false),
        ("plan contains a=b", false),
        ("plan contains x exists", false),
    ] {
        assert_eq!(clause(text).holds(ATTRIBUTES, &crate::model::overrides::NONE), holds, "{text}");
    }
}

#[test]
fn types_that_are_set() {
    for (attribute, to, text, holds) in [
        ("text", DataType::Number, "text=10.0", true),
        ("text", DataType::Number, "text>9", true),
        ("price", DataType::String, "price=10.50", true),
        ("price", DataType::String, "price=10.5", false),
        ("price", DataType::String, "price contains .5", true),
        ("plan", DataType::Number, "plan=Pro", false),
        ("plan", DataType::Number, "plan!=Pro", true),
        ("plan", DataType::Number, "plan contains Pro", false),
        ("plan", DataType::Number, "plan exists", true),
        ("plan", DataType::List, "plan contains Pro", true),
        ("at", DataType::Number, "at=1720094400", true),
        ("cart.total", DataType::Date, "cart.total=1970-01-01T00:00:03Z", true),
        ("other", DataType::Number, "plan=Pro", true),
    ] {
        let set = [(attribute, to)].into_iter().collect();
        assert_eq!(clause(text).holds(ATTRIBUTES, &set), holds, "{attribute} as {to}: {text}");
    }
}

#[test]
fn days_are_those_of_values_and_times_are_of_the_zone() {
    for zone in ["UTC", "Europe/Zurich", "America/New_York", "Pacific/Kiritimati"] {
        let zone = zone.parse().expect("a zone");
        for (text, at, holds) in [
            ("at=2024-07-04", "2024-07-04", true),
            ("at=2024/07/04", "2024-07-04", true),
            ("at!=2024-07-04", "2024/07/04", false),
            ("at>=2024-07-04", "2024-07-04", true),
            ("at<2024-07-04", "2024-07-04", false),
            ("at<=2024-07-04", "2024-07-04", true),
            ("at<2024-07-04", "2024-07-03", true),
            ("at<2024-07-04", "2024-07-03T23:59:59Z", true),
            ("at<2024-07-04", "2024-07-04T00:00:00Z", false),
            ("at=2024-07-04T02:00:00+02:00", "2024-07-04", true),
        ] {
            let clause = Clause::parse(text, &zone).expect(text);
            let attributes = json!({"at": at, "all": [at]}).to_string();
            let none = &crate::model::overrides::NONE;
            assert_eq!(clause.holds(&attributes, none), holds, "{text} of {at} in {zone:?}");
        }
        let contains = Clause::parse("all contains 2024-07-04", &zone).expect("a condition");
        assert!(contains.holds(r#"{"all":["2024/07/04"]}"#, &crate::model::overrides::NONE));
    }
    let zone = "Europe/Zurich".parse().expect("a zone");
    let clause = Clause::parse("at<2024-07-04T00:00:00", &zone).expect("a condition");
    let none = &crate::model::overrides::NONE;
    assert!(clause.holds(r#"{"at":"2024-07-03T21:59:59Z"}"#, none));
    assert!(!clause.holds(r#"{"at":"2024-07-03T22:00:00Z"}"#, none));
}

#[test]
fn conditions_on_contexts() {
    let context =
        Some(r#"{"page":"https://a.example/?a=b","browser":"Firefox","os":5,"device":null}"#);
    let attributes = r#"{"context:browser":"Safari","browser":"Opera","context:x":1}"#;
    for (text, holds) in [
        ("context:browser=Firefox", true),
        ("context:browser = \"Firefox\"", true),
        ("context:browser=Safari", false),
        ("context:browser!=Safari", true),
        ("context:browser contains fire", true),
        ("context:browser<G", true),
        ("context:browser exists", true),
        ("context:page=https://a.example/?a=b", true),
        // They are texts.
        ("context:os=5", true),
        ("context:os<40", false),
        ("context:device exists", false),
        ("context:device not exists", true),
        ("context:device=null", false),
        ("browser=Opera", true),
        // In quotes it is an attribute, whatever it is called.
        (r#""context:browser"=Safari"#, true),
        (r#""context:x"=1"#, true),
    ] {
        let clause = clause(text);
        assert_eq!(clause.holds_of_event(attributes, context, &NONE), holds, "{text}");
        let of_context = clause.is_of_context();
        assert_eq!(of_context, text.starts_with("context:"), "{text}");
        if of_context {
            assert!(
                !text.contains(" exists")
                    || clause.holds_of_event("{}", None, &NONE) == text.contains("not"),
                "{text}"
            );
        }
    }
    for text in [
        "context:=x",
        "context:x=1",
        "context:visitor exists",
        "context:page.x=1",
        "context:Page=1",
    ] {
        let error = Clause::parse(text, &Zone::UTC).unwrap_err();
        assert!(error.to_string().contains("`context:page`"), "{text}: {error}");
    }
}

#[test]
fn what_is_no_condition() {
    for (text, begins) in [
        ("", "`` is not a condition"),
        ("plan", "`plan` is not a condition: it should be a name, then one of `=`"),
        ("plan contain x", "`plan contain x` is not a condition"),
        ("exists", "`exists` is not a condition"),
        ("=1", "`=1` has no name"),
        (" <= 1", "` <= 1` has no name"),
        (r#"""=1"#, r#"`""=1` has no name"#),
        (" contains x", "` contains x` has no name"),
        (" exists", "` exists` has no name"),
        (r#""plan=1"#, "the name in `\"plan=1` should be a JSON string"),
        (r#""\x"=1"#, "the name in"),
        (r#""plan" ~ 1"#, "`\"plan\" ~ 1` is not a condition"),
        (r#""plan"contains x"#, "`\"plan\"contains x` is not a condition"),
        ("price==10", "in `price==10` a sign follows `=`"),
        ("price = = 10", "in `price = = 10` a sign follows `=`"),
        ("price=>5", "in `price=>5` a sign follows `=`"),
        ("price=<5", "in `price=<5` a sign follows `=`"),
        ("price>>5", "in `price>>5` a sign follows `>`"),
        ("price<>5", "in `price<>5` a sign follows `<`"),
        ("price!==5", "in `price!==5` a sign follows `!=`"),
        ("price=!=5", "in `price=!=5` a sign follows `=`"),
        ("price<==5", "in `price<==5` a sign follows `<=`"),
        ("plan not contains", "`plan not contains` is not a condition"),
        ("planexists", "`planexists` is not a condition"),
        (r#""plan"exists"#, "`\"plan\"exists` is not a condition"),
        (r#""plan" contains"#, "`\"plan\" contains` has no value"),
        (r#""plan" not"#, "`\"plan\" not` is not a condition"),
        (r#""plan" existsx"#, "`\"plan\" existsx` is not a condition"),
        (" not exists", "` not exists` has no name"),
        ("price<", "`price<` has no value: one should stand behind `<`"),
        ("price >= ", "`price >= ` has no value: one should stand behind `>=`"),
        ("plan contains ", "`plan contains ` has no value: one should stand behind `contains`"),
    ] {
        let error = Clause::parse(text, &Zone::UTC).expect_err(text).to_string();
        assert!(error.starts_with(begins), "{text}: {error}");
    }
    let long = Clause::parse(&"ü".repeat(1_000), &Zone::UTC).expect_err("long").to_string();
    assert!(long.contains('…') && long.len() < 600, "{long}");
}

/// The same on parsed values, without any type that was set.
fn naive(object: &Object, name: &str, operator: &str, literal: &str) -> bool {
    let value = object.get(name).filter(|value| !value.is_null());
    let exactly = |value: &Value| match value {
        Value::String(text) => match (Date::parse(text), Date::parse(literal)) {
            (Some(date), literal) => literal.map(|literal| date.cmp(&literal)),
            (None, _) => Some(text.as_str().cmp(literal)),
        },
        Value::Number(number) => {
            // Small ones, which a double holds.
            let (value, literal) = (number.as_f64()?, literal.parse::<f64>().ok()?);
            value.partial_cmp(&literal)
        }
        Value::Bool(truth) => Some(truth.cmp(&literal.parse().ok()?)),
        _ => None,
    };
    let order = value.and_then(exactly);
    match operator {
        "=" => order == Some(Ordering::Equal),
        "!=" => order != Some(Ordering::Equal),
        "<" => order == Some(Ordering::Less),
        "<=" => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        ">" => order == Some(Ordering::Greater),
        ">=" => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        "exists" => value.is_some(),
        "not exists" => value.is_none(),
        _ => match value {
            Some(Value::String(text)) if Date::parse(text).is_none() => {
                text.to_lowercase().contains(&literal.to_lowercase())
            }
            _ => false,
        },
    }
}

#[test]
fn texts_within_texts() {
    let many = "a".repeat(65_536);
    let late = format!("{many}b");
    for (text, literal, holds) in [
        ("", "a", false),
        ("a", "aa", false),
        ("plain", "LAI", true),
        ("PLAIN", "lai", true),
        ("PlAiN", "lAi", true),
        ("plain", "lia", false),
        // Only letters have a case.
        ("[a]", "{a}", false),
        ("a@b", "A@B", true),
        ("a`b", "a@b", false),
        ("GRÜN", "ü", true),
        ("grün", "RÜN", true),
        ("grun", "ü", false),
        ("ΣΊΣΥΦΟΣ", "σίσυφο", true),
        ("Straße", "STRASSE", false),
        ("STRAẞE", "straße", true),
        // The dot above stays behind as a character of its own.
        ("İstanbul", "i\u{307}stanbul", true),
        ("İstanbul", "stan", true),
        // The sign of the kelvin is a letter in lower case; the text may be ASCII or not.
        ("300 k", "300 \u{212a}", true),
        ("300 \u{212a}", "300 K", true),
        ("日本語", "本", true),
        ("日本語", "木", false),
        (&many, &late, false),
        (&many, &late[32_768..], false),
        (&late, &late[32_768..], true),
        (&late.to_uppercase(), &late[32_768..], true),
    ] {
        let literal = Literal::of(literal.to_owned(), &Zone::UTC);
        assert_eq!(contains(text, &literal.lower), holds, "{text:.40} {:.40}", literal.text);
    }
}

fn scalars() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-20_i64..20).prop_map(Value::from),
        (-20_i64..20).prop_map(|n| json!(n as f64 / 4.0)),
        "[abAB]{0,2}".prop_map(Value::from),
        "2024-0[1-3]-0[1-3]".prop_map(Value::from),
    ]
}

proptest! {
    #[test]
    fn as_on_parsed_values(
        all in prop::collection::vec(("[ab]", scalars()), 0..4),
        name in "[ab]",
        operator in prop::sample::select(vec![
            "=", "!=", "<", "<=", ">", ">=", " contains ", " exists", " not exists",
        ]),
        literal in scalars(),
    ) {
        let object: Object = all.into_iter().collect();
        let literal = match literal {
            Value::String(text) if text.is_empty() => "a".to_owned(),
            Value::String(text) => text,
            other => other.to_string(),
        };
        let literal = if operator.ends_with("exists") { String::new() } else { literal };
        let clause = clause(&format!("{name}{operator}{literal}"));
        let holds = clause.holds(&json::to_text(&object), &crate::model::overrides::NONE);
        prop_assert_eq!(holds, naive(&object, &name, operator.trim(), &literal));
    }

    #[test]
    fn reading_never_panics(text in "\\PC*|[a\"\\\\=!<> existcna]{0,30}") {
        if let Ok(clause) = Clause::parse(&text, &Zone::UTC) {
            let _ = clause.holds(ATTRIBUTES, &crate::model::overrides::NONE);
        }
    }
}
