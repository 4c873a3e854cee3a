//! Who leads which partition: a share for everybody, with the fewest changes.

use std::collections::{BTreeSet, VecDeque};

/// Exchanges the first member of sets, who leads it, until no two of `members` differ by more than one in
/// what they lead. `elsewhere` says how much each leads that cannot change.
///
/// While two members differ by more, a chain of sets hands leadership on from the one to the other. Such a
/// chain exists if every member is in equally many sets within one: sharing each set's leadership among its
/// members is a fractional solution, and a flow with whole bounds has a whole solution too. The shortest
/// chain changes the fewest leaders. Without any chain things stay as even as they got.
pub(super) fn even(members: usize, elsewhere: &[usize], sets: &mut [Vec<usize>]) {
    let mut leadership = Leadership::new(members, elsewhere, sets);
    while let Some(chain) = leadership.chain() {
        for (set, at) in chain {
            leadership.hand_on(set, at);
        }
    }
}

struct Leadership<'a> {
    /// The members of each set, the one who leads it first.
    sets: &'a mut [Vec<usize>],
    /// How many each member leads, those elsewhere included.
    leads: Vec<usize>,
    /// The sets that each member leads.
    led: Vec<BTreeSet<usize>>,
}

impl<'a> Leadership<'a> {
    fn new(members: usize, elsewhere: &[usize], sets: &'a mut [Vec<usize>]) -> Self {
        let mut led = vec![BTreeSet::new(); members];
        for (set, nodes) in sets.iter().enumerate() {
            led[nodes[0]].insert(set);
        }
        let leads = led.iter().enumerate();
        let leads =
            leads.map(|(member, led)| led.len() + elsewhere.get(member).copied().unwrap_or(0));
        Leadership { leads: leads.collect(), led, sets }
    }

    fn hand_on(&mut self, set: usize, at: usize) {
        let from = self.sets[set][0];
        self.sets[set].swap(0, at);
        let to = self.sets[set][0];
        self.led[from].remove(&set);
        self.led[to].insert(set);
        self.leads[from] -= 1;
        self.leads[to] += 1;
    }

    /// Sets to hand on, and to which of their members: from one that leads too much to one that leads too
    /// little, or as one of them is right, to or from one that may lead one more. Where leadership cannot
    /// be shared so, from any that leads at least two more than another.
    fn chain(&self) -> Option<Vec<(usize, usize)>> {
        let leads = |member: usize| self.leads[member];
        let (most, least) = (*self.leads.iter().max()?, *self.leads.iter().min()?);
        if most < least + 2 {
            return None;
        }
        let all: usize = self.leads.iter().sum();
        let (few, many) = (all / self.leads.len(), all.div_ceil(self.leads.len()));
        self.chain_between(|from| leads(from) > many, |to| leads(to) < few)
            .or_else(|| self.chain_between(|from| leads(from) > many, |to| leads(to) < many))
            .or_else(|| self.chain_between(|from| leads(from) > few, |to| leads(to) < few))
            .or_else(|| {
                let mut members = (0..self.leads.len()).filter(|from| leads(*from) >= least + 2);
                members.find_map(|start| {
                    self.chain_between(|from| from == start, |to| leads(to) + 2 <= leads(start))
                })
            })
    }

    /// The shortest chain, if there is any.
    fn chain_between(
        &self,
        starts: impl Fn(usize) -> bool,
        ends: impl Fn(usize) -> bool,
    ) -> Option<Vec<(usize, usize)>> {
        let mut came_by: Vec<Option<(usize, usize)>> = vec![None; self.leads.len()];
        let mut queue: VecDeque<_> = (0..self.leads.len()).filter(|m| starts(*m)).collect();
        while let Some(member) = queue.pop_front() {
            if ends(member) {
                let mut chain = Vec::new();
                let mut end = member;
                while let Some((set, at)) = came_by[end] {
                    chain.push((set, at));
                    end = self.sets[set][0];
                }
                return Some(chain);
            }
            for set in &self.led[member] {
                for (at, next) in self.sets[*set].iter().enumerate().skip(1) {
                    if !starts(*next) && came_by[*next].is_none() {
                        came_by[*next] = Some((*set, at));
                        queue.push_back(*next);
                    }
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn leads(members: usize, elsewhere: &[usize], sets: &[Vec<usize>]) -> Vec<usize> {
        let led = |member| sets.iter().filter(|set| set[0] == member).count();
        (0..members).map(|member| led(member) + elsewhere[member]).collect()
    }

    #[test]
    fn nothing_changes_where_all_lead_their_share() {
        let before = vec![vec![0, 1], vec![1, 2], vec![2, 0], vec![0, 2]];
        let mut sets = before.clone();
        even(3, &[0; 3], &mut sets);
        assert_eq!(sets, before);
    }

    #[test]
    fn one_change_is_made_where_one_is_enough() {
        let before: Vec<_> =
            [0, 0, 0, 1, 1, 2].iter().map(|l| vec![*l, (l + 1) % 3, (l + 2) % 3]).collect();
        let mut sets = before.clone();
        even(3, &[0; 3], &mut sets);
        assert_eq!(leads(3, &[0; 3], &sets), [2, 2, 2]);
        assert_eq!(before.iter().zip(&sets).filter(|(a, b)| a[0] != b[0]).count(), 1);
    }

    #[test]
    fn what_is_led_elsewhere_counts() {
        let mut sets = vec![vec![0, 1]; 4];
        even(2, &[2, 0], &mut sets);
        assert_eq!(leads(2, &[2, 0], &sets), [3, 3]);
    }

    proptest! {
        #[test]
        fn leaders_that_all_sets_share_take_the_fewest_changes(
            first in prop::collection::vec(0_usize..5, 1..60),
        ) {
            let before: Vec<Vec<usize>> =
                first.iter().map(|l| (0..5).map(|m| (l + m) % 5).collect()).collect();
            let mut sets = before.clone();
            even(5, &[0; 5], &mut sets);
            let now = leads(5, &[0; 5], &sets);
            prop_assert!(now.iter().max().unwrap() - now.iter().min().unwrap() <= 1);
            let mut was = leads(5, &[0; 5], &before);
            was.sort_unstable_by(|a, b| b.cmp(a));
            let target = |at| first.len() / 5 + usize::from(at < first.len() % 5);
            let needed: usize =
                was.iter().enumerate().map(|(at, leads)| leads.saturating_sub(target(at))).sum();
            let changed = before.iter().zip(&sets).filter(|(a, b)| a[0] != b[0]).count();
            prop_assert_eq!(changed, needed);
        }
    }
}
