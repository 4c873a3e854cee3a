//! Writes that go to several partitions in one call.

use std::collections::BTreeMap;

use flin_groups::requests::{RequestError, Requests};
use flin_state::ids::PartitionId;
use flin_state::operation::{Reply, Write};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tonic::{Code, Status};

use super::convert;

/// A write and the place of its reply.
pub(super) type Placed = (usize, Write);

/// Writes by partition, in the order in which they came.
pub(super) type Runs = BTreeMap<PartitionId, Vec<Placed>>;

/// Applies each run together, all runs at once, and returns the replies by place.
///
/// # Errors
/// [`Code::Unknown`] once any run was applied or may have been, since the call as a whole is then half
/// done; otherwise what the first failed run says, and nothing was done.
pub(super) async fn write_runs<R: Requests>(
    requests: &R,
    runs: Runs,
) -> Result<BTreeMap<usize, Reply>, Status> {
    let total = runs.len();
    let mut under_way: FuturesUnordered<_> = runs
        .into_iter()
        .map(|(partition, run)| async move {
            let (places, writes): (Vec<usize>, Vec<Write>) = run.into_iter().unzip();
            (places, requests.write(partition, writes).await)
        })
        .collect();
    let mut replies = BTreeMap::new();
    let mut failures = Vec::new();
    while let Some((places, result)) = under_way.next().await {
        match result {
            Ok(run) if run.len() == places.len() => replies.extend(places.into_iter().zip(run)),
            Ok(_) => failures.push(RequestError::Unknown("a partition answered in part".into())),
            Err(error) => failures.push(error),
        }
    }
    match worst(failures, total) {
        Some(status) => Err(status),
        None => Ok(replies),
    }
}

fn worst(mut failures: Vec<RequestError>, total: usize) -> Option<Status> {
    let failed = failures.len();
    let open = failures.iter().position(|error| matches!(error, RequestError::Unknown(_)));
    let first = (!failures.is_empty()).then(|| failures.swap_remove(open.unwrap_or(0)))?;
    let status = convert::failure(first);
    if failed == total {
        return Some(status);
    }
    let words = format!(
        "{} of {total} partitions did their part, {failed} did not: {}; read before trying again",
        total - failed,
        status.message()
    );
    Some(Status::new(Code::Unknown, words))
}
