//! What a key must hold at some place of an order for what comes after to be possible.

use super::event::{Deed, Event};
use super::model::Entry;
use super::operation::Value;

/// What is known of one key, seen from the events that follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// None of them touches it.
    Untouched,
    /// The next one to touch it writes without a look.
    Covered,
    /// The next one to touch it looks, and what it saw is not known.
    Open,
    /// The next one to touch it sees this value, or if so permitted an absence.
    Seen { value: Option<Value>, absent: bool },
}

impl Want {
    fn seen(value: Option<Value>) -> Self {
        Self::Seen { value, absent: value.is_none() }
    }

    /// What the keys must hold before `event`, an answered one.
    pub fn of(event: &Event, keys: usize) -> Vec<Self> {
        let mut wants = vec![Self::Untouched; keys];
        match &event.deed {
            Deed::Sees(views) => {
                views.iter().for_each(|(key, value)| wants[*key] = Self::seen(*value));
            }
            Deed::Writes(pairs) => pairs.iter().for_each(|(key, _)| wants[*key] = Self::Covered),
            Deed::WritesFor { key, .. } => wants[*key] = Self::Covered,
            Deed::Replaces { key, old, .. } => wants[*key] = Self::seen(*old),
            Deed::Adds { key, sum: None, .. } => wants[*key] = Self::Open,
            Deed::Adds { key, by, sum: Some(sum) } => {
                wants[*key] = Self::Seen { value: sum.checked_sub(*by), absent: sum == by };
            }
            Deed::Removes { keys, .. } => keys.iter().for_each(|key| wants[*key] = Self::Open),
            Deed::Impossible => {}
        }
        wants
    }

    /// Turns what the keys must hold after `deed`, of unknown outcome, into what they must hold
    /// before. False if the deed makes it impossible, or could just as well come later or not at
    /// all.
    pub fn step_back(wants: &mut [Self], deed: &Deed) -> bool {
        match deed {
            Deed::Writes(pairs) => {
                let touched = || pairs.iter().map(|(key, _)| wants[*key]);
                let is_looked_at = touched().any(Self::is_look);
                let is_parted = touched().any(|want| want == Self::Covered)
                    && touched().any(|want| want == Self::Untouched);
                let fits = pairs.iter().all(|(key, value)| wants[*key].admits(*value));
                pairs.iter().for_each(|(key, _)| wants[*key] = Self::Covered);
                fits && (is_looked_at || is_parted)
            }
            Deed::WritesFor { key, value, .. } => {
                let want = std::mem::replace(&mut wants[*key], Self::Covered);
                want.is_look() && (want.admits(Some(*value)) || want.admits(None))
            }
            Deed::Replaces { key, old, new } => {
                let want = std::mem::replace(&mut wants[*key], Self::seen(*old));
                want.is_look() && want.admits(*new)
            }
            Deed::Adds { key, by, .. } => match wants[*key] {
                Self::Open => true,
                Self::Seen { value: Some(sum), .. } => {
                    wants[*key] = Self::Seen { value: sum.checked_sub(*by), absent: sum == *by };
                    true
                }
                _ => false,
            },
            Deed::Sees(_) | Deed::Removes { .. } | Deed::Impossible => false,
        }
    }

    fn is_look(self) -> bool {
        matches!(self, Self::Open | Self::Seen { .. })
    }

    fn admits(self, held: Option<Value>) -> bool {
        match self {
            Self::Untouched | Self::Covered | Self::Open => true,
            Self::Seen { value, absent } => match held {
                Some(_) => held == value,
                None => absent,
            },
        }
    }

    /// Whether a key that holds `entry` fits.
    pub fn fits(self, entry: Entry) -> bool {
        self.admits(entry.value()) || (entry.may_expire() && self.admits(None))
    }

    /// Whether the key `key` that holds `entry` can fit after some of the deeds `left`, as far as
    /// single values and the range of the sums tell: yes may be wrong, no is right.
    pub fn can_come<'d>(
        self,
        key: usize,
        entry: Entry,
        left: impl Iterator<Item = &'d Deed>,
    ) -> bool {
        if self.fits(entry) {
            return true;
        }
        let mut starts = vec![entry.value()];
        starts.extend(entry.may_expire().then_some(None));
        let (mut less, mut more, mut adds) = (0_i128, 0_i128, false);
        for deed in left {
            match deed {
                Deed::Writes(pairs) => {
                    starts.extend(pairs.iter().filter(|pair| pair.0 == key).map(|pair| pair.1));
                }
                Deed::WritesFor { key: other, value, .. } if *other == key => {
                    starts.extend([Some(*value), None]);
                }
                Deed::Replaces { key: other, new, .. } if *other == key => starts.push(*new),
                Deed::Removes { keys, .. } if keys.contains(&key) => starts.push(None),
                Deed::Adds { key: other, by, .. } if *other == key => {
                    adds = true;
                    less += i128::from(*by).min(0);
                    more += i128::from(*by).max(0);
                }
                _ => {}
            }
        }
        let reaches = |start: &Option<Value>| match self {
            Self::Seen { value: Some(value), .. } if adds => {
                let distance = i128::from(value) - i128::from(start.unwrap_or(0));
                (less..=more).contains(&distance)
            }
            _ => false,
        };
        starts.iter().any(|start| self.admits(*start) || reaches(start))
    }
}
