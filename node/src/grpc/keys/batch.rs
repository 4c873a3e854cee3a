//! Batches and deletions: writes that are atomic among the keys of one partition, and only there.

use std::collections::BTreeMap;

use bytes::Bytes;
use flin_groups::requests::Requests;
use flin_proto::keys::batch_request::Write as WireWrite;
use flin_proto::keys::batch_request::write::Write as Body;
use flin_proto::keys::batch_response::Result as WireResult;
use flin_proto::keys::batch_response::result::Result as Outcome;
use flin_proto::keys::{DeleteResponse, IncrementRequest, IncrementResponse, SetResponse};
use flin_state::ids::PartitionId;
use flin_state::operation::{Reply, Write};
use flin_state::slot::partition_of_key;
use tonic::Status;

use super::spread::{Runs, write_runs};
use super::{KeysService, WRITES_MAX, convert};

impl<R: Requests> KeysService<R> {
    /// Removes `keys` and answers how many existed.
    pub(super) async fn delete_all(&self, keys: Vec<Bytes>) -> Result<u64, Status> {
        limit("keys", keys.len())?;
        let mut plan = Plan::new(self.partitions()?);
        plan.delete(keys)?;
        let replies = write_runs(&self.requests, plan.runs).await?;
        replies.values().map(convert::count).sum()
    }

    /// Does `writes` and answers what became of each.
    pub(super) async fn write_all(
        &self,
        writes: Vec<WireWrite>,
    ) -> Result<Vec<WireResult>, Status> {
        limit("writes", writes.iter().map(weight).sum())?;
        let mut plan = Plan::new(self.partitions()?);
        for (index, write) in writes.into_iter().enumerate() {
            plan.add(write).map_err(|status| {
                Status::new(status.code(), format!("write {index}: {}", status.message()))
            })?;
        }
        let mut replies = write_runs(&self.requests, plan.runs).await?;
        plan.results.into_iter().map(|expected| expected.collect(&mut replies)).collect()
    }
}

fn limit(what: &str, count: usize) -> Result<(), Status> {
    if count <= WRITES_MAX {
        return Ok(());
    }
    Err(Status::invalid_argument(format!("{count} {what} in one call, at most {WRITES_MAX}")))
}

/// How many writes one of the wire is.
fn weight(write: &WireWrite) -> usize {
    match &write.write {
        Some(Body::Delete(delete)) => delete.keys.len().max(1),
        _ => 1,
    }
}

/// Writes sorted by partition, and where the results of the wire come from.
struct Plan {
    partitions: u16,
    runs: Runs,
    /// Replies that were given a place.
    places: usize,
    results: Vec<Expected>,
}

/// One result of the wire, by the places of its replies.
enum Expected {
    Set(usize),
    Increment(usize),
    /// One per partition touched.
    Delete(Vec<usize>),
}

impl Plan {
    fn new(partitions: u16) -> Self {
        Plan { partitions, runs: Runs::new(), places: 0, results: Vec::new() }
    }

    fn add(&mut self, write: WireWrite) -> Result<(), Status> {
        let expected = match write.write {
            Some(Body::Set(request)) => {
                let key = request.key.clone();
                Expected::Set(self.place(self.owner(&key), convert::set(request)?)?)
            }
            Some(Body::Increment(IncrementRequest { key, by })) => {
                let owner = self.owner(&key);
                Expected::Increment(self.place(owner, Write::Increment { key, by })?)
            }
            Some(Body::Delete(request)) => Expected::Delete(self.delete(request.keys)?),
            None => {
                return Err(Status::invalid_argument("it says neither set, delete nor increment"));
            }
        };
        self.results.push(expected);
        Ok(())
    }

    fn delete(&mut self, keys: Vec<Bytes>) -> Result<Vec<usize>, Status> {
        let mut by_owner: BTreeMap<PartitionId, Vec<Bytes>> = BTreeMap::new();
        for key in keys {
            by_owner.entry(self.owner(&key)).or_default().push(key);
        }
        let deletions = by_owner.into_iter();
        deletions.map(|(owner, keys)| self.place(owner, Write::Delete { keys })).collect()
    }

    fn owner(&self, key: &[u8]) -> PartitionId {
        partition_of_key(key, self.partitions)
    }

    /// Nothing is proposed when a limit that does not depend on state is broken.
    fn place(&mut self, owner: PartitionId, write: Write) -> Result<usize, Status> {
        write.check().map_err(convert::refusal)?;
        let place = self.places;
        self.places += 1;
        self.runs.entry(owner).or_default().push((place, write));
        Ok(place)
    }
}

impl Expected {
    fn collect(self, replies: &mut BTreeMap<usize, Reply>) -> Result<WireResult, Status> {
        let mut take = |place: usize| {
            replies.remove(&place).ok_or_else(|| Status::internal("a write got no reply"))
        };
        let outcome = match self {
            Expected::Set(place) => match take(place)? {
                Reply::Refused(why) => Outcome::Refused(why.to_string()),
                reply => Outcome::Set(SetResponse { applied: convert::applied(&reply)? }),
            },
            Expected::Increment(place) => match take(place)? {
                Reply::Refused(why) => Outcome::Refused(why.to_string()),
                reply => Outcome::Increment(IncrementResponse { value: convert::number(&reply)? }),
            },
            Expected::Delete(places) => {
                let counts = places.into_iter().map(|place| convert::count(&take(place)?));
                let deleted = counts.sum::<Result<u64, Status>>()?;
                Outcome::Delete(DeleteResponse { deleted })
            }
        };
        Ok(WireResult { result: Some(outcome) })
    }
}
