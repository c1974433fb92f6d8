//! API keys, by the keyed hash of their secret.
//!
//! Rule: the secret itself is never here; the hash is 64 hexadecimal digits and unique.

use crate::db::Tx;
use crate::error::Result;
use crate::table::{Managed, select, table};
use helix_shared::time::UnixMicros;
use sea_query::{Expr, ExprTrait as _};

table! {
    "api_keys";
    /// An API key.
    pub struct ApiKey {
        /// Its id.
        pub id: String,
        /// Name for people.
        pub name: String,
        /// Keyed hash of the secret, hexadecimal (see [`to_hex`]); unique.
        pub hash: String,
        /// The first characters of the secret, for people.
        pub prefix: String,
        /// The last four characters of the secret, for people.
        pub last_four: String,
        /// `personal`, `team` or `service`.
        pub kind: String,
        /// The owner, when a person.
        pub user_id: Option<String>,
        /// The team that is charged, when fixed.
        pub team_id: Option<String>,
        /// End of its lifetime.
        pub expires_at: Option<UnixMicros>,
        /// When it was taken back.
        pub revoked_at: Option<UnixMicros>,
        /// When it was made.
        pub created_at: UnixMicros,
        /// Who keeps the row.
        pub managed: Managed,
        /// Last change.
        pub updated_at: UnixMicros,
    }
}

impl Tx {
    /// Gets a key by its hash; `None` when there is none.
    ///
    /// # Errors
    /// What the database says.
    pub async fn api_key_by_hash(&mut self, hash: &str) -> Result<Option<ApiKey>> {
        self.one(select::<ApiKey>().and_where(Expr::col("hash").eq(hash)).to_owned()).await
    }

    /// Lists the keys of a person.
    ///
    /// # Errors
    /// What the database says.
    pub async fn api_keys_of_user(&mut self, user_id: &str) -> Result<Vec<ApiKey>> {
        self.many(select::<ApiKey>().and_where(Expr::col("user_id").eq(user_id)).to_owned()).await
    }

    /// Lists the keys that charge a team.
    ///
    /// # Errors
    /// What the database says.
    pub async fn api_keys_of_team(&mut self, team_id: &str) -> Result<Vec<ApiKey>> {
        self.many(select::<ApiKey>().and_where(Expr::col("team_id").eq(team_id)).to_owned()).await
    }
}

/// Writes bytes as lower-case hexadecimal digits.
pub fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // writing to a String cannot fail
        write!(text, "{byte:02x}").ok();
        text
    })
}

/// Reads hexadecimal digits; `None` for anything else.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    Some(pairs.map(|pair| pair.iter().fold(0_u8, |byte, digit| (byte << 4) | digit)).collect())
}
