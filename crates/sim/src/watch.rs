//! What must never be, looked at after every event.

use std::collections::BTreeMap;

use flin_replica::Message;
use flin_state::ids::{GroupId, LogIndex, ReplicaId, Term};
use flin_state::log::Entry;

use crate::machine::Slot;
use crate::network::{Body, Parcel};

/// What was seen of all nodes together, which nobody of them sees alone.
#[derive(Default)]
pub struct Watch {
    leaders: BTreeMap<(GroupId, Term), ReplicaId>,
    committed: BTreeMap<(GroupId, LogIndex), (Term, u32)>,
    /// On which disk each replica lives: it has one life on one disk.
    homes: BTreeMap<(GroupId, ReplicaId), u64>,
    accusations: Vec<String>,
    /// What was counted.
    pub counts: Counts,
}

/// How much happened in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Leaders elected.
    pub elections: u64,
    /// Entries committed, each counted once.
    pub entries: u64,
    /// Snapshots delivered.
    pub snapshots: u64,
    /// Snapshots cut off on their way.
    pub snapshots_cut: u64,
    /// Snapshots that their receiver refused.
    pub snapshots_refused: u64,
    /// Starts of nodes.
    pub starts: u64,
    /// Disks that were refused because they were damaged.
    pub refused_disks: u64,
    /// Raft messages sent.
    pub messages: u64,
    /// Histories of one object of which the checker could not say within its steps whether they are linearizable.
    pub undecided: u64,
}

impl Counts {
    /// Every count with its name.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        [
            ("elections", self.elections),
            ("entries", self.entries),
            ("snapshots", self.snapshots),
            ("snapshots cut off", self.snapshots_cut),
            ("snapshots refused", self.snapshots_refused),
            ("starts", self.starts),
            ("disks refused", self.refused_disks),
            ("raft messages", self.messages),
            ("undecided histories", self.undecided),
        ]
        .into_iter()
    }

    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: &Counts) {
        self.elections += other.elections;
        self.entries += other.entries;
        self.snapshots += other.snapshots;
        self.snapshots_cut += other.snapshots_cut;
        self.snapshots_refused += other.snapshots_refused;
        self.starts += other.starts;
        self.refused_disks += other.refused_disks;
        self.messages += other.messages;
        self.undecided += other.undecided;
    }
}

impl Watch {
    /// Whether something was seen that must never be.
    pub fn is_violated(&self) -> bool {
        !self.accusations.is_empty()
    }

    /// What was seen that must never be.
    pub fn accusations(&self) -> &[String] {
        &self.accusations
    }

    /// Something must never be.
    pub fn accuse(&mut self, words: String) {
        self.accusations.push(words);
    }

    /// A node was started.
    pub fn sees_started(&mut self) {
        self.counts.starts += 1;
    }

    /// A message leaves.
    pub fn sees_sent(&mut self, parcel: &Parcel) {
        if let Body::Raft(messages) = &parcel.body {
            self.counts.messages += messages.len() as u64;
            for message in messages {
                self.sees_message(message);
            }
        }
    }

    fn sees_message(&mut self, message: &Message) {
        if !self.homes.contains_key(&(message.group, message.from)) {
            let words = format!(
                "a message of replica {} of group {} that nobody hosts",
                message.from, message.group
            );
            self.accuse(words);
        }
    }

    /// A replica lives on the disk `serial`.
    pub fn sees_replica(&mut self, slot: Slot, serial: u64, group: GroupId, replica: ReplicaId) {
        let home = *self.homes.entry((group, replica)).or_insert(serial);
        if home != serial {
            let words = format!(
                "replica {replica} of group {group} lives on machine {}, and had lived on another disk",
                slot.0
            );
            self.accuse(words);
        }
    }

    /// A replica takes itself for the leader in a term.
    pub fn sees_leader(&mut self, group: GroupId, term: Term, replica: ReplicaId) {
        match self.leaders.insert((group, term), replica) {
            None => self.counts.elections += 1,
            Some(known) if known == replica => {}
            Some(known) => {
                let words =
                    format!("group {group} has two leaders in term {term}: {known}, {replica}");
                self.accuse(words);
            }
        }
    }

    /// An entry is committed by what one replica knows.
    pub fn sees_committed(&mut self, (group, entry): (GroupId, Entry)) {
        let found = (entry.term, crc32fast::hash(&entry.data));
        let known = self.committed.entry((group, entry.index)).or_insert_with(|| {
            self.counts.entries += 1;
            found
        });
        if *known != found {
            let words = format!(
                "group {group} committed two entries at index {}: of terms {} and {}",
                entry.index, known.0, found.0
            );
            self.accuse(words);
        }
    }
}
