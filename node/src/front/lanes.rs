//! The operations of one pipeline, gathered by partition.
//!
//! Each partition has a lane: runs of writes and runs of reads, in the order of the requests. A lane's runs
//! follow each other, so that a read sees the writes before it and none after it; lanes run concurrently.

use std::collections::BTreeMap;

use flin_groups::requests::{RequestError, Requests};
use flin_state::ids::PartitionId;
use flin_state::operation::{Read, Refusal, Reply, Write};
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::Mode;

/// A run of writes is one log entry; it ends once it holds this many bytes.
const RUN_BYTES_MAX: usize = 1 << 20;

/// One operation on one partition.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operation {
    Write(Write),
    Read(Read),
}

/// Where the reply to an operation will be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    partition: PartitionId,
    run: usize,
    at: usize,
}

/// Operations on their way.
#[derive(Default)]
pub(super) struct Lanes {
    lanes: BTreeMap<PartitionId, Vec<Run>>,
}

/// Operations of one kind that are done together.
struct Run {
    mode: Mode,
    operations: Operations,
}

enum Operations {
    Writes { writes: Vec<Write>, bytes: usize },
    Reads(Vec<Read>),
}

/// The replies, each to be taken once.
#[derive(Default)]
pub(super) struct Outcomes {
    lanes: BTreeMap<PartitionId, Vec<Outcome>>,
}

struct Outcome {
    write: bool,
    result: Result<Vec<Option<Reply>>, RequestError>,
}

/// Why an operation has no reply.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) error: RequestError,
    pub(super) write: bool,
}

impl Lanes {
    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Appends an operation to its partition's lane; `mode` says whether another node may answer it.
    pub(super) fn push(
        &mut self,
        partition: PartitionId,
        mode: Mode,
        operation: Operation,
    ) -> Ticket {
        let runs = self.lanes.entry(partition).or_default();
        let last = runs.last_mut().filter(|run| run.mode == mode).map(|run| &mut run.operations);
        let at = match (last, operation) {
            (Some(Operations::Writes { writes, bytes }), Operation::Write(write))
                if *bytes + write.size_bytes() <= RUN_BYTES_MAX =>
            {
                *bytes += write.size_bytes();
                writes.push(write);
                writes.len() - 1
            }
            (Some(Operations::Reads(reads)), Operation::Read(read)) => {
                reads.push(read);
                reads.len() - 1
            }
            (_, Operation::Write(write)) => {
                let bytes = write.size_bytes();
                let operations = Operations::Writes { writes: vec![write], bytes };
                runs.push(Run { mode, operations });
                0
            }
            (_, Operation::Read(read)) => {
                runs.push(Run { mode, operations: Operations::Reads(vec![read]) });
                0
            }
        };
        Ticket { partition, run: runs.len() - 1, at }
    }

    /// Runs everything and returns when all of it has ended, one way or the other.
    pub(super) async fn run<R: Requests>(self, requests: &R) -> Outcomes {
        let mut running: FuturesUnordered<_> = self
            .lanes
            .into_iter()
            .map(|(partition, runs)| async move {
                let mut outcomes = Vec::with_capacity(runs.len());
                for run in runs {
                    outcomes.push(perform(requests, partition, run).await);
                }
                (partition, outcomes)
            })
            .collect();
        let mut lanes = BTreeMap::new();
        while let Some((partition, outcomes)) = running.next().await {
            lanes.insert(partition, outcomes);
        }
        Outcomes { lanes }
    }
}

async fn perform<R: Requests>(requests: &R, partition: PartitionId, run: Run) -> Outcome {
    let mode = run.mode;
    let (write, expected, result) = match run.operations {
        Operations::Writes { writes, .. } => {
            let expected = writes.len();
            let result = match mode {
                Mode::Proxy => requests.write(partition, writes).await,
                Mode::Here => requests.write_here(partition, writes).await,
            };
            (true, expected, result)
        }
        Operations::Reads(reads) => {
            (false, reads.len(), read_all(requests, mode, partition, reads).await)
        }
    };
    let result = match result {
        Ok(replies) if replies.len() != expected => Err(RequestError::Unknown(format!(
            "{} replies came for {expected} operations",
            replies.len()
        ))),
        Ok(replies) => Ok(replies.into_iter().map(Some).collect()),
        Err(error) => Err(error),
    };
    Outcome { write, result }
}

/// Answers a run of reads; those that were refused only because the whole run's answer was too large are
/// asked again by themselves.
async fn read_all<R: Requests>(
    requests: &R,
    mode: Mode,
    partition: PartitionId,
    reads: Vec<Read>,
) -> Result<Vec<Reply>, RequestError> {
    let single = reads.len() == 1;
    let again = if single { Vec::new() } else { reads.clone() };
    let mut replies = read(requests, mode, partition, reads).await?;
    for (at, one) in again.into_iter().enumerate() {
        if replies.get(at) == Some(&Reply::Refused(Refusal::ReplyTooLarge)) {
            replies[at] = read(requests, mode, partition, vec![one])
                .await?
                .pop()
                .unwrap_or(Reply::Refused(Refusal::ReplyTooLarge));
        }
    }
    Ok(replies)
}

async fn read<R: Requests>(
    requests: &R,
    mode: Mode,
    partition: PartitionId,
    reads: Vec<Read>,
) -> Result<Vec<Reply>, RequestError> {
    match mode {
        Mode::Proxy => requests.read(partition, reads).await,
        Mode::Here => requests.read_here(partition, reads).await,
    }
}

impl Outcomes {
    /// The reply that a ticket stands for.
    pub(super) fn take(&mut self, ticket: Ticket) -> Result<Reply, Failure> {
        let outcome = self
            .lanes
            .get_mut(&ticket.partition)
            .and_then(|runs| runs.get_mut(ticket.run))
            .expect("every run of every lane has an outcome");
        match &mut outcome.result {
            Ok(replies) => {
                let reply = replies.get_mut(ticket.at).and_then(Option::take);
                Ok(reply
                    .expect("a run has a reply for each operation, and each ticket is used once"))
            }
            Err(error) => Err(Failure { error: error.clone(), write: outcome.write }),
        }
    }
}
