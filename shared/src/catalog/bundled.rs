//! Reads the table of models: tab-separated, one model a line, every column known.
//!
//! Rule: strict. A row with a column, number, ability, meter or note that is not understood is no row: it is returned as
//! an error, and the unit test of the bundled table fails. At run time such a row is left out, so that its model has no
//! price rather than a wrong one.

use super::facts::{PriceFacts, Ratio, Step};
use super::model::{Capabilities, Capability, CatalogModel, Meter, Mode, Refusal, Refusals, day_start};
use super::price::{ONE_PPM, OffPeak, PriceOrigin, UnitPrices};
use crate::money::{ParseMoneyError, PicoUsd};
use crate::time::UnixMicros;
use jiff::civil::Date;
use std::sync::Arc;

const COLUMNS: usize = 20;
/// Beginnings of notes that say where a fact comes from and change nothing.
const REMARKS: [&str; 4] = ["sources differ:", "max_output equals", "price not per token:", "single source"];

/// A row of the table that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the model table: {problem}")]
pub struct RowError {
    /// The line, counted from one.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

type Problem = String;

/// Returns the date of the table, its models, and the rows that could not be read.
pub(super) fn parse(table: &str) -> (String, Vec<CatalogModel>, Vec<RowError>) {
    let mut as_of = String::new();
    let mut models: Vec<CatalogModel> = Vec::new();
    let mut errors = Vec::new();
    for (index, row) in table.lines().enumerate() {
        if let Some(comment) = row.strip_prefix('#') {
            let stated = comment.trim_start().strip_prefix("as of ").and_then(|rest| rest.split(';').next());
            as_of = stated.map_or(as_of, str::to_owned);
            continue;
        }
        if row.is_empty() || row.starts_with("provider\t") {
            continue;
        }
        let is_twice = |model: &CatalogModel| models.iter().any(|m| m.kind == model.kind && m.id == model.id);
        match parse_row(row) {
            Ok(model) if is_twice(&model) => {
                errors
                    .push(RowError { line: index + 1, problem: format!("{} {} is there twice", model.kind, model.id) });
            }
            Ok(model) => models.push(model),
            Err(problem) => errors.push(RowError { line: index + 1, problem }),
        }
    }
    (as_of, models, errors)
}

fn parse_row(row: &str) -> Result<CatalogModel, Problem> {
    let columns: Vec<&str> = row.split('\t').collect();
    let columns: [&str; COLUMNS] =
        columns.try_into().map_err(|found: Vec<&str>| format!("{} columns, expected {COLUMNS}", found.len()))?;
    let [kind, id, mode, prices @ .., effective_from, agreeing, _sources, _page, notes] = columns;
    if kind.is_empty() || id.is_empty() {
        return Err("a model needs a provider and an id".to_owned());
    }
    let [input, output, read, write, write_long, tiers, batch, priority, meters, max_input, max_output, abilities] =
        prices;
    let capabilities = parse_capabilities(abilities)?;
    let (meters, embedding_dimensions) = parse_meters(meters)?;
    let meter = |wanted: Meter| meters.iter().find(|(meter, _)| *meter == wanted).map(|(_, price)| *price);
    let input = per_million(input)?;
    let facts = PriceFacts {
        kind: kind.to_owned(),
        input,
        output: per_million(output)?,
        cache_read: per_million(read)?,
        cache_write: per_million(write)?,
        cache_write_long: per_million(write_long)?,
        audio_input: meter(Meter::AudioInputToken),
        audio_output: meter(Meter::AudioOutputToken),
        image_input: meter(Meter::ImageInputToken),
        image_output: meter(Meter::ImageOutputToken),
        units: UnitPrices {
            character: meter(Meter::InputCharacter),
            audio_input_second: meter(Meter::InputSecond),
            audio_output_second: meter(Meter::OutputSecond),
            image: meter(Meter::OutputImage),
        },
        context_tiers: tiers.split_whitespace().map(parse_tier).collect::<Result<_, _>>()?,
        batch: ratio(batch, input)?,
        priority: ratio(priority, input)?,
        per_search: meter(Meter::Search),
        takes_audio: capabilities.has(Capability::AudioInput),
        max_input_tokens: count(max_input)?,
        max_output_tokens: count(max_output)?,
        ..PriceFacts::default()
    };
    let mut model = CatalogModel {
        kind: kind.to_owned(),
        id: id.to_owned(),
        mode: Mode::parse(mode).ok_or_else(|| format!("unknown mode `{mode}`"))?,
        max_input_tokens: facts.max_input_tokens,
        max_output_tokens: facts.max_output_tokens,
        capabilities,
        refuses: Refusals::default(),
        embedding_dimensions,
        meters,
        price_effective_from: if effective_from.is_empty() { None } else { Some(parse_date(effective_from)?) },
        deprecation: None,
        sources_agreeing: agreeing.parse().map_err(|_| format!("`{agreeing}` is not a count of sources"))?,
        price: None,
        facts,
        snapshots: Vec::new(),
    };
    for note in notes.split(" | ").filter(|note| !note.is_empty()) {
        apply_note(&mut model, note)?;
    }
    if model.is_priced() {
        model.price = Some(Arc::new(model.facts.build(PriceOrigin::Catalog)));
    }
    Ok(model)
}

fn apply_note(model: &mut CatalogModel, note: &str) -> Result<(), Problem> {
    if REMARKS.iter().any(|remark| note.starts_with(remark)) {
        return Ok(());
    }
    if note == "searches by itself" {
        model.facts.searches_by_itself = true;
    } else if note == "search fee is per request" {
        let fee = model.facts.per_search.replace(PicoUsd::ZERO);
        model.facts.per_request = fee.ok_or("a fee per request needs a search meter")?;
    } else if let Some(refused) = note.strip_prefix("refuses ") {
        model.refuses = parse_refusals(refused)?;
    } else if let Some(date) = note.strip_prefix("deprecation ") {
        model.deprecation = Some(parse_date(date)?);
    } else if let Some(dates) = note.strip_prefix("snapshots ") {
        model.snapshots = dates.split(' ').map(parse_date).collect::<Result<_, _>>()?;
    } else if let Some(change) = note.strip_prefix("scheduled ") {
        model.facts.scheduled.push(parse_scheduled(change)?);
    } else if let Some(hours) = note.strip_prefix("off-peak x") {
        model.facts.off_peak = Some(parse_off_peak(hours)?);
    } else {
        return Err(format!("unknown note `{note}`"));
    }
    Ok(())
}

fn money(result: Result<PicoUsd, ParseMoneyError>) -> Result<PicoUsd, Problem> {
    result.map_err(|error| error.to_string())
}

fn per_million(text: &str) -> Result<Option<PicoUsd>, Problem> {
    if text.is_empty() { Ok(None) } else { money(PicoUsd::from_usd_per_million(text)).map(Some) }
}

fn count(text: &str) -> Result<Option<u64>, Problem> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|_| format!("`{text}` is not a count")) }
}

fn parse_date(text: &str) -> Result<Date, Problem> {
    text.parse().map_err(|_| format!("`{text}` is not a date"))
}

/// A service tier is published by its input price: its factor holds for the other lines.
fn ratio(tier_input: &str, input: Option<PicoUsd>) -> Result<Option<Ratio>, Problem> {
    let Some(numerator) = per_million(tier_input)? else { return Ok(None) };
    match input {
        Some(denominator) if denominator > PicoUsd::ZERO => Ok(Some(Ratio { numerator, denominator })),
        _ => Err("a service tier needs an input price".to_owned()),
    }
}

/// Reads `IN/OUT` or `IN/OUT/crREAD`.
fn parse_step(text: &str) -> Result<Step, Problem> {
    let problem = || format!("`{text}` is not IN/OUT/crREAD");
    let mut parts = text.split('/');
    let input = money(PicoUsd::from_usd_per_million(parts.next().ok_or_else(problem)?))?;
    let output = money(PicoUsd::from_usd_per_million(parts.next().ok_or_else(problem)?))?;
    let cache_read = match parts.next() {
        Some(part) => per_million(part.strip_prefix("cr").ok_or_else(problem)?)?,
        None => None,
    };
    if parts.next().is_some() { Err(problem()) } else { Ok(Step { input, output, cache_read }) }
}

/// Reads `>272k:20/75/cr2`.
fn parse_tier(text: &str) -> Result<(u64, Step), Problem> {
    let problem = || format!("`{text}` is not >SIZEk:IN/OUT/crREAD");
    let (size, step) = text.strip_prefix('>').and_then(|rest| rest.split_once(':')).ok_or_else(problem)?;
    let thousands: u64 = size.strip_suffix('k').and_then(|size| size.parse().ok()).ok_or_else(problem)?;
    Ok((thousands.checked_mul(1000).ok_or_else(problem)?, parse_step(step)?))
}

/// Reads `2026-12-01: 4.0/20.0/cr0.2`.
fn parse_scheduled(text: &str) -> Result<(UnixMicros, Step), Problem> {
    let (date, step) = text.split_once(": ").ok_or_else(|| format!("`{text}` is not DATE: IN/OUT/crREAD"))?;
    let from = day_start(parse_date(date)?).ok_or_else(|| format!("`{date}` is out of range"))?;
    Ok((from, parse_step(step)?))
}

/// Reads `0.5 outside UTC hours [[1, 4], [6, 10]] weekdays`.
fn parse_off_peak(text: &str) -> Result<OffPeak, Problem> {
    let problem = || format!("`off-peak x{text}` is not understood");
    let (factor, hours) = text.split_once(" outside UTC hours [[").ok_or_else(problem)?;
    let hours = hours.strip_suffix("]] weekdays").ok_or_else(problem)?;
    let (first, second) = hours.split_once("], [").ok_or_else(problem)?;
    let span = |text: &str| {
        let (from, to) = text.split_once(", ")?;
        let (from, to): (u8, u8) = (from.parse().ok()?, to.parse().ok()?);
        (from < to && to <= 24).then_some((from, to))
    };
    let peak_hours = [span(first).ok_or_else(problem)?, span(second).ok_or_else(problem)?];
    // A price per million units is the factor in millionths.
    let ppm = u32::try_from(money(PicoUsd::from_usd_per_million(factor))?.get()).map_err(|_| problem())?;
    if ppm > ONE_PPM { Err(problem()) } else { Ok(OffPeak { peak_hours, ppm }) }
}

fn parse_capabilities(text: &str) -> Result<Capabilities, Problem> {
    let mut capabilities = Capabilities::default();
    for word in text.split(',').filter(|word| !word.is_empty()) {
        let capability = Capability::parse(word).ok_or_else(|| format!("unknown capability `{word}`"))?;
        capabilities = capabilities.with(capability);
    }
    Ok(capabilities)
}

/// Reads `sampling,forced_tools (SOURCE)`.
fn parse_refusals(text: &str) -> Result<Refusals, Problem> {
    let stated = text.strip_suffix(')').and_then(|text| text.split_once(" ("));
    let (words, source) = stated.ok_or_else(|| format!("`refuses {text}` names no source"))?;
    let refusal = |word| Refusal::parse(word).ok_or_else(|| format!("unknown refusal `{word}`"));
    let refusals = words.split(',').map(refusal).collect::<Result<Vec<_>, _>>()?;
    Ok(Refusals::of(&refusals, source))
}

/// A meter and the price of its unit.
type MeterPrices = Vec<(Meter, PicoUsd)>;

/// Reads `search/query=0.01 audio_in/Mtok=1`; the length of vectors stands among the meters.
fn parse_meters(text: &str) -> Result<(MeterPrices, Option<u32>), Problem> {
    let mut meters = Vec::new();
    let mut dimensions = None;
    for item in text.split_whitespace() {
        let (name, value) = item.split_once('=').ok_or_else(|| format!("`{item}` is not METER=PRICE"))?;
        if name == "dim" {
            dimensions = Some(value.parse().map_err(|_| format!("`{value}` is not a length"))?);
            continue;
        }
        let meter = Meter::parse(name).ok_or_else(|| format!("unknown meter `{name}`"))?;
        let parse = if name.ends_with("/Mtok") { PicoUsd::from_usd_per_million } else { PicoUsd::from_usd };
        meters.push((meter, money(parse(value))?));
    }
    Ok((meters, dimensions))
}
