//! What closed incarnations of this node spent, kept on disk for the day that the control plane's database is restored.
//!
//! Rule: a past is written before anybody is told that it is closed, and declared again only in a later epoch than the one
//! it was closed in. Without the files nothing is unsafe but the restore; a file that cannot be read is left alone.

use helix_shared::budget::AccountKey;
use helix_shared::budget::message::{Epoch, Past};
use helix_shared::ids::{BudgetId, Incarnation};
use helix_shared::money::NanoUsd;
use helix_shared::time::UnixMicros;
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// So many are kept, the youngest.
const KEPT: usize = 64;

/// The folder of the files. Incarnations have ids that sort by time.
#[derive(Debug)]
pub(super) struct Pasts {
    folder: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    epoch: Epoch,
    incarnation: String,
    spent: Vec<(String, i64, i64)>,
}

impl Pasts {
    pub(super) fn new(data_dir: &Path) -> Self {
        Self { folder: data_dir.join("closed-incarnations") }
    }

    /// Reads every past, with the epoch it was closed in.
    pub(super) fn read(&self) -> Vec<(Epoch, Past)> {
        let mut pasts = Vec::new();
        for path in self.files() {
            let read = std::fs::read(&path).and_then(|bytes| Ok(serde_json::from_slice::<Kept>(&bytes)?));
            match read {
                Ok(kept) => pasts.push((kept.epoch, kept.into_past())),
                Err(error) => {
                    tracing::warn!(%error, path = %path.display(), "what an earlier process spent cannot be read");
                }
            }
        }
        pasts
    }

    /// Keeps a past, and forgets the oldest.
    pub(super) fn keep(&self, epoch: Epoch, past: &Past) {
        let kept = Kept::new(epoch, past);
        if let Err(error) = self.write(&kept) {
            tracing::warn!(
                %error, folder = %self.folder.display(),
                "what a closed process spent cannot be kept; a restore of the control plane's database would not hear of it"
            );
        }
        let files = self.files();
        for path in files.iter().take(files.len().saturating_sub(KEPT)) {
            if let Err(error) = std::fs::remove_file(path) {
                tracing::debug!(%error, path = %path.display(), "an old file stays");
            }
        }
    }

    fn write(&self, kept: &Kept) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        let path = self.folder.join(format!("{}.json", kept.incarnation));
        let fresh = path.with_extension("new");
        let mut file = std::fs::File::create(&fresh)?;
        file.write_all(&serde_json::to_vec(kept)?)?;
        file.sync_all()?;
        std::fs::rename(&fresh, &path)
    }

    /// The files, the oldest first.
    fn files(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return Vec::new() };
        let is_past = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_past).collect();
        files.sort();
        files
    }
}

impl Kept {
    fn new(epoch: Epoch, past: &Past) -> Self {
        let spent = |(account, spent): &(AccountKey, NanoUsd)| {
            (account.budget_id.as_str().to_owned(), account.period_start.get(), spent.get())
        };
        Self {
            epoch,
            incarnation: past.incarnation.as_str().to_owned(),
            spent: past.finals.iter().map(spent).collect(),
        }
    }

    fn into_past(self) -> Past {
        let spent = |(budget, period, spent): (String, i64, i64)| {
            let account = AccountKey { budget_id: BudgetId::from(budget), period_start: UnixMicros::new(period) };
            (account, NanoUsd::new(spent))
        };
        Past {
            incarnation: Incarnation::from(self.incarnation),
            finals: self.spent.into_iter().map(spent).collect(),
            is_whole: true,
            last_seq: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_youngest_pasts_are_kept_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let pasts = Pasts::new(folder.path());
        for number in 0..70_i64 {
            let account = AccountKey { budget_id: BudgetId::from("b"), period_start: UnixMicros::new(7) };
            let past = Past {
                incarnation: Incarnation::from(format!("{number:03}")),
                finals: vec![(account, NanoUsd::new(number))],
                is_whole: true,
                last_seq: 0,
            };
            pasts.keep(3, &past);
        }
        std::fs::write(folder.path().join("closed-incarnations/000.json"), "torn").unwrap();
        let read = pasts.read();
        assert_eq!(read.len(), 64);
        let (epoch, last) = read.last().unwrap();
        assert_eq!((*epoch, last.incarnation.as_str(), last.finals[0].1.get()), (3, "069", 69));
    }
}
