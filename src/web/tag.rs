//! `/t.js`, the script that sites embed, as it is served.
//!
//! Promises less than a kilobyte on the way, packed with gzip: pages of others wait for it. Its source,
//! `assets/t.js`, is for readers, so lines that are a comment, and indentation, are left out here.

use std::sync::LazyLock;

const SOURCE: &str = include_str!("assets/t.js");

static SERVED: LazyLock<String> = LazyLock::new(|| {
    let lines = SOURCE.lines().map(str::trim);
    let code = lines.filter(|line| !line.is_empty() && !line.starts_with("//"));
    code.flat_map(|line| [line, "\n"]).collect()
});

/// The script.
#[must_use]
pub fn script() -> &'static str {
    &SERVED
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// Bytes of the script on the way.
    const PACKED_BYTES_MAX: usize = 1024;

    #[test]
    fn it_has_less_than_a_kilobyte_packed() {
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        packed.write_all(script().as_bytes()).unwrap();
        let bytes = packed.finish().unwrap().len();
        assert!(bytes < PACKED_BYTES_MAX, "{bytes} bytes");
    }

    #[test]
    fn only_comments_and_blanks_are_left_out() {
        // No text goes on over lines, where what looks like a comment might be none.
        for line in SOURCE.lines().filter(|line| !line.trim_start().starts_with("//")) {
            assert!(line.matches('`').count() % 2 == 0 && !line.contains("/*"), "{line}");
            assert!(script().contains(line.trim()), "{line}");
        }
        assert!(script().lines().all(|line| !line.starts_with("//") && line == line.trim()));
        assert!(script().starts_with("{\nconst safely = ") && script().ends_with("}\n"));
    }
}
