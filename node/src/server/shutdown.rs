//! The orderly end of a node.

use std::io;
use std::time::Duration;

use flin_groups::board::Board;
use flin_groups::clock::Clock;
use flin_groups::{Groups, Input};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

/// How often is looked whether every leadership is handed over.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// How long peers that were given leaderships still forward to this node what they took for it.
const LINGER: Duration = Duration::from_millis(300);
/// How long connections may take to end.
const DRAIN_TIME: Duration = Duration::from_secs(3);

/// The signals to stop. One that comes at any time after [`Signals::listen`] is heard by the next who asks.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        let (terminate, interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Signals { terminate, interrupt })
    }

    /// Waits for a signal and names it.
    pub(super) async fn told(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Hands every leadership over, as far as `grace` and the health of the others allow.
pub(super) async fn hand_over(groups: &Groups, board: &Board, clock: &dyn Clock, grace: Duration) {
    let deadline = Instant::now() + grace;
    let _ = groups.tell(Input::StepDown { undo: false });
    loop {
        let led = board.led_here();
        if led == 0 {
            info!("every leadership is handed over");
            tokio::time::sleep(LINGER).await;
            return;
        }
        // A cluster whose other nodes are gone, or leave too, has nobody to hand over to.
        if Instant::now() >= deadline || !board.has_staying_peers(clock.monotonic_ms()) {
            warn!(led, "stopping while still leading; an election will follow");
            return;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Ends every task and waits for them, for a while.
pub(super) async fn drain(tasks: &TaskTracker, stop: &CancellationToken) {
    tasks.close();
    stop.cancel();
    if tokio::time::timeout(DRAIN_TIME, tasks.wait()).await.is_err() {
        warn!("some connections did not end in time");
    }
}
