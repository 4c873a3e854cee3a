//! What this node answers to its peers.

use std::pin::Pin;
use std::sync::Arc;

use flin_groups::board::Board;
use flin_groups::clock::Clock;
use flin_groups::router::Router;
use flin_groups::wire::unwire;
use flin_groups::{Groups, Input, forward};
use flin_proto::peer::peer_server::Peer;
use flin_proto::peer::{
    ClusterState as WireState, ForwardBatch, ForwardRequest, ForwardResult, ForwardResults,
    GoOnAloneRequest, GoOnAloneResponse, JoinRequest, JoinResponse, RaftBatch, RaftEnd,
    SnapshotFrame, SurveyRequest, SurveyResponse, WatchClusterRequest,
};
use flin_replica::Message;
use flin_state::ids::NodeId;
use futures::stream::FuturesUnordered;
use futures::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, WatchStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

use super::handshake::Credentials;
use super::joining;
use super::snapshot::{self, SnapshotReceiver};
use crate::recovery::Desk;

/// Forwarded requests of one peer being worked on; beyond it the stream is not read.
const FORWARDED_MAX: usize = 16_384;
/// Results gathered into one answer.
const RESULTS_MAX: usize = 256;
/// Answers that may wait for the connection.
const ANSWERS_MAX: usize = 8;

/// The service behind the peer port.
pub(crate) struct PeerService {
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) groups: Groups,
    pub(crate) board: Arc<Board>,
    pub(crate) router: Router,
    pub(crate) snapshots: Arc<SnapshotReceiver>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) recovery: Arc<Desk>,
    /// Ends the streams, which would outlive a graceful shutdown.
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Peer for PeerService {
    type ForwardStream = Answers<ForwardResults>;
    type InstallSnapshotStream = snapshot::Answers;
    type WatchClusterStream = Answers<WireState>;

    async fn raft(
        &self,
        request: Request<Streaming<RaftBatch>>,
    ) -> Result<Response<RaftEnd>, Status> {
        let from = self.credentials.check(request.metadata())?;
        let mut stream = request.into_inner();
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return Err(Status::unavailable("the node is stopping")),
                batch = stream.message() => match batch? {
                    Some(batch) => self.take(from, batch),
                    None => return Ok(Response::new(RaftEnd {})),
                }
            }
        }
    }

    async fn forward(
        &self,
        request: Request<Streaming<ForwardBatch>>,
    ) -> Result<Response<Self::ForwardStream>, Status> {
        self.credentials.check(request.metadata())?;
        let (answers, stream) = mpsc::channel(ANSWERS_MAX);
        let work = serve_forwarded(self.groups.clone(), request.into_inner(), answers);
        let stop = self.stop.clone();
        // The task ends when the peer or this node does: each ends one of its two streams.
        self.tasks.spawn(async move { stop.run_until_cancelled_owned(work).await });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<SnapshotFrame>>,
    ) -> Result<Response<Self::InstallSnapshotStream>, Status> {
        let from = self.credentials.check(request.metadata())?;
        let answers = self.snapshots.receive(from, request.into_inner()).await?;
        Ok(Response::new(answers))
    }

    async fn watch_cluster(
        &self,
        request: Request<WatchClusterRequest>,
    ) -> Result<Response<Self::WatchClusterStream>, Status> {
        self.credentials.check(request.metadata())?;
        let states = WatchStream::new(self.board.cluster())
            .filter_map(async |state| state.map(|state| Ok(joining::wire_state(&state))));
        let stopped = self.stop.clone().cancelled_owned();
        Ok(Response::new(Box::pin(states.take_until(stopped))))
    }

    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        self.credentials.check_stranger(request.metadata())?;
        let request = request.into_inner();
        let answer = if request.probe {
            joining::probe(&self.board)
        } else {
            joining::admit(&self.router, &self.board, request).await?
        };
        Ok(Response::new(answer))
    }

    async fn survey(
        &self,
        request: Request<SurveyRequest>,
    ) -> Result<Response<SurveyResponse>, Status> {
        self.credentials.check(request.metadata())?;
        Ok(Response::new(self.recovery.survey().await?))
    }

    async fn go_on_alone(
        &self,
        request: Request<GoOnAloneRequest>,
    ) -> Result<Response<GoOnAloneResponse>, Status> {
        self.credentials.check(request.metadata())?;
        self.recovery.take_order(&request.get_ref().order).await?;
        Ok(Response::new(GoOnAloneResponse {}))
    }
}

impl PeerService {
    fn take(&self, from: NodeId, batch: RaftBatch) {
        if let Some(report) = &batch.report
            && report.node_id == from.0
        {
            self.board.hear(report, self.clock.monotonic_ms());
            self.groups.tell(Input::Leaving { node: from, leaving: report.leaving });
        }
        let messages: Vec<Message> = batch.messages.into_iter().filter_map(unwire).collect();
        // A full mailbox loses them: raft sends again, and slows down meanwhile.
        if !messages.is_empty() {
            self.groups.tell(Input::Messages(messages));
        }
    }
}

async fn serve_forwarded(
    groups: Groups,
    mut requests: Streaming<ForwardBatch>,
    answers: mpsc::Sender<Result<ForwardResults, Status>>,
) {
    let mut working = FuturesUnordered::new();
    let mut results = Vec::new();
    loop {
        tokio::select! {
            biased;
            Some(result) = working.next(), if results.len() < RESULTS_MAX => results.push(result),
            permit = answers.reserve(), if !results.is_empty() => {
                let Ok(permit) = permit else { return };
                permit.send(Ok(ForwardResults { results: std::mem::take(&mut results) }));
            }
            batch = requests.message(), if working.len() < FORWARDED_MAX => match batch {
                Ok(Some(batch)) => working.extend(batch.requests.into_iter().map(|r| serve(&groups, r))),
                Ok(None) | Err(_) => return,
            },
        }
    }
}

async fn serve(groups: &Groups, request: ForwardRequest) -> ForwardResult {
    let outcome = forward::serve(groups, request.group, request.request).await;
    ForwardResult { id: request.id, result: Some(outcome) }
}
