//! An attribute in JSON text, found without reading the rest.
//!
//! Promises to be right for any valid JSON object whose keys differ, and never to panic on anything.
//! Must not know what a value means. It is on the way of each event of each question, so it goes over
//! no more of the text than up to the attribute, and allots nothing.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};

use memchr::memmem::Finder;
use memchr::{memchr, memchr2};

use crate::model::limits::DEPTH_MAX;

/// The name of an attribute. `a.b` is the attribute of just that name, and where there is none, the
/// attribute `b` of the object `a`; of several, that with the longest first part.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    whole: Name,
    within: Within,
}

/// What else a name can mean.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Within {
    Nothing,
    /// This of that.
    One(Name, Name),
    /// There are several dots.
    Many,
}

impl Path {
    /// The attribute of this name.
    #[must_use]
    pub fn new(name: &str) -> Path {
        let within = match name.split_once('.') {
            None => Within::Nothing,
            Some((_, rest)) if rest.contains('.') => Within::Many,
            Some((first, rest)) => Within::One(Name::new(first), Name::new(rest)),
        };
        Path { whole: Name::new(name), within }
    }

    /// The name, as it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.whole.text
    }
}

/// The JSON text of an attribute's value, as it stands there, in at most [`DEPTH_MAX`] levels of objects.
#[must_use]
pub fn find<'t>(attributes: &'t str, path: &Path) -> Option<&'t str> {
    path.whole.of(attributes).or_else(|| match &path.within {
        Within::Nothing => None,
        Within::One(first, rest) => rest.of(first.of(attributes)?),
        Within::Many => find_dotted(attributes, path.name(), DEPTH_MAX),
    })
}

/// The name of a member of an object.
#[derive(Clone, Debug)]
struct Name {
    text: Box<str>,
    /// Looks for the name in its quotes. There is none for a name that has to be escaped, or that could
    /// stand behind a string's closing quote.
    quoted: Option<Box<Finder<'static>>>,
}

impl PartialEq for Name {
    fn eq(&self, other: &Name) -> bool {
        self.text == other.text
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl Name {
    fn new(text: &str) -> Name {
        let first = text.bytes().next();
        let plain = first.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && !text.contains(['"', '\\'])
            && !text.contains(char::is_control);
        let quoted = plain.then(|| Box::new(Finder::new(&format!("\"{text}\"")).into_owned()));
        Name { text: text.into(), quoted }
    }

    /// The value of the member of this name.
    fn of<'t>(&self, object: &'t str) -> Option<&'t str> {
        if let Some(Ok(found)) = self.quoted.as_ref().map(|quoted| at_a_glance(object, quoted)) {
            return found;
        }
        members(object).find(|(key, _)| key.is(&self.text)).map(|(_, value)| value)
    }
}

/// The text has to be gone through.
struct Unclear;

/// The value of a member where it takes no going through the members before: its name stands there as a
/// key, and nothing is nested before it; or it stands nowhere, and nothing is escaped.
fn at_a_glance<'t>(object: &'t str, quoted: &Finder<'_>) -> Result<Option<&'t str>, Unclear> {
    let bytes = object.as_bytes();
    let Some(at) = quoted.find(bytes) else {
        return memchr(b'\\', bytes).map_or(Ok(None), |_| Err(Unclear));
    };
    let end = at + quoted.needle().len();
    // A quote behind one of these begins a string. A string behind which there is a colon is a key.
    let is_key = at > 0 && matches!(bytes[at - 1], b'{' | b',') && bytes.get(end) == Some(&b':');
    if !is_key || bytes[0] != b'{' || memchr2(b'{', b'[', &bytes[1..at]).is_some() {
        return Err(Unclear);
    }
    Ok(Members { text: object, at: end + 1 }.value())
}

fn find_dotted<'t>(object: &'t str, name: &str, levels: usize) -> Option<&'t str> {
    let mut within = Vec::new();
    for (key, value) in members(object) {
        if key.is(name) {
            return Some(value);
        }
        if value.starts_with('{')
            && let Some(rest) = key.first_of(name)
        {
            within.push((rest, value));
        }
    }
    within.sort_by_key(|(rest, _)| rest.len());
    let levels = levels.checked_sub(1).filter(|levels| *levels > 0)?;
    within.into_iter().find_map(|(rest, value)| find_dotted(value, rest, levels))
}

/// The members of a JSON object, in order. Ends early where the text is no object.
#[must_use]
pub fn members(object: &str) -> Members<'_> {
    let mut members = Members { text: object, at: 0 };
    if members.after_space() == Some(b'{') {
        members.at += 1;
    } else {
        members.at = object.len();
    }
    members
}

/// The elements of a JSON list, in order. Ends early where the text is no list.
pub fn elements(list: &str) -> impl Iterator<Item = &str> {
    let mut scan = Members { text: list, at: 0 };
    let is_list = scan.after_space() == Some(b'[');
    scan.at += usize::from(is_list);
    std::iter::from_fn(move || {
        if is_list && scan.after_space()? == b',' {
            scan.at += 1;
        }
        if is_list { scan.value() } else { None }
    })
}

/// See [`members`].
#[derive(Clone, Debug)]
pub struct Members<'t> {
    text: &'t str,
    at: usize,
}

/// The key of a member, as it is written.
#[derive(Clone, Copy, Debug)]
pub struct Key<'t> {
    raw: &'t str,
    escaped: bool,
}

impl<'t> Key<'t> {
    /// Whether it is this name.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        if self.escaped { self.name() == name } else { self.raw == name }
    }

    /// The name that it is.
    #[must_use]
    pub fn name(&self) -> Cow<'t, str> {
        if self.escaped { unescaped(self.raw) } else { Cow::Borrowed(self.raw) }
    }

    /// As it is written between its quotes.
    #[must_use]
    pub fn raw(&self) -> &'t str {
        self.raw
    }

    /// What follows it and a dot in `name`.
    fn first_of<'n>(&self, name: &'n str) -> Option<&'n str> {
        name.strip_prefix(&*self.name())?.strip_prefix('.')
    }
}

impl<'t> Iterator for Members<'t> {
    type Item = (Key<'t>, &'t str);

    fn next(&mut self) -> Option<(Key<'t>, &'t str)> {
        let member = self.member();
        if member.is_none() {
            self.at = self.text.len();
        }
        member
    }
}

impl<'t> Members<'t> {
    fn member(&mut self) -> Option<(Key<'t>, &'t str)> {
        if self.after_space()? == b',' {
            self.at += 1;
        }
        if self.after_space()? != b'"' {
            return None;
        }
        let start = self.at + 1;
        let escaped = self.skip_string()?;
        let key = Key { raw: self.text.get(start..self.at - 1)?, escaped };
        if self.after_space()? != b':' {
            return None;
        }
        self.at += 1;
        Some((key, self.value()?))
    }

    /// Takes the value that comes next.
    fn value(&mut self) -> Option<&'t str> {
        let first = self.after_space()?;
        let start = self.at;
        match first {
            b'"' => {
                self.skip_string()?;
            }
            b'{' | b'[' => self.skip_nested()?,
            _ => self.skip_plain(),
        }
        self.text.get(start..self.at).filter(|value| !value.is_empty())
    }

    /// Goes behind the string that begins here; whether it has an escape.
    #[inline]
    fn skip_string(&mut self) -> Option<bool> {
        let bytes = self.text.as_bytes();
        self.at += 1;
        let mut escaped = false;
        loop {
            self.at += memchr2(b'"', b'\\', bytes.get(self.at..)?)?;
            if bytes[self.at] == b'"' {
                self.at += 1;
                return Some(escaped);
            }
            escaped = true;
            self.at += 2;
        }
    }

    /// Goes behind the list or object that begins here.
    fn skip_nested(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.text.as_bytes().get(self.at)? {
                b'"' => {
                    self.skip_string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// Goes behind the number or literal that begins here.
    #[inline]
    fn skip_plain(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        let ends =
            |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r' | b'"');
        self.at += rest.iter().position(ends).unwrap_or(rest.len());
    }

    #[inline]
    fn after_space(&mut self) -> Option<u8> {
        loop {
            match *self.text.as_bytes().get(self.at)? {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                byte => return Some(byte),
            }
        }
    }
}

/// What a string means whose text between the quotes is `raw`; that itself where an escape is no escape.
pub(super) fn unescaped(raw: &str) -> Cow<'_, str> {
    if memchr(b'\\', raw.as_bytes()).is_none() {
        return Cow::Borrowed(raw);
    }
    match serde_json::from_str(&format!("\"{raw}\"")) {
        Ok(text) => Cow::Owned(text),
        Err(_) => Cow::Borrowed(raw),
    }
}

#[cfg(test)]
mod tests;
