//! Commands that this node takes in for partitions that a peer leads.

use std::collections::BTreeMap;

use flin_groups::forward::{Forwarded, Lost};
use flin_proto::peer::forward_result::Result as Outcome;
use flin_proto::peer::peer_client::PeerClient;
use flin_proto::peer::{ForwardBatch, ForwardRequest, ForwardResults};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tracing::debug;

use super::peers::Link;
use super::{MESSAGE_BYTES_MAX, RECONNECT_DELAY};

/// Requests that may wait for the connection to one peer; beyond it callers are told to try later.
pub(crate) const WAITING_MAX: usize = 4_096;
/// Requests gathered into one batch.
const BATCH_REQUESTS_MAX: usize = 256;
/// Requests sent whose results are outstanding; beyond it no more are taken from the queue.
const IN_FLIGHT_MAX: usize = 16_384;
/// Batches that may wait for the connection.
const BATCHES_MAX: usize = 8;

/// Carries requests to the peer of `link` until it is told to stop, connecting as often as it takes.
pub(crate) async fn carry(link: Link, mut requests: mpsc::Receiver<Forwarded>) {
    while !link.stop.is_cancelled() {
        match refuse_during(link.peer.whereabouts.connect(), &link.stop, &mut requests).await {
            Some(Ok(channel)) => exchange(&link, channel, &mut requests).await,
            Some(Err(error)) => debug!(peer = %link.peer.node, %error, "cannot forward to peer"),
            None => return,
        }
        let pause = tokio::time::sleep(RECONNECT_DELAY);
        refuse_during(pause, &link.stop, &mut requests).await;
    }
}

/// Waits for `work`, or for nothing once the node stops. Meanwhile there is no connection, and requests are told
/// at once that they did not leave: to look up a name or to reach a dead machine may take many seconds, in which
/// another node may lead.
async fn refuse_during<T>(
    work: impl Future<Output = T>,
    stop: &CancellationToken,
    requests: &mut mpsc::Receiver<Forwarded>,
) -> Option<T> {
    tokio::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return Some(done),
            () = stop.cancelled() => return None,
            Some(request) = requests.recv() => drop(request.answer.send(Err(Lost::NotSent))),
        }
    }
}

async fn exchange(link: &Link, channel: Channel, requests: &mut mpsc::Receiver<Forwarded>) {
    let (batches, stream) = mpsc::channel(BATCHES_MAX);
    let mut client = PeerClient::new(channel)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
        .max_decoding_message_size(MESSAGE_BYTES_MAX);
    let call =
        client.forward(link.credentials.request(link.peer.node, ReceiverStream::new(stream)));
    let mut results = match refuse_during(call, &link.stop, requests).await {
        Some(Ok(response)) => response.into_inner(),
        None => return,
        Some(Err(status)) => {
            debug!(peer = %link.peer.node, reason = %status.message(), "peer refuses forwarding");
            return;
        }
    };
    // Everything in `sent` may have reached the peer: when this function returns, its answers say so.
    let mut sent = Unanswered::default();
    let mut waiting = Vec::with_capacity(BATCH_REQUESTS_MAX);
    loop {
        tokio::select! {
            () = link.stop.cancelled() => return,
            message = results.message() => match message {
                Ok(Some(results)) => sent.answer(results),
                Ok(None) | Err(_) => return,
            },
            permit = batches.reserve(), if !waiting.is_empty() => {
                let Ok(permit) = permit else { break };
                permit.send(sent.batch(&mut waiting));
            }
            // A receiver that is closed for ever yields 0 here; the node is then stopping.
            n = requests.recv_many(&mut waiting, BATCH_REQUESTS_MAX),
                if waiting.is_empty() && sent.answers.len() < IN_FLIGHT_MAX =>
            {
                if n == 0 { return }
            }
        }
    }
    for request in waiting {
        let _ = request.answer.send(Err(Lost::NotSent));
    }
}

/// The requests whose results are outstanding; dropped, they answer that they were lost after sending.
#[derive(Default)]
struct Unanswered {
    next_id: u64,
    answers: BTreeMap<u64, oneshot::Sender<Result<Outcome, Lost>>>,
}

impl Unanswered {
    fn batch(&mut self, waiting: &mut Vec<Forwarded>) -> ForwardBatch {
        let requests = waiting.drain(..).map(|request| {
            self.next_id += 1;
            self.answers.insert(self.next_id, request.answer);
            let group = u32::from(request.group.0);
            ForwardRequest { id: self.next_id, group, request: Some(request.run.body()) }
        });
        ForwardBatch { requests: requests.collect() }
    }

    fn answer(&mut self, results: ForwardResults) {
        for result in results.results {
            if let (Some(answer), Some(outcome)) = (self.answers.remove(&result.id), result.result)
            {
                let _ = answer.send(Ok(outcome));
            }
        }
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        for answer in std::mem::take(&mut self.answers).into_values() {
            let _ = answer.send(Err(Lost::Sent));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use flin_groups::forward::Run;
    use flin_state::ids::GroupId;

    use super::*;

    #[tokio::test]
    async fn request_does_not_wait_for_a_peer_that_cannot_be_reached() {
        let (queue, mut requests) = mpsc::channel(1);
        let (answer, outcome) = oneshot::channel();
        let run = Run::Writes(Bytes::new());
        queue.try_send(Forwarded { group: GroupId(1), run, answer }).ok().unwrap();
        let stop = CancellationToken::new();
        let connecting = refuse_during(std::future::pending::<()>(), &stop, &mut requests);
        tokio::select! {
            _ = connecting => panic!("nothing ended it"),
            outcome = outcome => assert!(matches!(outcome, Ok(Err(Lost::NotSent)))),
            () = tokio::time::sleep(Duration::from_secs(30)) => panic!("the request waits"),
        }
        stop.cancel();
        assert_eq!(refuse_during(std::future::pending::<()>(), &stop, &mut requests).await, None);
    }
}
