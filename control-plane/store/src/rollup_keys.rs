//! What sums are kept by, each combination once under a number of its own.
//!
//! Rule: a sum is a row of integers under the number of its combination, and a report adds integers. A record names its
//! combination by the same number.

use crate::error::Result;
use crate::interned::Interned;
use crate::row::Cells;

pub(crate) const KEYS: &str = "rollup_keys";
/// The columns of a combination, in the order of [`RollupKey`].
pub(crate) const PARTS: [&str; 6] = ["team_id", "user_id", "api_key_id", "model", "provider", "cost_center"];

/// One combination of what sums are kept by. An empty text: there is none, or it is not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RollupKey {
    /// The team that was charged.
    pub team_id: String,
    /// The person.
    pub user_id: String,
    /// The API key.
    pub api_key_id: String,
    /// The model that answered, or was asked for when none did; empty for refused requests.
    pub model: String,
    /// The backend that answered, or was tried last; empty when none was.
    pub provider: String,
    /// The cost centre of the person or the team when the request was made.
    pub cost_center: String,
}

impl RollupKey {
    /// The parts in the order of [`PARTS`].
    pub(crate) fn parts(&self) -> [&str; 6] {
        [&self.team_id, &self.user_id, &self.api_key_id, &self.model, &self.provider, &self.cost_center]
    }

    /// The same, without who it was: what the long series are kept by.
    pub(crate) fn without_people(&self) -> Self {
        Self { user_id: String::new(), api_key_id: String::new(), ..self.clone() }
    }

    pub(crate) fn take(cells: &mut Cells<'_>) -> Result<Self> {
        Ok(Self {
            team_id: cells.take()?,
            user_id: cells.take()?,
            api_key_id: cells.take()?,
            model: cells.take()?,
            provider: cells.take()?,
            cost_center: cells.take()?,
        })
    }
}

impl Interned for RollupKey {
    const TABLE: &'static str = KEYS;
    const COLUMNS: &'static [&'static str] = &PARTS;

    fn parts(&self) -> Vec<&str> {
        Self::parts(self).to_vec()
    }

    fn take(cells: &mut Cells<'_>) -> Result<Self> {
        Self::take(cells)
    }
}
