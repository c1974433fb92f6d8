//! Configuration as a control plane would push it: resources, their sum, and the steps of a push.

use aws_lc_rs::hmac;
use helix_proto::convert::resource::{key_to_wire, to_wire};
use helix_proto::v1;
use helix_shared::money::NanoUsd;
use helix_shared::secret::Secret;
use helix_shared::snapshot::resource::{ApiKey, Backend, Budget, Model, ModelBackend, RoleGrant, Settings, Team, User};
use helix_shared::snapshot::{Resource, ResourceKey, ResourceKind, ResourceSet};

const PEPPER: [u8; 32] = [7; 32];

/// What is in force, and the steps that change it.
#[derive(Clone, Default)]
pub(crate) struct Estate {
    pub(crate) revision: u64,
    pub(crate) set: ResourceSet,
}

/// A push's steps, to be sent in order.
pub(crate) type Steps = Vec<v1::config_push::Step>;

/// A resource with its id.
pub(crate) type Named = (String, Resource);

impl Estate {
    /// The steps to a first state.
    pub(crate) fn replace(&mut self, resources: Vec<Named>) -> Steps {
        self.set = ResourceSet::default();
        let begin = begin(v1::begin::Mode::Replace, 0);
        self.steps(begin, resources, &[])
    }

    /// The steps from what is in force to the next state.
    pub(crate) fn change(&mut self, upserts: Vec<Named>, removals: &[ResourceKey]) -> Steps {
        let begin = begin(v1::begin::Mode::Delta, self.revision);
        self.steps(begin, upserts, removals)
    }

    /// A commit of the state in force: a heartbeat.
    pub(crate) fn commit(&self) -> v1::config_push::Step {
        commit(self.revision, self.set.digest().to_bytes().to_vec())
    }

    fn steps(&mut self, begin: v1::config_push::Step, upserts: Vec<Named>, removals: &[ResourceKey]) -> Steps {
        let wire: Vec<v1::Resource> = upserts.iter().map(|(id, resource)| to_wire(id, resource)).collect();
        for (wire, (id, resource)) in wire.iter().zip(upserts) {
            self.set.upsert(id, wire.content_hash, resource);
        }
        for key in removals {
            self.set.remove(key);
        }
        self.revision += 1;
        let removals = removals.iter().map(key_to_wire).collect();
        vec![begin, v1::config_push::Step::Chunk(v1::Chunk { upserts: wire, removals }), self.commit()]
    }
}

/// The first step.
pub(crate) fn begin(mode: v1::begin::Mode, base_revision: u64) -> v1::config_push::Step {
    v1::config_push::Step::Begin(v1::Begin { mode: mode.into(), base_revision })
}

/// A step with resources as they are on the wire.
pub(crate) fn chunk(upserts: Vec<v1::Resource>) -> v1::config_push::Step {
    v1::config_push::Step::Chunk(v1::Chunk { upserts, removals: Vec::new() })
}

/// The last step.
pub(crate) fn commit(revision: u64, digest: Vec<u8>) -> v1::config_push::Step {
    v1::config_push::Step::Commit(v1::Commit { revision, digest, created_at_us: 0 })
}

/// The settings that every state needs.
pub(crate) fn settings() -> Named {
    let settings = Settings { instance_id: "test".into(), key_pepper: Secret::new(PEPPER), body_limit_bytes: 32 << 20 };
    ("instance".into(), Resource::Settings(settings))
}

/// A backend of kind `openai`.
pub(crate) fn backend(id: &str, base_url: &str) -> Named {
    let backend = Backend {
        kind: "openai".into(),
        base_url: base_url.into(),
        api_version: None,
        api_key: Some(Secret::new("sk-canary-openai")),
        http_version: String::new(),
        connect_timeout_ms: 0,
        first_byte_timeout_ms: 0,
        idle_timeout_ms: 0,
        total_timeout_ms: 0,
        max_in_flight: 0,
        position: 0,
    };
    (id.into(), Resource::Backend(backend))
}

/// A route to one backend, under the client's name for the model.
pub(crate) fn model(pattern: &str, backend_id: &str) -> Named {
    let place = ModelBackend { backend_id: backend_id.into(), upstream_model: None, weight: 1, fetches_urls: false };
    let model = Model {
        pattern: pattern.into(),
        strategy: "priority".into(),
        params: String::new(),
        position: 0,
        backends: vec![place],
    };
    (pattern.into(), Resource::Model(model))
}

/// A team that may use what `allow_models` says.
pub(crate) fn team(id: &str, allow_models: &[&str]) -> Named {
    let allow_models = allow_models.iter().map(|pattern| (*pattern).to_owned()).collect();
    (id.into(), Resource::Team(Team { name: id.into(), allow_models, deny_models: Vec::new() }))
}

/// A team's key.
pub(crate) fn team_key(id: &str, team_id: &str, secret: &str) -> Named {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &PEPPER), secret.as_bytes());
    api_key(id, team_id, tag.as_ref().to_vec())
}

/// A team's key with any hash.
pub(crate) fn api_key(id: &str, team_id: &str, hash: Vec<u8>) -> Named {
    let key = ApiKey {
        name: id.into(),
        hash,
        user_id: None,
        team_id: Some(team_id.into()),
        expires_at: None,
        revoked: false,
    };
    (id.into(), Resource::ApiKey(key))
}

/// A hard monthly budget of a team.
pub(crate) fn budget(id: &str, team_id: &str, timezone: &str) -> Named {
    let budget = Budget {
        scope: format!("team:{team_id}"),
        label: team_id.into(),
        limit: NanoUsd::new(1_000_000_000_000),
        period: "monthly".into(),
        mode: "hard".into(),
        timezone: timezone.into(),
        week_start: String::new(),
        prior: None,
        alert_at: Vec::new(),
        increases: Vec::new(),
    };
    (id.into(), Resource::Budget(budget))
}

/// A person of one team, with a role.
pub(crate) fn person(id: &str, team_id: &str, role: &str) -> [Named; 2] {
    let user =
        User { email: format!("{id}@corp.example"), name: id.into(), disabled: false, team_ids: vec![team_id.into()] };
    let grant = RoleGrant { user_id: id.into(), role: role.into(), team_id: None, expires_at: None };
    [(id.into(), Resource::User(user)), (format!("{id}-grant"), Resource::RoleGrant(grant))]
}

/// Names a resource.
pub(crate) fn key(kind: ResourceKind, id: &str) -> ResourceKey {
    ResourceKey { kind, id: id.into() }
}
