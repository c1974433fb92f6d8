//! The integration tests of the product, one binary: it links once, and every file beside this one is a promise that is
//! kept by real parts. Upholds: a list of modules and nothing else. Not here: tests of one crate, which live in it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test ends at the first surprise; clippy knows #[test] functions as tests, but not the helpers they call"
)]
#![allow(
    clippy::disallowed_methods,
    clippy::string_slice,
    reason = "a test's tasks end with its runtime, and the texts it cuts are its own"
)]

mod agents;
mod cloud_identities;
mod config_push;
mod coverage;
mod damaged_journal;
mod databases_end_to_end;
mod failover;
mod first_request;
mod fleet;
mod observability;
mod reload;
mod secrecy;
mod startup_errors;
mod support;

mod azure;
mod back_doors;
mod bedrock;
mod billing;
mod budget_changes;
mod budget_rollover;
mod budget_scopes;
mod budgets;
mod capabilities;
mod cli;
mod crash;
mod documents;
mod egress;
mod embeddings;
mod existing_database;
mod gemini;
mod hygiene;
mod kill;
mod leaving;
mod media;
mod model_lists;
mod older_apis;
mod ollama;
mod price_units;
mod provider_kinds;
mod proxy_anthropic;
mod proxy_openai;
mod race;
mod real_model;
mod refusals;
mod responses;
mod restore;
mod sdk_clients;
mod sdk_streams;
mod soft_budgets;
mod streaming;
mod suspense;
mod translation;
mod upstream_http2;
mod vertex;
mod wire_edges;
mod workspace_rules;
