//! The target `multipart`; what it holds its reader to stands in README.md.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| helix_fuzz::bounded(data, helix_llm::fuzzing::multipart));
