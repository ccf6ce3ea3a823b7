//! The data directory: what of the services outlives the process.

use std::fs::{DirBuilder, File, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use super::{Aws, OpenError, dynamodb, queues, secrets};
use crate::Clock;

impl Aws {
    /// Services that keep what they have in `directory`, which is made if need be and belongs to this process until
    /// the last handle is gone.
    ///
    /// Must be called within a tokio runtime. `port` is the one that queue URLs name; `clock` times the delays of
    /// messages over a restart, and numbers a stream's records. Tables and secrets survive a power failure, messages
    /// the end of the process.
    ///
    /// # Errors
    /// When the directory is in use, not writable, or damaged.
    pub async fn open(directory: &Path, port: u16, clock: Clock) -> Result<Self, OpenError> {
        let failed = |source| OpenError::File { path: directory.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        let lock = lock(directory)?;
        let dynamodb = dynamodb::Engine::open(&directory.join("dynamodb.sqlite"), Arc::clone(&clock))?;
        let queues = queues::Engine::open(&directory.join("queues.jsonl"), port, clock).await?;
        let secrets = secrets::Engine::open(&directory.join("secrets.jsonl")).await?;
        Ok(Self::new(dynamodb, queues, secrets, port, Some(lock)))
    }
}

/// Takes the directory for this process. The operating system gives it back when the process ends, however it ends.
fn lock(directory: &Path) -> Result<File, OpenError> {
    let path = directory.join("lock");
    let failed = |source| OpenError::File { path: path.clone(), source };
    let file = File::create(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(directory.to_owned())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}
