//! Configuration resources.
//!
//! Rule: `content_hash` is computed here on both sides from the deterministic encoding, so a body that was changed on the
//! way, or that this version cannot read back, is found before it is used.

use crate::v1;
use helix_shared::budget::Increase;
use helix_shared::money::{NanoUsd, PicoUsd};
use helix_shared::secret::Secret;
use helix_shared::snapshot::resource as shared;
use helix_shared::snapshot::set::fnv1a;
use helix_shared::snapshot::{Resource, ResourceKey, ResourceKind};
use helix_shared::time::UnixMicros;
use prost::Message;

/// Why a resource from the wire cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResourceError {
    /// The body is absent or of a kind this version does not know.
    #[error("resource `{0}` is of a kind this version does not know")]
    UnknownKind(String),
    /// The body is not what was hashed.
    #[error("resource `{0}` does not have the content hash it was sent with")]
    HashMismatch(String),
}

/// Encodes a resource and computes its content hash.
pub fn to_wire(id: &str, resource: &Resource) -> v1::Resource {
    let mut message = v1::Resource { id: id.to_owned(), content_hash: 0, body: Some(body_to_wire(resource)) };
    message.content_hash = fnv1a(&message.encode_to_vec());
    message
}

/// Decodes a resource, checking its content hash. Returns the hash and the body.
///
/// # Errors
/// [`ResourceError`].
pub fn from_wire(mut message: v1::Resource) -> Result<(String, u64, Resource), ResourceError> {
    let sent = std::mem::take(&mut message.content_hash);
    let Some(body) = message.body.clone() else { return Err(ResourceError::UnknownKind(message.id)) };
    if fnv1a(&message.encode_to_vec()) != sent {
        return Err(ResourceError::HashMismatch(message.id));
    }
    Ok((message.id, sent, body_from_wire(body)))
}

/// Encodes a key.
pub fn key_to_wire(key: &ResourceKey) -> v1::ResourceKey {
    let kind = match key.kind {
        ResourceKind::Settings => v1::ResourceKind::Settings,
        ResourceKind::User => v1::ResourceKind::User,
        ResourceKind::Team => v1::ResourceKind::Team,
        ResourceKind::ApiKey => v1::ResourceKind::ApiKey,
        ResourceKind::RoleGrant => v1::ResourceKind::RoleGrant,
        ResourceKind::Budget => v1::ResourceKind::Budget,
        ResourceKind::Price => v1::ResourceKind::Price,
        ResourceKind::Model => v1::ResourceKind::Model,
        ResourceKind::Backend => v1::ResourceKind::Backend,
    };
    v1::ResourceKey { kind: kind.into(), id: key.id.clone() }
}

/// Decodes a key; `None` for a kind this version does not know.
pub fn key_from_wire(key: &v1::ResourceKey) -> Option<ResourceKey> {
    let kind = match v1::ResourceKind::try_from(key.kind).ok()? {
        v1::ResourceKind::Unspecified => return None,
        v1::ResourceKind::Settings => ResourceKind::Settings,
        v1::ResourceKind::User => ResourceKind::User,
        v1::ResourceKind::Team => ResourceKind::Team,
        v1::ResourceKind::ApiKey => ResourceKind::ApiKey,
        v1::ResourceKind::RoleGrant => ResourceKind::RoleGrant,
        v1::ResourceKind::Budget => ResourceKind::Budget,
        v1::ResourceKind::Price => ResourceKind::Price,
        v1::ResourceKind::Model => ResourceKind::Model,
        v1::ResourceKind::Backend => ResourceKind::Backend,
    };
    Some(ResourceKey { kind, id: key.id.clone() })
}

fn body_to_wire(resource: &Resource) -> v1::resource::Body {
    use v1::resource::Body;
    match resource.clone() {
        Resource::Settings(it) => Body::Settings(v1::Settings {
            instance_id: it.instance_id,
            key_pepper: it.key_pepper.expose().to_vec(),
            body_limit_bytes: it.body_limit_bytes,
        }),
        Resource::User(it) => {
            Body::User(v1::User { email: it.email, name: it.name, disabled: it.disabled, team_ids: it.team_ids })
        }
        Resource::Team(it) => {
            Body::Team(v1::Team { name: it.name, allow_models: it.allow_models, deny_models: it.deny_models })
        }
        Resource::ApiKey(it) => Body::ApiKey(v1::ApiKey {
            name: it.name,
            hash: it.hash,
            user_id: it.user_id,
            team_id: it.team_id,
            expires_at_us: it.expires_at.map(UnixMicros::get),
            revoked: it.revoked,
        }),
        Resource::RoleGrant(it) => Body::RoleGrant(v1::RoleGrant {
            user_id: it.user_id,
            role: it.role,
            team_id: it.team_id,
            expires_at_us: it.expires_at.map(UnixMicros::get),
        }),
        Resource::Budget(it) => Body::Budget(v1::Budget {
            scope: it.scope,
            limit_nano_usd: it.limit.get(),
            period: it.period,
            mode: it.mode,
            timezone: it.timezone,
            label: it.label,
            week_start: it.week_start,
            prior: it.prior.map(|prior| v1::PriorCalendar {
                timezone: prior.timezone,
                week_start: prior.week_start,
                until_us: prior.until.get(),
            }),
            alert_at: it.alert_at,
            increases: it.increases.iter().map(increase_to_wire).collect(),
        }),
        Resource::Price(it) => Body::Price(v1::Price {
            backend_id: it.backend_id,
            model: it.model,
            input_pico_usd: it.input.get(),
            output_pico_usd: it.output.get(),
            cache_read_pico_usd: it.cache_read.map(PicoUsd::get),
            cache_write_pico_usd: it.cache_write.map(PicoUsd::get),
            cache_write_long_pico_usd: it.cache_write_long.map(PicoUsd::get),
            max_output_tokens: it.max_output_tokens,
            per_image_pico_usd: it.per_image.map(PicoUsd::get),
            per_second_pico_usd: it.per_second.map(PicoUsd::get),
            per_character_pico_usd: it.per_character.map(PicoUsd::get),
            per_search_pico_usd: it.per_search.map(PicoUsd::get),
        }),
        Resource::Model(it) => Body::Model(v1::Model {
            pattern: it.pattern,
            strategy: it.strategy,
            params: it.params,
            position: it.position,
            backends: it.backends.into_iter().map(place_to_wire).collect(),
        }),
        Resource::Backend(it) => Body::Backend(v1::Backend {
            kind: it.kind,
            base_url: it.base_url,
            api_version: it.api_version,
            api_key: it.api_key.map(|key| key.expose().to_vec()),
            http_version: it.http_version,
            connect_timeout_ms: it.connect_timeout_ms,
            first_byte_timeout_ms: it.first_byte_timeout_ms,
            idle_timeout_ms: it.idle_timeout_ms,
            total_timeout_ms: it.total_timeout_ms,
            max_in_flight: it.max_in_flight,
            position: it.position,
        }),
    }
}

fn increase_to_wire(increase: &Increase) -> v1::Increase {
    v1::Increase {
        amount_nano_usd: increase.amount.get(),
        from_us: increase.from.get(),
        until_us: increase.until.get(),
    }
}

fn increase_from_wire(increase: &v1::Increase) -> Increase {
    Increase {
        amount: NanoUsd::new(increase.amount_nano_usd),
        from: UnixMicros::new(increase.from_us),
        until: UnixMicros::new(increase.until_us),
    }
}

fn place_to_wire(place: shared::ModelBackend) -> v1::ModelBackend {
    v1::ModelBackend {
        backend_id: place.backend_id,
        upstream_model: place.upstream_model,
        weight: place.weight,
        fetches_urls: place.fetches_urls,
    }
}

fn body_from_wire(body: v1::resource::Body) -> Resource {
    use v1::resource::Body;
    match body {
        Body::Settings(it) => Resource::Settings(shared::Settings {
            instance_id: it.instance_id,
            key_pepper: Secret::new(it.key_pepper),
            body_limit_bytes: it.body_limit_bytes,
        }),
        Body::User(it) => Resource::User(shared::User {
            email: it.email,
            name: it.name,
            disabled: it.disabled,
            team_ids: it.team_ids,
        }),
        Body::Team(it) => {
            Resource::Team(shared::Team { name: it.name, allow_models: it.allow_models, deny_models: it.deny_models })
        }
        Body::ApiKey(it) => Resource::ApiKey(shared::ApiKey {
            name: it.name,
            hash: it.hash,
            user_id: it.user_id,
            team_id: it.team_id,
            expires_at: it.expires_at_us.map(UnixMicros::new),
            revoked: it.revoked,
        }),
        Body::RoleGrant(it) => Resource::RoleGrant(shared::RoleGrant {
            user_id: it.user_id,
            role: it.role,
            team_id: it.team_id,
            expires_at: it.expires_at_us.map(UnixMicros::new),
        }),
        Body::Budget(it) => Resource::Budget(shared::Budget {
            scope: it.scope,
            label: it.label,
            limit: NanoUsd::new(it.limit_nano_usd),
            period: it.period,
            mode: it.mode,
            timezone: it.timezone,
            week_start: it.week_start,
            prior: it.prior.map(|prior| shared::PriorCalendar {
                timezone: prior.timezone,
                week_start: prior.week_start,
                until: UnixMicros::new(prior.until_us),
            }),
            alert_at: it.alert_at,
            increases: it.increases.iter().map(increase_from_wire).collect(),
        }),
        Body::Price(it) => Resource::Price(shared::Price {
            backend_id: it.backend_id,
            model: it.model,
            input: PicoUsd::new(it.input_pico_usd),
            output: PicoUsd::new(it.output_pico_usd),
            cache_read: it.cache_read_pico_usd.map(PicoUsd::new),
            cache_write: it.cache_write_pico_usd.map(PicoUsd::new),
            cache_write_long: it.cache_write_long_pico_usd.map(PicoUsd::new),
            max_output_tokens: it.max_output_tokens,
            per_image: it.per_image_pico_usd.map(PicoUsd::new),
            per_second: it.per_second_pico_usd.map(PicoUsd::new),
            per_character: it.per_character_pico_usd.map(PicoUsd::new),
            per_search: it.per_search_pico_usd.map(PicoUsd::new),
        }),
        Body::Model(it) => Resource::Model(shared::Model {
            pattern: it.pattern,
            strategy: it.strategy,
            params: it.params,
            position: it.position,
            backends: it.backends.into_iter().map(place_from_wire).collect(),
        }),
        Body::Backend(it) => Resource::Backend(shared::Backend {
            kind: it.kind,
            base_url: it.base_url,
            api_version: it.api_version,
            api_key: it.api_key.map(Secret::new),
            http_version: it.http_version,
            connect_timeout_ms: it.connect_timeout_ms,
            first_byte_timeout_ms: it.first_byte_timeout_ms,
            idle_timeout_ms: it.idle_timeout_ms,
            total_timeout_ms: it.total_timeout_ms,
            max_in_flight: it.max_in_flight,
            position: it.position,
        }),
    }
}

fn place_from_wire(place: v1::ModelBackend) -> shared::ModelBackend {
    shared::ModelBackend {
        backend_id: place.backend_id,
        upstream_model: place.upstream_model,
        weight: place.weight,
        fetches_urls: place.fetches_urls,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn team() -> Resource {
        Resource::Team(shared::Team { name: "Blue".into(), allow_models: vec!["gpt-*".into()], deny_models: vec![] })
    }

    #[test]
    fn a_resource_survives_the_wire_with_its_hash() {
        let wire = to_wire("blue", &team());
        let (id, hash, back) = from_wire(wire.clone()).unwrap();
        assert_eq!((id.as_str(), hash, back), ("blue", wire.content_hash, team()));
    }

    #[test]
    fn a_budget_survives_the_wire_with_its_calendars_shares_and_what_lies_on_top() {
        let at = UnixMicros::new;
        let budget = Resource::Budget(shared::Budget {
            scope: "model:claude-*".into(),
            label: "model claude-*".into(),
            limit: NanoUsd::new(5),
            period: "weekly".into(),
            mode: "hard".into(),
            timezone: "Europe/Berlin".into(),
            week_start: "sunday".into(),
            prior: Some(shared::PriorCalendar { timezone: "UTC".into(), week_start: String::new(), until: at(9) }),
            alert_at: vec!["0.5".into(), "0.95".into()],
            increases: vec![Increase { amount: NanoUsd::new(-3), from: at(1), until: at(2) }],
        });
        let (_, _, back) = from_wire(to_wire("b", &budget)).unwrap();
        assert_eq!(back, budget);
    }

    #[test]
    fn a_changed_or_unknown_body_is_refused() {
        let mut wire = to_wire("blue", &team());
        wire.content_hash ^= 1;
        assert_eq!(from_wire(wire.clone()), Err(ResourceError::HashMismatch("blue".into())));
        wire.body = None;
        assert_eq!(from_wire(wire), Err(ResourceError::UnknownKind("blue".into())));
    }
}
