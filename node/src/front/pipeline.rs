//! The requests that arrived together: their operations gathered by partition, their replies in order.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use flin_groups::requests::{Requests, View};
use flin_resp::commands::Command;
use flin_resp::{Protocol, Value};
use flin_state::ids::PartitionId;
use flin_state::operation::{REPLY_BYTES_MAX, Read, Refusal, Reply, Write};
use flin_state::slot::{partition_of, slot_of};

use super::Mode;
use super::errors::{self, CROSSSLOT};
use super::keys::{self, Shape, Task};
use super::lanes::{Lanes, Operation, Outcomes, Ticket};
use super::scan::Scan;

/// Requests on their way to their replies.
pub(super) struct Pipeline {
    mode: Mode,
    view: Arc<View>,
    lanes: Lanes,
    places: Vec<Place>,
    reads: usize,
}

/// A request's place among the replies.
struct Place {
    /// The command's place in the table, for the counters.
    command: Option<usize>,
    protocol: Protocol,
    answer: Answer,
}

enum Answer {
    Ready(Value),
    Waiting {
        command: &'static Command,
        slot: Option<u16>,
        tickets: Tickets,
    },
    /// The last of its pipeline, because it runs after everything before it.
    Scan(Scan, u16),
}

enum Tickets {
    One(Ticket, Shape),
    /// The sum of what partitions counted.
    Sum(Vec<Ticket>),
    /// OK when all of them are.
    All(Vec<Ticket>),
    /// Values and their places in the answer.
    Values(Vec<(Ticket, Vec<usize>)>, usize),
}

/// One reply, ready to be encoded.
pub(super) struct Answered {
    pub(super) command: Option<usize>,
    pub(super) protocol: Protocol,
    pub(super) value: Value,
}

impl Pipeline {
    pub(super) fn new(mode: Mode, view: Arc<View>) -> Self {
        Pipeline { mode, view, lanes: Lanes::default(), places: Vec::new(), reads: 0 }
    }

    /// The cluster as it was when the pipeline began.
    pub(super) fn view(&self) -> &Arc<View> {
        &self.view
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How many requests wait for values.
    pub(super) fn reads(&self) -> usize {
        self.reads
    }

    /// Whether nothing may follow what is in it.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.places.last(), Some(Place { answer: Answer::Scan(..), .. }))
    }

    /// Appends a reply that is known already.
    pub(super) fn answer(&mut self, command: Option<usize>, protocol: Protocol, value: Value) {
        self.places.push(Place { command, protocol, answer: Answer::Ready(value) });
    }

    /// Appends a request about keys; `position` is the command's place in the table.
    pub(super) fn ask(
        &mut self,
        position: Option<usize>,
        command: &'static Command,
        protocol: Protocol,
        arguments: &[Bytes],
    ) {
        let answer = self.place(command, arguments).unwrap_or_else(Answer::Ready);
        self.places.push(Place { command: position, protocol, answer });
    }

    fn place(&mut self, command: &'static Command, arguments: &[Bytes]) -> Result<Answer, Value> {
        let Some(partitions) = self.view.cluster.as_ref().map(|cluster| cluster.partitions) else {
            return Err(errors::constant("LOADING this node does not know its cluster yet"));
        };
        let task = keys::task(command, arguments)?;
        let slot = self.common_slot(command, arguments)?;
        let tickets = match task {
            Task::Scan(scan) => return Ok(Answer::Scan(scan, partitions)),
            Task::One(operation, shape) => {
                if matches!(operation, Operation::Read(_)) {
                    self.reads += 1;
                }
                let slot = slot.expect("a command of one key has a key");
                let partition = partition_of(slot, partitions);
                Tickets::One(self.lanes.push(partition, self.mode, operation), shape)
            }
            Task::GetMany(keys) => {
                self.reads += keys.len();
                let count = keys.len();
                let parts = split(keys.into_iter().enumerate(), partitions, |(_, key)| key);
                let tickets = parts.into_iter().map(|(partition, part)| {
                    let (places, keys) = part.into_iter().unzip();
                    let read = Operation::Read(Read::GetMany { keys });
                    (self.lanes.push(partition, self.mode, read), places)
                });
                Tickets::Values(tickets.collect(), count)
            }
            Task::SetMany(pairs) => {
                let parts = split(pairs.into_iter(), partitions, |(key, _)| key);
                let write = |pairs| Operation::Write(Write::SetMany { pairs });
                Tickets::All(self.push_each(parts, write))
            }
            Task::Delete(keys) => {
                let parts = split(keys.into_iter(), partitions, |key| key);
                Tickets::Sum(self.push_each(parts, |keys| Operation::Write(Write::Delete { keys })))
            }
            Task::Exists(keys) => {
                let parts = split(keys.into_iter(), partitions, |key| key);
                Tickets::Sum(self.push_each(parts, |keys| Operation::Read(Read::Exists { keys })))
            }
            Task::Count => {
                let counted: Vec<_> =
                    (0..partitions).filter(|p| self.counts(*p)).map(PartitionId).collect();
                let count = |p| self.lanes.push(p, Mode::Proxy, Operation::Read(Read::Count));
                Tickets::Sum(counted.into_iter().map(count).collect())
            }
            Task::Flush => {
                let flush = Operation::Write(Write::Flush);
                let flush = |p| self.lanes.push(PartitionId(p), Mode::Proxy, flush.clone());
                Tickets::All((0..partitions).map(flush).collect())
            }
        };
        Ok(Answer::Waiting { command, slot, tickets })
    }

    /// The slot of the first key; on port 6384 all keys must share it.
    fn common_slot(&self, command: &Command, arguments: &[Bytes]) -> Result<Option<u16>, Value> {
        let mut keys = command.keys(arguments);
        let Some(first) = keys.next().map(|key| slot_of(key)) else { return Ok(None) };
        if self.mode == Mode::Here && keys.any(|key| slot_of(key) != first) {
            return Err(CROSSSLOT);
        }
        Ok(Some(first))
    }

    /// Whether DBSIZE counts a partition: on port 6384 clients add up the answers of all nodes.
    fn counts(&self, partition: u16) -> bool {
        self.mode == Mode::Proxy
            || self.view.leaders.get(usize::from(partition)).copied().flatten()
                == Some(self.view.node)
    }

    fn push_each<T>(
        &mut self,
        parts: BTreeMap<PartitionId, Vec<T>>,
        operation: impl Fn(Vec<T>) -> Operation,
    ) -> Vec<Ticket> {
        let push = |(partition, part)| self.lanes.push(partition, self.mode, operation(part));
        parts.into_iter().map(push).collect()
    }

    /// Runs everything; answers the replies in the order of the requests.
    pub(super) async fn run<R: Requests>(self, requests: &R) -> impl Iterator<Item = Answered> {
        let Pipeline { mode, view, lanes, mut places, .. } = self;
        let mut outcomes = match lanes.is_empty() {
            true => Outcomes::default(),
            false => lanes.run(requests).await,
        };
        if let Some(Place { answer, .. }) = places.last_mut()
            && let Answer::Scan(scan, partitions) = answer
        {
            *answer = Answer::Ready(scan.page(requests, mode, &view, *partitions).await);
        }
        places.into_iter().map(move |place| {
            let value = match place.answer {
                Answer::Ready(value) => value,
                Answer::Waiting { command, slot, tickets } => {
                    settle(tickets, &mut outcomes, |failure| match failure {
                        Ended::Failed(failure) => {
                            errors::failure(&failure.error, failure.write, slot, mode, &view)
                        }
                        Ended::Reply(reply, shape) => keys::value(reply, shape, command),
                    })
                }
                Answer::Scan(..) => errors::constant("ERR a scan must be the last of its pipeline"),
            };
            Answered { command: place.command, protocol: place.protocol, value }
        })
    }
}

/// How an operation ended, to be said in RESP.
enum Ended {
    Failed(super::lanes::Failure),
    Reply(Reply, Shape),
}

/// Puts a command's reply together from those of its partitions; the first that failed wins.
fn settle(tickets: Tickets, outcomes: &mut Outcomes, say: impl Fn(Ended) -> Value) -> Value {
    let plain = |reply| Ended::Reply(reply, Shape::Plain);
    match tickets {
        Tickets::One(ticket, shape) => match outcomes.take(ticket) {
            Ok(reply) => say(Ended::Reply(reply, shape)),
            Err(failure) => say(Ended::Failed(failure)),
        },
        Tickets::Sum(tickets) => {
            let mut sum = 0;
            for ticket in tickets {
                match outcomes.take(ticket) {
                    Ok(Reply::Int(count)) => sum += count,
                    Ok(other) => return say(plain(other)),
                    Err(failure) => return say(Ended::Failed(failure)),
                }
            }
            Value::Integer(sum)
        }
        Tickets::All(tickets) => {
            for ticket in tickets {
                match outcomes.take(ticket) {
                    Ok(Reply::Ok) => {}
                    Ok(other) => return say(plain(other)),
                    Err(failure) => return say(Ended::Failed(failure)),
                }
            }
            Value::OK
        }
        Tickets::Values(tickets, count) => {
            let mut values = vec![Value::Null; count];
            let mut bytes = 0;
            for (ticket, places) in tickets {
                match outcomes.take(ticket) {
                    Ok(Reply::Array(replies)) => {
                        for (place, reply) in places.into_iter().zip(replies) {
                            values[place] = say(plain(reply));
                            bytes += values[place].approximate_bytes();
                        }
                    }
                    Ok(other) => return say(plain(other)),
                    Err(failure) => return say(Ended::Failed(failure)),
                }
                if bytes > REPLY_BYTES_MAX {
                    return say(plain(Reply::Refused(Refusal::ReplyTooLarge)));
                }
            }
            Value::Array(values)
        }
    }
}

/// Parts `items` by the partition of their keys, keeping their order.
fn split<T>(
    items: impl Iterator<Item = T>,
    partitions: u16,
    key: impl Fn(&T) -> &Bytes,
) -> BTreeMap<PartitionId, Vec<T>> {
    let mut parts: BTreeMap<PartitionId, Vec<T>> = BTreeMap::new();
    for item in items {
        let partition = partition_of(slot_of(key(&item)), partitions);
        parts.entry(partition).or_default().push(item);
    }
    parts
}
