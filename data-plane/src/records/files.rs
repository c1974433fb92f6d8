//! The files of a journal: names, the lock of the folder, preallocated segments.
//!
//! Rule: who holds the lock is alive, who does not is dead. What stands in the files is not known here.

use super::journal::JournalError;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Marks the copy of a damaged segment.
pub(super) const QUARANTINED: &str = "quarantined";

/// The file of a segment.
pub fn segment_path(folder: &Path, segment: u64) -> PathBuf {
    folder.join(format!("seg-{segment:010}.log"))
}

/// Takes the lock of a journal's folder; `None`: a living process holds it.
pub(super) fn lock_folder(folder: &Path) -> Result<Option<File>, JournalError> {
    let path = folder.join("LOCK");
    let open = || -> io::Result<Option<File>> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        }
    };
    open().map_err(|source| JournalError::Write { path: path.clone(), source })
}

/// Makes a segment of a size; returns the size it has.
pub(super) fn new_segment(folder: &Path, segment: u64, size: u64) -> Result<(Arc<File>, u64), JournalError> {
    let path = segment_path(folder, segment);
    let make = || -> io::Result<File> {
        let file = OpenOptions::new().create_new(true).read(true).write(true).open(&path)?;
        match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, size) {
            Ok(()) => {}
            // Some file systems cannot preallocate; a sparse file is the next best.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => file.set_len(size)?,
            Err(errno) => {
                std::fs::remove_file(&path)?;
                return Err(errno.into());
            }
        }
        Ok(file)
    };
    let file = make().map_err(|source| JournalError::Write { path: path.clone(), source })?;
    Ok((Arc::new(file), size))
}

/// Moves copies of damaged segments out of a journal's folder: `journal/INCARNATION.seg-1.quarantined`.
///
/// # Errors
/// When the folder cannot be read, or a copy cannot be moved; those before it are.
pub(super) fn keep_quarantined(folder: &Path) -> std::io::Result<()> {
    for file in std::fs::read_dir(folder)? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == QUARANTINED)
            && let Some(name) = path.file_name()
        {
            let mut kept = folder.as_os_str().to_owned();
            kept.push(".");
            kept.push(name);
            std::fs::rename(&path, kept)?;
        }
    }
    Ok(())
}
