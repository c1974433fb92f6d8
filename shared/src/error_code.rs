//! The stable error codes that clients see in `x-helix-error-code`, and what each one means for HTTP.
//!
//! Rule: a code never changes its meaning. Its wording in a dialect is the refusal's business, not this file's.

/// Who caused an answer that is not a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorSource {
    /// The gateway: the request, the key, or our own state.
    Gateway,
    /// A rule of the organisation.
    Policy,
    /// A spent budget.
    Budget,
    /// The provider.
    Provider,
}

impl ErrorSource {
    /// The value of `x-helix-error-source`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Policy => "policy",
            Self::Budget => "budget",
            Self::Provider => "provider",
        }
    }
}

macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident $name:literal $status:literal $source:ident $retryable:literal;)+) => {
        /// A reason for an answer we make instead of the provider.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode { $($(#[$doc])* $variant,)+ }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The stable name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The HTTP status in OpenAI dialects (Anthropic's differ for two codes, see the refusal).
            pub fn http_status(self) -> u16 {
                match self { $(Self::$variant => $status,)+ }
            }

            /// Who caused it.
            pub fn source(self) -> ErrorSource {
                match self { $(Self::$variant => ErrorSource::$source,)+ }
            }

            /// Whether it is about what was asked, not about who was asked.
            pub fn is_of_request(self) -> bool {
                matches!(self, Self::UnsupportedByModel | Self::ContextLengthExceeded)
            }

            /// Whether the same request may succeed a little later.
            pub fn is_retryable(self) -> bool {
                match self { $(Self::$variant => $retryable,)+ }
            }
        }
    };
}

error_codes! {
    /// No key, or one that is unknown, revoked or of a disabled owner.
    InvalidApiKey "invalid_api_key" 401 Gateway false;
    /// The key's lifetime is over.
    ExpiredApiKey "expired_api_key" 401 Gateway false;
    /// Two different keys in one request.
    ConflictingCredentials "conflicting_credentials" 401 Gateway false;
    /// No role of the caller may use models.
    PermissionDenied "permission_denied" 403 Policy false;
    /// The model is not on the caller's lists.
    ModelAccessDenied "model_access_denied" 403 Policy false;
    /// What governs the caller did not compile; refusing is the safe side.
    Quarantined "quarantined" 503 Policy true;
    /// No such model.
    ModelNotFound "model_not_found" 404 Gateway false;
    /// No such path.
    UnknownPath "unknown_path" 404 Gateway false;
    /// The path exists, with another method.
    MethodNotAllowed "method_not_allowed" 405 Gateway false;
    /// The body is not JSON.
    InvalidJson "invalid_json" 400 Gateway false;
    /// A field is missing or of the wrong type.
    InvalidRequest "invalid_request" 400 Gateway false;
    /// The body is over the limit.
    RequestTooLarge "request_too_large" 413 Gateway false;
    /// The body did not arrive in time.
    RequestTimeout "request_timeout" 408 Gateway true;
    /// A content policy refuses the input.
    ContentPolicyViolation "content_policy_violation" 400 Policy false;
    /// A hard budget cannot afford the worst case of this request.
    BudgetExceeded "budget_exceeded" 429 Budget false;
    /// The budget's state cannot be read in time; hard budgets fail closed.
    BudgetUnavailable "budget_unavailable" 503 Budget true;
    /// The model has no price and a hard budget governs the caller.
    UnpricedModel "unpriced_model" 403 Budget false;
    /// The model's cost has no bound that could be reserved.
    UnboundedCost "unbounded_cost" 400 Budget false;
    /// The catalogue knows that the model cannot do what is asked of it.
    UnsupportedByModel "unsupported_by_model" 400 Gateway false;
    /// The input is longer than the model takes.
    ContextLengthExceeded "context_length_exceeded" 400 Gateway false;
    /// A response that an id speaks of is not there, or not the caller's.
    ResponseNotFound "previous_response_not_found" 404 Gateway false;
    /// The dialect cannot be served by this backend.
    UnsupportedBackend "unsupported_backend" 400 Gateway false;
    /// No backend of the model is healthy.
    NoHealthyBackend "no_healthy_backend" 503 Provider true;
    /// The provider could not be reached.
    UpstreamUnreachable "upstream_unreachable" 502 Provider true;
    /// The provider did not answer in time.
    UpstreamTimeout "upstream_timeout" 504 Provider true;
    /// The provider's answer broke off or could not be read.
    UpstreamDisconnected "upstream_disconnected" 502 Provider true;
    /// The provider answered with an error.
    UpstreamError "upstream_error" 502 Provider true;
    /// The provider refuses the gateway's own credential.
    UpstreamCredential "upstream_credential" 502 Provider false;
    /// The gateway is at its limit of requests in flight.
    Overloaded "overloaded" 503 Gateway true;
    /// The record of this request could not be made durable.
    AuditUnavailable "audit_unavailable" 503 Gateway true;
    /// No configuration has been applied yet.
    NotReady "not_ready" 503 Gateway true;
    /// A WebSocket was asked for.
    UpgradeRequired "upgrade_required" 426 Gateway false;
    /// An invariant of ours broke.
    Internal "internal_error" 500 Gateway true;
}
