//! Transfers between a sender and a receiver over connections that do what a test says.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use flin_engine::memory::MemoryEngine;
use flin_groups::board::Board;
use flin_groups::metrics::CoreMetrics;
use flin_groups::snapshot::{Framing, TransferId};
use flin_proto::peer::SnapshotFrame;
use flin_replica::Message;
use flin_state::engine::{Engine, Reader};
use flin_state::ids::{GroupId, NodeId, ReplicaId};
use flin_state::keys::group_range;
use futures::{Stream, StreamExt, stream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;

use super::delivery::{Answers, Delivery, OpenError, SendError, Way};
use super::*;
use crate::transport::pace::Pace;

const SENDER: NodeId = NodeId(1);
/// What a frame of a test carries, beside a key.
const FRAME_BYTES: u64 = 256 << 10;

/// What becomes of one connection.
#[derive(Clone, Copy)]
enum Fate {
    /// Nobody is there.
    Unreachable,
    /// It breaks after so many frames, the head included.
    Breaks(usize),
    /// It brings so many frames and then nothing, but it stays.
    StandsStill(usize),
    /// Each frame takes its time.
    Trickles(Duration),
}

/// A receiver, and the connections to it.
struct Network {
    engine: MemoryEngine,
    receiver: SnapshotReceiver,
    tasks: TaskTracker,
    stop: CancellationToken,
    limits: Limits,
    /// Those of the next connections; the ones after work.
    fates: Mutex<VecDeque<Fate>>,
    opened: AtomicUsize,
}

impl Network {
    /// A network where raft decides at once.
    fn new(limits: Limits, fates: impl IntoIterator<Item = Fate>) -> Self {
        Network::with_raft(limits, fates, |done| {
            let _ = done.send(());
        })
    }

    fn with_raft(
        limits: Limits,
        fates: impl IntoIterator<Item = Fate>,
        raft: impl Fn(oneshot::Sender<()>) + Send + Sync + 'static,
    ) -> Self {
        let (engine, tasks, stop) =
            (MemoryEngine::new(), TaskTracker::new(), CancellationToken::new());
        let offer = move |_: Message, done| {
            raft(done);
            true
        };
        let receiver = SnapshotReceiver::with_offer(
            Arc::new(engine.clone()),
            Arc::new(offer),
            limits.clone(),
            tasks.clone(),
            stop.clone(),
        );
        let fates = Mutex::new(fates.into_iter().collect());
        Network { engine, receiver, tasks, stop, limits, fates, opened: AtomicUsize::new(0) }
    }

    /// Sends a state of `frames` full frames of a group.
    async fn send(&self, group: GroupId, id: u64, frames: usize) -> (Result<(), SendError>, Sent) {
        let metrics = CoreMetrics::unseen();
        let board = Board::new(SENDER);
        let (feed, fed) = mpsc::channel(2);
        tokio::spawn(async move {
            for frame in state(group, frames) {
                if feed.send(frame).await.is_err() {
                    break;
                }
            }
        });
        let delivery = Delivery {
            way: self,
            pace: &Pace::new(board),
            metrics: &metrics,
            limits: &self.limits,
            group,
            node: NodeId(2),
            is_wanted: || true,
        };
        let began = Instant::now();
        let outcome = delivery.run(TransferId(id), fed).await;
        let sent = Sent {
            bytes: metrics.snapshot_bytes_sent.get(),
            resumed: metrics.snapshots_resumed.get(),
            time: began.elapsed(),
        };
        (outcome, sent)
    }

    /// How many pairs of a group's finished stage there are, once it is installed.
    fn installed(&self, group: GroupId) -> Option<usize> {
        let (from, to) = group_range(group);
        self.engine.install(&format!("group-{group}"), &from, &to).ok()?;
        let mut pairs = 0;
        let mut count = |_: &[u8], _: &[u8]| {
            pairs += 1;
            std::ops::ControlFlow::Continue(())
        };
        self.engine.scan(&from, &to, &mut count).unwrap();
        Some(pairs)
    }
}

/// What a transfer took.
struct Sent {
    bytes: u64,
    resumed: u64,
    time: Duration,
}

impl Way for &Network {
    async fn open(&self, frames: ReceiverStream<SnapshotFrame>) -> Result<Answers, OpenError> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        let fate = self.fates.lock().unwrap().pop_front();
        let broken = CancellationToken::new();
        let frames = frames.map(Ok);
        let frames = match fate {
            Some(Fate::Unreachable) => return Err(OpenError::Call(reset())),
            None => frames.boxed(),
            Some(Fate::Breaks(after)) => {
                let (broken, mut passed) = (broken.clone(), 0);
                let passing = frames.take(after).inspect(move |_| {
                    passed += 1;
                    if passed == after {
                        broken.cancel();
                    }
                });
                passing.chain(stream::once(async { Err(reset()) })).boxed()
            }
            Some(Fate::StandsStill(after)) => frames.take(after).chain(stream::pending()).boxed(),
            Some(Fate::Trickles(pause)) => frames
                .then(move |frame| async move {
                    sleep(pause).await;
                    frame
                })
                .boxed(),
        };
        let answers = self.receiver.receive(SENDER, frames).await?;
        let broke = stream::once(async { Err(reset()) });
        Ok(answers.take_until(broken.cancelled_owned()).chain(broke).boxed())
    }
}

fn reset() -> Status {
    Status::unavailable("connection reset")
}

/// The frames of a group's state.
fn state(group: GroupId, frames: usize) -> impl Iterator<Item = SnapshotFrame> + Send {
    let (from, _) = group_range(group);
    let (mut framing, head) = Framing::begin(message(group));
    let value = vec![b'x'; FRAME_BYTES as usize];
    let mut all = vec![head];
    for i in 0..frames {
        let key = [&from[..], &u32::try_from(i).unwrap().to_be_bytes()].concat();
        all.extend(framing.add(&key, &value));
    }
    all.extend(framing.end());
    all.into_iter()
}

/// A message of raft's that announces a snapshot, as far as anybody looks.
fn message(group: GroupId) -> Message {
    let bytes = Bytes::from_static(&[1, 7]);
    Message { group, from: ReplicaId(1), to: ReplicaId(2), bytes }
}

#[tokio::test(start_paused = true)]
async fn transfer_whose_connection_breaks_goes_on_from_what_arrived() {
    let fates = [Fate::Breaks(20), Fate::Unreachable, Fate::Breaks(12), Fate::Breaks(9)];
    let network = Network::new(Limits::default(), fates);
    let (outcome, sent) = network.send(GroupId(3), 7, 60).await;
    outcome.unwrap();
    assert_eq!(network.installed(GroupId(3)), Some(60));
    assert_eq!(sent.resumed, 4);
    // Three breaks, each of which costs at most what may be kept.
    let state = 60 * FRAME_BYTES;
    let least = state..=state + 3 * (network.limits.kept_bytes_max as u64 + FRAME_BYTES);
    assert!(least.contains(&sent.bytes), "{} of {state}", sent.bytes);
    assert_eq!(network.opened.load(Ordering::Relaxed), 5);
}

#[tokio::test(start_paused = true)]
async fn receiver_that_forgot_the_transfer_says_so_and_keeps_nothing_of_it() {
    let limits = Limits {
        hold_time: Duration::from_secs(1),
        reconnect_delay: Duration::from_secs(2),
        ..Limits::default()
    };
    let network = Network::new(limits, [Fate::Breaks(20)]);
    let (outcome, _) = network.send(GroupId(3), 7, 60).await;
    let Err(SendError::Refused(status)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(status.code(), tonic::Code::NotFound);
    assert_eq!(network.installed(GroupId(3)), None);
    // Begun anew, it gets through.
    network.send(GroupId(3), 8, 60).await.0.unwrap();
    assert_eq!(network.installed(GroupId(3)), Some(60));
}

#[tokio::test(start_paused = true)]
async fn break_before_the_receiver_knows_the_transfer_ends_it_at_once() {
    let network = Network::new(Limits::default(), [Fate::Unreachable]);
    let (outcome, sent) = network.send(GroupId(3), 7, 4).await;
    assert!(matches!(outcome, Err(SendError::Open(_))), "{outcome:?}");
    assert_eq!((sent.time, sent.bytes), (Duration::ZERO, 0));
}

#[tokio::test(start_paused = true)]
async fn peer_that_stays_away_is_given_up() {
    let away = std::iter::repeat_n(Fate::Unreachable, 1_000);
    let network = Network::new(Limits::default(), std::iter::once(Fate::Breaks(20)).chain(away));
    let (outcome, sent) = network.send(GroupId(3), 7, 60).await;
    assert!(matches!(outcome, Err(SendError::Cut { .. })), "{outcome:?}");
    let limit = network.limits.reconnect_time;
    assert!((limit / 2..=limit).contains(&sent.time), "{:?}", sent.time);
}

#[tokio::test(start_paused = true)]
async fn connections_that_never_get_it_on_do_not_keep_a_transfer_alive() {
    let flapping = std::iter::repeat_n(Fate::Breaks(1), 1_000);
    let network =
        Network::new(Limits::default(), std::iter::once(Fate::Breaks(20)).chain(flapping));
    let (outcome, sent) = network.send(GroupId(3), 7, 60).await;
    assert!(matches!(outcome, Err(SendError::Cut { .. })), "{outcome:?}");
    assert!(sent.time <= network.limits.reconnect_time, "{:?}", sent.time);
}

/// How long a receiver is borne with that never gets to the end.
async fn borne_with(fate: Fate) -> Duration {
    let network = Network::new(Limits::default(), [fate]);
    let (outcome, sent) = network.send(GroupId(3), 7, 200).await;
    assert!(matches!(outcome, Err(SendError::TooSlow { .. })), "{outcome:?}");
    sent.time
}

#[tokio::test(start_paused = true)]
async fn receiver_that_stands_still_is_given_up() {
    let limit = Limits::default().stall_time + Duration::from_secs(18);
    let time = borne_with(Fate::StandsStill(20)).await;
    assert!(time <= limit, "{time:?}");
}

#[tokio::test(start_paused = true)]
async fn receiver_that_trickles_is_given_up_though_it_never_stands_still() {
    // A tenth of the least rate: no frame takes as long as a receiver may stand still.
    let time = borne_with(Fate::Trickles(Duration::from_secs(10))).await;
    assert!(time <= Duration::from_secs(60), "{time:?}");
}

#[tokio::test(start_paused = true)]
async fn receiver_at_the_least_rate_gets_everything_however_long_it_takes() {
    let network = Network::new(Limits::default(), [Fate::Trickles(Duration::from_millis(950))]);
    let (outcome, sent) = network.send(GroupId(3), 7, 200).await;
    outcome.unwrap();
    assert!(sent.time > Duration::from_secs(180), "{:?}", sent.time);
    assert_eq!(network.installed(GroupId(3)), Some(200));
}

#[tokio::test(start_paused = true)]
async fn receiver_that_does_not_decide_is_given_up() {
    let undecided = Mutex::new(Vec::new());
    let keep = move |done| undecided.lock().unwrap().push(done);
    let network = Network::with_raft(Limits::default(), [], keep);
    let (outcome, sent) = network.send(GroupId(3), 7, 4).await;
    assert!(matches!(outcome, Err(SendError::Undecided { .. })), "{outcome:?}");
    assert_eq!(sent.time.as_secs(), network.limits.decision_time.as_secs());
}

#[tokio::test(start_paused = true)]
async fn sender_whose_connection_breaks_while_raft_decides_hears_the_decision() {
    for decided_early in [true, false] {
        let (deciding, mut waiting) = mpsc::channel(1);
        let raft = move |done| deciding.blocking_send(done).unwrap();
        // The head, four frames, one without pairs, and the end.
        let limits = Limits::default();
        let longer_than_reconnecting = limits.reconnect_time * 2;
        let network = Network::with_raft(limits, [Fate::Breaks(7)], raft);
        let decide = async {
            let done: oneshot::Sender<()> = waiting.recv().await.unwrap();
            if !decided_early {
                sleep(longer_than_reconnecting).await;
            }
            done.send(()).unwrap();
        };
        let ((outcome, sent), ()) = tokio::join!(network.send(GroupId(3), 7, 4), decide);
        outcome.unwrap();
        assert_eq!((sent.resumed, network.installed(GroupId(3))), (1, Some(4)));
    }
}

#[tokio::test(start_paused = true)]
async fn newer_transfer_takes_the_place_of_one_that_is_under_way() {
    let network = Network::new(Limits::default(), [Fate::StandsStill(5)]);
    let newer = async {
        while network.opened.load(Ordering::Relaxed) == 0 {
            sleep(Duration::from_millis(10)).await;
        }
        network.send(GroupId(3), 8, 30).await
    };
    let ((older, _), (newer, _)) = tokio::join!(network.send(GroupId(3), 7, 60), newer);
    newer.unwrap();
    let Err(SendError::Refused(status)) = older else { panic!("{older:?}") };
    assert_eq!(status.code(), tonic::Code::Aborted);
    assert_eq!(network.installed(GroupId(3)), Some(30));
}

/// What is said on a connection that goes on with a transfer.
fn resuming(
    group: GroupId,
    transfer: u64,
) -> impl Stream<Item = Result<SnapshotFrame, Status>> + Send + 'static {
    use flin_proto::peer::snapshot_frame::Frame;
    let mut head = state(group, 0).next().unwrap();
    let Some(Frame::Head(said)) = &mut head.frame else { panic!("a head") };
    (said.transfer, said.resumed) = (transfer, true);
    stream::iter([Ok(head)]).chain(stream::pending())
}

#[tokio::test(start_paused = true)]
async fn sender_with_a_forgotten_transfer_does_not_disturb_another() {
    let network = Network::new(Limits::default(), [Fate::Trickles(Duration::from_millis(100))]);
    let stale = async {
        while network.opened.load(Ordering::Relaxed) == 0 {
            sleep(Duration::from_millis(10)).await;
        }
        sleep(Duration::from_secs(1)).await;
        let mut answers = network.receiver.receive(SENDER, resuming(GroupId(3), 6)).await.unwrap();
        answers.next().await.unwrap().unwrap_err().code()
    };
    let ((outcome, sent), stale) = tokio::join!(network.send(GroupId(3), 7, 60), stale);
    outcome.unwrap();
    assert_eq!((stale, sent.resumed), (tonic::Code::NotFound, 0));
}

#[tokio::test(start_paused = true)]
async fn unfinished_stages_without_a_connection_are_bounded() {
    let limits = Limits { held_max: 1, ..Limits::default() };
    let network = Network::new(limits, [Fate::Breaks(5); 3]);
    let sends = (1..=3).map(|group| network.send(GroupId(group), 7, 30));
    let outcomes = futures::future::join_all(sends).await;
    let delivered = outcomes.iter().filter(|(outcome, _)| outcome.is_ok()).count();
    assert_eq!(delivered, 1);
    // The others begin anew.
    for group in 1..=3 {
        network.send(GroupId(group), 8, 30).await.0.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn receiver_that_keeps_an_unfinished_stage_ends_when_it_is_told_to() {
    let network = Network::new(Limits::default(), [Fate::StandsStill(5)]);
    let sending = network.send(GroupId(3), 7, 60);
    let stop = async {
        sleep(Duration::from_secs(1)).await;
        network.tasks.close();
        network.stop.cancel();
        network.tasks.wait().await;
    };
    tokio::select! {
        _ = sending => panic!("it ends by itself"),
        () = stop => {}
    }
    assert_eq!(network.installed(GroupId(3)), None);
}
