//! From entries of the log to what apply takes.

use bytes::Bytes;
use flin_replica::configuration_change;
use flin_state::command::{Committed, Content};
use flin_state::ids::{GroupId, LogIndex};
use flin_state::log::{Entry, EntryKind};
use flin_state::membership::{Configuration, ConfigurationChange};

use super::worker::Fatal;

/// The steps of a group's configuration in a run of entries.
pub(super) struct Steps {
    configuration: Configuration,
    pub(super) taken: Vec<(LogIndex, Configuration)>,
}

impl Steps {
    pub(super) fn from(configuration: &Configuration) -> Self {
        Steps { configuration: configuration.clone(), taken: Vec::new() }
    }

    /// The configuration from `index` on. An impossible step changes nothing, on every replica alike.
    fn take(&mut self, index: LogIndex, change: &ConfigurationChange) -> Configuration {
        if let Ok(next) = self.configuration.after(change) {
            self.configuration = next;
        }
        self.taken.push((index, self.configuration.clone()));
        self.configuration.clone()
    }
}

/// What a committed entry does; `decode` reads the commands of its group.
///
/// # Errors
/// [`Fatal::Entry`] for one that this version cannot read.
pub(super) fn decoded<C>(
    group: GroupId,
    entry: Entry,
    steps: &mut Steps,
    decode: impl Fn(Bytes) -> Result<C, String>,
) -> Result<Committed<C>, Fatal> {
    let (index, term) = (entry.index, entry.term);
    let broken = |what| Fatal::Entry { group, index, what };
    let content = match entry.kind {
        EntryKind::Configuration => {
            let change = configuration_change(&entry.data).map_err(|e| broken(e.to_string()))?;
            Content::Configuration(steps.take(index, &change))
        }
        EntryKind::Command if entry.data.is_empty() => Content::Nothing,
        EntryKind::Command => Content::Command(decode(entry.data).map_err(broken)?),
    };
    Ok(Committed { index, term, content })
}
