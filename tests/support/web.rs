//! A person without a browser: keeps cookies, finds the forms of a page and sends them.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use super::server::verb;
use super::{Reply, escape, exchange};

/// Somebody's cookies.
#[derive(Clone, Debug)]
pub struct Visitor {
    pub address: SocketAddr,
    pub cookies: BTreeMap<String, String>,
    /// Where a link has led to.
    pub home: String,
}

/// A form as it stands in a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    pub method: String,
    pub action: String,
    pub fields: Vec<Field>,
}

/// What a form sends, as it would if nobody touched it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Field {
    pub name: String,
    /// The type of an input; else the element's name.
    pub kind: String,
    pub value: String,
}

impl Visitor {
    /// One who has no cookie yet.
    pub fn new(address: SocketAddr) -> Visitor {
        Visitor { address, cookies: BTreeMap::new(), home: String::new() }
    }

    /// One who comes by a one-time link, and sets an e-mail and a password.
    pub fn by_link(address: SocketAddr, link: &str, email: &str, password: &str) -> Visitor {
        let mut visitor = Visitor::new(address);
        let path = path_of(link);
        let page = visitor.get(&path);
        assert_eq!(page.status, 200, "{page:?}");
        let form = form_with(page.text(), "password");
        let reply = visitor.send(&form, &path, &[("email", email), ("password", password)]);
        assert_eq!(reply.status, 303, "{reply:?}");
        assert!(!visitor.cookies.is_empty(), "no session: {reply:?}");
        visitor.home = reply.header("Location").unwrap_or_default().to_owned();
        visitor
    }

    /// GET.
    pub fn get(&mut self, path: &str) -> Reply {
        let reply = self.call("GET", path, &[], None);
        self.take_cookies(&reply);
        reply
    }

    /// POST of a form's fields, from a page of the server.
    pub fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Reply {
        let body: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{}={}", escape(name), escape(value)))
            .collect();
        let origin = format!("http://{}", self.address);
        let headers = [
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Origin", origin.as_str()),
            ("Sec-Fetch-Site", "same-origin"),
        ];
        let reply = self.call("POST", path, &headers, Some(body.join("&").as_bytes()));
        self.take_cookies(&reply);
        reply
    }

    /// Sends a form of the page at `path`, with these values for the fields whose name or type is so called.
    pub fn send(&mut self, form: &Form, path: &str, values: &[(&str, &str)]) -> Reply {
        let fields: Vec<(&str, &str)> = form
            .fields
            .iter()
            .map(|field| {
                let given = values.iter().find(|(of, _)| *of == field.name || *of == field.kind);
                (field.name.as_str(), given.map_or(field.value.as_str(), |(_, value)| *value))
            })
            .collect();
        let action = if form.action.is_empty() { path } else { &form.action };
        self.post(&path_of(action), &fields)
    }

    /// One call with the cookies, and no more than that.
    pub fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Reply {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let mut all = headers.to_vec();
        if !cookies.is_empty() {
            all.push(("Cookie", &cookies));
        }
        exchange(self.address, method, path, &all, body)
    }

    fn take_cookies(&mut self, reply: &Reply) {
        for (_, value) in
            reply.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"))
        {
            let pair = value.split(';').next().unwrap_or_default();
            let (name, value_of) = pair.split_once('=').expect("a cookie");
            if value_of.is_empty() || value.to_ascii_lowercase().contains("max-age=0") {
                self.cookies.remove(name.trim());
            } else {
                self.cookies.insert(name.trim().to_owned(), value_of.to_owned());
            }
        }
    }
}

/// The path of an address, with its query.
pub fn path_of(address: &str) -> String {
    match address.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]).to_owned(),
        None => address.to_owned(),
    }
}

/// The link to sign in by, among the lines that were printed.
pub fn link_in(printed: &[String]) -> String {
    let mut words = printed.iter().flat_map(|line| line.split([' ', '=', '"']));
    let link = words.rfind(|word| word.contains("/link/"));
    link.unwrap_or_else(|| panic!("no link: {printed:?}")).trim_end_matches('.').to_owned()
}

/// A new link to an account, by the command that makes them.
pub fn new_link(dir: &Path, account: &str) -> String {
    let made = verb(dir, &["web", "link", "--account", account]);
    assert!(made.status.success(), "{made:?}");
    let printed = String::from_utf8(made.stdout).expect("text");
    link_in(&printed.lines().map(str::to_owned).collect::<Vec<_>>())
}

/// The name of an asset that a page loads.
pub fn asset_in(html: &str) -> String {
    let asset = html.split("/assets/").nth(1).and_then(|rest| rest.split('"').next());
    asset.expect("an asset").to_owned()
}

/// The first form that has a field of this name or type.
pub fn form_with(html: &str, field: &str) -> Form {
    let found = forms(html)
        .into_iter()
        .find(|form| form.fields.iter().any(|of| of.name == field || of.kind == field));
    found.unwrap_or_else(|| panic!("no form with {field}: {html:.3000}"))
}

/// All forms of a page that we made: attributes stand in double quotes.
pub fn forms(html: &str) -> Vec<Form> {
    let mut forms = Vec::new();
    for text in html.split("<form").skip(1) {
        let text = text.split("</form>").next().unwrap_or_default();
        let (tag, inside) = tag_end(text);
        let mut form = Form {
            method: attribute(tag, "method").unwrap_or_else(|| "get".to_owned()),
            action: attribute(tag, "action").unwrap_or_default(),
            fields: Vec::new(),
        };
        for piece in inside.split('<') {
            let element: String = piece.chars().take_while(char::is_ascii_alphabetic).collect();
            let (tag, behind) = tag_end(piece);
            let Some(name) = attribute(tag, "name") else {
                // The chosen one of a select's, or its first.
                if element == "option"
                    && let Some(field) = form.fields.last_mut()
                {
                    let chosen = has(tag, "selected");
                    if field.kind == "select" && (chosen || field.value.is_empty()) {
                        field.value =
                            attribute(tag, "value").unwrap_or_else(|| unescape(behind.trim()));
                    }
                }
                continue;
            };
            let kind = attribute(tag, "type").unwrap_or_else(|| element.clone());
            if element == "button"
                || (["checkbox", "radio"].contains(&&*kind) && !has(tag, "checked"))
            {
                continue;
            }
            let value = match &*element {
                "input" => attribute(tag, "value").unwrap_or_default(),
                "textarea" => unescape(behind.trim_start_matches('\n')),
                _ => String::new(),
            };
            form.fields.push(Field { name, kind, value });
        }
        forms.push(form);
    }
    forms
}

/// A tag's inside, and what stands behind it.
fn tag_end(text: &str) -> (&str, &str) {
    let mut quoted = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '>' if !quoted => return (&text[..at], &text[at + 1..]),
            _ => {}
        }
    }
    (text, "")
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let start = format!(" {name}=\"");
    let value = tag.split_once(&start)?.1;
    Some(unescape(value.split('"').next().unwrap_or_default()))
}

fn has(tag: &str, name: &str) -> bool {
    tag.split_ascii_whitespace().any(|word| word == name)
}

/// Text of HTML, as it is meant.
pub fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('&') {
        out.push_str(before);
        let Some((name, after)) = behind.split_once(';') else {
            out.push('&');
            rest = behind;
            continue;
        };
        let number = name.strip_prefix("#x").map_or_else(
            || name.strip_prefix('#').and_then(|digits| digits.parse().ok()),
            |digits| u32::from_str_radix(digits, 16).ok(),
        );
        let c = match name {
            "lt" => Some('<'),
            "gt" => Some('>'),
            "amp" => Some('&'),
            "quot" => Some('"'),
            _ => number.and_then(char::from_u32),
        };
        match c {
            Some(c) => {
                out.push(c);
                rest = after;
            }
            None => {
                out.push('&');
                rest = behind;
            }
        }
    }
    out + rest
}
