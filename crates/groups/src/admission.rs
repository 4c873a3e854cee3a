//! How requests become proposals and questions to raft.
//!
//! Everything that waits for a group when a round begins goes into as few entries as its size allows: the
//! busier a node, the larger its batches, and a lone request waits for nobody.

use flin_replica::ProposeError;
use flin_state::command::Command;
use flin_state::ids::Timestamp;
use flin_state::operation::Write;
use tracing::debug;

use crate::group::{AskedReads, Confirmation, Group, ReadRun, Waiter};
use crate::requests::RequestError;

/// An entry is closed once its writes exceed this; one run of writes is never split.
const ENTRY_BYTES: usize = 1 << 20;

/// Reads that raft left unanswered for this many ticks are given back to be tried again: it drops
/// questions silently, for example when the leader changes.
pub(crate) const READ_TICKS_MAX: u64 = 10;

impl Group {
    /// Proposes the waiting writes; those refused are answered.
    pub(crate) fn propose_writes(&mut self, now: Timestamp) {
        let mut runs = std::mem::take(&mut self.writes).into_iter().peekable();
        while runs.peek().is_some() {
            let (mut writes, mut waiters, mut bytes) = (Vec::new(), Vec::new(), 0);
            while bytes < ENTRY_BYTES
                && let Some((run, answer)) = runs.next()
            {
                bytes += run.iter().map(Write::size_bytes).sum::<usize>();
                waiters.push(Waiter::Writes { count: run.len(), answer });
                writes.extend(run);
            }
            self.propose(Command { stamp: now, writes }.encode(), waiters);
        }
    }

    /// Proposes the waiting changes of the meta state, one entry each.
    pub(crate) fn propose_changes(&mut self) {
        for (change, answer) in std::mem::take(&mut self.changes) {
            self.propose(change.encode(), vec![Waiter::Change(answer)]);
        }
    }

    fn propose(&mut self, data: bytes::Bytes, waiters: Vec<Waiter>) {
        match self.replica.propose(data) {
            Ok(index) => self.pending.insert(index, self.replica.status().term, waiters),
            Err(error) => {
                let error = match error {
                    ProposeError::NotLeader { .. } => self.not_here(),
                    // It is about to lead elsewhere: whoever asks again finds out where.
                    ProposeError::Transferring => RequestError::NotHere { leader: None },
                    busy @ (ProposeError::Busy
                    | ProposeError::Empty
                    | ProposeError::ConfigurationPending
                    | ProposeError::Impossible(_)) => {
                        RequestError::TryLater(format!("the partition is overloaded: {busy}"))
                    }
                };
                waiters.into_iter().for_each(|waiter| waiter.fail(error.clone()));
            }
        }
    }

    /// Asks raft for an index at which the waiting reads may be answered: one question for all of them.
    pub(crate) fn ask_for_reads(&mut self, context: u64, tick: u64) {
        if !self.leads() {
            let error = self.not_here();
            for run in self.reads.drain(..) {
                let _ = run.answer.send(Err(error.clone()));
            }
            return;
        }
        match self.replica.read_index(context) {
            Ok(()) => {
                let runs = std::mem::take(&mut self.reads);
                self.asked.insert(context, AskedReads { runs, since: tick });
            }
            // A new leader answers once an entry of its term is committed: the reads stay.
            Err(error) => debug!(replica = %self.id, %error, "reads wait"),
        }
    }

    /// Asks the leader, wherever it is, for the index that makes this replica ready.
    pub(crate) fn ask_for_confirmation(&mut self, context: u64, tick: u64) {
        let due = match self.confirmation {
            Confirmation::Wanted => true,
            Confirmation::Asked { since, .. } => tick.saturating_sub(since) >= READ_TICKS_MAX,
            Confirmation::Index(_) | Confirmation::Done => false,
        };
        if due && self.replica.leader().is_some() && self.replica.read_index(context).is_ok() {
            self.confirmation = Confirmation::Asked { context, since: tick };
        }
    }

    /// Gives back the reads that waited too long; the router tries them again.
    pub(crate) fn give_up_reads(&mut self, tick: u64) {
        let late = |since: u64| tick.saturating_sub(since) >= READ_TICKS_MAX;
        let mut given_up: Vec<ReadRun> = self.reads.extract_if(.., |run| late(run.since)).collect();
        let contexts: Vec<u64> =
            self.asked.iter().filter(|(_, asked)| late(asked.since)).map(|(c, _)| *c).collect();
        for context in contexts {
            given_up.extend(self.asked.remove(&context).into_iter().flat_map(|asked| asked.runs));
        }
        for run in given_up {
            let _ = run.answer.send(Err(RequestError::NotHere { leader: None }));
        }
    }
}
