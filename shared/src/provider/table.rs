//! The table of provider kinds.
//!
//! Rule: one row a kind; what a row does not say it has in common with the row it begins with. A difference that somebody
//! found out is a [`super::Quirk`] with its source, also where nothing is done about it yet: `docs/providers.md` is made of them.

use super::quirk::{RUNS_ON, STOPS, UNCHECKED, checked, quirk};
use super::{
    Api, AuthScheme, CapField, Embeddings, ModelMaker, ModelNames, OnLeave, PathForm, ProviderFacts, WireFamily,
};

/// A hosted service that speaks like OpenAI.
const HOSTED: ProviderFacts = ProviderFacts {
    name: "",
    title: "",
    family: WireFamily::OpenAi,
    auth: AuthScheme::Bearer,
    base_url: None,
    paths: PathForm::AsGiven,
    has_api_version: false,
    is_local: false,
    needs_key: true,
    key_variables: &[],
    url_variables: &[],
    names: ModelNames::Any,
    maker: ModelMaker::Anybody,
    cap_field: CapField::MaxTokens,
    may_ignore_other_cap: true,
    takes_newer_cap: true,
    takes_stream_options: true,
    may_choose_tier: false,
    has_reasoning_outside: false,
    has_cost: false,
    takes_top_k: false,
    takes_user: true,
    says_any: false,
    embeddings: Embeddings::AsOpenAi,
    takes_reasoning_content: false,
    on_leave: OnLeave::DrainBriefly,
    apis: &[],
    quirks: &[],
};

/// A server of one's own that speaks like OpenAI.
const LOCAL: ProviderFacts =
    ProviderFacts { is_local: true, needs_key: false, paths: PathForm::UnderV1, on_leave: OnLeave::Cancel, ..HOSTED };

/// What the models of OpenAI are called.
const OPENAI_MODELS: &[&str] = &[
    "gpt-",
    "chatgpt-",
    "o1",
    "o3",
    "o4",
    "text-embedding-",
    "dall-e-",
    "tts-",
    "whisper-",
    "omni-moderation",
    "codex-",
    "computer-use-",
];

macro_rules! provider_kinds {
    ($($(#[$doc:meta])* $variant:ident = $facts:expr;)+) => {
        /// What kind of provider a backend is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ProviderKind { $($(#[$doc])* $variant,)+ }

        impl ProviderKind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// What is known of it.
            pub fn facts(self) -> &'static ProviderFacts {
                match self {
                    $(Self::$variant => {
                        const FACTS: ProviderFacts = $facts;
                        &FACTS
                    })+
                }
            }
        }
    };
}

provider_kinds! {
    /// OpenAI.
    OpenAi = ProviderFacts {
        name: "openai",
        title: "OpenAI",
        base_url: Some("https://api.openai.com/v1"),
        paths: PathForm::UnderV1,
        key_variables: &["OPENAI_API_KEY"],
        url_variables: &["OPENAI_BASE_URL"],
        names: ModelNames::Own(OPENAI_MODELS),
        maker: ModelMaker::OpenAi,
        cap_field: CapField::MaxCompletionTokens,
        may_ignore_other_cap: false,
        may_choose_tier: true,
        apis: &[Api::Completions, Api::Responses, Api::StoredResponses, Api::Images, Api::Speech, Api::Transcription],
        quirks: &[
            STOPS,
            quirk("The output cap is `max_completion_tokens`; reasoning models refuse `max_tokens`.", "openai-python 3.54.0"),
            quirk("A stream reports usage only when `stream_options.include_usage` asks for it.", "openai-python 3.54.0"),
            quirk("`service_tier` unset or `auto` follows the project: the answer may be billed at the priority tier.",
                "openai-python 3.54.0"),
        ],
        ..HOSTED
    };
    /// Anthropic.
    Anthropic = ProviderFacts {
        name: "anthropic",
        title: "Anthropic",
        family: WireFamily::Anthropic,
        auth: AuthScheme::XApiKey,
        base_url: Some("https://api.anthropic.com"),
        paths: PathForm::OwnVersion,
        key_variables: &["ANTHROPIC_API_KEY"],
        url_variables: &["ANTHROPIC_BASE_URL"],
        names: ModelNames::Own(&["claude-"]),
        maker: ModelMaker::Anthropic,
        quirks: &[
            STOPS,
            quirk("`anthropic-version` is required; a request that names none is sent as of 2023-06-01.",
                "anthropic-python 2.12.0"),
            quirk("`max_tokens` is required.", "anthropic-python 2.12.0"),
        ],
        ..HOSTED
    };
    /// Google's Gemini API.
    Gemini = ProviderFacts {
        name: "gemini",
        title: "Google Gemini API",
        family: WireFamily::Gemini,
        auth: AuthScheme::XGoogApiKey,
        base_url: Some("https://generativelanguage.googleapis.com"),
        paths: PathForm::Gemini,
        key_variables: &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
        url_variables: &["GOOGLE_GEMINI_BASE_URL"],
        names: ModelNames::Own(&["gemini-", "gemma-"]),
        maker: ModelMaker::Google,
        on_leave: OnLeave::Drain,
        quirks: &[
            RUNS_ON,
            quirk("It is asked in its own API, not in its OpenAI dialect: conversations and embeddings.", "by design"),
            quirk("The model stands in the path, under `/v1beta`; a base URL is written with that version or without.",
                "by design"),
            checked("A call of a tool carries a signature that newer models want back: it travels in the id of the call.",
                "docs.apiyi.com, gemini-thought-signature-missing"),
            checked("Newer models refuse `temperature`, `top_p` and `top_k`: they are dropped, and named.", "litellm 1.109.1"),
            checked("A key that is not valid is answered with 400: it counts as 401.",
                "openai-scala-client issue 109, gemini-cli issue 4690"),
            checked("When to come back stands in the body, as `RetryInfo`.", "stremio-ai-search issue 147"),
        ],
        ..HOSTED
    };
    /// Google Vertex AI: Gemini, and Claude as Google hosts it; its key is what [`crate::cloud::google`] writes.
    Vertex = ProviderFacts {
        name: "vertex",
        title: "Google Vertex AI",
        family: WireFamily::Gemini,
        paths: PathForm::Vertex,
        names: ModelNames::Hosted(&["gemini-", "claude-"]),
        maker: ModelMaker::Google,
        on_leave: OnLeave::Drain,
        quirks: &[
            RUNS_ON,
            quirk("Claude is asked by `rawPredict` and `streamRawPredict` in Anthropic's dialect: the model goes from the \
                body into the path, and `anthropic_version: vertex-2023-10-16` takes its place.",
                "docs.claude.com, claude-on-vertex-ai"),
            quirk("Claude at a regional or multi-regional endpoint costs a tenth more than at `global`: such a backend is \
                priced so.", "docs.claude.com, claude-on-vertex-ai"),
            quirk("The host follows the location: `global` has none in its name, `eu` and `us` have hosts of their own.",
                "google-genai 3.4.0, litellm 1.109.1"),
            quirk("A refusal by Google stands in Google's form also where a model of Anthropic's was asked: it is said again \
                in Anthropic's.", "by design"),
        ],
        ..HOSTED
    };
    /// Azure OpenAI.
    Azure = ProviderFacts {
        name: "azure",
        title: "Azure OpenAI",
        auth: AuthScheme::ApiKey,
        paths: PathForm::Azure,
        has_api_version: true,
        key_variables: &["AZURE_OPENAI_API_KEY", "AZURE_API_KEY"],
        url_variables: &["AZURE_OPENAI_ENDPOINT"],
        names: ModelNames::Hosted(OPENAI_MODELS),
        maker: ModelMaker::OpenAi,
        cap_field: CapField::MaxCompletionTokens,
        may_ignore_other_cap: false,
        may_choose_tier: true,
        apis: &[Api::Completions, Api::Responses, Api::StoredResponses, Api::Images, Api::Speech, Api::Transcription],
        quirks: &[
            STOPS,
            quirk("With a dated `api_version` the deployment is part of the path; without one, or with a base URL that \
                ends in `/openai/v1`, it is the `model`.", "openai-python 3.54.0"),
            quirk("Before `api_version` 2024-09-01 neither `stream_options` nor `max_completion_tokens` is taken: streams \
                report no usage and are metered by an estimate.", UNCHECKED),
            quirk("A stream may begin with a chunk of `prompt_filter_results` and no choices, and bring filter results \
                after its `finish_reason`; usage is known by `usage`, never by empty `choices`.", UNCHECKED),
            quirk("A throttled answer may say when to come back only in its text: it gets the header.", UNCHECKED),
            quirk("Regional deployments cost more than global ones: a price of one's own belongs under `prices`.",
                "litellm 1.109.1"),
        ],
        ..HOSTED
    };
    /// Amazon Bedrock; its key is a bearer token, or what requests are signed by ([`crate::aws::AwsAccess`]).
    Bedrock = ProviderFacts {
        name: "bedrock",
        title: "Amazon Bedrock",
        family: WireFamily::Bedrock,
        paths: PathForm::Bedrock,
        key_variables: &["AWS_BEARER_TOKEN_BEDROCK"],
        maker: ModelMaker::Several,
        on_leave: OnLeave::Drain,
        quirks: &[
            RUNS_ON,
            quirk("The model is a part of the path.", "botocore 1.44.5"),
            quirk("The region in an ARN wins over the configured one.", "by design"),
            quirk("Exceptions are events of a stream: one that begins it after status 200 counts as the answer, and another \
                backend is asked.", "botocore 1.44.5"),
            quirk("Images and documents are taken in base64, not by URL.", "botocore 1.44.5"),
        ],
        ..HOSTED
    };
    /// Ollama, over its own API, or over its OpenAI-compatible one where the base URL says so.
    Ollama = ProviderFacts {
        name: "ollama",
        title: "Ollama",
        family: WireFamily::Ollama,
        paths: PathForm::Ollama,
        base_url: Some("http://127.0.0.1:11434"),
        url_variables: &["OLLAMA_HOST"],
        takes_top_k: true,
        apis: &[Api::Completions, Api::Responses],
        quirks: &[
            quirk("It is asked in its own API, which knows `num_ctx`, `keep_alive`, `options`, `think`, images and exact \
                counters; with a base URL that ends in `/v1`, in its OpenAI dialect.", "ollama, git of 2026-08-21"),
            quirk("A prompt longer than `num_ctx` is cut without a word, and the default is small: send `num_ctx`, or set \
                `OLLAMA_CONTEXT_LENGTH` at the server.", "ollama, git of 2026-08-21"),
            quirk("A model that does not think answers 400 to every word about it: an effort goes only to models that are \
                known to think, `think` in a request to all.", "ollama, git of 2026-08-21"),
            quirk("A prompt that it has kept is not counted: such an answer is metered by an estimate.",
                "ollama, git of 2026-08-21"),
            quirk("There is no `tool_choice`: a forced one is dropped, and named.", "ollama, git of 2026-08-21"),
            checked("Under `/v1` it speaks `/responses` itself, and keeps nothing of them.", "docs.ollama.com, openai-compatibility"),
        ],
        ..LOCAL
    };
    /// Groq.
    Groq = ProviderFacts {
        name: "groq",
        title: "Groq",
        base_url: Some("https://api.groq.com/openai/v1"),
        key_variables: &["GROQ_API_KEY"],
        url_variables: &["GROQ_BASE_URL"],
        apis: &[Api::Responses, Api::Speech, Api::Transcription],
        on_leave: OnLeave::Drain,
        quirks: &[
            RUNS_ON,
            quirk("Thinking comes as `reasoning`, not as `reasoning_content`.", "groq 1.7.0"),
            quirk("Usage of a stream may stand in `x_groq.usage` of the last chunk.", "groq 1.7.0"),
            quirk("`n` above 1, `logprobs` and `logit_bias` are refused.", UNCHECKED),
        ],
        ..HOSTED
    };
    /// Together.
    Together = ProviderFacts {
        name: "together",
        title: "Together AI",
        base_url: Some("https://api.together.ai/v1"),
        key_variables: &["TOGETHER_API_KEY"],
        url_variables: &["TOGETHER_BASE_URL"],
        takes_top_k: true,
        embeddings: Embeddings::Floats { dimensions: "dimensions" },
        apis: &[Api::Completions, Api::Images, Api::Speech, Api::Transcription],
        quirks: &[
            STOPS,
            quirk("Embeddings are made of texts and come as numbers: a client that wants base64 gets them encoded.", "together 3.1.1"),
            quirk("`stop` must be a list, `logprobs` a number; `finish_reason` may be `eos`.", "together 3.1.1"),
            quirk("`top_k` is taken.", "together 3.1.1"),
        ],
        ..HOSTED
    };
    /// xAI.
    XAi = ProviderFacts {
        name: "xai",
        title: "xAI",
        base_url: Some("https://api.x.ai/v1"),
        key_variables: &["XAI_API_KEY"],
        names: ModelNames::Own(&["grok-"]),
        has_reasoning_outside: true,
        has_cost: true,
        apis: &[Api::Responses, Api::StoredResponses, Api::Images],
        quirks: &[
            STOPS,
            quirk("`completion_tokens` leaves `reasoning_tokens` out.", "litellm 1.109.1"),
            quirk("`usage` carries the cost, as `cost_in_usd_ticks`.", "litellm 1.109.1"),
            quirk("Reasoning models refuse `stop` and the penalties.", "litellm 1.109.1"),
        ],
        ..HOSTED
    };
    /// OpenRouter.
    OpenRouter = ProviderFacts {
        name: "openrouter",
        title: "OpenRouter",
        base_url: Some("https://openrouter.ai/api/v1"),
        key_variables: &["OPENROUTER_API_KEY"],
        has_cost: true,
        takes_top_k: true,
        apis: &[Api::Completions, Api::Responses],
        quirks: &[
            quirk("`usage` carries the cost in USD.", "openrouter 1.3.84"),
            quirk("An error may come with status 200, or as a chunk with a number as its `code`.", "openrouter 1.3.84"),
            quirk("`top_k` is taken.", "openrouter 1.3.84"),
        ],
        ..HOSTED
    };
    /// Fireworks.
    Fireworks = ProviderFacts {
        name: "fireworks",
        title: "Fireworks AI",
        base_url: Some("https://api.fireworks.ai/inference/v1"),
        key_variables: &["FIREWORKS_API_KEY"],
        takes_top_k: true,
        apis: &[Api::Completions],
        quirks: &[
            STOPS,
            quirk("Models are called `accounts/fireworks/models/NAME`.", "fireworks-ai 1.2.30"),
            quirk("`top_k` is taken.", "fireworks-ai 1.2.30"),
        ],
        ..HOSTED
    };
    /// Hugging Face router.
    HuggingFace = ProviderFacts {
        name: "huggingface",
        title: "Hugging Face router",
        base_url: Some("https://router.huggingface.co/v1"),
        key_variables: &["HF_TOKEN", "HUGGINGFACE_API_KEY"],
        on_leave: OnLeave::Drain,
        quirks: &[
            RUNS_ON,
            quirk("`ORGANISATION/NAME:PROVIDER` names who serves a model; what is taken depends on them.", "litellm 1.109.1"),
        ],
        ..HOSTED
    };
    /// LM Studio.
    LmStudio = ProviderFacts {
        name: "lmstudio",
        title: "LM Studio",
        base_url: Some("http://127.0.0.1:1234/v1"),
        apis: &[Api::Completions, Api::Responses],
        quirks: &[
            checked("From 0.3.29 on it speaks `/v1/responses` itself; it has no address to read or delete one, so \
                `previous_response_id` is refused.", "lmstudio.ai, blog/lmstudio-v0.3.29"),
            quirk("Some versions refuse `response_format: json_object`.", "Vercel ai-sdk, 2026-11"),
            quirk("A model is loaded by its first request, which is slow.", UNCHECKED),
        ],
        ..LOCAL
    };
    /// vLLM.
    Vllm = ProviderFacts {
        name: "vllm",
        title: "vLLM",
        takes_top_k: true,
        apis: &[Api::Completions, Api::Responses, Api::Transcription],
        quirks: &[
            checked("It speaks `/v1/responses` itself; what it keeps of them is off unless the server is told to, and is not \
                relied on.", "docs.vllm.ai, v0.32.0, online serving"),
            quirk("`top_k` and further sampling fields are taken.", "litellm 1.109.1"),
            quirk("Calling tools needs flags of the server; without them, 400.", UNCHECKED),
            quirk("Thinking comes as `reasoning_content`, in newer versions as `reasoning`.", UNCHECKED),
        ],
        ..LOCAL
    };
    /// `LocalAI`.
    LocalAi = ProviderFacts {
        name: "localai",
        title: "LocalAI",
        apis: &[Api::Completions, Api::Images, Api::Speech, Api::Transcription],
        quirks: &[
            quirk("It listens where this gateway does by default, so its address must be said.", UNCHECKED),
            quirk("Usage may be zero: it is taken as written.", UNCHECKED),
        ],
        ..LOCAL
    };
    /// Mistral.
    Mistral = ProviderFacts {
        name: "mistral",
        title: "Mistral",
        base_url: Some("https://api.mistral.ai/v1"),
        key_variables: &["MISTRAL_API_KEY"],
        names: ModelNames::Own(&[
            "mistral-", "magistral-", "ministral-", "codestral-", "devstral-", "pixtral-", "open-mistral-",
        ]),
        takes_newer_cap: false,
        takes_stream_options: false,
        takes_user: false,
        says_any: true,
        embeddings: Embeddings::Floats { dimensions: "output_dimension" },
        apis: &[Api::Speech, Api::Transcription],
        on_leave: OnLeave::Drain,
        quirks: &[
            RUNS_ON,
            quirk("The dimensions of embeddings are called `output_dimension`; they come as numbers, and are encoded for a \
                client that wants base64.", "mistralai 3.7.0"),
            quirk("An unknown field is refused with 422. `stream_options.include_usage` and `user` are two: both are \
                kept back (`user` is listed); usage comes in the last chunk anyway.", "avante.nvim issue 2347, litellm issue 8978"),
            quirk("The output cap is `max_tokens`; `max_completion_tokens` is refused, and goes under the other name.", "eca issue 231"),
            quirk("`tool_choice: required` is called `any`, `seed` is called `random_seed`.", "mistralai 3.7.0"),
        ],
        ..HOSTED
    };
    /// `DeepSeek`.
    DeepSeek = ProviderFacts {
        name: "deepseek",
        title: "DeepSeek",
        base_url: Some("https://api.deepseek.com/v1"),
        key_variables: &["DEEPSEEK_API_KEY"],
        names: ModelNames::Own(&["deepseek-"]),
        takes_reasoning_content: true,
        quirks: &[
            STOPS,
            quirk("Thinking comes as `reasoning_content` and must come back on every turn of the assistant.",
                "litellm 1.109.1"),
            quirk("`prompt_cache_hit_tokens` and `prompt_cache_miss_tokens` add up to `prompt_tokens`.", "litellm 1.109.1"),
        ],
        ..HOSTED
    };
    /// Cohere, over its OpenAI-compatible API.
    Cohere = ProviderFacts {
        name: "cohere",
        title: "Cohere",
        base_url: Some("https://api.cohere.ai/compatibility/v1"),
        key_variables: &["CO_API_KEY", "COHERE_API_KEY"],
        names: ModelNames::Own(&["command-", "embed-", "c4ai-"]),
        takes_stream_options: false,
        quirks: &[
            STOPS,
            quirk("It is served over its compatibility API: chat and embeddings.", "docs.cohere.com, compatibility-api"),
            quirk("`stream_options` is refused; `null` is not.", "strandsagents.com, model-providers/cohere"),
            quirk("A stream that reports no usage is metered by an estimate.", UNCHECKED),
        ],
        ..HOSTED
    };
    /// Perplexity.
    Perplexity = ProviderFacts {
        name: "perplexity",
        title: "Perplexity",
        base_url: Some("https://api.perplexity.ai"),
        key_variables: &["PERPLEXITY_API_KEY", "PERPLEXITYAI_API_KEY"],
        names: ModelNames::Own(&["sonar"]),
        has_reasoning_outside: true,
        has_cost: true,
        on_leave: OnLeave::Drain,
        quirks: &[
            RUNS_ON,
            quirk("Every chunk carries usage so far, with its cost: the last one counts.", "perplexityai 0.46.1"),
            quirk("`completion_tokens` leaves reasoning out.", "genai-prices 0.2.3"),
        ],
        ..HOSTED
    };
    /// Cerebras.
    Cerebras = ProviderFacts {
        name: "cerebras",
        title: "Cerebras",
        base_url: Some("https://api.cerebras.ai/v1"),
        key_variables: &["CEREBRAS_API_KEY"],
        apis: &[Api::Completions],
        quirks: &[quirk("Fields it does not know are refused with 400 or 422.", "cerebras 1.91.0")],
        ..HOSTED
    };
    /// Any base URL that speaks OpenAI's wire format.
    OpenAiCompatible = ProviderFacts {
        name: "openai_compatible",
        title: "Any server that speaks like OpenAI",
        needs_key: false,
        apis: &[Api::Completions, Api::Images, Api::Speech, Api::Transcription],
        quirks: &[quirk("Paths follow the base URL as it is: say `/v1` where the server has it.", "by design")],
        ..HOSTED
    };
}
