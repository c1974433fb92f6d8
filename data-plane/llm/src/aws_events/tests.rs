//! The five frames of the wire reference, byte by byte, and what breaks a stream of them.

use proptest::prelude::*;

use super::*;

const EMPTY: &str = "000000100000000005c248eb7d98c8ff";
const START: &str = "000000760000005296d5fade0b3a6576656e742d7479706507000c6d65737361676553746172740d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d747970650700056576656e747b22726f6c65223a22617373697374616e74227d6fa8c599";
const DELTA: &str = "0000009400000057b4ab9aee0b3a6576656e742d74797065070011636f6e74656e74426c6f636b44656c74610d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d747970650700056576656e747b22636f6e74656e74426c6f636b496e646578223a302c2264656c7461223a7b2274657874223a224869227d7d1f944657";
const EXCEPTION: &str = "00000090000000618e91a9b70f3a657863657074696f6e2d747970650700137468726f74746c696e67457863657074696f6e0d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d74797065070009657863657074696f6e7b226d657373616765223a22546f6f206d616e79207265717565737473227de67f8005";
const CHUNK: &str = "0000007b0000004b0a2e96af0b3a6576656e742d747970650700056368756e6b0d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d747970650700056576656e747b226279746573223a2265794a306558426c496a6f6963476c755a794a39227da01f56c4";

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

/// Writes a frame as the provider does.
pub(crate) fn frame(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut written = Vec::new();
    for (name, value) in headers {
        written.push(u8::try_from(name.len()).unwrap());
        written.extend_from_slice(name.as_bytes());
        written.push(7);
        written.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
        written.extend_from_slice(value.as_bytes());
    }
    let total = u32::try_from(written.len() + payload.len() + 16).unwrap();
    let mut frame = total.to_be_bytes().to_vec();
    frame.extend_from_slice(&u32::try_from(written.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
    frame.extend_from_slice(&written);
    frame.extend_from_slice(payload);
    frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
    frame
}

/// An event of `ConverseStream`.
pub(crate) fn event(name: &str, payload: &str) -> Vec<u8> {
    let headers = [(":event-type", name), (":content-type", "application/json"), (":message-type", "event")];
    frame(&headers, payload.as_bytes())
}

/// An exception.
pub(crate) fn exception(name: &str, message: &str) -> Vec<u8> {
    let headers = [(":exception-type", name), (":content-type", "application/json"), (":message-type", "exception")];
    frame(&headers, format!("{{\"message\":\"{message}\"}}").as_bytes())
}

type Seen = (String, String, String);

fn read<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Seen>, bool) {
    let mut frames = Frames::default();
    let mut seen = Vec::new();
    let mut is_broken = false;
    for chunk in chunks {
        let note = |frame: Frame<'_>| {
            let payload = String::from_utf8_lossy(frame.payload).into_owned();
            seen.push((frame.message_type.to_owned(), frame.name.to_owned(), payload));
        };
        is_broken |= frames.push(chunk, note).is_err();
    }
    (seen, is_broken)
}

fn check(hex: &str, expected: [&str; 3]) {
    let bytes = unhex(hex);
    let expected: [String; 3] = expected.map(str::to_owned);
    for size in [1, 2, 7, bytes.len()] {
        let (seen, is_broken) = read(bytes.chunks(size));
        assert_eq!(seen, [expected.clone().into()], "pieces of {size}");
        assert!(!is_broken);
    }
}

#[test]
fn b04_the_empty_frame() {
    check(EMPTY, ["", "", ""]);
    assert_eq!(frame(&[], b""), unhex(EMPTY));
}

#[test]
fn b05_message_start() {
    check(START, ["event", "messageStart", r#"{"role":"assistant"}"#]);
    assert_eq!(event("messageStart", r#"{"role":"assistant"}"#), unhex(START));
}

#[test]
fn b06_content_block_delta() {
    check(DELTA, ["event", "contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"Hi"}}"#]);
}

#[test]
fn b07_an_exception() {
    check(EXCEPTION, ["exception", "throttlingException", r#"{"message":"Too many requests"}"#]);
    assert_eq!(exception("throttlingException", "Too many requests"), unhex(EXCEPTION));
}

#[test]
fn b08_a_chunk_of_invoke_model() {
    check(CHUNK, ["event", "chunk", r#"{"bytes":"eyJ0eXBlIjoicGluZyJ9"}"#]);
}

#[test]
fn b04_to_b08_all_in_one_row_however_they_are_cut() {
    let all: Vec<u8> = [EMPTY, START, DELTA, EXCEPTION, CHUNK].iter().flat_map(|hex| unhex(hex)).collect();
    let (expected, _) = read([&*all]);
    assert_eq!(expected.len(), 5);
    for size in 1..all.len() {
        assert_eq!(read(all.chunks(size)), (expected.clone(), false), "pieces of {size}");
    }
}

#[test]
fn b09_a_flipped_bit_anywhere_breaks_the_stream_and_nothing_behind_it_is_read() {
    let good = unhex(DELTA);
    for at in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[at / 8] ^= 1 << (at % 8);
        let bytes = [bad, unhex(START)].concat();
        for size in [1, bytes.len()] {
            let (seen, is_broken) = read(bytes.chunks(size));
            assert!(seen.is_empty() && is_broken, "bit {at}, pieces of {size}");
        }
    }
}

#[test]
fn a_length_that_lies_allocates_nothing() {
    let mut head = [0xff_u8, 0xff, 0xff, 0xff, 0, 0, 0, 0].to_vec();
    head.extend_from_slice(&crc32fast::hash(&head).to_be_bytes());
    let mut frames = Frames::default();
    assert_eq!(frames.push(&head, |_| panic!("no frame")), Err(Broken));
    assert!(frames.partial.capacity() < 64);
    assert_eq!(frames.push(&unhex(START), |_| panic!("no frame")), Err(Broken));
}

#[test]
fn every_type_of_header_is_passed_over() {
    let mut headers = Vec::new();
    for (kind, size) in [(0_u8, 0_usize), (1, 0), (2, 1), (3, 2), (4, 4), (5, 8), (8, 8), (9, 16)] {
        headers.extend_from_slice(&[1, b'h', kind]);
        headers.extend(std::iter::repeat_n(0, size));
    }
    headers.extend_from_slice(&[1, b'b', 6, 0, 2, 1, 2]);
    let mut bytes = u32::try_from(headers.len() + 18).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(&u32::try_from(headers.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
    bytes.extend_from_slice(&headers);
    bytes.extend_from_slice(b"{}");
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
    let expected: Seen = (String::new(), String::new(), "{}".to_owned());
    assert_eq!(read([&*bytes]), (vec![expected], false));
}

proptest! {
    #[test]
    fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..256), size in 1_usize..64) {
        let _ = read(noise.chunks(size));
    }
}
