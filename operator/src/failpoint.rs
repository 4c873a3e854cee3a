//! Ends the operator at boundaries between two steps, so that a test can see the next one go on from there.
//! Off unless asked for by name.

use std::fs::File;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process;

use clap::ValueEnum;
use tracing::error;

/// With this code the operator ends at a failpoint.
const EXIT_FAILPOINT: i32 = 86;

/// A boundary between two steps, in the order in which a cluster comes to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Boundary {
    /// The cluster's birth was recorded, and nothing is made yet.
    AfterBirth,
    /// The Secret with the passwords was made.
    AfterSecret,
    /// The StatefulSet was made, and the status does not say so.
    AfterCreate,
    /// That the cluster is formed was recorded, and the nodes do not know.
    AfterFormed,
    /// The nodes were told that their cluster is formed.
    AfterConfirm,
    /// The StatefulSet was made larger.
    AfterGrow,
    /// The status says that nodes are to be emptied, and they do not know.
    AfterDrainRecord,
    /// The nodes were told who is to be emptied.
    AfterDrainIntent,
    /// The status says that members are to be removed, and they are members still.
    AfterRemoveRecord,
    /// A member was removed, and its pod is still there.
    AfterRemove,
    /// The StatefulSet was made smaller.
    AfterShrink,
    /// The status says that the number of replicas is to be changed, and the nodes do not know.
    AfterFactorRecord,
    /// The nodes were told how many replicas there are to be.
    AfterFactor,
    /// The nodes were told how to move replicas: during a rollout, to replace no node that is away.
    AfterPace,
    /// Pods are made from something else from now on, and the status does not say so.
    AfterTemplate,
    /// The status says whose turn it is to be restarted, and nothing was done to it.
    AfterTurnRecord,
    /// A node was told to hand its leaderships over, and its pod is still there.
    AfterStepdown,
    /// A pod was deleted, and the status does not say so.
    AfterDeletePod,
    /// A node that was to be restarted was told to lead again, and the status does not say so.
    AfterRelease,
}

impl Boundary {
    /// The name by which it is asked for.
    fn name(self) -> String {
        let value = self.to_possible_value().expect("no boundary is hidden");
        value.get_name().to_owned()
    }
}

/// The failpoints of this operator, if any.
///
/// Each takes effect once: a file tells the process that goes on afterwards that it was there before.
#[derive(Debug, Default)]
pub struct Failpoint {
    at: Vec<Boundary>,
    memory: PathBuf,
}

impl Failpoint {
    /// Failpoints at these boundaries, remembered in a folder that outlives the process.
    #[must_use]
    pub fn new(at: Vec<Boundary>, memory: Option<PathBuf>) -> Self {
        Self { at, memory: memory.unwrap_or_default() }
    }

    /// Ends the process if it is to end at this boundary and never did.
    pub fn reach(&self, boundary: Boundary) {
        if self.is_due(boundary) {
            error!(boundary = boundary.name(), "ending at the failpoint");
            process::exit(EXIT_FAILPOINT);
        }
    }

    fn is_due(&self, boundary: Boundary) -> bool {
        if !self.at.contains(&boundary) {
            return false;
        }
        match File::create_new(self.memory.join(boundary.name())) {
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
            Err(error) => {
                // Ending without a memory of it would be ending for ever.
                error!(boundary = boundary.name(), %error, "passing the failpoint: it cannot be remembered");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failpoint_takes_effect_once_also_for_the_process_after_it() {
        let memory = tempfile::tempdir().expect("a folder");
        let asked_for = || {
            let at = vec![Boundary::AfterGrow, Boundary::AfterShrink];
            Failpoint::new(at, Some(memory.path().to_owned()))
        };
        assert!(asked_for().is_due(Boundary::AfterGrow));
        assert!(!asked_for().is_due(Boundary::AfterGrow), "it was there before");
        assert!(asked_for().is_due(Boundary::AfterShrink), "it never was there");
        assert!(!asked_for().is_due(Boundary::AfterRemove), "nobody asked for it");
    }

    #[test]
    fn failpoint_that_cannot_be_remembered_is_passed() {
        let nowhere = PathBuf::from("/nowhere/at/all");
        let failpoint = Failpoint::new(vec![Boundary::AfterGrow], Some(nowhere));
        assert!(!failpoint.is_due(Boundary::AfterGrow));
    }

    #[test]
    fn boundaries_are_named_as_documented() {
        let documented = include_str!("../../docs/DEVELOPMENT.md").lines().filter_map(|line| {
            let name = line.strip_prefix("| `after-")?.split('`').next()?;
            Some(format!("after-{name}"))
        });
        let names = Boundary::value_variants().iter().map(|boundary| boundary.name());
        assert_eq!(names.collect::<Vec<_>>(), documented.collect::<Vec<_>>());
    }
}
