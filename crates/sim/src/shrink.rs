//! Makes the plan of a failed run smaller, as long as it still fails: a short story is easier to understand.

use crate::plan::Plan;
use crate::run::{Outcome, run};

/// The smallest plan found that still fails, with what came of it. Each step costs a run; there are at most
/// `runs_max` of them.
pub fn shrink(failed: Outcome, runs_max: u32) -> Outcome {
    let mut search = Search { best: failed, runs: runs_max };
    search.fewer_faults();
    search.less_work();
    search.fewer_faults();
    search.best
}

struct Search {
    best: Outcome,
    runs: u32,
}

impl Search {
    /// Leaves out pieces of the list of faults, large ones first (delta debugging, Zeller 1999).
    fn fewer_faults(&mut self) {
        let mut piece = self.best.plan.faults.len().div_ceil(2);
        while piece > 0 {
            let mut at = 0;
            while at < self.best.plan.faults.len() {
                let mut plan = self.best.plan.clone();
                let end = (at + piece).min(plan.faults.len());
                plan.faults.drain(at..end);
                if !self.try_out(plan) {
                    at += piece;
                }
            }
            piece /= 2;
        }
    }

    /// Has fewer clients do less.
    fn less_work(&mut self) {
        while self.best.plan.operations > 50 {
            let mut plan = self.best.plan.clone();
            plan.operations /= 2;
            if !self.try_out(plan) {
                break;
            }
        }
        while self.best.plan.clients > 1 {
            let mut plan = self.best.plan.clone();
            plan.clients -= 1;
            if !self.try_out(plan) {
                break;
            }
        }
    }

    /// Keeps a plan if it fails too.
    fn try_out(&mut self, plan: Plan) -> bool {
        if self.runs == 0 {
            return false;
        }
        self.runs -= 1;
        let outcome = run(&plan, true);
        let fails = !outcome.violations.is_empty();
        if fails {
            self.best = outcome;
        }
        fails
    }
}
