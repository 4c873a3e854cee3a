//! Golden scripts over a little cluster. `UPDATE_GOLDENFILES=1` writes what the replicas do now.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Write as _;

use bytes::Bytes;
use flin_replica::{Step, next_step};
use flin_state::cluster::{Job, Placement};
use flin_state::ids::{LogIndex, NodeId, ReplicaId, Term};
use flin_state::log::{EntryKind, INITIAL_INDEX, Log};
use flin_state::membership::{Configuration, ConfigurationChange};
use prost::Message as _;
use raft::eraftpb;

use crate::cluster::{Cluster, Event, GROUP, Parcel};

macro_rules! scripts {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() -> std::io::Result<()> {
                let path = concat!("tests/scripts/", stringify!($name));
                goldenscript::run(&mut Story::default(), path)
            }
        )*
    };
}

scripts! {
    election
    replication
    leader_loss
    pre_vote
    read_index
    transfer
    snapshot
    restart
    disorder
    limits
    sole_replica
    exchange
    taken_back
    sole_replica_moves
    forgotten_commit
}

/// Which messages under way a command is about; all, when nothing is said.
#[derive(goldenscript::Command)]
enum Command {
    /// Begins with so many replicas.
    Cluster {
        #[arg(key)]
        replicas: u64,
        #[arg(key)]
        seed: Option<u64>,
    },
    /// Lets time pass for everyone, and delivers everything after each tick.
    Run(u64),
    /// Proposes entries of so many bytes until one is refused, and delivers nothing.
    Flood {
        id: u64,
        #[arg(key)]
        bytes: usize,
    },
    /// Tells a replica to begin an election.
    Campaign(u64),
    /// Lets time pass for one replica, or for all.
    Tick {
        #[arg(key)]
        id: Option<u64>,
        #[arg(key)]
        times: Option<u64>,
    },
    /// Proposes on a replica.
    Propose { id: u64, data: Vec<String> },
    /// Delivers what is under way now, in order; what it causes stays under way.
    Deliver {
        #[arg(key)]
        from: Option<u64>,
        #[arg(key)]
        to: Option<u64>,
        #[arg(key)]
        kind: Option<String>,
    },
    /// Delivers until nothing is under way, and tells only what the replicas do.
    Settle,
    /// Loses messages under way.
    Drop {
        #[arg(key)]
        from: Option<u64>,
        #[arg(key)]
        to: Option<u64>,
        #[arg(key)]
        kind: Option<String>,
    },
    /// Doubles every message under way.
    Double,
    /// Turns the order of the messages under way around.
    Reverse,
    /// Cuts replicas off; what they send or should get is lost.
    Isolate(Vec<u64>),
    /// Parts the network: these on one side, the rest on the other.
    Part(Vec<u64>),
    /// Connects everyone again.
    Heal,
    /// Begins a blank replica, on the node of the same number.
    Join(u64),
    /// Ends a replica for ever.
    Destroy(u64),
    /// Proposes a change of the configuration: `add 4`, `remove 4`, `exchange 4 for 1` or `leave`.
    Change { id: u64, what: Vec<String> },
    /// Says what a leader should do next for a job, and does it if it is a change.
    Next {
        id: u64,
        #[arg(key)]
        add: Option<u64>,
        #[arg(key)]
        remove: Option<u64>,
        #[arg(key)]
        undo: Option<bool>,
    },
    /// Power fails at a replica.
    Crash(u64),
    /// Starts a crashed replica.
    Start(u64),
    /// Asks for a read index with a context.
    Read(u64, u64),
    /// Hands leadership over from one to another.
    Transfer(u64, u64),
    /// Makes a replica's state durable and forgets its log up to there.
    Compact(u64),
    /// Shows every replica.
    Status,
    /// Shows what each replica applied.
    State,
    /// Shows the configuration that each replica applied.
    Members,
}

#[derive(Default)]
struct Story {
    cluster: Option<Cluster>,
    isolated: Vec<ReplicaId>,
    parted: Vec<ReplicaId>,
}

impl goldenscript::Runner for Story {
    type Command = Command;

    fn run(
        &mut self,
        command: &Command,
        _: &goldenscript::Context,
    ) -> Result<String, Box<dyn Error>> {
        let mut out = String::new();
        match command {
            Command::Cluster { replicas, seed } => {
                self.cluster = Some(Cluster::new(*replicas, seed.unwrap_or(0)));
            }
            Command::Run(times) => {
                for _ in 0..*times {
                    self.tick(None, &mut out);
                    self.settle(&mut out);
                }
            }
            Command::Flood { id, bytes } => {
                let replica = self.cluster().replica(ReplicaId(*id));
                let data = Bytes::from(vec![b'x'; *bytes]);
                let accepted = std::iter::repeat_with(|| replica.propose(data.clone()))
                    .take_while(Result::is_ok);
                writeln!(out, "{id} took {} of {bytes} bytes", accepted.count())?;
                self.work(*id, &mut out);
            }
            Command::Campaign(id) => {
                self.cluster().replica(ReplicaId(*id)).campaign();
                self.work(*id, &mut out);
            }
            Command::Tick { id, times } => {
                for _ in 0..times.unwrap_or(1) {
                    self.tick(*id, &mut out);
                }
            }
            Command::Propose { id, data } => {
                for data in data {
                    let data = Bytes::from(data.clone());
                    match self.cluster().replica(ReplicaId(*id)).propose(data) {
                        Ok(index) => writeln!(out, "{id} proposed {index}")?,
                        Err(error) => writeln!(out, "{id} refused: {error}")?,
                    }
                }
                self.work(*id, &mut out);
            }
            Command::Deliver { from, to, kind } => {
                for parcel in self.take(*from, *to, kind.as_deref()) {
                    writeln!(out, "{}", describe(&parcel))?;
                    self.deliver(parcel, &mut out);
                }
            }
            Command::Settle => self.settle(&mut out),
            Command::Drop { from, to, kind } => {
                for parcel in self.take(*from, *to, kind.as_deref()) {
                    writeln!(out, "lost {}", describe(&parcel))?;
                    let from = parcel.message.from;
                    self.cluster().lose(parcel);
                    self.work(from.0, &mut out);
                }
            }
            Command::Double => {
                let network = &mut self.cluster().network;
                *network = network.iter().flat_map(|p| [p.clone(), p.clone()]).collect();
            }
            Command::Reverse => self.cluster().network.reverse(),
            Command::Isolate(ids) => self.isolated = ids.iter().copied().map(ReplicaId).collect(),
            Command::Part(ids) => self.parted = ids.iter().copied().map(ReplicaId).collect(),
            Command::Heal => {
                self.isolated.clear();
                self.parted.clear();
            }
            Command::Join(id) => {
                let (index, term) = (LogIndex(0), Term(0));
                self.cluster().add(ReplicaId(*id), index, term, Configuration::default());
            }
            Command::Destroy(id) => self.cluster().destroy(ReplicaId(*id)),
            Command::Change { id, what } => {
                let change = change(what).ok_or("no such change")?;
                self.change(*id, &change, &mut out)?;
            }
            Command::Next { id, add, remove, undo } => {
                let place = |id: u64| Placement { replica: ReplicaId(id), node: NodeId(id) };
                let (add, remove) = (add.map(place), remove.map(place));
                let job = Job { id: 1, add, remove, undo: undo.unwrap_or(false) };
                let replica = self.cluster().replica(ReplicaId(*id));
                let (status, known) = (replica.status(), replica.configuration().clone());
                match next_step(&status, &known, ReplicaId(*id), Some(&job)) {
                    Step::Propose(change) => self.change(*id, &change, &mut out)?,
                    step => writeln!(out, "{id} should {step:?}")?,
                }
            }
            Command::Crash(id) => self.cluster().crash(ReplicaId(*id), 0),
            Command::Start(id) => {
                self.cluster().start(ReplicaId(*id));
                self.work(*id, &mut out);
            }
            Command::Read(id, context) => {
                match self.cluster().replica(ReplicaId(*id)).read_index(*context) {
                    Ok(()) => writeln!(out, "{id} asked for {context}")?,
                    Err(error) => writeln!(out, "{id} refused: {error}")?,
                }
                self.work(*id, &mut out);
            }
            Command::Transfer(from, to) => {
                let began =
                    self.cluster().replica(ReplicaId(*from)).transfer_leader(ReplicaId(*to));
                writeln!(out, "{from} {}", if began { "began" } else { "did not begin" })?;
                self.work(*from, &mut out);
            }
            Command::Compact(id) => {
                self.cluster().compact(ReplicaId(*id), 0);
                let first = self.cluster().member(ReplicaId(*id)).log.first_index(GROUP);
                writeln!(out, "{id} log begins at {first}")?;
            }
            Command::Status => self.status(&mut out)?,
            Command::State => self.state(&mut out)?,
            Command::Members => self.members(&mut out)?,
        }
        Ok(out)
    }
}

impl Story {
    fn cluster(&mut self) -> &mut Cluster {
        self.cluster.as_mut().expect("the script begins with `cluster`")
    }

    fn ids(&mut self) -> Vec<ReplicaId> {
        self.cluster().members.keys().copied().collect()
    }

    fn tick(&mut self, only: Option<u64>, out: &mut String) {
        for id in self.ids() {
            if only.is_some_and(|only| only != id.0) {
                continue;
            }
            if let Some(replica) = &mut self.cluster().member(id).replica {
                replica.tick();
                self.work(id.0, out);
            }
        }
    }

    fn settle(&mut self, out: &mut String) {
        for _ in 0..100 {
            let parcels = self.take(None, None, None);
            if parcels.is_empty() {
                return;
            }
            parcels.into_iter().for_each(|parcel| self.deliver(parcel, out));
        }
        panic!("the cluster does not come to rest");
    }

    fn deliver(&mut self, parcel: Parcel, out: &mut String) {
        let (from, to) = (parcel.message.from, parcel.message.to);
        let cut = |id| self.isolated.contains(&id);
        let side = |id| self.parted.contains(&id);
        if cut(from) || cut(to) || side(from) != side(to) {
            self.cluster().lose(parcel);
        } else if let Err(error) = self.cluster().deliver(parcel) {
            writeln!(out, "{to} dropped it: {error}").unwrap();
        }
        self.work(to.0, out);
        self.work(from.0, out);
    }

    /// Takes the messages under way that fit.
    fn take(&mut self, from: Option<u64>, to: Option<u64>, kind: Option<&str>) -> Vec<Parcel> {
        let network = std::mem::take(&mut self.cluster().network);
        let (taken, left) = network.into_iter().partition(|parcel| {
            from.is_none_or(|from| parcel.message.from.0 == from)
                && to.is_none_or(|to| parcel.message.to.0 == to)
                && kind.is_none_or(|kind| parcel.message.kind() == kind)
        });
        self.cluster().network = left;
        taken
    }

    fn work(&mut self, id: u64, out: &mut String) {
        for event in self.cluster().work(ReplicaId(id), None) {
            match event {
                Event::Role(change) => {
                    let leader = change.leader.map_or("nobody".to_owned(), |id| id.to_string());
                    let (role, term) = (change.role, change.term);
                    writeln!(out, "{id} is {role} in term {term}, leader {leader}")
                }
                Event::Applied(entry, since) if entry.kind == EntryKind::Configuration => {
                    let (index, term) = (entry.index, entry.term);
                    writeln!(out, "{id} applied {index} of term {term}: {}", members(&since))
                }
                Event::Applied(entry, _) => {
                    let data = String::from_utf8_lossy(&entry.data);
                    let data = if data.len() > 20 { "..." } else { &data };
                    writeln!(out, "{id} applied {} of term {} {data:?}", entry.index, entry.term)
                }
                Event::Read(read) => {
                    writeln!(out, "{id} may read {} at {}", read.context, read.index)
                }
                Event::Installed(index) => writeln!(out, "{id} installed a snapshot at {index}"),
            }
            .unwrap();
        }
    }

    fn change(
        &mut self,
        id: u64,
        change: &ConfigurationChange,
        out: &mut String,
    ) -> Result<(), Box<dyn Error>> {
        match self.cluster().replica(ReplicaId(id)).propose_configuration(change) {
            Ok(index) => writeln!(out, "{id} proposed {index}: {change:?}")?,
            Err(error) => writeln!(out, "{id} refused: {error}")?,
        }
        self.work(id, out);
        Ok(())
    }

    fn status(&mut self, out: &mut String) -> Result<(), Box<dyn Error>> {
        for member in self.cluster().members.values() {
            let id = member.id;
            let Some(replica) = &member.replica else {
                writeln!(out, "{id} down")?;
                continue;
            };
            let s = replica.status();
            let leader = s.leader.map_or("nobody".to_owned(), |id| id.to_string());
            write!(out, "{id} {} term={} leader={leader}", s.role, s.term)?;
            write!(out, " last={} commit={} applied={}", s.last, s.commit, s.applied_to)?;
            for peer in &s.peers {
                write!(out, " {}:{}", peer.replica, peer.matched)?;
                write!(out, "{}", if peer.active { "" } else { ",silent" })?;
                write!(out, "{}", if peer.caught_up { "" } else { ",behind" })?;
                write!(out, "{}", if peer.in_snapshot { ",snapshot" } else { "" })?;
            }
            writeln!(out)?;
        }
        Ok(())
    }

    fn state(&mut self, out: &mut String) -> Result<(), Box<dyn Error>> {
        for member in self.cluster().members.values() {
            let commands: Vec<_> = member
                .state
                .commands
                .iter()
                .map(|(_, data)| String::from_utf8_lossy(data))
                .collect();
            writeln!(out, "{} {}", member.id, commands.join(" "))?;
        }
        Ok(())
    }
}

impl Story {
    fn members(&mut self, out: &mut String) -> Result<(), Box<dyn Error>> {
        for member in self.cluster().members.values() {
            let Some(replica) = &member.replica else {
                writeln!(out, "{} down", member.id)?;
                continue;
            };
            let settled = if replica.status().configuration_settled { ", settled" } else { "" };
            writeln!(out, "{} {}{settled}", member.id, members(replica.configuration()))?;
        }
        Ok(())
    }
}

/// A change in words: `add 4`, `remove 4`, `exchange 4 for 1` or `leave`.
fn change(what: &[String]) -> Option<ConfigurationChange> {
    let (kind, ids) = what.split_first()?;
    let all = |ids: &[String]| -> BTreeSet<ReplicaId> {
        ids.iter().filter_map(|id| id.parse().ok()).map(ReplicaId).collect()
    };
    let (left, right) = ids.split_at(ids.iter().position(|id| id == "for").unwrap_or(ids.len()));
    let one = || ids.first()?.parse::<u64>().ok();
    Some(match kind.as_str() {
        "add" => {
            ConfigurationChange::AddLearner { replica: ReplicaId(one()?), node: NodeId(one()?) }
        }
        "remove" => ConfigurationChange::RemoveLearner { replica: ReplicaId(one()?) },
        "exchange" => ConfigurationChange::Exchange { promote: all(left), remove: all(right) },
        "leave" => ConfigurationChange::LeaveJoint,
        _ => return None,
    })
}

/// A configuration in one line.
fn members(configuration: &Configuration) -> String {
    let Configuration { voters, learners, voters_outgoing, .. } = configuration;
    let mut line = "voters".to_owned();
    for (word, ids) in [("", voters), (" and", voters_outgoing), (" learners", learners)] {
        if !ids.is_empty() {
            line.push_str(word);
            ids.iter().for_each(|id| write!(line, " {id}").unwrap());
        }
    }
    line
}

/// A message in one line. Only tests look into the envelope.
fn describe(parcel: &Parcel) -> String {
    let message = &parcel.message;
    let inner = eraftpb::Message::decode(message.bytes.slice(2..)).expect("our own message");
    let mut words = BTreeMap::new();
    let mut word = |name, value: u64| {
        if value > 0 {
            words.insert(name, value);
        }
    };
    word("term", inner.term);
    word("commit", inner.commit);
    word("index", inner.index);
    word("log_term", inner.log_term);
    word("hint", inner.reject_hint);
    if let Some(metadata) = inner.snapshot.and_then(|snapshot| snapshot.metadata) {
        word("index", metadata.index);
        word("log_term", metadata.term);
    }
    let mut line = format!("{}->{} {}", message.from, message.to, message.kind());
    for (name, value) in words {
        write!(line, " {name}={value}").unwrap();
    }
    if let (Some(first), Some(last)) = (inner.entries.first(), inner.entries.last())
        && first.index > 0
    {
        write!(line, " entries={}..={}", first.index, last.index).unwrap();
    }
    if inner.reject {
        line.push_str(" reject");
    }
    line
}

#[test]
fn a_cluster_begins_after_the_initial_index() {
    let cluster = Cluster::new(3, 0);
    for member in cluster.members.values() {
        assert_eq!(member.replica.as_ref().unwrap().status().commit, INITIAL_INDEX);
    }
}
