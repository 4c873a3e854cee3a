//! The search for an order that explains the history of one object.
//!
//! Depth first over the known events, as Wing and Gong search, with the situations that failed
//! remembered (Lowe, "Testing for linearizability", 2017). What keeps it short:
//! - An event that only looks is taken as soon as it is possible, without an alternative: in any
//!   order that goes on from here it can be moved to this place and changes nothing on its way.
//!   Only the discovery that a value has expired does change something, and is an alternative like
//!   any other.
//! - Unknown events are tried after everything else, and only in [blocks](super::block) that are
//!   needed.
//! - A search that turns out to be long looks ahead: where some event that may come next has seen a
//!   value that neither is there nor can be put there before it, there is nothing to be found.
//! - Lives that nobody can see any more are forgotten, and so is the floor once all that is still
//!   to come is known to end above it, so that situations that permit the same are the same.

use super::bits::Bits;
use super::block::{Blocks, Drafts};
use super::event::{Deed, Event};
use super::memo::{DeadEnds, Situation};
use super::model::{Entry, Model, State};
use super::object::{Object, View};
use super::want::Want;

/// A search that has taken so many steps looks ahead. Most end long before, and it is not free.
const LOOK_AHEAD_AFTER: u64 = 20_000;

/// What came of a search.
pub(super) enum Outcome {
    /// There is an order.
    Ordered,
    /// There is none.
    Stuck(Depth),
    /// The steps were used up before it was known.
    Undecided(Depth),
}

/// The longest beginning of an order that was found.
#[derive(Default)]
pub(super) struct Depth {
    pub moves: Vec<Chosen>,
    /// What the keys hold then.
    pub entries: Vec<Entry>,
    /// Known events that may come next, if only they fitted.
    pub candidates: Vec<usize>,
}

/// An event by its number among the known or unknown ones.
#[derive(Clone, Copy)]
pub(super) enum Chosen {
    Known(usize),
    Unknown(usize),
}

/// One known event that comes next, after some of unknown outcome.
pub(super) struct Move {
    pub block: Vec<usize>,
    pub known: usize,
    pub state: State,
}

/// How many steps are left.
pub(super) struct Budget(pub u64);

/// No steps are left.
pub(super) struct Exhausted;

impl Budget {
    pub fn spend(&mut self) -> Result<(), Exhausted> {
        self.0 = self.0.checked_sub(1).ok_or(Exhausted)?;
        Ok(())
    }
}

/// A situation that is being searched.
struct Frame {
    state: State,
    view: View,
    /// What led here; none for the beginning.
    block: Vec<usize>,
    known: Option<usize>,
    /// Moves that have not been tried; the last one is next.
    moves: Vec<Move>,
    /// Blocks of unknown events that may be made longer; none before they are looked for.
    drafts: Option<Drafts>,
    /// Whether blocks of unknown events are not to be tried, or all have been.
    is_closed: bool,
}

/// Searches an order for `object` in at most `steps_max` steps.
pub(super) fn search(object: &Object, model: &Model, steps_max: u64) -> Outcome {
    let mut search = Search {
        object,
        model,
        budget: Budget(steps_max),
        looks_ahead_below: steps_max.saturating_sub(LOOK_AHEAD_AFTER),
        done: Bits::with_room(object.known.len()),
        used: Bits::with_room(object.unknown.len()),
        frames: Vec::new(),
        dead_ends: DeadEnds::default(),
        deepest: None,
    };
    match search.run() {
        Ok(true) => Outcome::Ordered,
        Ok(false) => Outcome::Stuck(search.deepest.unwrap_or_default().1),
        Err(Exhausted) => {
            search.remember_depth();
            Outcome::Undecided(search.deepest.unwrap_or_default().1)
        }
    }
}

struct Search<'s> {
    object: &'s Object<'s>,
    model: &'s Model,
    budget: Budget,
    /// Looks ahead once less than this is left of the budget.
    looks_ahead_below: u64,
    done: Bits,
    used: Bits,
    frames: Vec<Frame>,
    dead_ends: DeadEnds,
    /// The number of frames, and what they said.
    deepest: Option<(usize, Depth)>,
}

impl Search<'_> {
    fn run(&mut self) -> Result<bool, Exhausted> {
        let start = State::empty(self.object.keys.len());
        if self.enter(start, Vec::new(), None)? {
            return Ok(true);
        }
        while let Some(frame) = self.frames.last() {
            let begins_blocks =
                frame.moves.is_empty() && !frame.is_closed && frame.drafts.is_none();
            let is_doomed = begins_blocks && self.is_doomed(&frame.state, &frame.view);
            let Some(frame) = self.frames.last_mut() else { break };
            frame.is_closed |= is_doomed;
            if let Some(Move { block, known, state }) = frame.moves.pop() {
                if self.enter(state, block, Some(known))? {
                    return Ok(true);
                }
            } else if frame.is_closed {
                self.leave();
            } else {
                let (object, model) = (self.object, self.model);
                let blocks = Blocks { object, model, state: &frame.state, view: &frame.view };
                let drafts = frame.drafts.get_or_insert_with(|| blocks.begin_all());
                let mut moves = blocks.find(drafts, &mut self.budget)?;
                frame.is_closed = moves.is_empty();
                moves.reverse();
                frame.moves = moves;
            }
        }
        Ok(false)
    }

    /// Goes on to the situation in which `block` and `known` have come. True if that was all.
    fn enter(
        &mut self,
        mut state: State,
        block: Vec<usize>,
        known: Option<usize>,
    ) -> Result<bool, Exhausted> {
        block.iter().for_each(|number| self.used.insert(*number));
        known.iter().for_each(|number| self.done.insert(*number));
        let first = self.frames.last().map_or(0, |frame| frame.view.first);
        let view = self.object.view(&self.done, &self.used, first);
        if view.first == self.object.known.len() {
            return Ok(true);
        }
        if state.floor_us > view.ends_us {
            self.undo(&block, known);
            return Ok(false);
        }
        self.forget(&mut state, &view);
        let is_known = self.dead_ends.contains(&self.situation(&state, &view), &self.used);
        let looks_ahead = self.budget.0 < self.looks_ahead_below;
        if is_known || (looks_ahead && self.is_doomed(&state, &view)) {
            self.undo(&block, known);
            return Ok(false);
        }
        let (moves, is_closed) = self.moves(&state, &view)?;
        self.frames.push(Frame { state, view, block, known, moves, drafts: None, is_closed });
        Ok(false)
    }

    /// The moves without unknown events, the best last, and whether there is no other.
    fn moves(&mut self, state: &State, view: &View) -> Result<(Vec<Move>, bool), Exhausted> {
        let mut moves = Vec::new();
        for &known in &view.candidates {
            self.budget.spend()?;
            let event = &self.object.known[known];
            for next in self.model.step(state, event) {
                let only = is_mere_look(event, state, &next);
                let next = Move { block: Vec::new(), known, state: next };
                if only {
                    return Ok((vec![next], true));
                }
                moves.push(next);
            }
        }
        moves.reverse();
        Ok((moves, false))
    }

    /// Whether some event that may come next can never come, as far as single values tell: nothing that could
    /// come before it puts there what it has seen.
    fn is_doomed(&self, state: &State, view: &View) -> bool {
        view.candidates.iter().any(|target| {
            let event = &self.object.known[*target];
            let early = |other: &&Event| other.sent_us() <= event.ends_us();
            let known = (view.first..self.object.known.len()).filter(|other| other != target);
            let known = known.filter(|other| !self.done.contains(*other));
            let known = known.map(|other| &self.object.known[other]).take_while(early);
            let unknown =
                (0..self.object.unknown.len()).filter(|other| !self.used.contains(*other));
            let unknown = unknown.map(|other| &self.object.unknown[other]).take_while(early);
            let left: Vec<&Event> = known.chain(unknown).collect();
            let wants = Want::of(event, self.object.keys.len());
            let mut wants = wants.iter().zip(&state.entries).enumerate();
            !wants.all(|(key, (want, entry))| {
                want.can_come(key, *entry, left.iter().map(|other| &other.deed))
            })
        })
    }

    /// Drops from a state what can make no difference any more, and what makes none between two
    /// moments at which nobody looks.
    fn forget(&self, state: &mut State, view: &View) {
        // Nothing that is still to come ends before the floor, as has just been seen.
        state.floor_us = 0;
        if !state.has_lives() {
            return;
        }
        let unknown = self.object.unknown.iter().enumerate();
        let mut looking = unknown
            .filter(|(number, event)| !self.used.contains(*number) && !event.deed.is_blind())
            .map(|(_, event)| event.sent_us());
        let sent_us =
            self.object.known[view.first].sent_us().min(looking.next().unwrap_or(u64::MAX));
        for (entry, looks_us) in state.entries.iter_mut().zip(&self.object.looks_us) {
            let Entry::Until(_, life) = entry else { continue };
            let there_until = self.model.there_until(*life);
            if there_until < sent_us {
                *entry = Entry::Absent;
                continue;
            }
            let next = looks_us.partition_point(|sent| *sent <= there_until);
            let unseen = looks_us.get(next).map_or(u64::MAX, |sent| sent - 1 - there_until);
            life.until_us = life.until_us.saturating_add(unseen);
        }
    }

    fn situation(&self, state: &State, view: &View) -> Situation {
        (self.done.window(view.first), state.clone())
    }

    /// Gives up the last situation.
    fn leave(&mut self) {
        self.remember_depth();
        let Some(frame) = self.frames.pop() else { return };
        let situation = self.situation(&frame.state, &frame.view);
        self.dead_ends.insert(situation, &self.used);
        self.undo(&frame.block, frame.known);
    }

    fn undo(&mut self, block: &[usize], known: Option<usize>) {
        block.iter().for_each(|number| self.used.remove(*number));
        known.iter().for_each(|number| self.done.remove(*number));
    }

    fn remember_depth(&mut self) {
        let depth = self.frames.len();
        let Some(frame) = self.frames.last() else { return };
        if self.deepest.as_ref().is_some_and(|(deepest, _)| *deepest >= depth) {
            return;
        }
        let chosen = self.frames.iter().flat_map(|frame| {
            let block = frame.block.iter().copied().map(Chosen::Unknown);
            block.chain(frame.known.map(Chosen::Known))
        });
        let entries = frame.state.entries.clone();
        let candidates = frame.view.candidates.clone();
        self.deepest = Some((depth, Depth { moves: chosen.collect(), entries, candidates }));
    }
}

/// Whether an event only looks and has found no value to have expired.
fn is_mere_look(event: &Event, before: &State, after: &State) -> bool {
    matches!(event.deed, Deed::Sees(_)) && after.has_the_same_keys(before)
}
