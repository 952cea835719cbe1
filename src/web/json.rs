//! JSON as people read it: laid out, and nothing of it changed.
//!
//! Promises that every byte of names and values stays as it is, in its order, and that the text grows by no more
//! than white space to [`LEVELS_MAX`] levels.

use crate::schema::members;

/// Levels of objects that are laid out; those deeper stay on their line.
const LEVELS_MAX: usize = 6;

/// An object with a line for each member. Lists stay on theirs.
#[must_use]
pub fn laid_out(object: &str) -> String {
    let mut out = String::with_capacity(object.len() * 2);
    write(&mut out, object, 0);
    out
}

fn write(out: &mut String, value: &str, level: usize) {
    let mut all = members(value).peekable();
    if level == LEVELS_MAX || !value.starts_with('{') || all.peek().is_none() {
        out.push_str(value);
        return;
    }
    out.push('{');
    let mut is_first = true;
    for (key, value) in all {
        out.push_str(if is_first { "\n" } else { ",\n" });
        is_first = false;
        indent(out, level + 1);
        out.push('"');
        out.push_str(key.raw());
        out.push_str("\": ");
        write(out, value, level + 1);
    }
    out.push('\n');
    indent(out, level);
    out.push('}');
}

fn indent(out: &mut String, level: usize) {
    for _ in 0..level {
        out.push_str("  ");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_stays_and_objects_have_lines() {
        for (sent, shown) in [
            ("{}", "{}"),
            (r#"{"z":1.0,"a":1}"#, "{\n  \"z\": 1.0,\n  \"a\": 1\n}"),
            (
                r#"{"a":{"b":{},"c\"\u00e9":[1,{"d":2}]},"s":"{\"x\":1}"}"#,
                "{\n  \"a\": {\n    \"b\": {},\n    \"c\\\"\\u00e9\": [1,{\"d\":2}]\n  },\n  \"s\": \"{\\\"x\\\":1}\"\n}",
            ),
            (
                r#"{"big":1234567890123456789012345678901234567890,"e":1E5}"#,
                "{\n  \"big\": 1234567890123456789012345678901234567890,\n  \"e\": 1E5\n}",
            ),
            ("no object", "no object"),
        ] {
            assert_eq!(laid_out(sent), shown);
        }
        let deep = format!("{}1{}", r#"{"a":"#.repeat(30), "}".repeat(30));
        let shown = laid_out(&deep);
        assert_eq!(shown.matches('\n').count(), 2 * LEVELS_MAX);
        assert_eq!(shown.replace(['\n', ' '], ""), deep);
    }
}
