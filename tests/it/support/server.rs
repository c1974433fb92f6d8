//! A database server of a test's own, which it may restart. Upholds: it ends with the test. Not here: databases on servers that
//! tests share (`databases`).

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A private PostgreSQL.
pub(crate) struct Server {
    folder: PathBuf,
    url: String,
}

impl Server {
    /// Starts one in a folder; `None` when PostgreSQL is not installed and nobody requires it.
    pub(crate) fn postgres(folder: &Path) -> Option<Self> {
        use std::os::unix::fs::PermissionsExt as _;
        // the server's own user goes through it
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).expect("the folder is ours");
        let folder = folder.join("postgres");
        let started = run("start", &folder, &[]);
        if !started.status.success() {
            let is_required = std::env::var("HELIX_TEST_REQUIRE_DATABASES").is_ok_and(|required| required == "1");
            assert!(!is_required, "{}", String::from_utf8_lossy(&started.stderr));
            return None;
        }
        Some(Self { folder, url: String::from_utf8_lossy(&started.stdout).trim().to_owned() })
    }

    /// What goes into `storage.url`.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Ends it and starts it again on its port: `fast` in good order, `immediate` as if it had crashed.
    pub(crate) fn restart(&self, mode: &str) {
        let restarted = run("restart", &self.folder, &[mode]);
        assert!(restarted.status.success(), "{}", String::from_utf8_lossy(&restarted.stderr));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(run("stop", &self.folder, &[]));
    }
}

fn run(what: &str, folder: &Path, further: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parts/postgres");
    let mut command = Command::new(script);
    // a commit that was answered has left the server's memory, so that a crash of the server forgets nothing
    command.arg(what).arg(folder).args(further).env("HELIX_POSTGRES_COMMIT", "on");
    command.output().expect("the script runs")
}
