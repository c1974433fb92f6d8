//! The reports of OpenAI and Anthropic, read into charges.
//!
//! Rule: what is not understood is an error that names its place; a page that says more follow is no whole report.

use super::amount::AttoUsd;
use helix_shared::time::UnixMicros;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeSet;

/// Whose report it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// OpenAI's costs or completions usage.
    OpenAi,
    /// Anthropic's cost report or messages usage report.
    Anthropic,
}

/// What a provider counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Money.
    Cost(AttoUsd),
    /// Tokens of every kind together.
    Tokens(u64),
}

/// One line of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// First instant of its time.
    pub from: UnixMicros,
    /// First instant after it.
    pub until: UnixMicros,
    /// The project, workspace or key it was charged to; empty: not told.
    pub place: String,
    /// The model; empty: not told, or it is charged for something else.
    pub model: String,
    /// How much.
    pub quantity: Quantity,
}

/// A whole report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProviderReport {
    /// Its lines.
    pub charges: Vec<Charge>,
    /// The times it covers, whether or not anything was charged in them: sorted, none twice.
    pub times: Vec<(UnixMicros, UnixMicros)>,
}

/// Why a report cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// It is not the JSON that was expected.
    #[error("page {page} is not a cost or usage report of this provider")]
    NotAReport {
        /// Which of the files, from 1.
        page: usize,
        /// What the reader said.
        source: serde_json::Error,
    },
    /// An amount is none.
    #[error("page {page}: `{text}` is not an amount")]
    NotAnAmount {
        /// Which of the files, from 1.
        page: usize,
        /// What stands there.
        text: String,
    },
    /// A time is none.
    #[error("page {page}: `{text}` is not a time")]
    NotATime {
        /// Which of the files, from 1.
        page: usize,
        /// What stands there.
        text: String,
    },
    /// Another currency.
    #[error("page {page} is in `{currency}`; only USD can be compared")]
    Currency {
        /// Which of the files, from 1.
        page: usize,
        /// The currency.
        currency: String,
    },
    /// A page is missing, at the end or in the middle.
    #[error("page {page} says that more follows{}, and no page of these files does: fetch it (`page={next}`) and name all files", since(.at))]
    MorePages {
        /// Which of the files says so, from 1.
        page: usize,
        /// The end of what it covers; `None` when it covers no time.
        at: Option<UnixMicros>,
        /// The page that is missing.
        next: String,
    },
    /// A time is in two pages: one of them was given twice.
    #[error("page {page} has the time from {from} that an earlier page has: a file was named twice")]
    Twice {
        /// Which of the files, from 1.
        page: usize,
        /// The time.
        from: UnixMicros,
    },
    /// Money and tokens in one.
    #[error("the files are partly about money and partly about tokens; compare one after the other")]
    Mixed,
    /// There is nothing in it.
    #[error("the report covers no time")]
    Empty,
}

#[derive(Deserialize)]
struct Page<B> {
    data: Vec<B>,
    #[serde(default)]
    has_more: bool,
    #[serde(default)]
    next_page: Option<String>,
}

#[derive(Deserialize)]
struct OpenAiBucket<'a> {
    start_time: i64,
    end_time: i64,
    // older pages write `result`
    #[serde(borrow, alias = "result")]
    results: Vec<OpenAiResult<'a>>,
}

#[derive(Deserialize)]
struct OpenAiResult<'a> {
    #[serde(borrow)]
    amount: Option<OpenAiAmount<'a>>,
    line_item: Option<String>,
    project_id: Option<String>,
    api_key_id: Option<String>,
    model: Option<String>,
    // cached ones included
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct OpenAiAmount<'a> {
    // a number, or a text in some exports: its digits are read, not its value
    #[serde(borrow)]
    value: &'a RawValue,
    currency: Option<String>,
}

#[derive(Deserialize)]
struct AnthropicBucket {
    starting_at: String,
    ending_at: String,
    results: Vec<AnthropicResult>,
}

#[derive(Deserialize)]
struct AnthropicResult {
    amount: Option<String>,
    currency: Option<String>,
    workspace_id: Option<String>,
    api_key_id: Option<String>,
    model: Option<String>,
    description: Option<String>,
    uncached_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation: Option<AnthropicCacheCreation>,
    output_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct AnthropicCacheCreation {
    #[serde(default)]
    ephemeral_1h_input_tokens: u64,
    #[serde(default)]
    ephemeral_5m_input_tokens: u64,
}

/// Reads the pages of a report.
///
/// # Errors
/// [`ReportError`] names the page and what is wrong.
pub fn read(kind: Kind, pages: &[String]) -> Result<ProviderReport, ReportError> {
    let mut report = ProviderReport::default();
    let mut made = Vec::with_capacity(pages.len());
    for (number, text) in (1..).zip(pages) {
        let earlier = report.times.len();
        let next = match kind {
            Kind::OpenAi => openai(number, text, &mut report)?,
            Kind::Anthropic => anthropic(number, text, &mut report)?,
        };
        // a bucket of time is on one page
        let (earlier, of_page) = report.times.split_at(earlier);
        if let Some((from, _)) = of_page.iter().find(|time| earlier.contains(time)) {
            return Err(ReportError::Twice { page: number, from: *from });
        }
        let from = of_page.iter().map(|time| time.0).min();
        made.push(Made { number, from, until: of_page.iter().map(|time| time.1).max(), next });
    }
    whole(made)?;
    report.times.sort();
    report.times.dedup();
    if report.times.is_empty() {
        return Err(ReportError::Empty);
    }
    let costs = report.charges.iter().filter(|charge| matches!(charge.quantity, Quantity::Cost(_))).count();
    if costs != 0 && costs != report.charges.len() {
        return Err(ReportError::Mixed);
    }
    Ok(report)
}

fn since(at: &Option<UnixMicros>) -> String {
    at.map_or(String::new(), |at| format!(" from {at}"))
}

/// A page, as far as it says which others there are.
struct Made {
    number: usize,
    from: Option<UnixMicros>,
    until: Option<UnixMicros>,
    next: Option<String>,
}

/// Checks that what each page says to follow is there. Providers list every bucket of time, empty ones too: what follows a
/// page begins where it ends. Only the last page may cover no time.
fn whole(pages: Vec<Made>) -> Result<(), ReportError> {
    let starts: BTreeSet<UnixMicros> = pages.iter().filter_map(|page| page.from).collect();
    let mut empty_ends = pages.iter().filter(|page| page.from.is_none() && page.next.is_none()).count();
    let mut open: Vec<(Option<UnixMicros>, usize, String)> = Vec::new();
    for page in pages {
        if let Some(next) = page.next.filter(|_| page.until.is_none_or(|until| !starts.contains(&until))) {
            open.push((page.until, page.number, next));
        }
    }
    // an empty last page follows the latest of them
    open.sort();
    while empty_ends > 0 && open.pop().is_some() {
        empty_ends -= 1;
    }
    match open.into_iter().next() {
        Some((at, page, next)) => Err(ReportError::MorePages { page, at, next }),
        None => Ok(()),
    }
}

/// What follows a page, if anything does.
fn following<B>(page: &Page<B>) -> Option<String> {
    page.has_more.then(|| page.next_page.clone().unwrap_or_default())
}

fn openai(page: usize, text: &str, report: &mut ProviderReport) -> Result<Option<String>, ReportError> {
    let read: Page<OpenAiBucket<'_>> =
        serde_json::from_str(text).map_err(|source| ReportError::NotAReport { page, source })?;
    let more = following(&read);
    for bucket in read.data {
        let seconds = |at: i64| UnixMicros::new(at.saturating_mul(1_000_000));
        let (from, until) = (seconds(bucket.start_time), seconds(bucket.end_time));
        report.times.push((from, until));
        for result in bucket.results {
            let model =
                result.model.or_else(|| result.line_item.as_deref().map(model_of_line_item)).unwrap_or_default();
            let place = result.api_key_id.or(result.project_id).unwrap_or_default();
            let quantity = match result.amount {
                Some(amount) => {
                    in_usd(page, amount.currency)?;
                    Quantity::Cost(amount_of(page, amount.value.get().trim_matches('"'), 0)?)
                }
                None => {
                    let counts = [result.input_tokens, result.output_tokens];
                    Quantity::Tokens(counts.into_iter().flatten().fold(0, u64::saturating_add))
                }
            };
            report.charges.push(Charge { from, until, place, model, quantity });
        }
    }
    Ok(more)
}

/// `gpt-4o-2024-08-06, input`: the model stands before the comma. Other lines are charged for something else.
fn model_of_line_item(line_item: &str) -> String {
    line_item.split_once(", ").map_or(line_item, |(model, _)| model).to_owned()
}

fn anthropic(page: usize, text: &str, report: &mut ProviderReport) -> Result<Option<String>, ReportError> {
    let read: Page<AnthropicBucket> =
        serde_json::from_str(text).map_err(|source| ReportError::NotAReport { page, source })?;
    let more = following(&read);
    for bucket in read.data {
        let time = |text: String| UnixMicros::parse(&text).ok_or(ReportError::NotATime { page, text });
        let (from, until) = (time(bucket.starting_at)?, time(bucket.ending_at)?);
        report.times.push((from, until));
        for result in bucket.results {
            let place = result.api_key_id.or(result.workspace_id).unwrap_or_default();
            let quantity = match result.amount {
                Some(amount) => {
                    in_usd(page, result.currency)?;
                    // in cents
                    Quantity::Cost(amount_of(page, &amount, -2)?)
                }
                None => {
                    let written = result.cache_creation.map_or(0, |creation| {
                        creation.ephemeral_1h_input_tokens.saturating_add(creation.ephemeral_5m_input_tokens)
                    });
                    let counts = [result.uncached_input_tokens, result.cache_read_input_tokens, result.output_tokens];
                    Quantity::Tokens(counts.into_iter().flatten().fold(written, u64::saturating_add))
                }
            };
            let model = result.model.or(result.description).unwrap_or_default();
            report.charges.push(Charge { from, until, place, model, quantity });
        }
    }
    Ok(more)
}

fn in_usd(page: usize, currency: Option<String>) -> Result<(), ReportError> {
    match currency {
        Some(currency) if !currency.eq_ignore_ascii_case("usd") => Err(ReportError::Currency { page, currency }),
        _ => Ok(()),
    }
}

fn amount_of(page: usize, text: &str, shift: i32) -> Result<AttoUsd, ReportError> {
    AttoUsd::parse(text, shift).ok_or_else(|| ReportError::NotAnAmount { page, text: text.chars().take(40).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn costs_of_openai_are_read_by_project_and_line_item() {
        let page = r#"{"object":"page","data":[{"object":"bucket","start_time":1730419200,"end_time":1730505600,"results":[
            {"object":"organization.costs.result","amount":{"value":0.06000000000000000333,"currency":"usd"},"line_item":"gpt-4o-2024-08-06, input","project_id":"proj_a"},
            {"object":"organization.costs.result","amount":{"value":6.1e-05,"currency":"usd"},"line_item":null,"project_id":null}
        ]}],"has_more":false,"next_page":null}"#;
        let report = read(Kind::OpenAi, &pages(&[page])).unwrap();
        assert_eq!(report.times, [(UnixMicros::new(1_730_419_200_000_000), UnixMicros::new(1_730_505_600_000_000))]);
        let lines: Vec<_> =
            report.charges.iter().map(|one| (one.place.as_str(), one.model.as_str(), one.quantity)).collect();
        let cost = |atto: &str| Quantity::Cost(AttoUsd::parse(atto, 0).unwrap());
        assert_eq!(lines, [("proj_a", "gpt-4o-2024-08-06", cost("0.060000000000000003")), ("", "", cost("0.000061"))]);
    }

    #[test]
    fn costs_of_anthropic_are_cents() {
        let page = r#"{"data":[{"starting_at":"2025-08-01T00:00:00Z","ending_at":"2025-08-02T00:00:00Z","results":[
            {"currency":"USD","amount":"123.78912","workspace_id":"wrkspc_1","description":"Claude Sonnet 4 Usage - Input Tokens",
             "cost_type":"tokens","context_window":"0-200k","model":"claude-sonnet-4-20250514","service_tier":"standard","token_type":"uncached_input_tokens"}
        ]}],"has_more":true,"next_page":"page_2"}"#;
        let last = r#"{"data":[],"has_more":false,"next_page":null}"#;
        let report = read(Kind::Anthropic, &pages(&[page, last])).unwrap();
        let only = &report.charges[0];
        assert_eq!(only.quantity, Quantity::Cost(AttoUsd::parse("1.2378912", 0).unwrap()));
        assert_eq!((only.place.as_str(), only.model.as_str()), ("wrkspc_1", "claude-sonnet-4-20250514"));
        let twice = read(Kind::Anthropic, &pages(&[page, page, last])).unwrap_err().to_string();
        assert!(twice.contains("page 2") && twice.contains("named twice"), "{twice}");
        let torn = read(Kind::Anthropic, &pages(&[page])).unwrap_err().to_string();
        assert!(torn.contains("page=page_2"), "{torn}");
    }

    #[test]
    fn a_page_that_is_missing_in_the_middle_is_named() {
        let page = |from: u32, more: bool| {
            let until = from + 1;
            format!(
                r#"{{"data":[{{"starting_at":"2025-08-{from:02}T00:00:00Z","ending_at":"2025-08-{until:02}T00:00:00Z","results":[]}}],
                "has_more":{more},"next_page":"page_{until}"}}"#
            )
        };
        let [first, second, third, last] =
            [(1, true), (2, true), (3, true), (4, false)].map(|(from, more)| page(from, more));
        let whole =
            |pages: &[&String]| read(Kind::Anthropic, &pages.iter().map(|page| (*page).clone()).collect::<Vec<_>>());
        assert_eq!(whole(&[&first, &second, &third, &last]).unwrap().times.len(), 4);
        // in whichever order the files are named
        assert_eq!(whole(&[&last, &second, &first, &third]).unwrap().times.len(), 4);
        let missing = whole(&[&first, &third, &last]).unwrap_err().to_string();
        assert!(
            missing.contains("page 1 says that more follows from 2025-08-02T00:00:00Z")
                && missing.contains("page=page_2"),
            "{missing}"
        );
        let missing = whole(&[&first, &second, &last]).unwrap_err().to_string();
        assert!(missing.contains("page 2 says") && missing.contains("page=page_3"), "{missing}");
        // the end of one report is not the end of another
        let missing = whole(&[&last, &first]).unwrap_err().to_string();
        assert!(missing.contains("page 2 says") && missing.contains("page=page_2"), "{missing}");
        let empty = r#"{"data":[],"has_more":false,"next_page":null}"#.to_owned();
        assert_eq!(whole(&[&first, &second, &third, &empty]).unwrap().times.len(), 3);
        assert!(whole(&[&first, &third, &empty]).is_err());
    }

    #[test]
    fn usage_is_tokens_of_every_kind_once() {
        let openai = r#"{"object":"page","data":[{"object":"bucket","start_time":0,"end_time":86400,"results":[
            {"object":"organization.usage.completions.result","input_tokens":1000,"output_tokens":500,"input_cached_tokens":800,
             "num_model_requests":5,"project_id":null,"api_key_id":"key_1","model":"gpt-5"}]}],"has_more":false}"#;
        let report = read(Kind::OpenAi, &pages(&[openai])).unwrap();
        assert_eq!((report.charges[0].quantity, report.charges[0].place.as_str()), (Quantity::Tokens(1_500), "key_1"));
        let anthropic = r#"{"data":[{"starting_at":"2025-08-01T00:00:00Z","ending_at":"2025-08-02T00:00:00Z","results":[
            {"uncached_input_tokens":1500,"cache_creation":{"ephemeral_1h_input_tokens":1000,"ephemeral_5m_input_tokens":500},
             "cache_read_input_tokens":200,"output_tokens":500,"server_tool_use":{"web_search_requests":10},"api_key_id":"apikey_1",
             "workspace_id":"wrkspc_1","model":"claude-opus-4","service_tier":"standard","context_window":"0-200k"}]}],"has_more":false}"#;
        let report = read(Kind::Anthropic, &pages(&[anthropic])).unwrap();
        assert_eq!(report.charges[0].quantity, Quantity::Tokens(3_700));
    }

    #[test]
    fn what_is_no_report_in_usd_is_refused_by_its_page() {
        let euro = r#"{"data":[{"start_time":0,"end_time":1,"results":[{"amount":{"value":1,"currency":"eur"}}]}]}"#;
        let cases = [
            ("[]", "page 1 is not"),
            (r#"{"data":[]}"#, "covers no time"),
            (euro, "in `eur`"),
            (
                r#"{"data":[{"start_time":0,"end_time":1,"results":[{"amount":{"value":"1e","currency":"usd"}}]}]}"#,
                "`1e` is not an amount",
            ),
        ];
        for (text, says) in cases {
            let said = read(Kind::OpenAi, &pages(&[text])).unwrap_err().to_string();
            assert!(said.contains(says), "{said}");
        }
    }
}
