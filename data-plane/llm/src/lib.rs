//! The dialects of language models: bytes in, bytes out.
//!
//! A request is *scanned* once in place ([`scan_request`]), and goes upstream as the client sent it but for a few spliced
//! fields ([`fn@rewrite`]). An answer is scanned for its usage ([`scan_response`]) or watched while it streams by
//! ([`StreamFilter`]). What we say ourselves (errors, model lists, token counts) is rendered in the caller's dialect.
//!
//! Where client and backend speak different dialects, everything is *translated* through a neutral conversation
//! ([`translate_request`], [`translate_answer`], [`StreamTranslator`], [`translate_error`]).
//!
//! Rule: pure. No I/O, no async, no clock; unless it is translated, no body is copied or made a tree.
//! Not here: prices (shared), HTTP (the data plane).

mod aws_events;
mod chat;
mod dialect;
mod error_body;
mod estimate;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod json;
mod model_list;
mod multipart;
mod request;
mod response;
mod rewrite;
mod sound;
mod sse;
mod stream;
mod tokens;
mod translate;
mod usage;

pub use chat::traits::{LeastThinking, ModelTraits, ThinkingForm};
pub use dialect::bedrock::bedrock_error;
pub use dialect::openai_completions::{join_completions, split_completions};
pub use dialect::openai_transcriptions::subtitles_end_ms;
pub use dialect::{Dialect, Family};
pub use error_body::{ErrorBody, ErrorShape, error_shape};
pub use estimate::{count_tokens_body, estimate_tokens};
pub use model_list::{ListedModel, model_body, model_list_body};
pub use multipart::{Form, FormError, boundary};
pub use request::{
    Asks, CacheMarks, Kept, Media, MediaWish, PreviousResponse, RequestFacts, ScanError, ServerTools, scan_request,
};
pub use response::{ProviderError, ResponseFacts, scan_response};
pub use rewrite::{CapField, LeaveOut, OutputCap, Rewrite, RewrittenBody, leave_out, rewrite};
pub use sound::Sound;
pub use stream::rename::{IdRenamer, RenameId, rename_ids};
pub use stream::{EndKind, StreamEnd, StreamFacts, StreamFilter};
pub use tokens::{Vocabulary, kept_of_answer};
pub use translate::{
    AnswerContext, AnswerPlan, ChatDialect, EmbeddedCall, EmbeddingForm, EmbeddingPlan, Fetched, RequestContext,
    StatedError, StreamTranslator, TranslateError, Translated, TranslatedEmbeddings, TranslatedError, Wanted,
    error_family, stated_error, stream_error_status, translate_answer, translate_embeddings, translate_error,
    translate_fetched, translate_request, wanted_files,
};
pub use usage::{Quirks, TextSize};
