//! `admin create`: the first administrator, or a way back in.

use super::Common;
use super::context::{block_on, load_instance, open_or_make};
use crate::{mapping, output};
use anyhow::Context;
use clap::Subcommand;
use helix_control_plane::Actor;
use helix_control_plane::app::users::NewUser;
use helix_shared::rbac::Role;
use serde_json::json;
use std::process::ExitCode;
use std::time::Duration;

/// How long the sign-in link lives.
const LINK_LIFETIME: Duration = Duration::from_secs(60 * 60);

#[derive(Debug, Subcommand)]
pub(super) enum AdminCommand {
    /// Make an administrator; prints a one-time link.
    Create {
        #[command(flatten)]
        common: Common,
        /// The address.
        #[arg(long)]
        email: String,
        /// The name people see.
        #[arg(long, default_value = "")]
        name: String,
        /// The role in the whole instance.
        #[arg(long, default_value = "instance_admin")]
        role: String,
    },
}

pub(super) fn run(command: &AdminCommand) -> anyhow::Result<ExitCode> {
    let AdminCommand::Create { common, email, name, role } = command;
    let known: Vec<&str> = Role::ALL.into_iter().map(Role::as_str).collect();
    let role =
        Role::parse(role).with_context(|| format!("there is no role `{role}`; the roles are {}", known.join(", ")))?;
    let loaded = load_instance(common)?;
    block_on(async {
        let app = open_or_make(&loaded).await?;
        let new = NewUser { email: email.clone(), name: name.clone(), role };
        let user = app.create_admin(&Actor::Operator, &new).await?;
        let link = app.create_sign_in_link(&user, LINK_LIFETIME).await?;
        let url = link.url(&mapping::public_url(&loaded));
        let text = format!(
            "{} is {} now.\nOne-time link, valid for an hour: {url}\nThe link needs a running gateway; a key without it: helixgateway keys create --user {} --name first",
            user.email,
            role.as_str(),
            user.email
        );
        let value = json!({ "user": { "id": user.id, "email": user.email }, "role": role.as_str(), "link": url, "expiresAt": link.expires_at.to_string() });
        output::answer(common.json(), &text, &value);
        app.close().await;
        Ok(ExitCode::SUCCESS)
    })
}
