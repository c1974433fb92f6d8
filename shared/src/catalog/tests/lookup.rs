//! Reading the table, finding a model in it, and overriding what it says.

use super::*;

#[test]
fn every_bundled_row_is_understood() {
    let (catalog, errors) = Catalog::parse(include_str!("../models.tsv"));
    assert_eq!(errors, []);
    assert_eq!(catalog.as_of(), "2026-11-22");
    assert_eq!(catalog.len(), 154);
    assert_eq!(Catalog::bundled().len(), 154);
}

#[test]
fn a_row_that_is_not_understood_is_left_out_with_its_line() {
    let row = "openai\tm\tchat\t1\t2\t\t\t\t\t\t\t\t\t\t\t\t1\ts\tp\t";
    let check = |from: &str, to: &str| {
        let table = format!("# as of 2026-01-01; x\n{}\n{row}2", row.replacen(from, to, 1));
        let (catalog, errors) = Catalog::parse(&table.replace(&format!("{row}2"), &row.replace("\tm\t", "\tok\t")));
        assert_eq!((catalog.len(), errors.len(), errors.first().map(|e| e.line)), (1, 1, Some(2)), "{to}: {errors:?}");
    };
    assert_eq!(Catalog::parse(row).1, []);
    for (from, to) in [
        ("\t1\t2", "\t-1\t2"),
        ("\t1\t2", "\t1e-3\t2"),
        ("chat", "chatter"),
        ("\tp\t", "\tp\tcheaper on Fridays"),
        ("\tp\t", "\tp\tscheduled 2026-13-01: 1/2"),
        ("\tp\t", "\tp"),
        ("\t1\ts", "\tone\ts"),
        ("\t2\t\t\t\t\t", "\t2\t\t\t\t>200:4/18\t"),
    ] {
        check(from, to);
    }
    assert_eq!(Catalog::parse(&format!("{row}\n{row}")).1.len(), 1, "a model twice");
}

#[test]
fn a_model_is_found_by_its_id_or_its_dated_id_and_never_by_a_part() {
    let find = |kind: &str, id: &str| Catalog::bundled().find(kind, id).map(|model| model.id.as_str());
    for (kind, id, expected) in [
        ("openai", "gpt-4o", Some("gpt-4o")),
        ("openai", "gpt-4o-2024-08-06", Some("gpt-4o")),
        ("openai", "gpt-4o-2024-11-20", Some("gpt-4o")),
        ("openai", "gpt-4o-2024-05-13", None), // older than the price, and dearer
        ("openai", "gpt-5-nano-2025-08-07", Some("gpt-5-nano")),
        ("openai", "gpt-4o-mini-2024-07-18", Some("gpt-4o-mini")),
        ("openai", "gpt-4o-2024-13-06", None),
        ("openai", "gpt-4o-2024-8-6", None),
        ("openai", "gpt-4o-latest", None),
        ("openai", "gpt-4o-audio-preview", None),
        ("openai", "gpt-4", None),
        ("openai", "-2024-08-06", None),
        ("openai", "gpt-é-2024-08-06", None),
        ("openai", "ééééééééé", None),
        ("openai", "", None),
        ("openai", "claude-haiku-4-5", None),
        ("anthropic", "claude-haiku-4-5", Some("claude-haiku-4-5")),
        ("anthropic", "claude-haiku-4-5-20251001", Some("claude-haiku-4-5")),
        ("anthropic", "claude-haiku-4-5-2025100", None),
        ("anthropic", "Claude-Haiku-4-5", None),
        ("gemini", "models/gemini-2.5-pro", Some("gemini-2.5-pro")),
        ("mistral", "mistral-small-latest", Some("mistral-small-latest")),
        ("google", "gemini-2.5-pro", None),
        ("vertex", "claude-sonnet-4-5@20250929", Some("claude-sonnet-4-5")),
        ("vertex", "claude-opus-4-6@default", Some("claude-opus-4-6")),
        ("vertex", "publishers/google/models/gemini-2.5-pro", Some("gemini-2.5-pro")),
        ("vertex", "claude-opus-3@20240229", None),
        ("vertex", "endpoints/123", None),
    ] {
        assert_eq!(find(kind, id), expected, "{kind} {id}");
    }
}

#[test]
fn a_model_says_what_it_can_do_and_until_when() {
    let model = Catalog::bundled().find("anthropic", "claude-sonnet-4-5").unwrap();
    assert_eq!((model.max_input_tokens, model.max_output_tokens), (Some(200_000), Some(64_000)));
    assert!(model.capabilities.has(Capability::Tools) && !model.capabilities.has(Capability::AudioInput));
    assert!(!model.is_retired(at("2026-11-29T23:59:59Z")) && model.is_retired(at("2026-11-30T00:00:00Z")));
    let embedding = Catalog::bundled().find("openai", "text-embedding-3-small").unwrap();
    assert_eq!((embedding.mode, embedding.embedding_dimensions), (Mode::Embedding, Some(1536)));
    let listed: Vec<&str> = Catalog::bundled().models("cohere").map(|model| model.id.as_str()).collect();
    assert_eq!(listed, ["command-a-03-2025", "command-r7b-12-2024", "embed-v4.0", "embed-v5.0-pro"]);
}

#[test]
fn media_are_priced_by_their_own_units_m8_and_a_model_that_also_writes_is_not() {
    let price = |kind, model| Catalog::bundled().effective_price(kind, kind, model, &[]);
    assert_eq!(price("gemini", "gemini-3-pro-image"), None);
    let terms = Terms::standard(at("2026-11-24T00:00:00Z"));
    for (model, usage, nano) in [
        ("whisper-1", TokenUsage { audio_input_ms: 12_300, ..TokenUsage::default() }, 1_230_000),
        ("tts-1", TokenUsage { characters: 7, ..TokenUsage::default() }, 105_000),
        (
            "gpt-image-2",
            TokenUsage { input_tokens: 10, image_input_tokens: 3, image_output_tokens: 272, ..TokenUsage::default() },
            50_000 + 24_000 + 8_160_000,
        ),
        (
            "gpt-4o-mini-tts",
            TokenUsage { input_tokens: 5, audio_output_tokens: 100, ..TokenUsage::default() },
            1_203_000,
        ),
    ] {
        let price = price("openai", model).unwrap();
        assert_eq!(cost(&usage, &price, &terms).map(NanoUsd::get), Ok(nano), "{model}");
        let tokens = TokenUsage { input_tokens: 1, ..TokenUsage::default() };
        assert_eq!(cost(&tokens, &price, &terms).is_err(), matches!(model, "whisper-1" | "tts-1"), "{model}");
    }
    let seconds = &Catalog::bundled().find("openai", "whisper-1").unwrap().meters;
    assert!(seconds.contains(&(Meter::InputSecond, PicoUsd::from_usd("0.0001").unwrap())));
}

#[test]
fn an_unknown_model_has_no_price_and_a_local_one_costs_nothing() {
    let find = |kind| Catalog::bundled().effective_price(kind, "mine", "some-model", &[]);
    assert_eq!(find("openai"), None);
    assert_eq!(find("openai_compatible"), None);
    let usage = TokenUsage {
        input_tokens: 9,
        cache_write_long_tokens: 9,
        output_tokens: 9,
        audio_input_tokens: 9,
        searches: 9,
        ..TokenUsage::default()
    };
    for kind in ["ollama", "lmstudio", "localai", "vllm"] {
        let free = find(kind).unwrap();
        assert!(free.is_free());
        assert_eq!(cost(&usage, &free, &Terms::standard(now())), Ok(NanoUsd::ZERO), "{kind}");
    }
}

fn stated(model: &str, input: &str, output: &str) -> PriceOverride {
    let pattern = ModelPattern::parse(model).unwrap();
    PriceOverride {
        input: usd_per_million(input),
        output: usd_per_million(output),
        ..PriceOverride::new("mine", pattern)
    }
}

#[test]
fn an_exact_override_beats_a_pattern_and_the_first_beats_the_rest() {
    let overrides = [stated("*", "1", "1"), stated("qwen*", "2", "2"), stated("qwen3", "3", "3"), {
        PriceOverride { provider: "other".to_owned(), ..stated("qwen3", "4", "4") }
    }];
    let input = |model| {
        let found = Catalog::bundled().effective_price("vllm", "mine", model, &overrides).unwrap();
        assert_eq!(found.origin, PriceOrigin::Override);
        found.first.base.standard.input
    };
    assert_eq!(input("qwen3"), usd_per_million("3"));
    assert_eq!(input("qwen/7b"), usd_per_million("1"));
    assert!(ModelPattern::parse("qwen[").is_err());
}

#[test]
fn an_override_of_one_field_keeps_the_others() {
    let pattern = ModelPattern::parse("gpt-6-sol").unwrap();
    let dearer_input = PriceOverride {
        input: usd_per_million("3"),
        max_output_tokens: Some(1000),
        ..PriceOverride::new("mine", pattern)
    };
    let found = Catalog::bundled().effective_price("openai", "mine", "gpt-6-sol", &[dearer_input]).unwrap();
    let line = found.first.base.standard;
    assert_eq!((line.input, line.output), (usd_per_million("3"), usd_per_million("10")));
    assert_eq!((line.cache_read, line.cache_write), (usd_per_million("0.2"), usd_per_million("2.5")));
    let large = found.first.lines_for(272_001).standard;
    assert_eq!((large.input, large.output), (usd_per_million("6"), usd_per_million("15")));
    assert_eq!(large.cache_read, usd_per_million("0.4"));
    assert_eq!(found.first.base.priority.unwrap().input, usd_per_million("6"));
    assert_eq!((found.per_search, found.max_output_tokens), (Some(PicoUsd::from_usd("0.01").unwrap()), Some(1000)));
}

#[test]
fn an_override_survives_a_scheduled_change() {
    let overrides = [stated("gemini-4-argon", "1", "2")];
    let found = Catalog::bundled().effective_price("gemini", "mine", "gemini-4-argon", &overrides).unwrap();
    for start in ["2026-11-30T00:00:00Z", "2026-12-02T00:00:00Z"] {
        let line = found.period_at(at(start)).base.standard;
        assert_eq!((line.input, line.output), (usd_per_million("1"), usd_per_million("2")), "{start}");
    }
}

#[test]
fn an_override_of_an_unknown_model_prices_what_it_states() {
    let mut input_only = stated("secret-1", "1", "2");
    input_only.output = None;
    let found = Catalog::bundled().effective_price("openai_compatible", "mine", "secret-1", &[input_only]).unwrap();
    let usage = TokenUsage { input_tokens: 1, cache_read_tokens: 1, ..TokenUsage::default() };
    assert_eq!(cost(&usage, &found, &Terms::standard(now())), Ok(usd("0.000002")));
    let usage = TokenUsage { output_tokens: 1, ..usage };
    assert_eq!(cost(&usage, &found, &Terms::standard(now())), Err(Unpriced::Output));
}

#[test]
fn units_are_overridden_one_by_one_and_leave_the_others_as_they_are() {
    let unit = |text: &str| PicoUsd::from_usd(text).ok();
    let pattern = ModelPattern::parse("tts-1").unwrap();
    let stated = PriceOverride {
        per_character: unit("0.00002"),
        per_image: unit("0.04"),
        ..PriceOverride::new("mine", pattern)
    };
    let found = Catalog::bundled().effective_price("openai", "mine", "tts-1", &[stated]).unwrap();
    assert_eq!((found.units.character, found.units.image), (unit("0.00002"), unit("0.04")));
    let pattern = ModelPattern::parse("mine-1").unwrap();
    let stated =
        PriceOverride { per_second: unit("0.0001"), per_search: unit("0.01"), ..PriceOverride::new("mine", pattern) };
    let found = Catalog::bundled().effective_price("openai_compatible", "mine", "mine-1", &[stated]).unwrap();
    assert_eq!((found.units.audio_input_second, found.units.audio_output_second), (unit("0.0001"), unit("0.0001")));
    assert_eq!((found.per_search, found.units.character, found.has_token_prices()), (unit("0.01"), None, false));
    assert!(!found.is_free());
}
