//! Values with an inner structure: the database address, the scope of a budget, and what is read but not served.
//!
//! Rule: a database address is shown without its password, everywhere.

use super::decoder::Decoder;
use super::node::Node;
use super::setting::{Scalar, Setting, Shown};
use helix_shared::access::Pattern;
use helix_shared::secret::Secret;
use serde_json::{Value as Json, json};
use std::fmt;
use url::Url;

/// The address of a database. Shows no password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct DatabaseUrl {
    whole: Secret,
    shown: String,
}

impl DatabaseUrl {
    /// Returns the whole address, password included. The name is the warning.
    pub(crate) fn expose(&self) -> &str {
        self.whole.expose_str().unwrap_or("")
    }

    /// The address of a `SQLite` file.
    pub(super) fn sqlite(path: &std::path::Path) -> Self {
        let whole = format!("sqlite://{}", path.display());
        Self { shown: whole.clone(), whole: Secret::new(whole) }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Scalar for DatabaseUrl {
    const EXPECTED: &'static str = "a database URL";

    fn parse(text: &str) -> Result<Self, Option<String>> {
        let forms = "write sqlite://path, postgres://host/db or mysql://host/db";
        let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
        let shown = match scheme {
            "sqlite" => text.to_owned(),
            "postgres" | "postgresql" | "mysql" | "mariadb" => {
                let mut url =
                    Url::parse(text).map_err(|error| Some(format!("not a database URL: {error}; {forms}")))?;
                if !url.has_host() {
                    return Err(Some(format!("the host is missing; {forms}")));
                }
                let has_password = url.password().is_some();
                if has_password && url.set_password(Some("redacted")).is_err() {
                    return Err(Some(forms.to_owned()));
                }
                let has_secret_option = url.query().is_some_and(|query| query.contains("password"));
                if has_secret_option {
                    url.set_query(Some("redacted"));
                }
                url.to_string().replacen(":redacted@", ":[redacted]@", 1)
            }
            "" => return Err(Some(format!("not a database URL; {forms}"))),
            other => return Err(Some(format!("no database is called `{other}`; {forms}"))),
        };
        Ok(Self { whole: Secret::new(text), shown })
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^(sqlite|postgres|postgresql|mysql|mariadb):|\\$\\{.+\\}" })
    }

    fn text(&self) -> String {
        self.shown.clone()
    }
}

/// What a budget limits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// Everything.
    Instance,
    /// One team, by name.
    Team(String),
    /// One user, by e-mail address in lower case.
    User(String),
    /// One API key, by name.
    Key(String),
    /// Every model whose name matches.
    Model(String),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instance => f.write_str("instance"),
            Self::Team(name) => write!(f, "team:{name}"),
            Self::User(email) => write!(f, "user:{email}"),
            Self::Key(name) => write!(f, "key:{name}"),
            Self::Model(pattern) => write!(f, "model:{pattern}"),
        }
    }
}

impl Scalar for Scope {
    const EXPECTED: &'static str = "a scope: instance, team:NAME, user:EMAIL, key:NAME or model:PATTERN";

    fn parse(text: &str) -> Result<Self, Option<String>> {
        match text.split_once(':') {
            None if text == "instance" => Ok(Self::Instance),
            Some(("team", name)) if !name.is_empty() => Ok(Self::Team(name.to_owned())),
            Some(("user", email)) if !email.is_empty() => Ok(Self::User(email.to_lowercase())),
            Some(("key", name)) if !name.is_empty() => Ok(Self::Key(name.to_owned())),
            Some(("model", pattern)) if !pattern.is_empty() => match Pattern::new(pattern) {
                Ok(_) => Ok(Self::Model(pattern.to_owned())),
                Err(error) => Err(Some(error.to_string())),
            },
            _ => Err(None),
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^(instance|team:.+|user:.+|key:.+|model:.+)$" })
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

/// An entry that is read for what comes after this version. Its content is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unserved;

impl Setting for Unserved {
    fn decode(_node: &Node, _decoder: &mut Decoder<'_>) -> Option<Self> {
        Some(Self)
    }

    fn schema() -> Json {
        json!({ "type": "object" })
    }

    fn show(&self, key: &str, out: &mut Vec<Shown>) {
        out.push(Shown { key: key.to_owned(), value: "(not served by this version)".to_owned() });
    }
}
