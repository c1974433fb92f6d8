//! Every seed that is kept is run on stable Rust, too.

use std::path::Path;

fn run(target: &str, read: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
    let mut seeds = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let seed = std::fs::read(&path).unwrap();
        let result = std::panic::catch_unwind(|| read(&seed));
        assert!(result.is_ok(), "{}", path.display());
        seeds += 1;
    }
    assert!(seeds > 0, "no seeds in {}", folder.display());
    read(&[]);
}

#[test]
fn every_seed_of_event_streams_is_read() {
    run("sse", super::sse);
}

#[test]
fn every_seed_of_amazons_frames_is_read() {
    run("aws_events", super::aws_events);
}

#[test]
fn every_seed_of_json_is_read() {
    run("json", super::json);
}

#[test]
fn every_seed_of_forms_is_read() {
    run("multipart", super::multipart);
}

#[test]
fn every_seed_of_requests_is_read() {
    run("request", super::request);
}

#[test]
fn every_seed_of_answers_is_read() {
    run("answer", super::answer);
}
