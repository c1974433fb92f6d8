//! The target `config`; what it holds its reader to stands in README.md.
#![no_main]

// The reader is a part of the binary; nothing but this target uses it here.
#[allow(dead_code, unreachable_pub, unused_imports)]
#[path = "../../src/config/mod.rs"]
mod config;

use std::collections::BTreeMap;
use std::sync::LazyLock;

static FILE: LazyLock<tempfile::NamedTempFile> = LazyLock::new(|| tempfile::NamedTempFile::new().expect("a scratch file"));

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // What a file names is read from this machine.
    if data.windows(5).any(|bytes| bytes.eq_ignore_ascii_case(b"file:")) {
        return;
    }
    std::fs::write(FILE.path(), data).expect("the scratch file can be written");
    helix_fuzz::bounded(data, |_| {
        let variables = BTreeMap::from([("SET".to_owned(), "value".to_owned())]);
        match config::load(Some(FILE.path()), &variables, &[]) {
            Ok(_) => {}
            Err(found) => assert!(!found.to_string().is_empty(), "refused without a word"),
        }
    });
});
