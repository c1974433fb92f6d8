//! The worked examples of cost, each computed by hand from the published prices.

use super::*;

#[test]
fn cached_written_and_reasoning_tokens_cost_their_own_price_n1() {
    let usage = TokenUsage {
        input_tokens: 1000,
        cache_read_tokens: 8000,
        cache_write_tokens: 1000,
        output_tokens: 500,
        reasoning_tokens: 300,
        ..TokenUsage::default()
    };
    assert_eq!(standard_cost("openai", "gpt-6-sol", usage), usd("0.0111"));
}

#[test]
fn long_cache_writes_cost_their_own_price_n2() {
    let usage = TokenUsage {
        input_tokens: 100,
        cache_read_tokens: 50_000,
        cache_write_long_tokens: 2000,
        output_tokens: 1000,
        ..TokenUsage::default()
    };
    assert_eq!(standard_cost("anthropic", "claude-opus-5-5", usage), usd("0.0464"));
}

#[test]
fn cached_tokens_count_for_the_context_tier_n3() {
    let usage =
        TokenUsage { input_tokens: 1000, cache_read_tokens: 120_000, output_tokens: 100, ..TokenUsage::default() };
    assert_eq!(standard_cost("anthropic", "claude-haiku-5-5", usage), usd("0.00675"));
}

#[test]
fn reasoning_is_charged_as_output_n4() {
    let usage =
        TokenUsage { input_tokens: 250_000, output_tokens: 1000, reasoning_tokens: 900, ..TokenUsage::default() };
    assert_eq!(standard_cost("gemini", "gemini-2.5-pro", usage), usd("0.64"));
}

#[test]
fn output_and_reasoning_outside_each_other_are_summed_n5() {
    let usage = TokenUsage {
        input_tokens: 600,
        cache_read_tokens: 400,
        output_tokens: 250,
        reasoning_tokens: 200,
        ..TokenUsage::default()
    };
    assert_eq!(standard_cost("xai", "grok-4.7", usage), usd("0.0029"));
}

#[test]
fn a_large_request_pays_the_dearer_line_for_all_its_tokens_n6() {
    let usage =
        TokenUsage { input_tokens: 200_000, cache_read_tokens: 100_000, output_tokens: 1000, ..TokenUsage::default() };
    assert_eq!(standard_cost("openai", "gpt-5.6-sol", usage), usd("1.71"));
}

#[test]
fn a_context_tier_begins_above_its_threshold_n16() {
    let of = |input_tokens| TokenUsage { input_tokens, ..TokenUsage::default() };
    assert_eq!(standard_cost("gemini", "gemini-2.5-pro", of(200_000)), usd("0.25"));
    assert_eq!(standard_cost("gemini", "gemini-2.5-pro", of(200_001)), usd("0.5000025"));
}

#[test]
fn a_price_change_holds_for_requests_that_start_after_it_n17() {
    let usage = TokenUsage { input_tokens: 1_000_000, output_tokens: 1_000_000, ..TokenUsage::default() };
    for (kind, model, start, expected) in [
        ("gemini", "gemini-4-argon", "2026-11-30T23:59:59.999999Z", "12"),
        ("gemini", "gemini-4-argon", "2026-12-01T00:00:00Z", "24"),
        ("gemini", "gemini-3.8-flash", "2026-12-31T23:59:59Z", "4.5"),
        ("gemini", "gemini-3.8-flash", "2027-01-01T00:00:00Z", "9"),
        ("gemini", "gemini-3.6-flash", "2027-01-01T00:00:00Z", "9"),
        ("gemini", "gemini-3.5-flash", "2026-12-31T23:59:59Z", "10.5"),
        ("gemini", "gemini-3.5-flash", "2027-01-01T00:00:00Z", "9"),
    ] {
        let found = cost(&usage, &price(kind, model), &Terms::standard(at(start)));
        assert_eq!(found, Ok(usd(expected)), "{model} at {start}");
    }
}

#[test]
fn hours_of_lower_prices_are_told_by_the_clock_in_utc_n23() {
    let usage = TokenUsage { input_tokens: 1_000_000, output_tokens: 1_000_000, ..TokenUsage::default() };
    for (start, expected) in [
        ("2026-11-24T02:00:00Z", "5.28"), // Tuesday
        ("2026-11-24T00:59:59Z", "2.64"),
        ("2026-11-24T04:00:00Z", "2.64"),
        ("2026-11-24T06:00:00Z", "5.28"),
        ("2026-11-24T10:00:00Z", "2.64"),
        ("2026-11-27T09:59:59Z", "5.28"), // Friday
        ("2026-11-28T02:00:00Z", "2.64"), // Saturday
        ("2026-11-29T02:00:00Z", "2.64"), // Sunday
        ("2026-11-30T02:00:00Z", "5.28"), // Monday
    ] {
        let found = cost(&usage, &price("deepseek", "deepseek-v4-pro"), &Terms::standard(at(start)));
        assert_eq!(found, Ok(usd(expected)), "{start}");
    }
}

#[test]
fn a_thousand_million_tiny_requests_sum_exactly_n20() {
    let mut facts = facts::PriceFacts::empty("openai_compatible");
    facts.input = usd_per_million("0.1");
    let tiny = facts.build(PriceOrigin::Override);
    let usage = TokenUsage { input_tokens: 1, ..TokenUsage::default() };
    let one = cost(&usage, &tiny, &Terms::standard(now())).unwrap();
    assert_eq!(one, usd("0.0000001"));
    let thousand: NanoUsd = std::iter::repeat_n(one, 1000).sum();
    let million: NanoUsd = std::iter::repeat_n(thousand, 1000).sum();
    let all: NanoUsd = std::iter::repeat_n(million, 1000).sum();
    assert_eq!(all, usd("100"));
}

#[test]
fn the_cost_is_rounded_once_and_up() {
    let mut facts = facts::PriceFacts::empty("openai_compatible");
    facts.input = Some(PicoUsd::new(1));
    facts.output = Some(PicoUsd::new(1));
    let tiny = facts.build(PriceOrigin::Override);
    let of = |input_tokens, output_tokens| {
        let usage = TokenUsage { input_tokens, output_tokens, ..TokenUsage::default() };
        cost(&usage, &tiny, &Terms::standard(now())).unwrap().get()
    };
    assert_eq!((of(0, 0), of(1, 0), of(500, 500), of(500, 501)), (0, 1, 1, 2));
}

#[test]
fn the_stated_service_tier_chooses_the_line() {
    let usage = TokenUsage { input_tokens: 1_000_000, output_tokens: 1_000_000, ..TokenUsage::default() };
    for (kind, model, tier, expected) in [
        ("openai", "gpt-4o", ServiceTier::Standard, Ok(usd("12.5"))),
        ("openai", "gpt-4o", ServiceTier::Priority, Ok(usd("21.25"))),
        ("openai", "gpt-4o", ServiceTier::Batch, Ok(usd("6.25"))),
        ("openai", "gpt-4o", ServiceTier::Flex, Ok(usd("6.25"))),
        ("openai", "gpt-4o", ServiceTier::Other, Err(Unpriced::ServiceTier)),
        ("openai", "gpt-5-nano", ServiceTier::Priority, Err(Unpriced::ServiceTier)),
        ("mistral", "mistral-large-4", ServiceTier::Batch, Ok(usd("5.54"))),
    ] {
        let found = cost(&usage, &price(kind, model), &Terms { tier, ..Terms::standard(now()) });
        assert_eq!(found, expected, "{model} {tier:?}");
    }
    assert_eq!(ServiceTier::from_openai(Some("default")), ServiceTier::Standard);
    assert_eq!(ServiceTier::from_openai(Some("ultrafast")), ServiceTier::Other);
    assert_eq!(ServiceTier::from_anthropic(Some("priority"), None), ServiceTier::Standard);
    assert_eq!(ServiceTier::from_anthropic(Some("standard"), Some("fast")), ServiceTier::Priority);
}

#[test]
fn batch_halves_cache_prices_at_anthropic_and_never_searches() {
    let usage = TokenUsage { cache_read_tokens: 1_000_000, searches: 1, ..TokenUsage::default() };
    let batch = Terms { tier: ServiceTier::Batch, ..Terms::standard(now()) };
    assert_eq!(cost(&usage, &price("anthropic", "claude-opus-5"), &batch), Ok(usd("0.26")));
    assert_eq!(cost(&usage, &price("openai", "gpt-5"), &batch), Ok(usd("0.135")));
}

#[test]
fn residency_multiplies_tokens_and_not_searches() {
    let usage = TokenUsage { input_tokens: 1_000_000, searches: 1, ..TokenUsage::default() };
    let resident = Terms { has_residency: true, ..Terms::standard(now()) };
    assert_eq!(cost(&usage, &price("anthropic", "claude-opus-5-5"), &resident), Ok(usd("4.41")));
}

#[test]
fn a_used_unit_without_a_price_is_no_zero() {
    let embeddings = price("mistral", "mistral-embed");
    let of = |output_tokens, searches| {
        let usage = TokenUsage { input_tokens: 10, output_tokens, searches, ..TokenUsage::default() };
        cost(&usage, &embeddings, &Terms::standard(now()))
    };
    assert_eq!(of(0, 0), Ok(usd("0.000001")));
    assert_eq!(of(1, 0), Err(Unpriced::Output));
    assert_eq!(of(0, 1), Err(Unpriced::Search));
}

#[test]
fn missing_cache_prices_follow_the_input_and_the_documented_multiples() {
    let million = |price: &str| usd_per_million(price);
    let line = |kind, model| price(kind, model).first.base.standard;
    let plain = line("cohere", "command-a-03-2025");
    assert_eq!((plain.cache_read, plain.cache_write, plain.cache_write_long), {
        let input = million("2.5");
        (input, input, input)
    });
    assert_eq!(line("anthropic", "claude-fable-5-2").cache_write_long, million("16"));
    assert_eq!(line("openai", "gpt-6-sol").cache_write_long, million("5"));
    assert_eq!(line("openai", "gpt-5").cache_write_long, million("1.25"));
    let large = price("anthropic", "claude-haiku-5-5").first.lines_for(100_001).standard;
    assert_eq!((large.cache_write, large.cache_write_long), (million("0.625"), million("1")));
}

#[test]
fn a_search_fee_a_request_is_charged_once() {
    let usage = TokenUsage { input_tokens: 1_000_000, searches: 3, ..TokenUsage::default() };
    assert_eq!(standard_cost("perplexity", "sonar", usage), usd("1.008"));
}
