//! Real clients and a real model server, installed once outside of the clone.
//!
//! Rule: what cannot be installed is left out loudly, and not at all where `HELIX_TEST_REQUIRE_CLIENTS=1`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Set by `./test`: a part that cannot be installed fails the test instead of being left out.
const REQUIRE: &str = "HELIX_TEST_REQUIRE_CLIENTS";

/// What `tests/clients/setup` installs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Python,
    Node,
    Llama,
    Agents,
}

impl Part {
    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Node => "node",
            Self::Llama => "llama",
            Self::Agents => "agents",
        }
    }
}

/// The folder `tests` of the clone.
pub(crate) fn tests_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// Installs a part unless it is there, and returns its folder; `None` after having said why it cannot be.
pub(crate) fn set_up(part: Part) -> Option<PathBuf> {
    let setup = tests_folder().join("clients/setup");
    let output = Command::new(setup).arg(part.name()).stdin(Stdio::null()).output().expect("the script runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        let folder = printed.trim().strip_prefix(part.name()).expect("a line with name and folder");
        return Some(PathBuf::from(folder.trim()));
    }
    let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let is_required = std::env::var(REQUIRE).is_ok_and(|required| required == "1");
    assert!(!is_required, "{REQUIRE}=1, but {} cannot be set up: {reason}", part.name());
    eprintln!("!!! SKIPPED: {} cannot be set up: {reason}", part.name());
    None
}
