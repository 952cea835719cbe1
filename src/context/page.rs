//! The page that a call was made from.

/// Bytes of a page's address.
pub const PAGE_BYTES_MAX: usize = 1024;

/// The `Referer` as it was sent, but for a name and password in it and what stands behind `#`. One
/// that is too long loses its query, or is left out, since a piece of an address is another address.
pub(super) fn page(referer: &str) -> Option<String> {
    let text = referer.trim_matches([' ', '\t']);
    let text = text.split('#').next().unwrap_or_default();
    // U+FFFD is what invalid text has become on its way.
    if text.is_empty() || text.contains(|c: char| c.is_control() || c == '\u{fffd}') {
        return None;
    }
    let text = without_userinfo(text);
    if text.len() <= PAGE_BYTES_MAX {
        return Some(text);
    }
    let path = text.split('?').next().unwrap_or_default();
    (path.len() <= PAGE_BYTES_MAX).then(|| path.to_owned())
}

fn without_userinfo(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("//") else { return text.to_owned() };
    // Browsers take a backslash for a slash.
    let authority_end = rest.find(['/', '\\', '?']).unwrap_or(rest.len());
    match rest[..authority_end].rfind('@') {
        Some(at) => format!("{scheme}//{}", &rest[at + 1..]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages() {
        let long = format!("https://a.example/{}", "x".repeat(PAGE_BYTES_MAX));
        let long_query = format!("https://a.example/p?{}", "x".repeat(PAGE_BYTES_MAX));
        for (referer, found) in [
            ("https://a.example/", Some("https://a.example/")),
            (" https://a.example/p?a=b&c=%20 ", Some("https://a.example/p?a=b&c=%20")),
            ("https://a.example/p#part", Some("https://a.example/p")),
            ("https://me:secret@a.example:8443/p", Some("https://a.example:8443/p")),
            ("https://me:s@cret@a.example", Some("https://a.example")),
            ("https://me@a.example?x=y@z", Some("https://a.example?x=y@z")),
            ("https://a.example/@me", Some("https://a.example/@me")),
            ("https://a.example?at=b@c", Some("https://a.example?at=b@c")),
            ("//me:secret@a.example/", Some("//a.example/")),
            ("android-app://com.example", Some("android-app://com.example")),
            ("about:client", Some("about:client")),
            ("https://ä.example/ü", Some("https://ä.example/ü")),
            ("https://a.example/\u{fffd}", None),
            ("https://a.example/\u{7}", None),
            ("", None),
            ("#part", None),
            (&long, None),
            (&long_query, Some("https://a.example/p")),
        ] {
            assert_eq!(page(referer).as_deref(), found, "{referer}");
        }
    }
}
