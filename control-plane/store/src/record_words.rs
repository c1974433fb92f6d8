//! The words that nearly every record repeats, as numbers.
//!
//! Rule: numbers are never given anew, only added at the end of a list; 0 is the empty word, 1 one that has no number and
//! is written out.

use helix_shared::record::Stage;
use helix_shared::usage::CostBasis;

/// A list of words.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Words {
    Dialects,
    Strategies,
    /// Names of stages.
    Stages,
    Verdicts,
    Codes,
    Bases,
}

/// Where the numbers of a list begin.
const FIRST: u32 = 2;
/// How many verdicts there is room for beside a name.
const VERDICTS: u64 = 64;

impl Words {
    fn list(self) -> &'static [&'static str] {
        match self {
            Self::Dialects => &[
                "openai_chat",
                "anthropic_messages",
                "anthropic_count_tokens",
                "openai_embeddings",
                "openai_responses",
                "openai_stored_responses",
                "openai_images",
                "openai_image_edits",
                "openai_speech",
                "openai_transcriptions",
                "openai_translations",
                "openai_completions",
                "openai_moderations",
                "bedrock_converse",
                "gemini",
                "ollama",
            ],
            Self::Strategies => &["priority", "lowest_cost", "lowest_latency", "round_robin", "weighted"],
            Self::Stages => &["auth", "rbac", "policy", "budget", "route", "model", "cost", "audit"],
            Self::Verdicts => &[
                "ok",
                "allowed",
                "passed",
                "reserved",
                "chosen",
                "answered",
                "streaming",
                "estimated",
                "exact",
                "recorded",
                "error",
                "denied",
                "none",
                "skipped",
            ],
            Self::Codes => &[
                "invalid_api_key",
                "permission_denied",
                "model_access_denied",
                "model_not_found",
                "content_policy_violation",
                "budget_exceeded",
                "rate_limited",
            ],
            Self::Bases => &["exact", "provider_reported", "estimated", "unknown"],
        }
    }

    /// The word of a number; `texts` has those that are written out.
    ///
    /// # Errors
    /// When nothing stands for it.
    pub(crate) fn read(self, number: u32, texts: &mut impl Iterator<Item = String>) -> Result<String, String> {
        match number {
            0 => Ok(String::new()),
            1 => texts.next().ok_or_else(|| format!("one of its {self:?} is missing")),
            _ => {
                let at = usize::try_from(number - FIRST).unwrap_or(usize::MAX);
                let word = self.list().get(at).ok_or_else(|| format!("{number} stands for none of the {self:?}"))?;
                Ok((*word).to_owned())
            }
        }
    }
}

/// The words of one record, as they are written.
#[derive(Debug, Default)]
pub(crate) struct Speaking {
    /// Those without a number.
    pub(crate) texts: Vec<String>,
}

impl Speaking {
    /// The number of a word; one that has none is written out.
    pub(crate) fn word(&mut self, list: Words, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let known = list.list().iter().position(|word| *word == text).and_then(|at| u32::try_from(at).ok());
        known.map_or_else(
            || {
                self.texts.push(text.to_owned());
                1
            },
            |at| at.saturating_add(FIRST),
        )
    }

    /// Name, verdict and whether there is a reason, in one number.
    pub(crate) fn stage(&mut self, stage: &Stage) -> u64 {
        let name = u64::from(self.word(Words::Stages, &stage.name));
        let verdict = u64::from(self.word(Words::Verdicts, &stage.verdict));
        let has_reason = !stage.reason.is_empty();
        if has_reason {
            self.texts.push(stage.reason.clone());
        }
        (name * VERDICTS + verdict) * 2 + u64::from(has_reason)
    }
}

/// Reads a stage.
///
/// # Errors
/// When its words are missing.
pub(crate) fn stage(words: u64, duration_us: u64, texts: &mut impl Iterator<Item = String>) -> Result<Stage, String> {
    let (name, verdict) = (words / 2 / VERDICTS, words / 2 % VERDICTS);
    let number = |value: u64| u32::try_from(value).map_err(|error| error.to_string());
    let name = Words::Stages.read(number(name)?, texts)?;
    let verdict = Words::Verdicts.read(number(verdict)?, texts)?;
    let reason = if words % 2 == 1 { texts.next().ok_or("a reason of its trace is missing")? } else { String::new() };
    Ok(Stage { name, verdict, reason, duration_us })
}

/// The number of a basis in its column.
pub(crate) fn basis_number(basis: CostBasis) -> i64 {
    match basis {
        CostBasis::Exact => 0,
        CostBasis::ProviderReported => 1,
        CostBasis::Estimated => 2,
        CostBasis::Unknown => 3,
    }
}

/// The basis of a number.
pub(crate) fn basis_of(number: i64) -> Option<CostBasis> {
    CostBasis::ALL.into_iter().find(|basis| basis_number(*basis) == number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn there_is_room_for_every_verdict() {
        let most = u64::try_from(Words::Verdicts.list().len()).unwrap() + u64::from(FIRST);
        assert!(most <= VERDICTS);
    }

    #[test]
    fn every_basis_has_a_number_of_its_own() {
        for basis in CostBasis::ALL {
            assert_eq!(basis_of(basis_number(basis)), Some(basis));
            assert!(Words::Bases.list().contains(&basis.as_str()));
        }
        assert_eq!(basis_of(4), None);
    }

    proptest! {
        #[test]
        fn a_trace_is_read_as_it_was_written(
            made in proptest::collection::vec(("auth|audit|cost|.{0,12}", "ok|error|.{0,12}", ".{0,20}", any::<u64>()), 0..12),
        ) {
            let stages: Vec<Stage> = made
                .into_iter()
                .map(|(name, verdict, reason, duration_us)| Stage { name, verdict, reason, duration_us })
                .collect();
            let mut speaking = Speaking::default();
            let written: Vec<u64> = stages.iter().map(|stage| speaking.stage(stage)).collect();
            let mut texts = speaking.texts.into_iter();
            for (stage, words) in stages.iter().zip(written) {
                prop_assert_eq!(&super::stage(words, stage.duration_us, &mut texts).unwrap(), stage);
            }
            prop_assert_eq!(texts.next(), None);
        }
    }
}
