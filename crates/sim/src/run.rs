//! One run: a cluster is founded, clients work, faults strike, peace comes, and everything is judged.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use flin_check::linear::{self, FailureKind, Limits, Operation};
use tokio_util::sync::CancellationToken;

use crate::chance::Chance;
use crate::clients::{Client, Keyspace, Notes};
use crate::keeper::Keeper;
use crate::kernel::Owner;
use crate::machine::Slot;
use crate::nemesis::Coverage;
use crate::plan::Plan;
use crate::story::Story;
use crate::watch::Counts;
use crate::world::World;

/// How long a new cluster may take until it serves.
const FOUNDING_US: u64 = 30_000_000;
/// How long a new cluster is left alone.
const SETTLING_US: u64 = 3_000_000;
/// How long after the last fault clients may still be at work.
const WORK_US: u64 = 120_000_000;
/// How long a cluster may take to become what it should be once nothing goes wrong any more.
const PEACE_US: u64 = 180_000_000;
/// How long the last reads may take in a cluster that is well.
const READING_US: u64 = 30_000_000;
/// What the checker may spend on one object.
const STEPS_MAX: u64 = 5_000_000;

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The plan.
    pub plan: Plan,
    /// What must never be and was; empty if all is well.
    pub violations: Vec<String>,
    /// What happened how often.
    pub counts: Counts,
    /// Those of the elections that founding the cluster took.
    pub founding_elections: u64,
    /// What was struck.
    pub coverage: Coverage,
    /// The operations that were checked.
    pub history: Vec<Operation>,
    /// How long it took in the time of the run, in microseconds.
    pub lasted_us: u64,
    /// What happened, in words and as a fingerprint.
    pub story: Story,
}

impl Outcome {
    /// How many operations nobody knows the outcome of.
    pub fn unknown(&self) -> usize {
        self.history.iter().filter(|operation| operation.to_us.is_none()).count()
    }
}

/// Runs a plan; with `told` the story is in words.
pub fn run(plan: &Plan, told: bool) -> Outcome {
    let mut course = Course::begin(plan, told);
    // What the product asserts of itself counts like what is seen from outside.
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| course.go())) {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
        course.accuse(format!("a node panicked: {}", words.unwrap_or("without words")));
    }
    course.end()
}

struct Course<'a> {
    plan: &'a Plan,
    world: World,
    notes: Notes,
    keyspace: Keyspace,
    founding_elections: u64,
}

impl<'a> Course<'a> {
    fn begin(plan: &'a Plan, told: bool) -> Self {
        let mut chance = Chance::new(plan.seed ^ 0x5eed);
        let story = Story::new(told);
        let world_chance = chance.fork();
        let mut world = World::new(world_chance, plan.genesis(), plan.log_size(), story);
        for slot in (0..plan.machines).map(Slot) {
            world.add_machine(slot, plan.sync_us);
        }
        world.wishes.want((0..plan.founders).map(Slot).collect::<BTreeSet<_>>());
        let keyspace = Keyspace {
            keys: plan.keys,
            partitions: plan.partitions,
            clock_error_us: (plan.clock_error_ms > 0).then_some(plan.clock_error_ms * 1_000),
        };
        let keeper = Keeper {
            cluster_id: plan.genesis().cluster_id,
            time: world.time.clone(),
            doors: world.doors.clone(),
            wishes: world.wishes.clone(),
            spawner: world.spawner(),
            chance: chance.fork(),
        };
        world.spawner().spawn(Owner::Outside, keeper.keep());
        Course { plan, world, notes: Notes::default(), keyspace, founding_elections: 0 }
    }

    fn go(&mut self) {
        for member in self.plan.genesis().members {
            let slot = u8::try_from(member.node_id.0 - 1).unwrap_or(0);
            self.world.start(Slot(slot), member.node_id);
        }
        let served = self.world.run_until(FOUNDING_US, |world| world.serves());
        if !served {
            return self.accuse(format!("no cluster after {} s", FOUNDING_US / 1_000_000));
        }
        self.world.tell("the cluster serves");
        // Leaders that were elected at once are handed to whom they belong before anybody works.
        let settled_us = self.world.time.now_us() + SETTLING_US;
        self.world.run_until(settled_us, |_| false);
        self.founding_elections = self.world.watch.counts.elections;
        self.work();
        if self.world.watch.is_violated() {
            return;
        }
        self.world.make_peace();
        self.rest();
        if !self.world.watch.is_violated() {
            self.read_all();
        }
    }

    /// Clients work while faults strike.
    fn work(&mut self) {
        let clients = u32::from(self.plan.clients);
        let spread_us = self.plan.last_fault_us().max(1_000_000);
        let each = (self.plan.operations / clients).max(1);
        for number in 0..clients {
            let client = self.client(number, 2 * spread_us / u64::from(each));
            self.world.spawner().spawn(Owner::Outside, client.work());
        }
        self.world.unleash(&self.plan.faults);
        let (notes, operations) = (self.notes.clone(), self.plan.operations);
        let faults_end_us = self.world.time.now_us() + self.plan.last_fault_us();
        let end_us = faults_end_us + WORK_US;
        self.world.run_until(end_us, |world| {
            notes.ended() >= operations && world.time.now_us() > faults_end_us
        });
        // Whoever went away now would not write down what may yet take effect.
        notes.close();
        self.world.run_until(end_us + WORK_US, |_| notes.are_complete());
    }

    /// In peace everything becomes as it should be.
    fn rest(&mut self) {
        let begun_us = self.world.time.now_us();
        let (end_us, mut next_us) = (begun_us + PEACE_US, begun_us);
        let rested = self.world.run_until(end_us, |world| {
            // Looking is not cheap.
            let now_us = world.time.now_us();
            if now_us < next_us {
                return false;
            }
            next_us = now_us + 200_000;
            world.unrest().is_none()
        });
        if !rested && !self.world.watch.is_violated() {
            let why = self.world.unrest().unwrap_or_default();
            return self.accuse(format!("after {} s of peace: {why}", PEACE_US / 1_000_000));
        }
        self.world.tell("the cluster is at rest");
        self.world.compare_replicas();
    }

    /// Everything is read once more, so that nothing that was lost goes unnoticed.
    fn read_all(&mut self) {
        let done = CancellationToken::new();
        let (client, token) = (self.client(u32::from(self.plan.clients), 0), done.clone());
        self.world.spawner().spawn(Owner::Outside, async move {
            client.read_all().await;
            token.cancel();
        });
        let end_us = self.world.time.now_us() + READING_US;
        if !self.world.run_until(end_us, |_| done.is_cancelled()) {
            self.accuse("a cluster at rest does not answer".to_owned());
        }
    }

    fn client(&mut self, number: u32, pause_us: u64) -> Client {
        Client {
            number,
            time: self.world.time.clone(),
            doors: self.world.doors.clone(),
            spawner: self.world.spawner(),
            chance: self.world.chance.fork(),
            keyspace: self.keyspace,
            notes: self.notes.clone(),
            pause_us,
        }
    }

    fn accuse(&mut self, words: String) {
        self.world.watch.accuse(words);
    }

    fn end(mut self) -> Outcome {
        let history = self.notes.history();
        let limits = Limits { clock_error_us: self.keyspace.error_us(), steps_max: STEPS_MAX };
        match linear::check(&history, &limits) {
            Ok(failures) => {
                for failure in failures {
                    match failure.kind {
                        FailureKind::NotLinearizable => self.accuse(failure.to_string()),
                        // That proves nothing, and is counted.
                        FailureKind::Undecided => self.world.watch.counts.undecided += 1,
                    }
                }
            }
            Err(malformed) => self.accuse(malformed.to_string()),
        }
        self.notes.complaints().into_iter().for_each(|words| self.accuse(words));
        let now_us = self.world.time.now_us();
        for operation in &history {
            let what = format!("{operation:?}");
            self.world.story.note(now_us, u64::from(crc32fast::hash(what.as_bytes())));
        }
        let violations = self.world.watch.accusations().to_vec();
        for words in &violations {
            self.world.tell(format!("VIOLATION: {words}"));
        }
        Outcome {
            plan: self.plan.clone(),
            violations,
            counts: self.world.watch.counts,
            founding_elections: self.founding_elections,
            coverage: std::mem::take(&mut self.world.coverage),
            history,
            lasted_us: now_us,
            story: self.world.story,
        }
    }
}
