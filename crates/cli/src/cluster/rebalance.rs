//! `flin cluster rebalance`: how replicas are being moved, and how they are to be.

use std::time::Duration;

use clap::Args;
use flin_proto::admin::{Cluster, ConfigureRequest, RebalanceSettings};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::{Answer, Format, facts, print};
use crate::units::{bytes, counted, parse_bytes, seconds};

/// How long it is waited until the asked node knows what was agreed, and how often it is asked.
const SPREAD_TIME: Duration = Duration::from_secs(5);
const SPREAD_INTERVAL: Duration = Duration::from_millis(100);

/// How replicas are to be moved from now on; what is not named stays.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Wish {
    /// Begin no more moves; what is under way is finished
    #[arg(long, conflicts_with = "resume")]
    pause: bool,
    /// Begin moves again
    #[arg(long)]
    resume: bool,
    /// Moves at a time in the whole cluster, 1 to 64
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    max_moves: Option<u32>,
    /// What one node sends at most for moves, as in 64MiB; 0: as fast as it goes
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    bytes_per_second: Option<u64>,
    /// Replace a node that was not heard of for this long; 0: never
    #[arg(long, value_name = "SECONDS")]
    replace_after: Option<u64>,
}

/// How replicas are being moved.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Moving {
    balanced: bool,
    moving: u32,
    replicas_left: u32,
    bytes_left: u64,
    seconds_left: Option<u64>,
    replicas_moved: u64,
    bytes_moved: u64,
    /// Why nothing is moved although something is left; empty otherwise.
    blocked: String,
    settings: Settings,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Settings {
    paused: bool,
    max_moves: u32,
    bytes_per_second: u64,
    replace_after_seconds: u64,
}

/// Changes what `wish` names, and shows how replicas are being moved.
///
/// # Errors
/// Those of the connection.
pub(crate) async fn run(
    connection: &mut Connection,
    format: Format,
    wish: &Wish,
) -> Result<(), Failure> {
    let mut cluster = connection.cluster().await?;
    let wished = wish.applied_to(settings(&cluster));
    if wished != settings(&cluster) {
        let request = ConfigureRequest {
            cluster_id: cluster.cluster_id.clone(),
            replication_factor: 0,
            rebalance: Some(wished),
        };
        connection.configure(request).await?;
        // It is agreed; the asked node may hear of it a moment later.
        let deadline = Instant::now() + SPREAD_TIME;
        while settings(&cluster) != wished && Instant::now() < deadline {
            sleep(SPREAD_INTERVAL).await;
            cluster = connection.cluster().await?;
        }
    }
    print(&Moving::of(&cluster), format)
}

fn settings(cluster: &Cluster) -> RebalanceSettings {
    cluster.rebalance.as_ref().and_then(|rebalance| rebalance.settings).unwrap_or_default()
}

impl Wish {
    fn applied_to(&self, now: RebalanceSettings) -> RebalanceSettings {
        RebalanceSettings {
            paused: (now.paused || self.pause) && !self.resume,
            max_moves: self.max_moves.unwrap_or(now.max_moves),
            bytes_per_second: self.bytes_per_second.unwrap_or(now.bytes_per_second),
            replace_after_seconds: self.replace_after.unwrap_or(now.replace_after_seconds),
        }
    }
}

impl Moving {
    pub(super) fn of(cluster: &Cluster) -> Moving {
        let now = cluster.rebalance.clone().unwrap_or_default();
        let settings = settings(cluster);
        Moving {
            balanced: now.balanced,
            moving: now.moving,
            replicas_left: now.replicas_left,
            bytes_left: now.bytes_left,
            seconds_left: now.seconds_left,
            replicas_moved: now.replicas_moved,
            bytes_moved: now.bytes_moved,
            blocked: now.blocked,
            settings: Settings {
                paused: settings.paused,
                max_moves: settings.max_moves,
                bytes_per_second: settings.bytes_per_second,
                replace_after_seconds: settings.replace_after_seconds,
            },
        }
    }

    /// All that matters in one line.
    pub(super) fn summary(&self) -> String {
        let mut parts = Vec::new();
        if self.moving > 0 {
            parts.push(format!("{} under way", counted(self.moving.into(), "move")));
        }
        if self.replicas_left > 0 {
            parts.push(format!("{} left", self.left()));
        }
        if let Some(left) = self.seconds_left {
            parts.push(format!("about {}", seconds(left)));
        }
        if !self.blocked.is_empty() {
            parts.push(format!("blocked: {}", self.blocked));
        }
        match (parts.is_empty(), self.balanced) {
            (false, _) => parts.join(", "),
            (true, true) => "balanced".to_owned(),
            (true, false) => "about to be balanced".to_owned(),
        }
    }

    fn left(&self) -> String {
        let replicas = counted(self.replicas_left.into(), "replica");
        format!("{replicas} ({})", bytes(self.bytes_left))
    }
}

impl Answer for Moving {
    fn table(&self) -> String {
        let Settings { paused, max_moves, bytes_per_second, replace_after_seconds } = self.settings;
        let moved = counted(self.replicas_moved, "replica");
        facts(&[
            ("Balance", self.summary()),
            ("Moved", format!("{moved} ({})", bytes(self.bytes_moved))),
            ("Paused", if paused { "yes" } else { "no" }.to_owned()),
            ("Moves at a time", max_moves.to_string()),
            (
                "Bandwidth",
                match bytes_per_second {
                    0 => "as fast as it goes".to_owned(),
                    limit => format!("{} per second and node", bytes(limit)),
                },
            ),
            (
                "Replace after",
                match replace_after_seconds {
                    0 => "never".to_owned(),
                    silence => format!("{} of silence", seconds(silence)),
                },
            ),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests::healthy;

    fn moving(change: impl FnOnce(&mut flin_proto::admin::Rebalance)) -> Moving {
        let mut cluster = healthy();
        change(cluster.rebalance.as_mut().unwrap());
        Moving::of(&cluster)
    }

    #[test]
    fn moves_are_told_with_what_is_left_and_why_not() {
        let rows = [
            (moving(|_| {}), "balanced"),
            (moving(|now| now.balanced = false), "about to be balanced"),
            (
                moving(|now| {
                    now.balanced = false;
                    (now.moving, now.replicas_left, now.bytes_left) = (4, 12, 3 << 30);
                    now.seconds_left = Some(95);
                }),
                "4 moves under way, 12 replicas (3.0 GiB) left, about 1 min 35 s",
            ),
            (
                moving(|now| {
                    (now.balanced, now.replicas_left) = (false, 1);
                    now.blocked = "paused".into();
                }),
                "1 replica (0 B) left, blocked: paused",
            ),
        ];
        for (moving, summary) in rows {
            assert_eq!(moving.summary(), summary);
        }
    }

    #[test]
    fn settings_are_shown_in_words() {
        let table = moving(|now| {
            (now.replicas_moved, now.bytes_moved) = (128, 2 << 30);
            now.settings.as_mut().unwrap().bytes_per_second = 64 << 20;
        })
        .table();
        assert_eq!(
            table,
            "Balance          balanced\n\
             Moved            128 replicas (2.0 GiB)\n\
             Paused           no\n\
             Moves at a time  4\n\
             Bandwidth        64.0 MiB per second and node\n\
             Replace after    10 min 0 s of silence\n"
        );
    }

    #[test]
    fn only_what_is_named_changes() {
        let now = RebalanceSettings {
            paused: true,
            max_moves: 4,
            bytes_per_second: 7,
            replace_after_seconds: 600,
        };
        assert_eq!(Wish::default().applied_to(now), now);
        let resumed = Wish { resume: true, ..Wish::default() }.applied_to(now);
        assert_eq!(resumed, RebalanceSettings { paused: false, ..now });
        let wish = Wish {
            max_moves: Some(8),
            bytes_per_second: Some(0),
            replace_after: Some(0),
            ..Wish::default()
        };
        let wished = RebalanceSettings {
            max_moves: 8,
            bytes_per_second: 0,
            replace_after_seconds: 0,
            ..now
        };
        assert_eq!(wish.applied_to(now), wished);
    }
}
