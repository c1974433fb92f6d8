//! Where a backend's requests go: its base URL, what its kind adds to it, and the path of an operation.
//!
//! Rule: a model name that becomes a part of a path is hostile text: everything but plain letters is escaped, and what
//! would climb is no address. Whoever asks for one gets an address of this backend or none.

use helix_shared::cloud::encode;
use helix_shared::cloud::google::GoogleAccess;
use helix_shared::provider::PathForm;
use helix_shared::provider::azure::{Generation, names_v1};
use helix_shared::provider::vertex::{Model, Publisher};
use helix_shared::snapshot::view::Backend;
use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

/// The name of Azure's version in a query.
const API_VERSION: &str = "api-version";
/// The version of Gemini's API in its paths.
const GEMINI_VERSION: &str = "/v1beta";

/// The addresses of one backend.
#[derive(Debug)]
pub struct Address {
    scheme: Scheme,
    authority: Authority,
    prefix: String,
    model_place: ModelPlace,
    /// The version that every address carries, where the backend wants one.
    api_version: Option<String>,
    /// The version in a client's query is about another API.
    drops_client_version: bool,
    /// It is a region's, where that has a price of its own.
    is_regional: bool,
    /// Addresses that were asked for without a query: there are a handful, and each request needs one.
    ready: papaya::HashMap<&'static str, Uri>,
}

/// Where a request names its model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ModelPlace {
    /// In the body: the address is the same for all models.
    Body,
    /// In the path, as a deployment of Azure's.
    Deployment,
    /// In the path, before the method.
    Method,
    /// In the path, under its publisher, before the method.
    Publisher,
    /// Nowhere: the backend has no address.
    Nowhere,
}

impl Address {
    /// Reads a backend's base URL.
    pub fn of(backend: &Backend) -> Self {
        // The compiler checked the URL; what still cannot be parsed leads nowhere instead of somewhere else.
        let uri: Uri = backend.base_url.parse().unwrap_or_default();
        let nowhere = Authority::from_static("invalid.invalid");
        let mut prefix = uri.path().trim_end_matches('/').to_owned();
        let (mut model_place, mut api_version) = (ModelPlace::Body, None);
        let mut is_regional = false;
        let form = backend.kind.facts().paths;
        match form {
            PathForm::AsGiven | PathForm::Bedrock | PathForm::Ollama => {}
            PathForm::UnderV1 if prefix.is_empty() => prefix.push_str("/v1"),
            PathForm::UnderV1 => {}
            PathForm::OwnVersion => prefix = prefix.strip_suffix("/v1").unwrap_or(&prefix).to_owned(),
            PathForm::Gemini => {
                prefix = prefix.strip_suffix(GEMINI_VERSION).unwrap_or(&prefix).to_owned();
                model_place = ModelPlace::Method;
            }
            PathForm::Vertex => {
                prefix = prefix.strip_suffix("/v1").unwrap_or(&prefix).to_owned();
                let location = push_location(&mut prefix, backend);
                model_place = if location.is_some() { ModelPlace::Publisher } else { ModelPlace::Nowhere };
                is_regional = location.is_some_and(|region| region != "global");
            }
            PathForm::Azure => {
                if !names_v1(&prefix) && !prefix.ends_with("/openai") {
                    prefix.push_str("/openai");
                }
                let version = match Generation::of(&backend.base_url, backend.api_version.as_deref()) {
                    Generation::Deployments { api_version } => {
                        model_place = ModelPlace::Deployment;
                        Some(api_version)
                    }
                    Generation::V1 { api_version } => {
                        if !names_v1(&prefix) {
                            prefix.push_str("/v1");
                        }
                        api_version
                    }
                };
                api_version = version.map(|version| format!("{API_VERSION}={version}"));
            }
        }
        Self {
            scheme: uri.scheme().cloned().unwrap_or(Scheme::HTTPS),
            authority: uri.authority().cloned().unwrap_or(nowhere),
            prefix,
            model_place,
            api_version,
            drops_client_version: form == PathForm::Azure,
            is_regional,
            ready: papaya::HashMap::new(),
        }
    }

    /// The scheme and the host (with its port, if it names one).
    pub fn origin(&self) -> (&Scheme, &Authority) {
        (&self.scheme, &self.authority)
    }

    /// The address of an operation (`/chat/completions`, `:generateContent`) on a model; `None` when the parts make no URL.
    pub fn uri(&self, path: &'static str, model: &str, query: Option<&str>) -> Option<Uri> {
        if query.is_some() || self.model_place != ModelPlace::Body {
            return self.make(path, model, query);
        }
        let ready = self.ready.pin();
        if let Some(uri) = ready.get(path) {
            return Some(uri.clone());
        }
        let uri = self.make(path, model, None)?;
        ready.insert(path, uri.clone());
        Some(uri)
    }

    /// Whether it is a region's, where that has a price of its own.
    pub fn is_regional(&self) -> bool {
        self.is_regional
    }

    /// The address of a path that names its model itself; `None` when the parts make no URL.
    pub(super) fn uri_of(&self, path: &str, query: Option<&str>) -> Option<Uri> {
        self.make(path, "", query)
    }

    fn make(&self, path: &str, model: &str, query: Option<&str>) -> Option<Uri> {
        let mut text = self.prefix.clone();
        match self.model_place {
            ModelPlace::Body => {}
            ModelPlace::Nowhere => return None,
            ModelPlace::Publisher => {
                let model = Model::of(model);
                text.push_str(match model.publisher {
                    Publisher::Google => "/publishers/google/models/",
                    Publisher::Anthropic => "/publishers/anthropic/models/",
                    Publisher::Endpoint => "/endpoints/",
                });
                let mut name = String::new();
                push_segment(&mut name, model.name)?;
                // The date of a model stands behind an `@`.
                text.push_str(&name.replace("%40", "@"));
            }
            // Responses are the resource's, whatever deployment makes them; it is named in the body.
            ModelPlace::Deployment if path == "/responses" || path.starts_with("/responses/") => {}
            ModelPlace::Deployment => {
                text.push_str("/deployments/");
                push_segment(&mut text, model)?;
            }
            ModelPlace::Method => {
                let (collection, name) = match model.split_once('/') {
                    Some(("tunedModels", name)) => ("tunedModels", name),
                    Some(("models", name)) => ("models", name),
                    _ => ("models", model),
                };
                text.push_str(GEMINI_VERSION);
                text.push('/');
                text.push_str(collection);
                text.push('/');
                push_segment(&mut text, name)?;
            }
        }
        text.push_str(path);
        let is_kept =
            |part: &&str| !self.drops_client_version || part.split('=').next().is_none_or(|name| name != API_VERSION);
        let of_client = query.into_iter().flat_map(|query| query.split('&')).filter(is_kept);
        for (at, part) in self.api_version.as_deref().into_iter().chain(of_client).enumerate() {
            text.push(if at == 0 { '?' } else { '&' });
            text.push_str(part);
        }
        let path = PathAndQuery::try_from(text).ok()?;
        Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone()).path_and_query(path).build().ok()
    }
}

/// Adds the project and the location of Vertex AI, and returns the latter; `None`: nothing says them.
fn push_location(to: &mut String, backend: &Backend) -> Option<String> {
    let access = GoogleAccess::from_secret(backend.api_key.as_ref()?)?;
    to.push_str("/v1/projects/");
    push_segment(to, &access.project)?;
    to.push_str("/locations/");
    push_segment(to, &access.region)?;
    Some(access.region)
}

/// Adds a text as one segment of a path; `None` for one that would climb or is empty.
pub(super) fn push_segment(to: &mut String, text: &str) -> Option<()> {
    if matches!(text, "" | "." | "..") {
        return None;
    }
    encode(text, to);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use helix_shared::ids::BackendId;
    use helix_shared::provider::{HttpVersion, ProviderKind};
    use std::time::Duration;

    fn address(kind: &str, base_url: &str, api_version: Option<&str>) -> Address {
        Address::of(&backend(kind, base_url, api_version))
    }

    fn backend(kind: &str, base_url: &str, api_version: Option<&str>) -> Backend {
        let limit = Duration::from_secs(1);
        Backend {
            id: BackendId::from("b"),
            kind: ProviderKind::parse(kind).unwrap(),
            base_url: base_url.to_owned(),
            api_version: api_version.map(str::to_owned),
            api_key: None,
            http_version: HttpVersion::Auto,
            connect_timeout: limit,
            first_byte_timeout: limit,
            idle_timeout: limit,
            total_timeout: limit,
            max_in_flight: None,
        }
    }

    fn chat(address: &Address, model: &str, query: Option<&str>) -> Option<String> {
        Some(address.uri("/chat/completions", model, query)?.to_string())
    }

    #[test]
    fn a_kind_adds_its_path_where_the_base_url_has_none() {
        for (kind, base_url, expected) in [
            ("openai", "https://api.openai.com", "https://api.openai.com/v1/chat/completions"),
            ("openai", "https://proxy.corp/openai", "https://proxy.corp/openai/chat/completions"),
            ("vllm", "http://vllm.ml:8000", "http://vllm.ml:8000/v1/chat/completions"),
            ("groq", "https://api.groq.com/openai/v1", "https://api.groq.com/openai/v1/chat/completions"),
            ("anthropic", "https://api.anthropic.com/v1", "https://api.anthropic.com/chat/completions"),
            ("openai_compatible", "http://a.example", "http://a.example/chat/completions"),
        ] {
            assert_eq!(chat(&address(kind, base_url, None), "m", None).as_deref(), Some(expected));
        }
    }

    #[test]
    fn azure_puts_the_deployment_into_the_path_or_the_body_z2_z3() {
        let (host, date) = ("https://corp.openai.azure.com", Some("2025-04-01-preview"));
        let dated = "https://corp.openai.azure.com/openai/deployments/prod-fast/chat/completions?api-version=2025-04-01-preview";
        let v1 = "https://corp.openai.azure.com/openai/v1/chat/completions";
        for (base_url, version, expected) in [
            (host, date, dated),
            ("https://corp.openai.azure.com/openai", date, dated),
            (host, None, v1),
            ("https://corp.openai.azure.com/openai/v1", None, v1),
            ("https://corp.openai.azure.com/openai/v1", date, v1),
            (host, Some("preview"), "https://corp.openai.azure.com/openai/v1/chat/completions?api-version=preview"),
        ] {
            let address = address("azure", base_url, version);
            for _ in 0..2 {
                assert_eq!(chat(&address, "prod-fast", None).as_deref(), Some(expected), "{base_url} {version:?}");
            }
        }
    }

    #[test]
    fn responses_belong_to_the_resource_and_not_to_a_deployment_z10() {
        let dated = address("azure", "https://a.example", Some("2025-04-01-preview"));
        let found = |path| dated.uri_of(path, Some("x=1")).map(|uri| uri.to_string());
        let of = |path: &str| Some(format!("https://a.example/openai{path}?api-version=2025-04-01-preview&x=1"));
        assert_eq!(dated.uri("/responses", "m", Some("x=1")).map(|uri| uri.to_string()), of("/responses"));
        for path in ["/responses", "/responses/resp_1", "/responses/resp_1/input_items"] {
            assert_eq!(found(path), of(path));
        }
    }

    #[test]
    fn a_form_of_sound_belongs_to_its_deployment_z15() {
        let dated = address("azure", "https://a.example", Some("2025-04-01-preview"));
        let expected =
            "https://a.example/openai/deployments/my%20whisper/audio/transcriptions?api-version=2025-04-01-preview";
        let found = dated.uri("/audio/transcriptions", "my whisper", None).map(|uri| uri.to_string());
        assert_eq!(found.as_deref(), Some(expected));
    }

    #[test]
    fn a_deployments_name_stays_one_segment_z1() {
        let address = address("azure", "https://a.example", Some("2024-10-21"));
        let of = |model| chat(&address, model, None);
        let path = |segment| {
            Some(format!("https://a.example/openai/deployments/{segment}/chat/completions?api-version=2024-10-21"))
        };
        assert_eq!(of("my model"), path("my%20model"));
        assert_eq!(of("a/../b?c#d%"), path("a%2F..%2Fb%3Fc%23d%25"));
        assert_eq!(of("é"), path("%C3%A9"));
        assert_eq!((of(".."), of("."), of("")), (None, None, None));
    }

    #[test]
    fn a_clients_own_version_of_the_api_is_not_azures_z11() {
        let version = Some("2024-10-21");
        let dated = address("azure", "https://a.example", version);
        let expected = "https://a.example/openai/deployments/m/chat/completions?api-version=2024-10-21&x=1";
        assert_eq!(chat(&dated, "m", Some("api-version=9&x=1")).as_deref(), Some(expected));
        let v1 = address("azure", "https://a.example", None);
        let expected = "https://a.example/openai/v1/chat/completions";
        assert_eq!(chat(&v1, "m", Some("api-version=9")).as_deref(), Some(expected));
        let other = address("openai", "https://a.example", None);
        let expected = "https://a.example/v1/chat/completions?api-version=9";
        assert_eq!(chat(&other, "m", Some("api-version=9")).as_deref(), Some(expected));
    }

    #[test]
    fn vertex_puts_project_location_publisher_and_model_into_the_path() {
        let access = GoogleAccess { project: "p-1".into(), region: "eu".into(), ..GoogleAccess::default() };
        let mut backend = backend("vertex", "https://aiplatform.eu.rep.googleapis.com", None);
        let nowhere = Address::of(&backend).uri(":rawPredict", "claude-x", None);
        assert_eq!(nowhere, None, "without a project there is no address");
        backend.api_key = Some(access.to_secret());
        let address = Address::of(&backend);
        for (model, path, query, expected) in [
            ("gemini-2.5-pro", ":generateContent", None, "publishers/google/models/gemini-2.5-pro:generateContent"),
            (
                "publishers/google/models/gemini-2.5-pro",
                ":streamGenerateContent",
                Some("alt=sse"),
                "publishers/google/models/gemini-2.5-pro:streamGenerateContent?alt=sse",
            ),
            (
                "claude-sonnet-4-5@20250929",
                ":rawPredict",
                None,
                "publishers/anthropic/models/claude-sonnet-4-5@20250929:rawPredict",
            ),
            ("anthropic/count-tokens", ":rawPredict", None, "publishers/anthropic/models/count-tokens:rawPredict"),
            ("endpoints/1 2", ":generateContent", None, "endpoints/1%202:generateContent"),
            ("../x?y#z", ":generateContent", None, "publishers/google/models/..%2Fx%3Fy%23z:generateContent"),
        ] {
            let uri = address.uri(path, model, query).unwrap().to_string();
            let base = "https://aiplatform.eu.rep.googleapis.com/v1/projects/p-1/locations/eu/";
            assert_eq!(uri, format!("{base}{expected}"));
        }
        assert_eq!(address.uri(":generateContent", "..", None), None);
    }

    #[test]
    fn gemini_puts_the_model_into_the_path_before_the_method() {
        let host = "https://generativelanguage.googleapis.com";
        for (base_url, model, expected) in [
            (host, "gemini-2.5-pro", Some("/v1beta/models/gemini-2.5-pro")),
            (&format!("{host}/v1beta/"), "gemini-2.5-pro", Some("/v1beta/models/gemini-2.5-pro")),
            (&format!("{host}/proxy"), "gemini-2.5-pro", Some("/proxy/v1beta/models/gemini-2.5-pro")),
            (host, "models/gemini-2.5-pro", Some("/v1beta/models/gemini-2.5-pro")),
            (host, "tunedModels/a_b", Some("/v1beta/tunedModels/a_b")),
            (host, "../../x?y#z:w", Some("/v1beta/models/..%2F..%2Fx%3Fy%23z%3Aw")),
            (host, "é %", Some("/v1beta/models/%C3%A9%20%25")),
            (host, "models/..", None),
            (host, "", None),
        ] {
            let address = address("gemini", base_url, None);
            let of = |path, query| address.uri(path, model, query).map(|uri| uri.to_string());
            let whole = expected.map(|path| format!("{host}{path}:generateContent"));
            assert_eq!(of(":generateContent", None), whole, "{base_url} {model}");
            let stream = expected.map(|path| format!("{host}{path}:streamGenerateContent?alt=sse"));
            assert_eq!(of(":streamGenerateContent", Some("alt=sse")), stream, "{base_url} {model}");
        }
    }
}
