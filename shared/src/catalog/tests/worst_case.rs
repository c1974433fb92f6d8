//! The promise that a hard budget rests on: no usage within a bound costs more than the bound's worst case.

use super::*;
use proptest::prelude::*;

fn priced() -> Vec<&'static CatalogModel> {
    Catalog::bundled().all_models().filter(|model| model.price.is_some()).collect()
}

/// Every service tier that a response can state when this one was asked for.
fn possible_tiers(asked: TierRequest, price: &ModelPrice) -> Vec<ServiceTier> {
    let has_priority = price.first.base.priority.is_some();
    match asked {
        TierRequest::Standard => vec![ServiceTier::Standard],
        TierRequest::Flex => vec![ServiceTier::Standard, ServiceTier::Flex],
        TierRequest::Batch => vec![ServiceTier::Batch],
        TierRequest::Auto if has_priority => {
            vec![ServiceTier::Standard, ServiceTier::Flex, ServiceTier::Priority]
        }
        TierRequest::Auto => vec![ServiceTier::Standard, ServiceTier::Flex],
        TierRequest::Priority | TierRequest::Other => vec![ServiceTier::Standard, ServiceTier::Priority],
    }
}

/// Pictures, characters or milliseconds: mostly none, as a model is charged by few of them.
fn units() -> impl Strategy<Value = u64> {
    prop_oneof![4 => Just(0_u64), 2 => 1_u64..100_000, 1 => Just(u64::MAX)]
}

/// Sizes around every threshold, small ones, and the largest of all.
fn tokens() -> impl Strategy<Value = u64> {
    prop_oneof![
        0_u64..5000,
        prop::sample::select(vec![100_000_u64, 200_000, 272_000]).prop_flat_map(|at| at - 3..=at + 3),
        0_u64..2_000_000,
        Just(u64::MAX),
    ]
}

prop_compose! {
    fn bounds()(
        input_tokens_max in tokens(),
        output_tokens_max in tokens(),
        choices in 0_u32..5,
        flags in prop::array::uniform6(any::<bool>()),
        units in prop::array::uniform4(units()),
        searches_max in prop_oneof![3 => (0_u32..4).prop_map(Some), 1 => Just(None)],
        tier in prop::sample::select(vec![
            TierRequest::Standard, TierRequest::Auto, TierRequest::Flex, TierRequest::Batch, TierRequest::Priority,
            TierRequest::Other,
        ]),
        day in 0_i64..90,
        hour in 0_i64..24,
    ) -> UsageBound {
        let [may_cache_write_long, may_have_audio_input, may_have_audio_output, has_residency, ..] = flags;
        let [.., may_have_image_input, may_have_image_output] = flags;
        let [images_max, characters_max, audio_input_ms_max, audio_output_ms_max] = units;
        UsageBound {
            input_tokens_max, output_tokens_max, choices, may_cache_write_long, may_have_audio_input,
            may_have_audio_output, searches_max, tier, has_residency, may_have_image_input, may_have_image_output,
            images_max, characters_max, audio_input_ms_max, audio_output_ms_max,
            ..UsageBound::text(0, 0, UnixMicros::new(now().get() + (day * 24 + hour) * 3_600_000_000))
        }
    }
}

/// Cuts `total` into parts by shares; the parts never sum to more than `total`.
fn split<const N: usize>(total: u64, shares: [u16; N]) -> [u64; N] {
    let sum: u128 = shares.iter().map(|share| u128::from(*share)).sum::<u128>().max(1);
    shares.map(|share| u64::try_from(u128::from(total) * u128::from(share) / sum).unwrap())
}

/// Some usage within the bound: any amount of it, split in any way among the kinds that the bound allows.
fn usage_within(bound: &UsageBound, inputs: [u16; 6], outputs: [u16; 3], used: [u8; 7]) -> TokenUsage {
    let part = |of: u64, used: u8| u64::try_from(u128::from(of) * u128::from(used) / 255).unwrap();
    let [plain, read, write, mut long, mut audio, mut image] = inputs;
    long *= u16::from(bound.may_cache_write_long);
    audio *= u16::from(bound.may_have_audio_input);
    image *= u16::from(bound.may_have_image_input);
    let [text, mut sound, mut picture] = outputs;
    sound *= u16::from(bound.may_have_audio_output);
    picture *= u16::from(bound.may_have_image_output);
    let output_max = bound.output_tokens_max.saturating_mul(u64::from(bound.choices.max(1)));
    let input = split(part(bound.input_tokens_max, used[0]), [plain, read, write, long, audio, image]);
    let output = split(part(output_max, used[1]), [text, sound, picture]);
    TokenUsage {
        input_tokens: input[0],
        cache_read_tokens: input[1],
        cache_write_tokens: input[2],
        cache_write_long_tokens: input[3],
        audio_input_tokens: input[4],
        output_tokens: output[0],
        reasoning_tokens: output[0] / 2,
        audio_output_tokens: output[1],
        searches: part(u64::from(bound.searches_max.unwrap_or(1000)), used[2]),
        image_input_tokens: input[5],
        image_output_tokens: output[2],
        images: part(bound.images_max, used[3]),
        characters: part(bound.characters_max, used[4]),
        audio_input_ms: part(bound.audio_input_ms_max, used[5]),
        audio_output_ms: part(bound.audio_output_ms_max, used[6]),
    }
}

/// A share that is often nothing and often everything.
fn share() -> impl Strategy<Value = u16> {
    prop_oneof![Just(0_u16), Just(1000), 0_u16..1000]
}

/// A use that is often the whole bound.
fn used() -> impl Strategy<Value = u8> {
    prop_oneof![2 => Just(255_u8), 1 => any::<u8>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_usage_within_a_bound_costs_more_than_its_worst_case(
        bound in bounds(),
        inputs in prop::array::uniform6(share()),
        outputs in prop::array::uniform3(share()),
        used in prop::array::uniform7(used()),
    ) {
        let usage = usage_within(&bound, inputs, outputs, used);
        prop_assert!(usage.total_input_tokens() <= bound.input_tokens_max);
        for model in priced() {
            let price = model.price.as_deref().unwrap();
            let Ok(most) = worst_case(&bound, price) else { continue };
            for tier in possible_tiers(bound.tier, price) {
                let terms = Terms { tier, has_residency: bound.has_residency, started_at: bound.started_at };
                let actual = cost(&usage, price, &terms);
                prop_assert!(actual.is_ok_and(|actual| actual <= most), "{} {}: {actual:?} > {most}", model.kind, model.id);
            }
        }
    }

    #[test]
    fn several_requests_that_are_billed_one_by_one_cost_no_more_than_their_worst_case(
        bound in bounds(),
        pieces in prop::collection::vec(
            (prop::array::uniform6(share()), prop::array::uniform3(share()), prop::array::uniform7(used()), 0_usize..9), 1..6,
        ),
    ) {
        let count = u64::try_from(pieces.len()).unwrap();
        let each = UsageBound {
            input_tokens_max: bound.input_tokens_max / count,
            output_tokens_max: bound.output_tokens_max.saturating_mul(u64::from(bound.choices.max(1))) / count,
            choices: 1,
            images_max: bound.images_max / count,
            characters_max: bound.characters_max / count,
            audio_input_ms_max: bound.audio_input_ms_max / count,
            audio_output_ms_max: bound.audio_output_ms_max / count,
            ..bound
        };
        let bound = UsageBound { requests: u32::try_from(count).unwrap(), ..bound };
        for model in priced() {
            let price = model.price.as_deref().unwrap();
            let Ok(most) = worst_case(&bound, price) else { continue };
            let tiers = possible_tiers(bound.tier, price);
            let mut all = NanoUsd::ZERO;
            for (inputs, outputs, used, tier) in &pieces {
                let usage = usage_within(&each, *inputs, *outputs, *used);
                let tier = tiers[tier % tiers.len()];
                let terms = Terms { tier, has_residency: bound.has_residency, started_at: bound.started_at };
                let usage = TokenUsage { searches: 0, ..usage };
                all = all.saturating_add(cost(&usage, price, &terms).unwrap());
            }
            prop_assert!(all <= most, "{} {}: {all} > {most}", model.kind, model.id);
        }
    }

    /// The other half: whatever is charged by has been bounded for some request, so the test above is not passed by refusing.
    #[test]
    fn every_model_of_the_table_bounds_a_plain_request_or_says_what_has_no_price(input in 1_u64..2_000_000) {
        let mut bounded = 0;
        for model in priced() {
            let price = model.price.as_deref().unwrap();
            let plain = UsageBound::text(input, 100, now());
            let units = UsageBound {
                images_max: u64::from(price.units.image.is_some()),
                characters_max: u64::from(price.units.character.is_some()),
                audio_input_ms_max: u64::from(price.units.audio_input_second.is_some()),
                audio_output_ms_max: u64::from(price.units.audio_output_second.is_some()),
                ..UsageBound::text(0, 0, now())
            };
            let reading = UsageBound { output_tokens_max: 0, ..plain };
            bounded += usize::from([plain, units, reading].iter().any(|bound| worst_case(bound, price).is_ok()));
        }
        let by_themselves = priced().iter().filter(|model| model.price.as_deref().unwrap().searches_by_itself).count();
        prop_assert_eq!(bounded + by_themselves, priced().len());
    }

    #[test]
    fn an_affordable_output_fits_and_one_token_more_does_not(bound in bounds(), budget in tokens()) {
        let budget = NanoUsd::new(i64::try_from(budget).unwrap_or(i64::MAX));
        for model in priced() {
            let price = model.price.as_deref().unwrap();
            let cap = affordable_output(budget, &bound, price);
            prop_assert!(cap <= bound.output_tokens_max);
            let fits = |output_tokens_max| {
                worst_case(&UsageBound { output_tokens_max, ..bound }, price).is_ok_and(|most| most <= budget)
            };
            if cap > 0 {
                prop_assert!(fits(cap), "{} {} at {cap}", model.kind, model.id);
            }
            if cap < bound.output_tokens_max && worst_case(&bound, price).is_ok() {
                prop_assert!(!fits(cap + 1), "{} {} at {cap} + 1", model.kind, model.id);
            }
        }
    }
}

#[test]
fn the_worst_case_of_every_corner_is_met_by_no_usage_of_a_single_kind() {
    for model in priced() {
        let price = model.price.as_deref().unwrap();
        for input_tokens_max in [0, 1, 99_999, 100_000, 100_001, 200_000, 200_001, 272_000, 272_001, 1_000_000] {
            let bound = UsageBound {
                may_cache_write_long: true,
                tier: TierRequest::Auto,
                ..UsageBound::text(input_tokens_max, 1000, now())
            };
            let Ok(most) = worst_case(&bound, price) else { continue };
            for kind in 0..4 {
                let mut inputs = [0; 4];
                inputs[kind] = input_tokens_max;
                let [input_tokens, cache_read_tokens, cache_write_tokens, cache_write_long_tokens] = inputs;
                let usage = TokenUsage {
                    input_tokens,
                    cache_read_tokens,
                    cache_write_tokens,
                    cache_write_long_tokens,
                    output_tokens: 1000,
                    ..TokenUsage::default()
                };
                for tier in possible_tiers(bound.tier, price) {
                    let actual = cost(&usage, price, &Terms { tier, ..Terms::standard(now()) }).unwrap();
                    assert!(actual <= most, "{} {} {tier:?}: {actual} > {most}", model.kind, model.id);
                }
            }
        }
    }
}

#[test]
fn the_worst_case_of_plain_text_is_tight() {
    let bound = UsageBound::text(1000, 500, now());
    // No cache price is above the input price here: exactly input and output.
    assert_eq!(worst_case(&bound, &price("openai", "gpt-4o")), Ok(usd("0.0075")));
    assert_eq!(worst_case(&UsageBound { choices: 3, ..bound }, &price("openai", "gpt-4o")), Ok(usd("0.0175")));
    // Every input token may be written to the cache at 1.25x, or at 2x for an hour.
    assert_eq!(worst_case(&bound, &price("anthropic", "claude-opus-5-5")), Ok(usd("0.015")));
    let long = UsageBound { may_cache_write_long: true, ..bound };
    assert_eq!(worst_case(&long, &price("anthropic", "claude-opus-5-5")), Ok(usd("0.018")));
    let auto = UsageBound { tier: TierRequest::Auto, ..bound };
    assert_eq!(worst_case(&auto, &price("openai", "gpt-4o")), Ok(usd("0.01275")));
    // One token more than the threshold reaches the dearer line.
    let at_threshold = UsageBound::text(200_000, 0, now());
    assert_eq!(worst_case(&at_threshold, &price("gemini", "gemini-2.5-pro")), Ok(usd("0.25")));
    let above = UsageBound::text(200_001, 0, now());
    assert_eq!(worst_case(&above, &price("gemini", "gemini-2.5-pro")), Ok(usd("0.5000025")));
}

#[test]
fn what_cannot_be_promised_is_unbounded() {
    let bound = UsageBound::text(10, 10, now());
    let check = |bound: UsageBound, kind, model, expected: Unbounded| {
        assert_eq!(worst_case(&bound, &price(kind, model)), Err(expected), "{model}");
        assert_eq!(affordable_output(NanoUsd::MAX, &bound, &price(kind, model)), 0, "{model}");
    };
    let search = |searches_max| UsageBound { searches_max, ..bound };
    check(search(None), "openai", "gpt-5", Unbounded::Searches);
    check(search(Some(1)), "openai", "gpt-4o", Unbounded::Unpriced(Unpriced::Search));
    check(bound, "perplexity", "sonar-deep-research", Unbounded::Searches);
    check(bound, "mistral", "mistral-embed", Unbounded::Unpriced(Unpriced::Output));
    let tier = |tier| UsageBound { tier, ..bound };
    check(tier(TierRequest::Priority), "openai", "gpt-5-nano", Unbounded::Unpriced(Unpriced::ServiceTier));
    check(tier(TierRequest::Other), "openai", "gpt-5", Unbounded::Unpriced(Unpriced::ServiceTier));
    let audio = UsageBound { may_have_audio_input: true, ..bound };
    check(audio, "openai", "gpt-4o", Unbounded::Unpriced(Unpriced::AudioInput));
    assert_eq!(worst_case(&search(Some(2)), &price("openai", "gpt-5")), Ok(usd("0.0201125")));
}

#[test]
fn an_endless_request_saturates_instead_of_wrapping() {
    let mut facts = facts::PriceFacts::empty("openai");
    facts.input = Some(PicoUsd::new(i64::MAX));
    facts.output = Some(PicoUsd::new(i64::MAX));
    let dear = facts.build(PriceOrigin::Override);
    let bound = UsageBound { choices: u32::MAX, has_residency: true, ..UsageBound::text(u64::MAX, u64::MAX, now()) };
    assert_eq!(worst_case(&bound, &dear), Ok(NanoUsd::MAX));
    let usage = TokenUsage { input_tokens: u64::MAX, output_tokens: u64::MAX, ..TokenUsage::default() };
    assert_eq!(cost(&usage, &dear, &Terms { has_residency: true, ..Terms::standard(now()) }), Ok(NanoUsd::MAX));
}
