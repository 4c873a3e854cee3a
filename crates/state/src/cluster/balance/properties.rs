//! What holds whatever happens to a cluster.

use proptest::prelude::*;

use super::simulation::Simulation;
use crate::cluster::Change;
use crate::ids::NodeId;

/// What may happen to a cluster.
#[derive(Clone, Debug)]
enum Event {
    Join(&'static str),
    Drain(Vec<u64>),
    Lose(u64),
    Find(u64),
    Replicate(u8),
    Pause(bool),
    /// So many jobs end.
    Work(usize),
}

const ZONES: [&str; 4] = ["", "a", "b", "c"];

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => prop::sample::select(ZONES.to_vec()).prop_map(Event::Join),
        3 => prop::collection::vec(1_u64..12, 0..4).prop_map(Event::Drain),
        1 => (1_u64..12).prop_map(Event::Lose),
        1 => (1_u64..12).prop_map(Event::Find),
        1 => prop::sample::select(vec![1_u8, 3, 5]).prop_map(Event::Replicate),
        1 => any::<bool>().prop_map(Event::Pause),
        5 => (1_usize..20).prop_map(Event::Work),
    ]
}

impl Simulation {
    /// Lets it happen; what the rules refuse does not.
    fn happen(&mut self, event: Event) {
        let _refused = match event {
            Event::Join(zone) => {
                self.join(zone);
                Ok(())
            }
            Event::Drain(nodes) => {
                let there: Vec<_> = nodes
                    .into_iter()
                    .filter(|n| self.state.members.contains_key(&NodeId(*n)))
                    .collect();
                self.drain(there)
            }
            Event::Lose(node) => self.change(Change::SetLost { node: NodeId(node), lost: true }),
            Event::Find(node) => self.change(Change::SetLost { node: NodeId(node), lost: false }),
            Event::Replicate(replication_factor) => {
                self.change(Change::SetReplicationFactor { replication_factor })
            }
            Event::Pause(paused) => self.pause(paused),
            Event::Work(steps) => {
                for _ in 0..steps {
                    self.follow();
                    self.end_one_job();
                }
                Ok(())
            }
        };
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_happened_it_settles_and_stays_so(
        partitions in 1_u16..40,
        factor in prop::sample::select(vec![1_u8, 3, 5]),
        zones in prop::collection::vec(prop::sample::select(ZONES.to_vec()), 5..9),
        events in prop::collection::vec(any_event(), 0..20),
        seed: u64,
    ) {
        let mut simulation = Simulation::new(partitions, factor, &zones, seed);
        events.into_iter().for_each(|event| simulation.happen(event));
        let all: Vec<_> = simulation.state.members.keys().copied().collect();
        for node in all {
            simulation.change(Change::SetLost { node, lost: false }).expect("found");
        }
        simulation.pause(false).expect("resumes");
        simulation.settle();
        simulation.assert_settled();
        simulation.remove_empty();
        simulation.assert_settled();
    }

    #[test]
    fn a_change_of_scale_moves_what_was_planned_and_hardly_more_than_it_must(
        partitions in 16_u16..100,
        factor in prop::sample::select(vec![1_u8, 3, 5]),
        nodes in 5_usize..9,
        scales in prop::collection::vec(5_usize..12, 1..4),
        seed: u64,
    ) {
        let mut simulation = Simulation::new(partitions, factor, &vec![""; nodes], seed);
        for scale in scales {
            (simulation.state.members.len()..scale).for_each(|_| simulation.join(""));
            let surplus: Vec<_> = simulation.state.members.keys().skip(scale).map(|n| n.0).collect();
            simulation.drain(surplus).expect("enough remain");
            let meta = simulation.state.meta.iter().filter(|p| !simulation.state.serves(p.node)).count();
            let (needed, planned) = (simulation.additions_needed(), simulation.additions_planned());
            prop_assert_eq!(simulation.settle(), planned);
            prop_assert!((planned - meta) * 10 <= needed * 11 + 10, "{} of {}", planned, needed);
            simulation.assert_settled();
            simulation.remove_empty();
            prop_assert_eq!(simulation.state.members.len(), scale);
        }
    }

    #[test]
    fn zones_within_their_share_never_share_a_group(
        partitions in 1_u16..60,
        zones in prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "d", "e"]), 3..10),
        joining in prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "d", "e"]), 0..6),
        seed: u64,
    ) {
        let mut simulation = Simulation::new(partitions, 3, &zones, seed);
        joining.iter().for_each(|zone| simulation.join(zone));
        let all: Vec<_> = zones.iter().chain(&joining).collect();
        let size = |zone: &&str| all.iter().filter(|other| **other == zone).count();
        prop_assume!(all.iter().all(|zone| size(zone) * 3 <= all.len()));
        simulation.settle();
        simulation.assert_settled();
        prop_assert_eq!(simulation.crowded(), 0);
    }
}
