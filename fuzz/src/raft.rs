//! Raft messages as bytes: written field by field, so that a target can say what no sound replica would.
//!
//! The envelope is that of `crates/replica/src/message.rs`, inside it is raft-rs's `eraftpb.proto`.

use bytes::Bytes;
use flin_replica::Message;
use flin_state::ids::{GroupId, ReplicaId};

/// The version of the envelope.
const ENVELOPE: u8 = 1;

/// Kinds of messages, as raft-rs numbers them.
pub mod kind {
    /// Entries, or only the word that the leader is there.
    pub const APPEND: u8 = 3;
    /// What a follower has of them.
    pub const APPEND_RESPONSE: u8 = 4;
    /// A candidate asks.
    pub const REQUEST_VOTE: u8 = 5;
    /// A voter answers.
    pub const REQUEST_VOTE_RESPONSE: u8 = 6;
    /// A state to begin from.
    pub const SNAPSHOT: u8 = 7;
    /// The leader is there.
    pub const HEARTBEAT: u8 = 8;
    /// So is the follower.
    pub const HEARTBEAT_RESPONSE: u8 = 9;
    /// Somebody asks whether an election would succeed.
    pub const REQUEST_PRE_VOTE: u8 = 17;
    /// A voter says so.
    pub const REQUEST_PRE_VOTE_RESPONSE: u8 = 18;
    /// One beyond the last.
    pub const COUNT: usize = 19;
}

/// A raft message, every field of which can be anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RaftMessage {
    /// See [`kind`].
    pub kind: u8,
    /// The receiver.
    pub to: u64,
    /// The sender.
    pub from: u64,
    /// The sender's term.
    pub term: u64,
    /// The term of the entry at `index`.
    pub log_term: u64,
    /// Where the entries begin, or what is acknowledged.
    pub index: u64,
    /// Entries.
    pub entries: Vec<RaftEntry>,
    /// What the sender knows as committed.
    pub commit: u64,
    /// The term of the entry there.
    pub commit_term: u64,
    /// A snapshot's index, term and data.
    pub snapshot: Option<(u64, u64, Vec<u8>)>,
    /// No instead of yes.
    pub reject: bool,
    /// Where it could go on instead.
    pub reject_hint: u64,
    /// What a question is known by.
    pub context: Vec<u8>,
    /// A field that nobody uses.
    pub priority: u64,
}

/// An entry in a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RaftEntry {
    /// 0 a command, 1 and 2 a change of the configuration.
    pub kind: u64,
    /// Its term.
    pub term: u64,
    /// Its place.
    pub index: u64,
    /// What it says.
    pub data: Vec<u8>,
}

impl RaftMessage {
    /// The message in its envelope.
    pub fn seal(&self, group: GroupId) -> Message {
        let mut out = vec![ENVELOPE, self.kind];
        for (field, value) in [
            (1, u64::from(self.kind)),
            (2, self.to),
            (3, self.from),
            (4, self.term),
            (5, self.log_term),
            (6, self.index),
            (8, self.commit),
            (10, u64::from(self.reject)),
            (11, self.reject_hint),
            (15, self.commit_term),
            (16, self.priority),
        ] {
            number(&mut out, field, value);
        }
        for entry in &self.entries {
            let mut inner = Vec::new();
            number(&mut inner, 1, entry.kind);
            number(&mut inner, 2, entry.term);
            number(&mut inner, 3, entry.index);
            bytes(&mut inner, 4, &entry.data);
            bytes(&mut out, 7, &inner);
        }
        if let Some((index, term, data)) = &self.snapshot {
            let (mut inner, mut head) = (Vec::new(), Vec::new());
            number(&mut head, 2, *index);
            number(&mut head, 3, *term);
            bytes(&mut inner, 1, data);
            bytes(&mut inner, 2, &head);
            bytes(&mut out, 9, &inner);
        }
        if !self.context.is_empty() {
            bytes(&mut out, 12, &self.context);
        }
        let (from, to) = (ReplicaId(self.from), ReplicaId(self.to));
        Message { group, from, to, bytes: Bytes::from(out) }
    }

    /// Reads a message that a replica sent: its numbers, its context and the places of its entries.
    ///
    /// # Panics
    /// If it is not what a replica sends.
    pub fn open(message: &Message) -> RaftMessage {
        let mut rest = &message.bytes[2..];
        let mut opened = RaftMessage::default();
        while !rest.is_empty() {
            match take_field(&mut rest) {
                (1, Field::Number(kind)) => opened.kind = kind as u8,
                (2, Field::Number(to)) => opened.to = to,
                (3, Field::Number(from)) => opened.from = from,
                (4, Field::Number(term)) => opened.term = term,
                (5, Field::Number(log_term)) => opened.log_term = log_term,
                (6, Field::Number(index)) => opened.index = index,
                (7, Field::Bytes(entry)) => opened.entries.push(open_entry(entry)),
                (8, Field::Number(commit)) => opened.commit = commit,
                (10, Field::Number(reject)) => opened.reject = reject != 0,
                (11, Field::Number(hint)) => opened.reject_hint = hint,
                (12, Field::Bytes(context)) => opened.context = context.to_vec(),
                _ => {}
            }
        }
        opened
    }
}

/// A change of the configuration as an entry carries it: raft-rs's `ConfChangeV2` around the envelope of
/// `crates/replica/src/change.rs`.
pub fn configuration_change(transition: u64, changes: &[(u64, u64)], envelope: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    number(&mut out, 1, transition);
    for (kind, replica) in changes {
        let mut inner = Vec::new();
        number(&mut inner, 1, *kind);
        number(&mut inner, 2, *replica);
        bytes(&mut out, 2, &inner);
    }
    bytes(&mut out, 3, envelope);
    out
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A number; zero is not written, as in every third version of Protocol Buffers.
fn number(out: &mut Vec<u8>, field: u64, value: u64) {
    if value != 0 {
        varint(out, field << 3);
        varint(out, value);
    }
}

fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn take_varint(rest: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let (byte, tail) = rest.split_first().expect("a number goes on");
        *rest = tail;
        value |= u64::from(byte & 0x7F) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return value;
        }
    }
}

fn take_field<'a>(rest: &mut &'a [u8]) -> (u64, Field<'a>) {
    let tag = take_varint(rest);
    let value = match tag & 7 {
        0 => Field::Number(take_varint(rest)),
        2 => {
            let length = take_varint(rest) as usize;
            let (bytes, tail) = rest.split_at(length);
            *rest = tail;
            Field::Bytes(bytes)
        }
        other => panic!("raft has no fields of type {other}"),
    };
    (tag >> 3, value)
}

fn open_entry(mut rest: &[u8]) -> RaftEntry {
    let mut opened = RaftEntry::default();
    while !rest.is_empty() {
        match take_field(&mut rest) {
            (1, Field::Number(kind)) => opened.kind = kind,
            (2, Field::Number(term)) => opened.term = term,
            (3, Field::Number(index)) => opened.index = index,
            (4, Field::Bytes(data)) => opened.data = data.to_vec(),
            _ => {}
        }
    }
    opened
}
