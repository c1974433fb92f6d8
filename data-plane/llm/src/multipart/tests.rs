//! Forms however they are cut, and what two readers could take two ways.

use super::*;

fn form(parts: &[(&str, &str)]) -> String {
    let parts: Vec<String> = parts.iter().map(|(head, body)| format!("--b-b\r\n{head}\r\n\r\n{body}\r\n")).collect();
    format!("{}--b-b--\r\n", parts.concat())
}

fn field(name: &str) -> String {
    format!("Content-Disposition: form-data; name=\"{name}\"")
}

#[test]
fn a_form_is_read_however_it_is_cut_m5() {
    let file =
        "content-disposition: form-data; name=\"file\"; filename=\"a \\\"東京\\\".wav\"\r\nContent-Type: audio/wav";
    let body = form(&[
        (file, "RIFF\r\n--b-x\r\n\r\n--b"),
        (&field("timestamp_granularities[]"), "word"),
        (&field("model"), "whisper-1"),
        (&field("response_format"), "srt"),
        (&field("prompt"), ""),
    ]);
    for whole in [body.as_str(), body.strip_suffix("\r\n").unwrap()] {
        for size in [1, 3, 17, whole.len()] {
            let mut form = Form::new("b-b");
            let mut end = 0;
            while end < whole.len() {
                end = (end + size).min(whole.len());
                form.read(&whole.as_bytes()[..end]).unwrap();
            }
            assert!(form.is_over() && form.has_model(), "{size}");
            let facts = form.facts(Dialect::OpenAiTranscriptions, whole.as_bytes(), None).unwrap();
            assert_eq!((facts.model.as_str(), facts.wish.format.as_deref()), ("whisper-1", Some("srt")), "{size}");
            assert_eq!(whole.get(facts.splices.model.clone()), Some("whisper-1"));
            assert_eq!((form.files, form.file_bytes), (1, 18), "{size}");
        }
    }
}

#[test]
fn pictures_are_counted_with_their_mask_m6() {
    let file = |name: &str| format!("Content-Disposition: form-data; name=\"{name}\"; filename=\"a.png\"");
    let body = form(&[
        (&field("model"), "gpt-image-2"),
        (&field("n"), "2"),
        (&field("quality"), "low"),
        (&file("image[]"), "one"),
        (&file("image[]"), "two!"),
        (&file("mask"), "m"),
        (&field("prompt"), "Paint it."),
    ]);
    let mut form = Form::new("b-b");
    form.read(body.as_bytes()).unwrap();
    let facts = form.facts(Dialect::OpenAiImageEdits, body.as_bytes(), None).unwrap();
    assert_eq!((facts.media.images, facts.media.inline_image_bytes, facts.choices), (3, 8, 2));
    assert_eq!(facts.wish.image_tokens_max, 2_048);
}

#[test]
fn what_two_readers_could_take_two_ways_is_refused() {
    let read = |body: &str| Form::new("b-b").read(body.as_bytes());
    let twice = form(&[(&field("model"), "a"), (&field("model"), "b")]);
    assert_eq!(read(&twice), Err(FormError::Duplicate("model")));
    assert!(matches!(read("text"), Ok(()) | Err(FormError::Malformed(_))));
    assert!(matches!(read("preamble--b-b\r\n"), Err(FormError::Malformed(_))));
    assert!(matches!(read("--b-b\r\nX: y\r\n\r\n"), Err(FormError::Malformed(_))));
    assert!(matches!(read("--b-b??"), Err(FormError::Malformed(_))));
    let none = form(&[(&field("prompt"), "a")]);
    let mut form = Form::new("b-b");
    form.read(none.as_bytes()).unwrap();
    let facts = form.facts(Dialect::OpenAiTranscriptions, none.as_bytes(), None);
    assert_eq!(facts, Err(FormError::Missing("model")));
}

#[test]
fn a_flag_is_true_or_false() {
    for (flag, expected) in [("true", Ok(true)), ("False", Ok(false)), ("1", Err(())), ("yes", Err(())), ("", Err(()))]
    {
        let body = form(&[(&field("model"), "m"), (&field("stream"), flag)]);
        let mut form = Form::new("b-b");
        let read = form.read(body.as_bytes());
        let facts = read.and_then(|()| form.facts(Dialect::OpenAiTranscriptions, body.as_bytes(), None));
        match expected {
            Ok(expected) => assert_eq!(facts.unwrap().is_stream, expected, "{flag}"),
            Err(()) => assert_eq!(facts, Err(FormError::Invalid("stream")), "{flag}"),
        }
    }
}

#[test]
fn a_field_that_counts_is_no_file_and_boundaries_are_exact() {
    let read = |body: &str| Form::new("b-b").read(body.as_bytes());
    let file = form(&[("Content-Disposition: form-data; name=\"model\"; filename=\"a\"", "m")]);
    assert_eq!(read(&file), Err(FormError::Invalid("model")));
    for hidden in ["a\n--b-b\r\n", "a\r--b-b--", "a\r\n--b-b \r\n"] {
        let body = form(&[(&field("model"), "m"), (&field("x"), hidden)]);
        assert!(matches!(read(&body), Err(FormError::Malformed(_))), "{hidden:?}");
    }
    let body = form(&[(&field("model"), "m"), (&field("x"), "a --b-b")]);
    assert_eq!(read(&body), Ok(()));
    assert!(matches!(read(&format!("{body}--b-b\r\n")), Err(FormError::Malformed(_))));
    let mut cut = Form::new("b-b");
    cut.read(body.as_bytes().strip_suffix(b"--\r\n").unwrap()).unwrap();
    assert!(cut.finish().is_err());
}

/// Passes a form on as an upload does: what is known goes, the rest waits. Returns what went.
fn pass(body: &str, size: usize) -> (Vec<u8>, Result<(), FormError>) {
    pass_within(body, size, 200)
}

fn pass_within(body: &str, size: usize, most_waiting: usize) -> (Vec<u8>, Result<(), FormError>) {
    let mut form = Form::new("b-b");
    let (mut passed, mut window) = (Vec::new(), Vec::new());
    for piece in body.as_bytes().chunks(size) {
        window.extend_from_slice(piece);
        if let Err(error) = form.read(&window) {
            return (passed, Err(error));
        }
        passed.extend(window.drain(..form.known_bytes()));
        form.forget_known();
        assert!(window.len() < most_waiting, "{size}: {} bytes wait", window.len());
    }
    (passed, form.finish())
}

#[test]
fn what_says_how_the_answer_comes_is_read_before_any_of_it_is_passed_on() {
    let long = "x".repeat(MAX_ANSWER_BYTES + 1);
    for (name, value, is_good) in [
        ("stream", "true", true),
        ("stream", "maybe", false),
        ("stream", "", false),
        ("stream", long.as_str(), false),
        ("response_format", "verbose_json", true),
        ("response_format", "srt\r\nx: y", false),
        ("response_format", "\u{e9}", false),
        ("response_format", long.as_str(), false),
    ] {
        let (model, late) = (field("model"), field(name));
        let body = form(&[(&model, "whisper-1"), (&late, value), (&field("language"), "de")]);
        for size in 1..90 {
            let (passed, result) = pass_within(&body, size, 600);
            if is_good {
                assert_eq!((passed.as_slice(), result), (body.as_bytes(), Ok(())), "{name} {value} {size}");
            } else {
                assert_eq!(result, Err(FormError::Invalid(name)), "{value} {size}");
                let passed = String::from_utf8_lossy(&passed).into_owned();
                assert!(!passed.contains(name), "{size}: {passed}");
            }
        }
    }
}

#[test]
fn a_second_field_is_found_in_what_is_passed_on_and_nothing_of_it_goes() {
    let file = "Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"";
    let sound = "RIFF\r\n--b-x\r\n\r\n--b".repeat(50);
    let parts = [(field("model"), "whisper-1"), (field("empty"), ""), (file.to_owned(), sound.as_str())];
    let parts: Vec<(&str, &str)> = parts.iter().map(|(head, value)| (head.as_str(), *value)).collect();
    let honest = form(&parts);
    for size in 1..90 {
        let (passed, result) = pass(&honest, size);
        assert_eq!((passed.as_slice(), result), (honest.as_bytes(), Ok(())), "{size}");
    }
    for name in ["model", "response_format"] {
        let second = field(name);
        let mut parts = parts.clone();
        parts.push((&second, "other"));
        if name != "model" {
            parts.push((&second, "other"));
        }
        let body = form(&parts);
        for size in 1..90 {
            let (passed, result) = pass(&body, size);
            assert_eq!(result, Err(FormError::Duplicate(name)), "{size}");
            let passed = String::from_utf8(passed).unwrap();
            // The first may stand in the same piece, and waits with it.
            assert!(passed.matches(&second).count() <= 1, "{size}");
            assert!(body.starts_with(&passed));
        }
    }
}

#[test]
fn what_stands_for_a_file_or_a_further_model_is_refused_wherever_it_comes() {
    let file = "Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"";
    let named = |name: &str| format!("Content-Disposition: form-data; name=\"{name}\"; filename=\"a\"");
    let cases = [
        (field("url"), Err(FormError::Elsewhere("url"))),
        (named("url"), Err(FormError::Elsewhere("url"))),
        (field("File_URL"), Err(FormError::Elsewhere("file_url"))),
        (field("file_id"), Err(FormError::Elsewhere("file_id"))),
        (field("file_url[]"), Err(FormError::Elsewhere("file_url"))),
        (field("sound_url"), Err(FormError::Elsewhere("url"))),
        (field("file"), Err(FormError::Elsewhere("file"))),
        (field("models[]"), Err(FormError::OtherModel("models"))),
        (field("fallbacks"), Err(FormError::OtherModel("fallbacks"))),
        (field("timestamp_granularities[]"), Ok(())),
        (field("user_id"), Ok(())),
    ];
    for (head, expected) in &cases {
        let (model, sound) = (field("model"), "x".repeat(300));
        let body = form(&[(&model, "whisper-1"), (file, &sound), (head, "https://e.com/ten-hours.wav")]);
        for size in [1, 7, body.len()] {
            let mut form = Form::new("b-b").with_file();
            let mut window = Vec::new();
            let mut passed = String::new();
            let mut result = Ok(());
            for piece in body.as_bytes().chunks(size) {
                window.extend_from_slice(piece);
                result = form.read(&window);
                if result.is_err() {
                    break;
                }
                passed += &String::from_utf8(window.drain(..form.known_bytes()).collect()).unwrap();
                form.forget_known();
            }
            assert_eq!(&result, expected, "{head} {size}");
            assert_eq!(passed.contains("ten-hours"), expected.is_ok(), "{head} {size}");
        }
    }
}

#[test]
fn a_form_to_be_heard_without_a_file_is_not_passed_on_to_its_end() {
    let body = form(&[(&field("model"), "whisper-1"), (&field("language"), "de")]);
    let mut read = Form::new("b-b").with_file();
    assert_eq!(read.read(body.as_bytes()), Err(FormError::Missing("file")));
    assert!(read.known_bytes() < body.len() - "--b-b--".len());
    assert_eq!(Form::new("b-b").read(body.as_bytes()), Ok(()));
}

#[test]
fn a_picture_that_lies_elsewhere_is_a_picture_and_a_drawing_has_no_model_of_its_own() {
    let body =
        form(&[(&field("model"), "m"), (&field("image[]"), "https://e.com/a.png"), (&field("svg[reasoning]"), "low")]);
    let mut read = Form::new("b-b");
    read.read(body.as_bytes()).unwrap();
    let facts = read.facts(Dialect::OpenAiImageEdits, body.as_bytes(), None).unwrap();
    assert_eq!((facts.media.images, facts.media.remote_images), (1, 1));
    for name in ["svg", "svg[model]"] {
        let body = form(&[(&field("model"), "m"), (&field(name), "dear")]);
        assert!(matches!(Form::new("b-b").read(body.as_bytes()), Err(FormError::OtherModel(_))), "{name}");
    }
}
