//! How much space the data volume has, for the cluster to know.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use flin_groups::board::{Board, Disk};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How often is looked.
const INTERVAL: Duration = Duration::from_secs(5);

/// Keeps the board's numbers of this node's volume fresh until told to stop.
pub(super) async fn measure(path: PathBuf, board: Arc<Board>, stop: CancellationToken) {
    let work = async {
        loop {
            let path = path.clone();
            match tokio::task::spawn_blocking(move || space(&path)).await {
                Ok(Ok(disk)) => board.set_own_disk(disk),
                Ok(Err(error)) => warn!(%error, "cannot tell how much space the data volume has"),
                Err(_) => return,
            }
            tokio::time::sleep(INTERVAL).await;
        }
    };
    let _ = stop.run_until_cancelled(work).await;
}

/// What is free for processes without privileges counts as free.
fn space(path: &std::path::Path) -> std::io::Result<Disk> {
    let volume = rustix::fs::statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(volume.f_frsize);
    Ok(Disk { total: bytes(volume.f_blocks), free: bytes(volume.f_bavail) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volume_has_space_and_not_more_free_than_there_is() {
        let directory = tempfile::tempdir().unwrap();
        let disk = space(directory.path()).unwrap();
        assert!(disk.total > 0 && disk.free <= disk.total, "{disk:?}");
        assert!(space(&directory.path().join("nowhere")).is_err());
    }
}
