//! One transfer, over as many connections as it takes.
//!
//! A connection that breaks costs the frames that were under way, not what the receiver has. What ends a
//! transfer is the receiver's word, or one of the limits: it takes too little, it does not decide, or no
//! connection gets the transfer on for too long. Before the receiver has said that it knows the transfer there
//! is nothing to go on with, and a break ends it at once: raft begins anew when the follower is heard of.

use std::time::Duration;

use flin_groups::metrics::CoreMetrics;
use flin_groups::snapshot::{Misled, Outgoing, Patience, ReadError, TransferId, pair_bytes};
use flin_proto::peer::{SnapshotFrame, SnapshotResult};
use flin_state::ids::{GroupId, NodeId};
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::{AcquireError, mpsc};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use tracing::info;

use super::Limits;
use crate::transport::connecting::ConnectError;
use crate::transport::pace::Pace;

/// What a receiver says on one connection.
pub(super) type Answers = BoxStream<'static, Result<SnapshotResult, Status>>;

/// How a receiver is reached.
pub(super) trait Way {
    /// Opens a connection that carries `frames`, the first of which is there already.
    fn open(
        &self,
        frames: ReceiverStream<SnapshotFrame>,
    ) -> impl Future<Output = Result<Answers, OpenError>> + Send;
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    /// It is no member any more.
    #[error("the peer is not known")]
    UnknownPeer,
    /// It is not reached.
    #[error("connect")]
    Connect(#[from] ConnectError),
    /// The call failed, on the way or there.
    #[error("{}", .0.message())]
    Call(#[from] Status),
}

/// Why a snapshot was not delivered.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error("this node does not lead the group any more")]
    NotLeading,
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the peer refused it: {}", .0.message())]
    Refused(Status),
    #[error("no connection got the transfer on for {} s; the last one ended with: {last}", .waited.as_secs())]
    Cut { waited: Duration, last: OpenError },
    #[error(
        "the peer took {taken} frames and then less than {least_bytes_per_second} bytes per second"
    )]
    TooSlow { taken: u64, least_bytes_per_second: u64 },
    #[error("the peer was sent everything and did not decide within {} s", .waited.as_secs())]
    Undecided { waited: Duration },
    #[error(transparent)]
    Misled(#[from] Misled),
    #[error("the reader of the state was lost")]
    Lost,
    #[error("the node is stopping")]
    Stopping(#[from] AcquireError),
}

/// How one connection ended.
enum Setback {
    /// The transfer is over.
    Over(SendError),
    /// The transfer can go on over another one.
    Broken(OpenError),
}

impl From<OpenError> for Setback {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Call(status) if is_refusal(&status) => {
                Setback::Over(SendError::Refused(status))
            }
            OpenError::UnknownPeer => Setback::Over(error.into()),
            OpenError::Call(_) | OpenError::Connect(_) => Setback::Broken(error),
        }
    }
}

impl From<SendError> for Setback {
    fn from(error: SendError) -> Self {
        Setback::Over(error)
    }
}

/// Whether the receiver itself said no. Anything else may be the connection's fault; if it was not, the receiver
/// says so on the next one.
fn is_refusal(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::NotFound
            | Code::Aborted
            | Code::InvalidArgument
            | Code::DataLoss
            | Code::Unimplemented
            | Code::FailedPrecondition
            | Code::Unauthenticated
            | Code::ResourceExhausted
    )
}

/// What a transfer is carried with.
pub(super) struct Delivery<'a, W, F> {
    pub(super) way: W,
    pub(super) pace: &'a Pace,
    pub(super) metrics: &'a CoreMetrics,
    pub(super) limits: &'a Limits,
    pub(super) group: GroupId,
    pub(super) node: NodeId,
    /// Whether the transfer still has a reason, asked before it goes on over another connection.
    pub(super) is_wanted: F,
}

/// Where a transfer is.
struct Course {
    outgoing: Outgoing,
    patience: Patience,
    frames: mpsc::Receiver<SnapshotFrame>,
    /// Until when the receiver has to decide; nothing before it was sent everything.
    decide_by: Option<Instant>,
    /// Since when no connection has got the transfer on.
    broken_since: Option<Instant>,
    delay: Duration,
}

/// What gives a receiver up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Bound {
    Slow,
    Decision,
    Reconnect,
}

impl<W: Way + Sync, F: Fn() -> bool + Sync> Delivery<'_, W, F> {
    /// Delivers `frames`, a head first; returns once the receiver has decided.
    pub(super) async fn run(
        self,
        id: TransferId,
        mut frames: mpsc::Receiver<SnapshotFrame>,
    ) -> Result<(), SendError> {
        let limits = self.limits;
        let head = frames.recv().await.ok_or(SendError::Lost)?;
        let mut course = Course {
            outgoing: Outgoing::new(id, head, limits.kept_bytes_max).ok_or(SendError::Lost)?,
            patience: Patience::new(limits.stall_time, limits.least_bytes_per_second),
            frames,
            decide_by: None,
            broken_since: None,
            delay: limits.reconnect_delay,
        };
        loop {
            let last = match self.connection(&mut course).await {
                Ok(()) => return Ok(()),
                Err(Setback::Over(error)) => return Err(error),
                Err(Setback::Broken(error)) => error,
            };
            if !course.outgoing.has_begun() {
                return Err(last.into());
            }
            self.rest(&mut course, last).await?;
        }
    }

    /// Waits before the next connection, while one may still get the transfer on.
    async fn rest(&self, course: &mut Course, last: OpenError) -> Result<(), SendError> {
        course.broken_since.get_or_insert_with(Instant::now);
        let next = Instant::now() + course.delay;
        let (limit, bound) = course.limit(self.limits);
        if next >= limit {
            return Err(self.given_up(course, bound, last));
        }
        sleep_until(next).await;
        course.patience.waited(course.delay);
        course.delay = (2 * course.delay).min(self.limits.reconnect_delay_max);
        if !(self.is_wanted)() {
            return Err(SendError::NotLeading);
        }
        let (group, node, taken) = (self.group, self.node, course.outgoing.taken());
        info!(%group, %node, taken, %last, "a snapshot goes on over a new connection");
        self.metrics.snapshots_resumed.inc();
        Ok(())
    }

    /// Carries the transfer over one connection.
    async fn connection(&self, course: &mut Course) -> Result<(), Setback> {
        let (out, frames) = mpsc::channel(1);
        out.try_send(course.outgoing.open()).expect("a new channel has room for one");
        let began = Instant::now();
        let (limit, bound) = course.limit(self.limits);
        let opened = timeout_at(limit, self.way.open(ReceiverStream::new(frames))).await;
        course.patience.waited(began.elapsed());
        let mut answers = opened.map_err(|_| self.given_up(course, bound, silence()))??;
        // The next frame has been waited for as the pace of all snapshots wants it; the call takes frames.
        let (mut is_due, mut is_taken) = (false, true);
        loop {
            let (began, owed) = (Instant::now(), course.outgoing.awaits_answer());
            let (limit, bound) = course.limit(self.limits);
            let next_bytes = course.outgoing.next().map(pair_bytes);
            tokio::select! {
                biased;
                answer = answers.next() => {
                    let answer = answer.unwrap_or_else(|| Err(Status::unavailable("it was closed")));
                    let answer = answer.map_err(OpenError::Call)?;
                    if course.take(&answer, self.limits).map_err(SendError::from)? {
                        return Ok(());
                    }
                }
                permit = out.reserve(), if is_due && is_taken => match permit {
                    Ok(permit) => {
                        is_due = false;
                        self.send(course, permit);
                    }
                    // The call is over, and the answers say why.
                    Err(_) => is_taken = false,
                },
                () = self.pace.pass(next_bytes.unwrap_or(0)), if !is_due && next_bytes.is_some() => {
                    is_due = true;
                }
                frame = course.frames.recv(), if course.outgoing.has_room() => match frame {
                    Some(frame) => course.outgoing.push(frame),
                    None => return Err(SendError::Lost.into()),
                },
                () = sleep_until(limit), if owed => {
                    return Err(self.given_up(course, bound, silence()).into());
                }
            }
            if owed {
                course.patience.waited(began.elapsed());
            }
        }
    }

    fn send(&self, course: &mut Course, permit: mpsc::Permit<'_, SnapshotFrame>) {
        let Some((frame, fresh_bytes)) = course.outgoing.send() else { return };
        self.metrics.snapshot_bytes_sent.inc_by(pair_bytes(&frame));
        permit.send(frame);
        course.patience.sent(fresh_bytes);
        if course.outgoing.is_all_sent() {
            let decide_by = Instant::now() + self.limits.decision_time;
            course.decide_by.get_or_insert(decide_by);
        }
    }

    fn given_up(&self, course: &Course, bound: Bound, last: OpenError) -> SendError {
        let limits = self.limits;
        match bound {
            Bound::Slow => SendError::TooSlow {
                taken: course.outgoing.taken(),
                least_bytes_per_second: limits.least_bytes_per_second,
            },
            Bound::Decision => SendError::Undecided { waited: limits.decision_time },
            Bound::Reconnect => SendError::Cut { waited: limits.reconnect_time, last },
        }
    }
}

fn silence() -> OpenError {
    OpenError::Call(Status::deadline_exceeded("it says nothing new"))
}

impl Course {
    /// Until when the receiver has to say something new, and what gives it up otherwise.
    fn limit(&self, limits: &Limits) -> (Instant, Bound) {
        let limit = match self.decide_by {
            Some(decide_by) => (decide_by, Bound::Decision),
            None => (Instant::now() + self.patience.left(), Bound::Slow),
        };
        match self.broken_since {
            // All is there: nothing can get on before the decision.
            Some(since) if !self.outgoing.is_all_taken() => {
                limit.min((since + limits.reconnect_time, Bound::Reconnect))
            }
            _ => limit,
        }
    }

    /// Takes an answer; returns whether it is the last.
    fn take(&mut self, answer: &SnapshotResult, limits: &Limits) -> Result<bool, Misled> {
        if answer.decided {
            return Ok(true);
        }
        let before = self.outgoing.taken();
        let bytes = self.outgoing.acknowledge(answer.taken)?;
        self.patience.acknowledged(bytes);
        if self.outgoing.taken() > before {
            (self.broken_since, self.delay) = (None, limits.reconnect_delay);
        }
        Ok(false)
    }
}
