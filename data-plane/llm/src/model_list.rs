//! The list of models, in both shapes.
//!
//! Rule: it lists what it is given; who may see which model is decided before.

use bytes::Bytes;
use serde::Serialize;

use crate::dialect::Family;

/// A model as a client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedModel<'a> {
    /// The name that requests use.
    pub id: &'a str,
    /// Seconds since 1970, UTC.
    pub created: u64,
}

#[derive(Serialize)]
struct OpenAiModel<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
}

#[derive(Serialize)]
struct OpenAiList<'a> {
    object: &'static str,
    data: Vec<OpenAiModel<'a>>,
}

#[derive(Serialize)]
struct AnthropicModel<'a> {
    r#type: &'static str,
    id: &'a str,
    display_name: &'a str,
    created_at: String,
}

#[derive(Serialize)]
struct AnthropicList<'a> {
    data: Vec<AnthropicModel<'a>>,
    has_more: bool,
    first_id: Option<&'a str>,
    last_id: Option<&'a str>,
}

/// Renders all models on one page.
pub fn model_list_body<'a>(family: Family, models: impl IntoIterator<Item = ListedModel<'a>>) -> Bytes {
    let models = models.into_iter();
    match family {
        Family::OpenAi | Family::Gemini => json(&OpenAiList { object: "list", data: models.map(openai).collect() }),
        Family::Anthropic => {
            let data: Vec<_> = models.map(anthropic).collect();
            let (first_id, last_id) = (data.first().map(|model| model.id), data.last().map(|model| model.id));
            json(&AnthropicList { data, has_more: false, first_id, last_id })
        }
    }
}

/// Renders one model.
pub fn model_body(family: Family, model: ListedModel<'_>) -> Bytes {
    match family {
        Family::OpenAi | Family::Gemini => json(&openai(model)),
        Family::Anthropic => json(&anthropic(model)),
    }
}

fn openai(model: ListedModel<'_>) -> OpenAiModel<'_> {
    OpenAiModel { id: model.id, object: "model", created: model.created, owned_by: "helix" }
}

fn anthropic(model: ListedModel<'_>) -> AnthropicModel<'_> {
    AnthropicModel { r#type: "model", id: model.id, display_name: model.id, created_at: rfc3339(model.created) }
}

fn json<T: Serialize>(value: &T) -> Bytes {
    // Strings and numbers always serialize.
    Bytes::from(serde_json::to_vec(value).unwrap_or_default())
}

/// Writes seconds since 1970 as a UTC time of the civil calendar.
fn rfc3339(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days counted from 1 March of year 0, in eras of 400 years: leap days fall at the ends.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn models() -> [ListedModel<'static>; 2] {
        [
            ListedModel { id: "claude-sonnet-4-6", created: 1_771_372_800 },
            ListedModel { id: "team \"fast\"", created: 951_827_696 },
        ]
    }

    #[test]
    fn lists_read_as_each_family_writes_them() {
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        insta::assert_snapshot!("openai_list", text(model_list_body(Family::OpenAi, models())));
        insta::assert_snapshot!("anthropic_list", text(model_list_body(Family::Anthropic, models())));
        insta::assert_snapshot!("anthropic_empty_list", text(model_list_body(Family::Anthropic, [])));
        insta::assert_snapshot!("openai_model", text(model_body(Family::OpenAi, models()[0])));
        insta::assert_snapshot!("anthropic_model", text(model_body(Family::Anthropic, models()[1])));
    }

    #[test]
    fn dates_follow_the_calendar() {
        for (seconds, date) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_164_799, "2024-02-28T23:59:59Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (4_102_444_800, "2100-01-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds), date);
        }
    }
}
