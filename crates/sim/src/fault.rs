//! The faults there are, and whom they strike.

use std::fmt;

use crate::chance::Chance;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The process is killed.
    Kill,
    /// The power of a machine fails: what was not synced is lost in part, out of order, torn.
    PowerLoss,
    /// The power fails after so many more operations of the disk: in the middle of a round.
    PowerLossInRound(u8),
    /// All machines lose their power at once.
    Blackout,
    /// A majority of the processes is killed at once.
    KillMajority,
    /// A sync fails, and what it should have saved never reaches the disk.
    SyncError,
    /// A write fails.
    WriteError,
    /// The engine fails.
    EngineError,
    /// The disk is full, for so many milliseconds.
    FullDisk(u16),
    /// The disk takes so many milliseconds to sync, for two seconds.
    SlowDisk(u16),
    /// The process stands still, for so many milliseconds.
    Pause(u16),
    /// The machine is suspended for so many milliseconds: its monotonic clock does not notice.
    Suspend(u16),
    /// The wall clock jumps to where it is wrong by so many milliseconds.
    ClockJump(i32),
    /// Both clocks run wrong by so many parts in a million.
    ClockDrift(i32),
    /// A machine is cut off, for so many milliseconds.
    Isolate(u16),
    /// A machine hears nobody.
    Deaf(u16),
    /// Nobody hears a machine.
    Mute(u16),
    /// The machines fall into two halves, with one that reaches both.
    Bridge(u16),
    /// Every machine reaches only its neighbours.
    Ring(u16),
    /// Messages are lost.
    Lossy(u16),
    /// Messages are doubled and overtake each other.
    Jumbled(u16),
    /// Messages are late.
    Late(u16),
    /// Snapshots are cut off and spoilt on their way.
    BadSnapshots(u16),
    /// A node hands its leaderships over, and takes some back: again and again.
    TransferStorm(u16),
    /// A disk is lost; a new node takes its place.
    LostDisk,
    /// Bytes of a log are damaged while its node is down; if it refuses them, a new node takes its place.
    Rot,
    /// A node joins.
    Join,
    /// A node is emptied and leaves.
    Leave,
}

/// Whom a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The node that leads some partition.
    Leader,
    /// A node that follows in some partition.
    Follower,
    /// A node that gets a replica.
    Learner,
    /// The node that leads the meta group.
    MetaLeader,
}

impl Role {
    /// All there are.
    pub const ALL: [Role; 4] = [Role::Leader, Role::Follower, Role::Learner, Role::MetaLeader];

    /// Any of them.
    pub fn any(chance: &mut Chance) -> Role {
        *chance.pick(&Role::ALL).unwrap_or(&Role::Leader)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Leader => "leader",
            Role::Follower => "follower",
            Role::Learner => "learner",
            Role::MetaLeader => "meta leader",
        })
    }
}

impl Fault {
    /// How many kinds there are.
    pub const KINDS: usize = 28;

    /// Any fault. Wall clocks go wrong by at most `clock_error_ms` each way, unless that is 0, which means any amount.
    pub fn any(chance: &mut Chance, clock_error_ms: u64) -> Fault {
        let ms = |chance: &mut Chance| u16::try_from(chance.between(50, 4_000)).unwrap_or(50);
        match chance.below(Fault::KINDS as u64) {
            0 => Fault::Kill,
            1 => Fault::PowerLoss,
            2 => Fault::PowerLossInRound(u8::try_from(chance.below(12)).unwrap_or(0)),
            3 => Fault::Blackout,
            4 => Fault::KillMajority,
            5 => Fault::SyncError,
            6 => Fault::WriteError,
            7 => Fault::EngineError,
            8 => Fault::FullDisk(ms(chance)),
            9 => Fault::SlowDisk(u16::try_from(chance.between(10, 400)).unwrap_or(10)),
            10 => Fault::Pause(ms(chance)),
            11 => Fault::Suspend(ms(chance)),
            12 => Fault::ClockJump(jump_ms(chance, clock_error_ms)),
            13 => Fault::ClockDrift(drift_ppm(chance, clock_error_ms)),
            14 => Fault::Isolate(ms(chance)),
            15 => Fault::Deaf(ms(chance)),
            16 => Fault::Mute(ms(chance)),
            17 => Fault::Bridge(ms(chance)),
            18 => Fault::Ring(ms(chance)),
            19 => Fault::Lossy(ms(chance)),
            20 => Fault::Jumbled(ms(chance)),
            21 => Fault::Late(ms(chance)),
            22 => Fault::BadSnapshots(ms(chance)),
            23 => Fault::TransferStorm(ms(chance)),
            24 => Fault::LostDisk,
            25 => Fault::Rot,
            26 => Fault::Join,
            _ => Fault::Leave,
        }
    }

    /// Whether it strikes everybody at once.
    pub fn is_global(&self) -> bool {
        matches!(
            self,
            Fault::Blackout
                | Fault::KillMajority
                | Fault::Bridge(_)
                | Fault::Ring(_)
                | Fault::Lossy(_)
                | Fault::Jumbled(_)
                | Fault::Late(_)
                | Fault::BadSnapshots(_)
                | Fault::Join
                | Fault::Leave
        )
    }

    /// Its name, without its numbers.
    pub fn kind(&self) -> &'static str {
        match self {
            Fault::Kill => "kill",
            Fault::PowerLoss => "power loss",
            Fault::PowerLossInRound(_) => "power loss in a round",
            Fault::Blackout => "blackout",
            Fault::KillMajority => "kill of a majority",
            Fault::SyncError => "sync error",
            Fault::WriteError => "write error",
            Fault::EngineError => "engine error",
            Fault::FullDisk(_) => "full disk",
            Fault::SlowDisk(_) => "slow disk",
            Fault::Pause(_) => "pause",
            Fault::Suspend(_) => "suspension",
            Fault::ClockJump(_) => "clock jump",
            Fault::ClockDrift(_) => "clock drift",
            Fault::Isolate(_) => "isolation",
            Fault::Deaf(_) => "deafness",
            Fault::Mute(_) => "muteness",
            Fault::Bridge(_) => "bridge",
            Fault::Ring(_) => "ring",
            Fault::Lossy(_) => "loss",
            Fault::Jumbled(_) => "jumble",
            Fault::Late(_) => "delay",
            Fault::BadSnapshots(_) => "bad snapshots",
            Fault::TransferStorm(_) => "transfer storm",
            Fault::LostDisk => "lost disk",
            Fault::Rot => "bit rot",
            Fault::Join => "join",
            Fault::Leave => "leave",
        }
    }
}

fn jump_ms(chance: &mut Chance, clock_error_ms: u64) -> i32 {
    let most = if clock_error_ms == 0 { 3_600_000 } else { clock_error_ms };
    let by = i32::try_from(chance.below(most)).unwrap_or(0);
    if chance.percent(50) { by } else { -by }
}

fn drift_ppm(chance: &mut Chance, clock_error_ms: u64) -> i32 {
    // A run is not longer than some minutes: this much drift stays within the error.
    let most = if clock_error_ms == 0 { 100_000 } else { clock_error_ms / 2 };
    let ppm = i32::try_from(chance.below(most + 1)).unwrap_or(0);
    if chance.percent(50) { ppm } else { -ppm }
}
