//! Azure OpenAI's two generations of addresses, and which of them a configuration means.
//!
//! Rule: the configuration alone decides, the same way in both planes; nothing is tried out at the provider.

/// A generation, with the version that its addresses carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation<'a> {
    /// `/openai/deployments/{deployment}`, versioned by a date.
    Deployments {
        /// The date, maybe with `-preview`.
        api_version: &'a str,
    },
    /// `/openai/v1`: the deployment is the `model`.
    V1 {
        /// `preview` or `v1`, where it was given.
        api_version: Option<&'a str>,
    },
}

/// The first version whose requests may have `stream_options` and `max_completion_tokens`.
const FIRST_WITH_OPTIONS: &str = "2024-09-01";

impl<'a> Generation<'a> {
    /// Decides by the end of the base URL, then by the version.
    pub fn of(base_url: &str, api_version: Option<&'a str>) -> Self {
        let is_date = |version: &&str| version.starts_with(|first: char| first.is_ascii_digit());
        match api_version {
            Some(date) if is_date(&date) && !names_v1(base_url) => Self::Deployments { api_version: date },
            version => Self::V1 { api_version: version.filter(|version| !is_date(version)) },
        }
    }

    /// Whether requests may have `stream_options` and `max_completion_tokens`.
    pub fn takes_options(self) -> bool {
        match self {
            Self::Deployments { api_version } => api_version >= FIRST_WITH_OPTIONS,
            Self::V1 { .. } => true,
        }
    }
}

/// Whether a base URL says the newer generation itself.
pub fn names_v1(base_url: &str) -> bool {
    base_url.trim_end_matches('/').ends_with("/openai/v1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_url_decides_and_then_the_version() {
        let v1 = |api_version| Generation::V1 { api_version };
        let host = "https://corp.openai.azure.com";
        for (base_url, version, expected) in [
            (host, None, v1(None)),
            (host, Some("preview"), v1(Some("preview"))),
            (host, Some("2024-10-21"), Generation::Deployments { api_version: "2024-10-21" }),
            ("https://corp.openai.azure.com/openai/v1/", Some("2024-10-21"), v1(None)),
            ("https://corp.openai.azure.com/openai/v1", Some("v1"), v1(Some("v1"))),
            ("https://corp.services.ai.azure.com/api/projects/p/openai/v1", None, v1(None)),
        ] {
            assert_eq!(Generation::of(base_url, version), expected, "{base_url} {version:?}");
        }
    }

    #[test]
    fn old_versions_know_no_stream_options() {
        for (version, expected) in
            [("2023-05-15", false), ("2024-08-01-preview", false), ("2024-09-01-preview", true), ("2024-10-21", true)]
        {
            assert_eq!(Generation::of("https://a.example", Some(version)).takes_options(), expected, "{version}");
        }
    }
}
