//! What every page has around it: title, navigation, whose page it is, what just happened.

use crate::ingest::Reject;

/// The frame of one page; templates that extend `frame.html` have it as their field `frame`.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    /// What all paths begin with: empty, or as `/sub` where a proxy has the pages under a path.
    pub base: String,
    /// The page's title, without the product's name.
    pub title: String,
    /// Names of `app.css` and `app.js` below `{base}/assets/`, which change with their content.
    pub css: &'static str,
    /// As [`Frame::css`].
    pub js: &'static str,
    /// As [`Frame::css`], of `icon.svg`.
    pub icon: &'static str,
    /// Who is signed in.
    pub person: Option<Person>,
    /// The account that the page is of.
    pub account: Option<AccountLink>,
    /// What just happened, or went wrong.
    pub notice: Option<Notice>,
    /// The time zone that the page's times are in, if it has any.
    pub zone: Option<String>,
}

/// A link of the navigation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NavLink {
    /// Where it leads.
    pub href: String,
    /// What it says.
    pub label: &'static str,
    /// Whether it is the page that one is on.
    pub is_current: bool,
    /// Whether another group begins with it.
    pub is_apart: bool,
}

impl Frame {
    /// What the paths of the account's pages begin with, as `/sub/accounts/7`; without an account, what all do.
    #[must_use]
    pub fn home(&self) -> String {
        match &self.account {
            Some(account) => format!("{}/accounts/{}", self.base, account.id),
            None => self.base.clone(),
        }
    }

    /// Links to all parts of the account; none where there is no account, or nobody is signed in.
    #[must_use]
    pub fn navigation(&self) -> Vec<NavLink> {
        let Some(account) = self.account.as_ref().filter(|_| self.person.is_some()) else {
            return Vec::new();
        };
        let link = |section: Section| NavLink {
            href: format!("{}/{}", self.home(), section.slug()),
            label: section.label(),
            is_current: section == account.section,
            is_apart: section == Section::Types,
        };
        Section::ALL.into_iter().map(link).collect()
    }
}

/// Who is signed in, as pages show it.
#[derive(Clone, Debug)]
pub struct Person {
    /// The e-mail.
    pub email: String,
    /// What forms send along to be believed.
    pub csrf: String,
    /// All accounts of the person, by name.
    pub accounts: Vec<AccountLink>,
}

/// An account to go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountLink {
    /// Its number in paths.
    pub id: u64,
    /// Its name, as hostile as any text.
    pub name: String,
    /// Which part of it the page shows; of links to others the part that they lead to.
    pub section: Section,
}

impl AccountLink {
    /// Its path, with what all paths begin with.
    #[must_use]
    pub fn href(&self, base: &str) -> String {
        format!("{base}/accounts/{}/{}", self.id, self.section.slug())
    }
}

/// The parts of an account, in the order of the navigation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are named as the pages are")]
pub enum Section {
    #[default]
    Overview,
    Live,
    Events,
    Funnel,
    Retention,
    Users,
    Types,
    Refused,
    Exports,
    Profile,
}

impl Section {
    /// All of them.
    pub const ALL: [Section; 10] = [
        Section::Overview,
        Section::Live,
        Section::Events,
        Section::Funnel,
        Section::Retention,
        Section::Users,
        Section::Types,
        Section::Refused,
        Section::Exports,
        Section::Profile,
    ];

    /// The last piece of its path.
    #[must_use]
    pub fn slug(self) -> &'static str {
        match self {
            Section::Overview => "overview",
            Section::Live => "live",
            Section::Events => "events",
            Section::Funnel => "funnel",
            Section::Retention => "retention",
            Section::Users => "users",
            Section::Types => "types",
            Section::Refused => "refused",
            Section::Exports => "exports",
            Section::Profile => "profile",
        }
    }

    /// What the navigation calls it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Section::Overview => "Overview",
            Section::Live => "Live",
            Section::Events => "Events",
            Section::Funnel => "Funnel",
            Section::Retention => "Retention",
            Section::Users => "Users",
            Section::Types => "Data types",
            Section::Refused => "Refused calls",
            Section::Exports => "Export and delete",
            Section::Profile => "Profile",
        }
    }
}

/// A sentence above the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whether something went wrong, else something was done.
    pub is_error: bool,
    /// The sentence.
    pub text: String,
}

impl Notice {
    /// Why what was asked for can't be answered.
    #[must_use]
    pub fn refused(reject: &Reject) -> Notice {
        Notice { is_error: true, text: super::answer::sentence(&reject.detail) }
    }
}
