//! Amazon's shared files: profiles, and the sessions of its sign-on.
//!
//! Rule: two files are one, and where both say something the later one does. Sections and names as Amazon's tools write
//! them; nested settings are passed over.

use super::Keys;
use crate::upstream::identity::kept::Issued;
use aws_credential_types::Credentials;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Everything that the files say.
#[derive(Default)]
pub(super) struct Profiles {
    sections: BTreeMap<String, Profile>,
    /// The folder that the sign-on keeps its tokens under.
    pub(super) folder: Option<PathBuf>,
}

/// One section.
#[derive(Default)]
pub(super) struct Profile(BTreeMap<String, String>);

impl Profiles {
    /// Lays a file over what is there.
    pub(super) fn add(&mut self, file: &str) {
        let mut section: Option<String> = None;
        for line in file.lines() {
            // What is indented belongs to the line before it.
            if line.starts_with([' ', '\t', '#', ';']) {
                continue;
            }
            let line = line.trim_end();
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.split(']').next()) {
                let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
                section = Some(name.strip_prefix("profile ").unwrap_or(&name).to_owned());
                continue;
            }
            if let (Some(section), Some((name, value))) = (&section, line.split_once('=')) {
                let entries = &mut self.sections.entry(section.clone()).or_default().0;
                entries.insert(name.trim().to_lowercase(), value.trim().to_owned());
            }
        }
    }

    /// Finds a profile.
    pub(super) fn get(&self, name: &str) -> Option<&Profile> {
        self.sections.get(name)
    }

    /// Finds a session of the sign-on.
    pub(super) fn session(&self, name: &str) -> Option<&Profile> {
        self.sections.get(&format!("sso-session {name}"))
    }
}

impl Profile {
    /// Returns a value that is not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The keys that stand in it.
    pub(super) fn keys(&self) -> Option<Keys> {
        let (id, secret) = (self.get("aws_access_key_id")?, self.get("aws_secret_access_key")?);
        let token = self.get("aws_session_token").map(str::to_owned);
        Some(Issued { value: Credentials::new(id, secret, token, None, "profile"), valid_for: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# keys\n[default]\naws_access_key_id = A\naws_secret_access_key=s/=1\n\n[profile work]\n\
                        aws_access_key_id=B\naws_secret_access_key=t\naws_session_token = tok\ns3 =\n  x = 1\n\
                        [ profile  broken ] ; why\naws_access_key_id=C\n[sso-session corp]\nsso_region=eu-west-1\n";

    #[test]
    fn a_profile_is_found_by_its_section() {
        let mut profiles = Profiles::default();
        profiles.add(FILE);
        let keys = |name| profiles.get(name).and_then(Profile::keys).map(|keys| keys.value);
        let default = keys("default").unwrap();
        assert_eq!((default.access_key_id(), default.secret_access_key()), ("A", "s/=1"));
        let work = keys("work").unwrap();
        assert_eq!((work.access_key_id(), work.session_token()), ("B", Some("tok")));
        assert!(profiles.get("broken").is_some() && keys("broken").is_none() && keys("none").is_none());
        assert_eq!(profiles.session("corp").unwrap().get("sso_region"), Some("eu-west-1"));
        profiles.add("[work]\naws_access_key_id=D\n");
        assert_eq!(profiles.get("work").unwrap().get("aws_access_key_id"), Some("D"));
    }
}
