//! The target `journal`; what it holds its reader to stands in README.md.
#![no_main]

use std::sync::LazyLock;

static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a scratch folder"));

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let folder = FOLDER.path();
    helix_fuzz::bounded(data, |data| {
        helix_data_plane::records::fuzzing::journal(folder, data).expect("the scratch folder can be written");
    });
});
