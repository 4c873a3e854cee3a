//! Where the replicas of partitions should end: the goal that the fewest moves reach.
//!
//! In order of importance: every partition has its number of replicas on different nodes; nodes hold equally
//! many within one; as few as possible share a zone with another of their partition; and as few as possible
//! are somewhere new. That is a flow of least cost from partitions over their zones to nodes, and it is found
//! like one: from any solution that is even, by exchanges in a circle, each of which leaves every node with
//! what it had and costs less, until there is none.
//!
//! The best solution only depends on the nodes, never on how far the moves are; and each move that brings
//! it nearer leaves one cheaper by that move. So a plan that is made anew after every step converges, with no
//! more moves than the first plan had.

use std::collections::BTreeSet;

use super::circle::Exchanges;

/// What it costs that two replicas of a partition share a zone: more than all movement together.
const CROWDED: i64 = 1 << 20;

/// What it costs that a replica ends on a node, by what the partition has there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// It is there to stay unless it is moved.
    Settled,
    /// A move is adding it.
    Arriving,
    /// A move is taking it away.
    Leaving,
}

impl Presence {
    /// Finishing a move comes before taking it back, which comes before another one.
    fn cost(presence: Option<Presence>) -> i64 {
        match presence {
            Some(Presence::Settled) => 0,
            Some(Presence::Arriving) => 1,
            Some(Presence::Leaving) => 2,
            None => 4,
        }
    }
}

/// A partition, as far as it is on nodes that replicas may be on. Nodes are numbers from 0.
#[derive(Clone, Debug, Default)]
pub(super) struct Holding {
    /// What it has on which nodes.
    pub(super) present: Vec<(usize, Presence)>,
}

impl Holding {
    pub(super) fn cost(&self, node: usize) -> i64 {
        let mut present = self.present.iter();
        Presence::cost(present.find(|(there, _)| *there == node).map(|(_, presence)| *presence))
    }

    /// Where its replicas are once the move that runs is done.
    pub(super) fn after_move(&self) -> Vec<usize> {
        let stays = |presence: Presence| presence != Presence::Leaving;
        self.present
            .iter()
            .filter(|(_, presence)| stays(*presence))
            .map(|(node, _)| *node)
            .collect()
    }
}

/// The nodes of each of `partitions`, `replicas` of them, which is at most the number of nodes. `zones` has
/// the zone of each node.
pub(super) fn choose(zones: &[usize], partitions: &[Holding], replicas: usize) -> Vec<Vec<usize>> {
    if zones.is_empty() {
        return vec![Vec::new(); partitions.len()];
    }
    let mut layout = Layout::new(zones, partitions);
    let full = layout.sets.iter().all(|set| set.len() == replicas);
    let cost: i64 = (0..partitions.len()).map(|partition| layout.cost(partition)).sum();
    if full && cost == 0 && layout.is_even() {
        return layout.sets;
    }
    let share = partitions.len() * replicas / zones.len();
    (0..partitions.len()).for_each(|partition| layout.trim(partition, replicas, share));
    (0..partitions.len()).for_each(|partition| layout.fill(partition, replicas, share));
    layout.even_out();
    layout.cheapen(share);
    layout.sets
}

/// One replica of a partition goes from one node to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exchange {
    pub(super) partition: usize,
    pub(super) from: usize,
    pub(super) to: usize,
}

/// Partitions on nodes.
pub(super) struct Layout<'a> {
    zones: &'a [usize],
    partitions: &'a [Holding],
    /// The nodes of each partition.
    sets: Vec<Vec<usize>>,
    /// The partitions of each node.
    held: Vec<BTreeSet<usize>>,
    /// How many partitions two nodes share, by `one * nodes + other`.
    shared: Vec<usize>,
}

impl<'a> Layout<'a> {
    fn new(zones: &'a [usize], partitions: &'a [Holding]) -> Self {
        let nodes = zones.len();
        let mut layout = Layout {
            zones,
            partitions,
            sets: vec![Vec::new(); partitions.len()],
            held: vec![BTreeSet::new(); nodes],
            shared: vec![0; nodes * nodes],
        };
        for (partition, holding) in partitions.iter().enumerate() {
            holding.after_move().into_iter().for_each(|node| layout.add(partition, node));
        }
        layout
    }

    pub(super) fn nodes(&self) -> usize {
        self.zones.len()
    }

    pub(super) fn held(&self, node: usize) -> &BTreeSet<usize> {
        &self.held[node]
    }

    pub(super) fn has(&self, partition: usize, node: usize) -> bool {
        self.sets[partition].contains(&node)
    }

    /// How many replicas of the partition are in the zone of `node`, not counting one on `except`.
    fn crowd(&self, partition: usize, node: usize, except: usize) -> i64 {
        let alike = |other: &&usize| **other != except && self.zones[**other] == self.zones[node];
        self.sets[partition].iter().filter(alike).count() as i64
    }

    /// What an exchange costs more than leaving things as they are.
    pub(super) fn cost_of(&self, Exchange { partition, from, to }: Exchange) -> i64 {
        let holding = &self.partitions[partition];
        let crowd = self.crowd(partition, to, from) - self.crowd(partition, from, from);
        crowd * CROWDED + holding.cost(to) - holding.cost(from)
    }

    /// What the places of a partition's replicas cost.
    fn cost(&self, partition: usize) -> i64 {
        let set = &self.sets[partition];
        let crowd: i64 = set.iter().map(|node| self.crowd(partition, *node, *node)).sum();
        let moved: i64 = set.iter().map(|node| self.partitions[partition].cost(*node)).sum();
        crowd / 2 * CROWDED + moved
    }

    fn is_even(&self) -> bool {
        let loads = || self.held.iter().map(BTreeSet::len);
        loads().max() <= loads().min().map(|least| least + 1)
    }

    fn add(&mut self, partition: usize, node: usize) {
        for other in self.sets[partition].iter().copied() {
            self.shared[node * self.zones.len() + other] += 1;
            self.shared[other * self.zones.len() + node] += 1;
        }
        self.sets[partition].push(node);
        self.held[node].insert(partition);
    }

    fn remove(&mut self, partition: usize, node: usize) {
        self.sets[partition].retain(|other| *other != node);
        self.held[node].remove(&partition);
        for other in self.sets[partition].iter().copied() {
            self.shared[node * self.zones.len() + other] -= 1;
            self.shared[other * self.zones.len() + node] -= 1;
        }
    }

    /// How much the other nodes of the partition share with `node` already. What a node did that fails is
    /// spread over more of them if those that share little come first; and a node that is emptied finds more
    /// that lack what it has.
    fn together(&self, partition: usize, node: usize) -> usize {
        self.sets[partition].iter().map(|other| self.shared[node * self.zones.len() + other]).sum()
    }

    fn apply(&mut self, Exchange { partition, from, to }: Exchange) {
        self.remove(partition, from);
        self.add(partition, to);
    }

    /// Takes replicas away until at most `replicas` are left, from the fullest nodes first.
    fn trim(&mut self, partition: usize, replicas: usize, share: usize) {
        while self.sets[partition].len() > replicas {
            let cost = |node: usize| {
                let load = self.held[node].len();
                let crowd = self.crowd(partition, node, node);
                (load.clamp(share, share + 2), crowd, self.partitions[partition].cost(node), load)
            };
            let worst =
                self.sets[partition].iter().copied().max_by_key(|node| (cost(*node), *node));
            let Some(node) = worst else { return };
            self.remove(partition, node);
        }
    }

    /// Adds replicas until there are `replicas`, to the emptiest nodes first.
    fn fill(&mut self, partition: usize, replicas: usize, share: usize) {
        while self.sets[partition].len() < replicas {
            let cost = |node: usize| {
                let load = self.held[node].len();
                let full = (load + 1).clamp(share, share + 2);
                let crowd = self.crowd(partition, node, node);
                let cost = self.partitions[partition].cost(node);
                (full, crowd, cost, load, self.together(partition, node))
            };
            let free = (0..self.nodes()).filter(|node| !self.has(partition, *node));
            let Some(node) = free.min_by_key(|node| (cost(*node), *node)) else { return };
            self.add(partition, node);
        }
    }

    /// Moves the cheapest replicas from the fullest to the emptiest nodes until all differ by at most one.
    /// A node that holds more always has a partition that the other lacks.
    fn even_out(&mut self) {
        while !self.is_even() {
            let load = |node: &usize| self.held[*node].len();
            let least = (0..self.nodes()).map(|node| load(&node)).min();
            let Some(from) = (0..self.nodes()).max_by_key(|node| (load(node), *node)) else {
                return;
            };
            let mut cheapest: Option<(i64, Exchange)> = None;
            for to in (0..self.nodes()).filter(|node| Some(load(node)) == least) {
                let found = self.cheapest_between(from, to);
                if found.is_some_and(|(cost, _)| cheapest.is_none_or(|(least, _)| cost < least)) {
                    cheapest = found;
                }
                // That another of the emptiest nodes is better still matters little, and looking takes time.
                if cheapest.is_some_and(|(cost, _)| cost < CROWDED) {
                    break;
                }
            }
            let Some((_, exchange)) = cheapest else { return };
            self.apply(exchange);
        }
    }

    fn cheapest_between(&self, from: usize, to: usize) -> Option<(i64, Exchange)> {
        let able = self.held[from].iter().filter(|partition| !self.has(**partition, to));
        let exchanges = able.map(|partition| Exchange { partition: *partition, from, to });
        exchanges
            .map(|exchange| (self.cost_of(exchange), exchange))
            .min_by_key(|(cost, exchange)| (*cost, self.together(exchange.partition, to)))
    }

    /// Makes exchanges in circles until none makes it cheaper.
    fn cheapen(&mut self, share: usize) {
        let mut exchanges = Exchanges::of(self);
        while let Some(circle) = exchanges.circle(self, share) {
            let mut changed = self.nodes_of(&circle);
            if !self.exchange(&circle) {
                return;
            }
            changed.append(&mut self.nodes_of(&circle));
            exchanges.refresh(self, &changed);
        }
    }

    /// The nodes of the partitions that have their part in `circle`.
    fn nodes_of(&self, circle: &[Exchange]) -> BTreeSet<usize> {
        circle.iter().flat_map(|exchange| &self.sets[exchange.partition]).copied().collect()
    }

    /// Makes the exchanges of a circle if that is cheaper, or else those of a part of it that is.
    ///
    /// The costs of exchanges of one partition do not always add up. Where two of them get in each other's
    /// way the circle is parted there: each part is a circle with one of the two.
    fn exchange(&mut self, circle: &[Exchange]) -> bool {
        let partitions: BTreeSet<_> = circle.iter().map(|exchange| exchange.partition).collect();
        let cost = |layout: &Self| partitions.iter().map(|p| layout.cost(*p)).sum::<i64>();
        let before = cost(self);
        circle.iter().for_each(|exchange| self.apply(*exchange));
        if cost(self) < before {
            return true;
        }
        for Exchange { partition, from, to } in circle.iter().rev().copied() {
            self.apply(Exchange { partition, from: to, to: from });
        }
        parts(circle).iter().any(|part| self.exchange(part))
    }
}

/// The two circles that a circle falls into where two of its exchanges are of one partition.
fn parts(circle: &[Exchange]) -> Vec<Vec<Exchange>> {
    let pairs = (0..circle.len()).flat_map(|a| (a + 1..circle.len()).map(move |b| (a, b)));
    let twice = |(a, b): &(usize, usize)| circle[*a].partition == circle[*b].partition;
    let Some((a, b)) = pairs.into_iter().find(twice) else { return Vec::new() };
    let (first, second) = (circle[a], circle[b]);
    let mut inner = circle[a + 1..b].to_vec();
    inner.push(Exchange { to: first.to, ..second });
    let mut outer = circle[..a].to_vec();
    outer.push(Exchange { to: second.to, ..first });
    outer.extend_from_slice(&circle[b + 1..]);
    vec![inner, outer]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The least that any even layout costs, found by trying all.
    fn least(zones: &[usize], partitions: &[Holding], replicas: usize) -> i64 {
        let masks = 0..1_usize << zones.len();
        let masks = masks.filter(|mask| mask.count_ones() as usize == replicas);
        let sets: Vec<Vec<usize>> =
            masks.map(|mask| (0..zones.len()).filter(|n| mask >> n & 1 == 1).collect()).collect();
        let mut layout = Layout::new(zones, &[]);
        layout.partitions = partitions;
        layout.sets = vec![Vec::new(); partitions.len()];
        fn rest(layout: &mut Layout<'_>, sets: &[Vec<usize>], partition: usize) -> i64 {
            if partition == layout.partitions.len() {
                return if layout.is_even() { 0 } else { i64::MAX };
            }
            let tries = sets.iter().map(|set| {
                set.iter().for_each(|node| layout.add(partition, *node));
                let cost = layout.cost(partition).saturating_add(rest(layout, sets, partition + 1));
                set.iter().for_each(|node| layout.remove(partition, *node));
                cost
            });
            tries.min().expect("some set")
        }
        rest(&mut layout, &sets, 0)
    }

    fn cost(zones: &[usize], partitions: &[Holding], sets: &[Vec<usize>]) -> i64 {
        let mut layout = Layout::new(zones, &[]);
        layout.partitions = partitions;
        layout.sets = sets.to_vec();
        (0..sets.len()).map(|partition| layout.cost(partition)).sum()
    }

    fn any_holding(nodes: usize) -> impl Strategy<Value = Holding> {
        let presence = prop_oneof![
            4 => Just(Presence::Settled),
            1 => Just(Presence::Arriving),
            1 => Just(Presence::Leaving),
        ];
        prop::collection::btree_map(0..nodes, presence, 0..=nodes)
            .prop_map(|present| Holding { present: present.into_iter().collect() })
    }

    fn any_case() -> impl Strategy<Value = (Vec<usize>, Vec<Holding>, usize)> {
        (2_usize..6).prop_flat_map(|nodes| {
            let zones = prop_oneof![
                Just((0..nodes).collect::<Vec<_>>()),
                prop::collection::vec(0_usize..3, nodes)
            ];
            let holdings = prop::collection::vec(any_holding(nodes), 1..5);
            (zones, holdings, 1..nodes.min(4))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn no_even_layout_is_cheaper((zones, holdings, replicas) in any_case()) {
            let sets = choose(&zones, &holdings, replicas);
            prop_assert!(sets.iter().all(|set| set.len() == replicas));
            prop_assert_eq!(cost(&zones, &holdings, &sets), least(&zones, &holdings, replicas));
        }
    }
}
