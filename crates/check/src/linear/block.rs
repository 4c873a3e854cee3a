//! Effects of unknown outcome that must come just before an event for it to be possible.
//!
//! Any subset of the unknown events in any order before any known one would be exact and hopeless.
//! Take instead, among all orders that explain the rest of a history, one with the fewest unknown
//! events, each as late as can be, and then with the smallest numbers first. The unknown events
//! stand in blocks, each block right before a known event, its *target*. In such an order
//! - every unknown event changes something, else it could be left out;
//! - what an unknown event leaves on a key is looked at by the next event of block and target that
//!   touches the key. Were it overwritten on all of its keys, it could be left out; were it touched
//!   on none, it could come after the target. A batch may also be overwritten in part and for the
//!   rest be looked at much later ([`Want::step_back`]);
//! - of two neighbours that touch different keys, or both add to one, the one with the lower number
//!   is first, and of two equal events the first one is used and comes first;
//! - a target that leaves the same without the block has none ([`Need::Crossing`]).
//!
//! So it is enough to build blocks backwards from their targets, and what the target has seen tells
//! which event can have been the last, and so on. The model then plays the block from its
//! beginning.
//!
//! Lives fit in. An unknown addition whose sum expires before anybody looks could be left out, too,
//! and so two additions can change places, unless a sum could overflow. Of two equal events the
//! first one can stand for the second, for it was sent earlier and sees all that the other sees.
//! The second one can stand for the first later on: when it was sent, nothing had ended that was
//! still to come, so that whatever is put from then on was not known to be put before that moment;
//! and what was there already it could see at the earlier place. Puts that expire carry a moment of
//! their own and are never equal.

use std::collections::VecDeque;

use super::event::{Deed, Event};
use super::model::{Model, State};
use super::object::{Object, View};
use super::search::{Budget, Exhausted, Move};
use super::want::Want;

/// What a block must have to be of use before a target.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    /// The target is not possible as things are, or leaves something else after a block.
    Any,
    /// The target is possible as things are. Without a block that also touches other keys than
    /// those of the target it leaves the same: it overwrites them all, or has seen that they hold
    /// what they hold.
    Crossing,
}

/// The end of a block.
struct Draft {
    /// The known event that comes after it.
    target: usize,
    need: Need,
    /// Numbers of unknown events, in order.
    block: Vec<usize>,
    /// What the keys must hold before it.
    wants: Vec<Want>,
}

/// Blocks that may be made longer, short ones first.
#[derive(Default)]
pub(super) struct Drafts(VecDeque<Draft>);

/// Looks for blocks in one situation.
pub(super) struct Blocks<'s> {
    pub object: &'s Object<'s>,
    pub model: &'s Model,
    pub state: &'s State,
    pub view: &'s View,
}

impl Blocks<'_> {
    /// What blocks grow from.
    pub fn begin_all(&self) -> Drafts {
        if self.view.available.is_empty() {
            return Drafts::default();
        }
        Drafts(self.view.candidates.iter().filter_map(|target| self.begin(*target)).collect())
    }

    /// The next moves that begin with a block of unknown events; none if there are no more. Short blocks come
    /// first, and longer ones are not even looked for before those have been tried: there may be very many, and an
    /// order that can be found needs few.
    pub fn find(&self, drafts: &mut Drafts, budget: &mut Budget) -> Result<Vec<Move>, Exhausted> {
        let mut moves = Vec::new();
        while moves.is_empty()
            && let Some(draft) = drafts.0.pop_front()
        {
            for &number in &self.view.available {
                if let Some(longer) = self.extend(&draft, number) {
                    budget.spend()?;
                    self.finish(&longer, budget, &mut moves)?;
                    drafts.0.push_back(longer);
                }
            }
        }
        Ok(moves)
    }

    /// The empty block before a known event, if one that is not empty can be of use there.
    fn begin(&self, target: usize) -> Option<Draft> {
        let event = &self.object.known[target];
        let wants = Want::of(event, self.object.keys.len());
        let draft = Draft { target, need: self.need(event)?, block: Vec::new(), wants };
        self.is_hopeful(&draft).then_some(draft)
    }

    fn need(&self, target: &Event) -> Option<Need> {
        let mut available = self.view.available.iter().map(|number| &self.object.unknown[*number]);
        let others_end_us = self.view.end_without(target.ends_us());
        let goes_on = |state: &State| state.floor_us <= others_end_us;
        if !self.model.step(self.state, target).iter().any(goes_on) {
            return Some(Need::Any);
        }
        let leaves_the_same = match &target.deed {
            Deed::Writes(_) | Deed::WritesFor { .. } | Deed::Replaces { .. } => true,
            Deed::Removes { .. } => true,
            // An addition goes on with whatever life it finds.
            Deed::Adds { key, .. } => {
                let is_put_for_a_while = |unknown: &Event| {
                    matches!(unknown.deed, Deed::WritesFor { .. }) && unknown.keys.contains(*key)
                };
                let lasts = !self.state.entries[*key].may_expire();
                lasts && !available.clone().any(is_put_for_a_while)
            }
            Deed::Sees(_) | Deed::Impossible => false,
        };
        if !leaves_the_same {
            return Some(Need::Any);
        }
        available.any(|unknown| crosses(unknown, target)).then_some(Need::Crossing)
    }

    /// The block with another event before it.
    fn extend(&self, draft: &Draft, number: usize) -> Option<Draft> {
        let event = &self.object.unknown[number];
        let out_of_order = |later: &usize| {
            *later < number && are_equal(&self.object.unknown[*later].deed, &event.deed)
        };
        if draft.block.contains(&number) || draft.block.iter().any(out_of_order) {
            return None;
        }
        if draft.block.first().is_some_and(|next| *next < number && self.commute(number, *next)) {
            return None;
        }
        let mut wants = draft.wants.clone();
        if !Want::step_back(&mut wants, &event.deed) {
            return None;
        }
        let block = std::iter::once(number).chain(draft.block.iter().copied()).collect();
        let longer = Draft { block, wants, ..*draft };
        self.is_hopeful(&longer).then_some(longer)
    }

    fn commute(&self, first: usize, second: usize) -> bool {
        let (first, second) = (&self.object.unknown[first], &self.object.unknown[second]);
        let deeds = (&first.deed, &second.deed);
        let add = matches!(deeds, (Deed::Adds { .. }, Deed::Adds { .. }));
        !first.keys.meets(second.keys) || (add && self.object.sums_fit)
    }

    /// Whether what is left of the unknown events can bring about what the block wants.
    fn is_hopeful(&self, draft: &Draft) -> bool {
        let mut wants = draft.wants.iter().zip(&self.state.entries).enumerate();
        wants.all(|(key, (want, entry))| {
            let left = self.view.available.iter().filter(|number| !draft.block.contains(number));
            want.can_come(key, *entry, left.map(|number| &self.object.unknown[*number].deed))
        })
    }

    /// Adds the moves that consist of exactly this block and its target.
    fn finish(
        &self,
        draft: &Draft,
        budget: &mut Budget,
        moves: &mut Vec<Move>,
    ) -> Result<(), Exhausted> {
        let target = &self.object.known[draft.target];
        let unknown = |number: &usize| &self.object.unknown[*number];
        let fits = draft.wants.iter().zip(&self.state.entries).all(|(want, held)| want.fits(*held));
        let is_idle = draft.need == Need::Crossing
            && !draft.block.iter().map(unknown).any(|unknown| crosses(unknown, target));
        if !fits || is_idle || self.skips_an_equal(&draft.block) {
            return Ok(());
        }
        let mut states = vec![self.state.clone()];
        for event in draft.block.iter().map(unknown) {
            budget.spend()?;
            let step = |state: &State| {
                let mut next = self.model.step(state, event);
                next.retain(|next| next.entries != state.entries);
                next
            };
            states = states.iter().flat_map(step).collect();
        }
        budget.spend()?;
        for state in states.iter().flat_map(|state| self.model.step(state, target)) {
            moves.push(Move { block: draft.block.clone(), known: draft.target, state });
        }
        Ok(())
    }

    /// Whether an event is used although an equal one with a lower number is not.
    fn skips_an_equal(&self, block: &[usize]) -> bool {
        let deed = |number: &usize| &self.object.unknown[*number].deed;
        block.iter().any(|number| {
            let lower = self.view.available.iter().take_while(|lower| *lower < number);
            let mut unused = lower.filter(|lower| !block.contains(lower));
            unused.any(|lower| are_equal(deed(lower), deed(number)))
        })
    }
}

/// Whether one event can stand for the other.
fn are_equal(first: &Deed, second: &Deed) -> bool {
    first == second && !matches!(first, Deed::WritesFor { .. })
}

/// Whether an unknown event touches keys of a target and others.
fn crosses(unknown: &Event, target: &Event) -> bool {
    unknown.keys.meets(target.keys) && !unknown.keys.is_within(target.keys)
}
