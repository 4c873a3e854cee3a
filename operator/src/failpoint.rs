//! Ends the operator at the boundary between two steps, so that a test can see the next one go on from there.
//! Off unless asked for by name.

use std::collections::HashSet;
use std::process;
use std::sync::{Mutex, PoisonError};

use clap::ValueEnum;
use tracing::error;

/// With this code the operator ends at a failpoint.
const EXIT_FAILPOINT: i32 = 86;

/// A boundary between two steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Boundary {
    /// The StatefulSet was made larger.
    AfterGrow,
    /// The nodes were told who is to be emptied.
    AfterDrainIntent,
    /// A member was removed, and its pod is still there.
    AfterRemove,
    /// The StatefulSet was made smaller.
    AfterShrink,
    /// A node was told to hand its leaderships over, and its pod is still there.
    AfterStepdown,
    /// A pod was deleted.
    AfterDeletePod,
}

/// The failpoint of this operator, if any.
///
/// It takes effect once per change: only in a process that has seen the cluster at rest before. The process that
/// goes on after it finds the change under way and passes the boundary.
#[derive(Debug, Default)]
pub struct Failpoint {
    at: Option<Boundary>,
    armed_for: Mutex<HashSet<(String, String)>>,
}

impl Failpoint {
    /// A failpoint at a boundary; `None`: nowhere.
    #[must_use]
    pub fn new(at: Option<Boundary>) -> Self {
        Self { at, armed_for: Mutex::default() }
    }

    /// Notes that a cluster, by namespace and name, is at rest.
    pub fn arm(&self, cluster: (String, String)) {
        if self.at.is_some() {
            self.armed_for.lock().unwrap_or_else(PoisonError::into_inner).insert(cluster);
        }
    }

    /// Ends the process if this is the boundary and the failpoint is armed for the cluster.
    pub fn reach(&self, boundary: Boundary, cluster: &(String, String)) {
        if self.is_due(boundary, cluster) {
            error!(?boundary, "ending at the failpoint");
            process::exit(EXIT_FAILPOINT);
        }
    }

    fn is_due(&self, boundary: Boundary, cluster: &(String, String)) -> bool {
        let armed_for = self.armed_for.lock().unwrap_or_else(PoisonError::into_inner);
        self.at == Some(boundary) && armed_for.contains(cluster)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failpoint_is_due_at_its_boundary_once_the_cluster_was_seen_at_rest() {
        let demo = ("flin".to_owned(), "demo".to_owned());
        let failpoint = Failpoint::new(Some(Boundary::AfterGrow));
        assert!(!failpoint.is_due(Boundary::AfterGrow, &demo), "the change was under way before");
        failpoint.arm(demo.clone());
        assert!(failpoint.is_due(Boundary::AfterGrow, &demo));
        assert!(!failpoint.is_due(Boundary::AfterShrink, &demo));
        let none = Failpoint::default();
        none.arm(demo.clone());
        assert!(!none.is_due(Boundary::AfterGrow, &demo));
    }

    #[test]
    fn boundaries_are_named_as_documented() {
        let names: Vec<_> = Boundary::value_variants()
            .iter()
            .filter_map(|boundary| Some(boundary.to_possible_value()?.get_name().to_owned()))
            .collect();
        assert_eq!(
            names,
            [
                "after-grow",
                "after-drain-intent",
                "after-remove",
                "after-shrink",
                "after-stepdown",
                "after-delete-pod",
            ]
        );
    }
}
