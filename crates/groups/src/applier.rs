//! The thread that owns the state machines.
//!
//! It takes whatever committed entries wait, applies them group by group, writes the effects of all of them
//! in one engine batch, and only then answers. Reads wait until their group has applied the index that raft
//! confirmed for them.

use std::collections::BTreeMap;
use std::iter;
use std::mem;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

use bytes::Bytes;
use flin_mutant::{Bug, is};
use flin_state::apply::Apply;
use flin_state::cluster::{Change, ClusterState, apply_cluster};
use flin_state::command::{Command, Committed};
use flin_state::engine::{Engine, WriteBatch};
use flin_state::ids::{GroupId, LogIndex, Timestamp};
use flin_state::keys::{EngineKey, GroupState, Space, group_range, space_range};
use flin_state::log::Entry;
use flin_state::operation::{Read, Reply, Write};
use flin_state::read::{ReadOutcome, read_all};
use tokio::sync::oneshot;
use tracing::debug;

use crate::board::Board;
use crate::clock::Clock;
use crate::decoding::{Steps, decoded};
use crate::estimate::estimate_bytes;
use crate::group::Waiter;
use crate::hosting::forgetting;
use crate::mailbox::{Answer, Groups, Input};
use crate::marks::{Mark, Marks};
use crate::metrics::CoreMetrics;
use crate::requests::RequestError;
use crate::snapshot::stage_name;
use crate::worker::Fatal;

/// Work that may wait for the applier; the worker waits when it is full.
pub(crate) const WORK_MAX: usize = 1_024;
/// Work taken at a time.
const WORK_PER_BATCH: usize = 256;
/// Keys that one sweep of a group removes.
const EXPIRE_PER_SWEEP: u32 = 1_000;
/// Groups whose size one sweep estimates.
const ESTIMATES_PER_SWEEP: usize = 8;

/// One thing for the applier to do.
pub(crate) enum Work {
    /// Committed entries that follow what the group has applied, and who waits for some of them.
    Commit { group: GroupId, entries: Vec<Entry>, waiters: Vec<(LogIndex, Vec<Waiter>)> },
    /// Reads to answer once the group has applied `index`.
    Read { group: GroupId, index: LogIndex, runs: Vec<(Vec<Read>, Answer)> },
    /// Replace the group's state by its stage, and say what it then is.
    Install { group: GroupId, done: SyncSender<GroupState> },
    /// A group to keep from now on, with what it has applied.
    Host { group: GroupId, state: GroupState },
    /// A group that is no longer hosted: delete what it holds, and say when that is done.
    Drop { group: GroupId, done: SyncSender<()> },
    /// Look for keys that are due in groups led here, and propose their removal; estimate the size of some.
    Sweep { groups: Vec<GroupId> },
}

/// The owner of the state machines of a node.
pub(crate) struct Applier {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) board: Arc<Board>,
    pub(crate) marks: Arc<Marks>,
    pub(crate) worker: Groups,
    pub(crate) metrics: CoreMetrics,
    pub(crate) cluster: Option<ClusterState>,
    pub(crate) groups: BTreeMap<GroupId, Hosted>,
    /// Whose size is estimated next.
    pub(crate) estimates: usize,
}

/// A group's state machine.
pub(crate) struct Hosted {
    pub(crate) state: GroupState,
    parked: Vec<Parked>,
}

struct Parked {
    index: LogIndex,
    runs: Vec<(Vec<Read>, Answer)>,
}

impl Hosted {
    pub(crate) fn new(state: GroupState) -> Self {
        Hosted { state, parked: Vec::new() }
    }
}

/// The commits of one group in a batch of work.
#[derive(Default)]
struct Commits {
    entries: Vec<Entry>,
    waiters: Vec<(LogIndex, Vec<Waiter>)>,
}

/// A reply on its way, held back until the engine has the effects.
enum Due {
    Replies(Answer, Vec<Reply>),
    Changed(oneshot::Sender<Result<(), RequestError>>, Result<(), RequestError>),
}

impl Applier {
    /// Works until there is no worker any more, or a failure that ends the node.
    pub(crate) fn run(mut self, work: &Receiver<Work>) -> Result<(), Fatal> {
        while let Ok(first) = work.recv() {
            self.work(iter::once(first).chain(work.try_iter().take(WORK_PER_BATCH)))?;
        }
        Ok(())
    }

    /// Does some of the work that waits: what was committed first, then what is read.
    pub(crate) fn work(&mut self, items: impl IntoIterator<Item = Work>) -> Result<(), Fatal> {
        let mut commits: BTreeMap<GroupId, Commits> = BTreeMap::new();
        let mut reads = Vec::new();
        for item in items {
            match item {
                Work::Commit { group, entries, waiters } => {
                    let commits = commits.entry(group).or_default();
                    commits.entries.extend(entries);
                    commits.waiters.extend(waiters);
                }
                Work::Read { group, index, runs } => reads.push((group, Parked { index, runs })),
                Work::Install { group, done } => {
                    self.advance(mem::take(&mut commits))?;
                    let state = self.install(group)?;
                    let _ = done.send(state);
                }
                Work::Host { group, state } => {
                    self.groups.insert(group, Hosted::new(state));
                }
                Work::Drop { group, done } => {
                    self.advance(mem::take(&mut commits))?;
                    self.drop_group(group)?;
                    let _ = done.send(());
                }
                Work::Sweep { groups } => {
                    self.sweep(&groups)?;
                    self.estimate(&groups)?;
                }
            }
        }
        self.advance(commits)?;
        reads.into_iter().try_for_each(|(group, parked)| self.read(group, parked))
    }

    /// Applies commits, and answers the reads that waited for them.
    fn advance(&mut self, commits: BTreeMap<GroupId, Commits>) -> Result<(), Fatal> {
        let moved: Vec<GroupId> = commits.keys().copied().collect();
        self.commit(commits)?;
        moved.into_iter().try_for_each(|group| self.unpark(group))
    }

    /// Applies the commits of any number of groups with one write, then answers.
    fn commit(&mut self, commits: BTreeMap<GroupId, Commits>) -> Result<(), Fatal> {
        if commits.is_empty() {
            return Ok(());
        }
        let (mut out, mut due) = (WriteBatch::default(), Vec::new());
        let mut marks = Vec::with_capacity(commits.len());
        for (group, commits) in commits {
            let Some(hosted) = self.groups.get_mut(&group) else { continue };
            self.metrics.entries_applied.inc_by(commits.entries.len() as u64);
            let mut steps = Steps::from(&hosted.state.configuration);
            if group == GroupId::META {
                let decode = |data: Bytes| Change::decode(&data).map_err(|e| e.to_string());
                let entries = commits.entries.into_iter();
                let entries = entries.map(|entry| decoded(group, entry, &mut steps, decode));
                let entries = entries.collect::<Result<Vec<_>, Fatal>>()?;
                let answers =
                    apply_cluster(&mut hosted.state, &mut self.cluster, &entries, &mut out);
                let answers = answers.into_iter().map(|answer| {
                    answer.map_err(|rejected| RequestError::Refused(rejected.to_string()))
                });
                match_changes(&entries, answers, commits.waiters, &mut due);
            } else {
                apply_writes(
                    &*self.engine,
                    group,
                    hosted,
                    commits,
                    &mut steps,
                    &mut out,
                    &mut due,
                )?;
            }
            let applied = hosted.state.applied;
            marks.push((group, Mark { applied, configurations: steps.taken }));
        }
        if is(Bug::TearBatches) {
            let edits = out.edits.into_iter();
            edits
                .map(|edit| WriteBatch { edits: vec![edit] })
                .try_for_each(|e| self.engine.write(e))?;
        } else {
            self.engine.write(out)?;
        }
        if let Some(cluster) = &self.cluster {
            self.publish(cluster);
        }
        self.marks.put(marks);
        self.worker.tell(Input::Applied);
        for due in due {
            // Whoever waited may be gone: the write took effect all the same.
            match due {
                Due::Replies(answer, replies) => drop(answer.send(Ok(replies))),
                Due::Changed(answer, result) => drop(answer.send(result)),
            }
        }
        Ok(())
    }

    /// Applies entries of a group that nobody waits for.
    pub(super) fn apply_unheard(
        &mut self,
        group: GroupId,
        entries: Vec<Entry>,
    ) -> Result<(), Fatal> {
        self.commit(BTreeMap::from([(group, Commits { entries, waiters: Vec::new() })]))
    }

    fn publish(&self, cluster: &ClusterState) {
        let known = self.board.view().cluster.as_ref().map(|known| known.revision);
        if known.is_none_or(|revision| revision < cluster.revision) {
            self.board.set_cluster(Arc::new(cluster.clone()));
        }
    }

    fn read(&mut self, group: GroupId, parked: Parked) -> Result<(), Fatal> {
        let Some(hosted) = self.groups.get_mut(&group) else { return Ok(()) };
        if hosted.state.applied < parked.index {
            hosted.parked.push(parked);
            return Ok(());
        }
        for (reads, answer) in parked.runs {
            self.answer(group, reads, answer)?;
        }
        Ok(())
    }

    fn unpark(&mut self, group: GroupId) -> Result<(), Fatal> {
        let Some(hosted) = self.groups.get_mut(&group) else { return Ok(()) };
        let applied = hosted.state.applied;
        let ripe: Vec<Parked> =
            hosted.parked.extract_if(.., |parked| parked.index <= applied).collect();
        ripe.into_iter().try_for_each(|parked| self.read(group, parked))
    }

    /// Answers a run of reads at this moment. A key that is due is removed by a command first, so that all
    /// replicas agree on when it went; the reads are then asked again.
    fn answer(&mut self, group: GroupId, reads: Vec<Read>, answer: Answer) -> Result<(), Fatal> {
        let Some(hosted) = self.groups.get_mut(&group) else { return Ok(()) };
        match read_all(&*self.engine, group, &hosted.state, self.clock.now(), &reads)? {
            ReadOutcome::Reply(replies) => drop(answer.send(Ok(replies))),
            ReadOutcome::ExpireFirst if !answer.is_closed() => {
                let index = hosted.state.applied.next();
                hosted.parked.push(Parked { index, runs: vec![(reads, answer)] });
                self.expire(group);
            }
            ReadOutcome::ExpireFirst => {}
        }
        Ok(())
    }

    fn sweep(&self, groups: &[GroupId]) -> Result<(), Fatal> {
        for group in groups {
            let Some(hosted) = self.groups.get(group) else { continue };
            let now = self.clock.now().max(hosted.state.last_time);
            if self.first_due(*group)?.is_some_and(|due| due <= now) {
                self.expire(*group);
            }
        }
        Ok(())
    }

    /// When the first key of a group to expire does so.
    fn first_due(&self, group: GroupId) -> Result<Option<Timestamp>, Fatal> {
        let (from, to) = space_range(group, Space::Expiry);
        let mut first = None;
        self.engine.scan(&from, &to, &mut |key, _| {
            if let Some((_, EngineKey::Expiry(moment, _))) = EngineKey::parse(key) {
                first = Some(moment);
            }
            ControlFlow::Break(())
        })?;
        Ok(first)
    }

    /// Proposes the removal of what is due. Lost is lost: whoever meets the keys next does it again.
    fn expire(&self, group: GroupId) {
        let (answer, _) = oneshot::channel();
        let writes = vec![Write::ExpireDue { limit: EXPIRE_PER_SWEEP }];
        if !self.worker.tell(Input::Write { group, writes, answer }) {
            debug!(%group, "no room to expire keys now");
        }
    }

    /// Estimates the live data of a few groups, in turn: what some records take, times their number.
    fn estimate(&mut self, groups: &[GroupId]) -> Result<(), Fatal> {
        let Some(start) = self.estimates.checked_rem(groups.len()) else { return Ok(()) };
        self.estimates = self.estimates.wrapping_add(ESTIMATES_PER_SWEEP);
        let turn = groups.iter().cycle().skip(start).take(ESTIMATES_PER_SWEEP.min(groups.len()));
        for group in turn {
            let Some(hosted) = self.groups.get(group) else { continue };
            let bytes = estimate_bytes(&*self.engine, *group, hosted.state.keys)?;
            self.board.set_estimated_bytes(*group, bytes);
        }
        Ok(())
    }

    fn drop_group(&mut self, group: GroupId) -> Result<(), Fatal> {
        self.groups.remove(&group);
        self.marks.clear(group);
        self.engine.write(forgetting(group))?;
        if group == GroupId::META {
            // From now on the state comes from those who hold the group.
            self.cluster = None;
        }
        Ok(())
    }

    fn install(&mut self, group: GroupId) -> Result<GroupState, Fatal> {
        self.marks.clear(group);
        let (from, to) = group_range(group);
        self.engine.install(&stage_name(group), &from, &to)?;
        let state = GroupState::load(&*self.engine, group)?.ok_or_else(|| {
            let what = "the snapshot carries no state of the group".to_owned();
            Fatal::Entry { group, index: LogIndex(0), what }
        })?;
        if group == GroupId::META {
            self.cluster = ClusterState::load(&*self.engine)?;
            if let Some(cluster) = &self.cluster {
                self.publish(cluster);
            }
        }
        self.groups.insert(group, Hosted::new(state.clone()));
        Ok(state)
    }
}

/// Gives each run of writes its part of its entry's replies.
fn apply_writes(
    engine: &dyn Engine,
    group: GroupId,
    hosted: &mut Hosted,
    commits: Commits,
    steps: &mut Steps,
    out: &mut WriteBatch,
    due: &mut Vec<Due>,
) -> Result<(), Fatal> {
    let decode = |data| Command::decode(data).map_err(|error| error.to_string());
    let mut waiters = commits.waiters.into_iter().peekable();
    let mut run = Apply::begin(engine, group, &mut hosted.state);
    for entry in commits.entries {
        let entry = decoded(group, entry, steps, decode)?;
        let index = entry.index;
        let mut replies = run.entry(entry)?.into_iter();
        if let Some((_, runs)) = waiters.next_if(|(waited, _)| *waited == index) {
            due.extend(runs.into_iter().map(|waiter| match waiter {
                Waiter::Writes { count, answer } => {
                    Due::Replies(answer, replies.by_ref().take(count).collect())
                }
                Waiter::Change(answer) => Due::Changed(answer, Ok(())),
            }));
        }
        if run.is_full() {
            // Nobody is answered yet, so writing early shows nothing too early.
            run.finish(out);
            engine.write(mem::take(out))?;
            run = Apply::begin(engine, group, &mut hosted.state);
        }
    }
    run.finish(out);
    Ok(())
}

fn match_changes(
    entries: &[Committed<Change>],
    answers: impl Iterator<Item = Result<(), RequestError>>,
    waiters: Vec<(LogIndex, Vec<Waiter>)>,
    due: &mut Vec<Due>,
) {
    let mut waiters = waiters.into_iter().peekable();
    for (entry, result) in entries.iter().zip(answers) {
        let Some((_, runs)) = waiters.next_if(|(index, _)| *index == entry.index) else { continue };
        for run in runs {
            match run {
                Waiter::Change(answer) => due.push(Due::Changed(answer, result.clone())),
                waiter @ Waiter::Writes { .. } => {
                    waiter.fail(RequestError::Refused("the meta group holds no keys".into()));
                }
            }
        }
    }
}
