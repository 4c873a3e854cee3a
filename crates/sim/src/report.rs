//! What many runs came to.

use std::collections::BTreeMap;
use std::fmt;

use crate::fault::Role;
use crate::nemesis::Coverage;
use crate::plan::Measure;
use crate::run::Outcome;
use crate::watch::Counts;

/// The figures of many runs.
#[derive(Clone, Debug)]
pub struct Report {
    /// How many runs.
    pub seeds: u64,
    measure: Measure,
    failed: u64,
    checked: u64,
    unknown: u64,
    lasted_us: u64,
    counts: Counts,
    coverage: Coverage,
}

impl Report {
    /// No runs.
    pub fn new(measure: Measure) -> Self {
        Report {
            seeds: 0,
            measure,
            failed: 0,
            checked: 0,
            unknown: 0,
            lasted_us: 0,
            counts: Counts::default(),
            coverage: Coverage::new(),
        }
    }

    /// Counts a run.
    pub fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        self.failed += u64::from(!outcome.violations.is_empty());
        self.checked += outcome.history.len() as u64;
        self.unknown += outcome.unknown() as u64;
        self.lasted_us += outcome.lasted_us;
        self.counts.add(&outcome.counts);
        for (what, times) in &outcome.coverage {
            *self.coverage.entry(*what).or_default() += times;
        }
    }

    /// By kind of fault, how often it struck each role.
    fn by_kind(&self) -> BTreeMap<&'static str, [u64; Role::ALL.len()]> {
        let mut table = BTreeMap::new();
        for ((kind, role), times) in &self.coverage {
            let row: &mut [u64; Role::ALL.len()] = table.entry(*kind).or_default();
            let at = Role::ALL.iter().position(|known| known == role).unwrap_or(0);
            row[at] += times;
        }
        table
    }

    /// The figures as JSON.
    pub fn to_json(&self) -> String {
        let counts = self.counts.named().map(|(name, value)| format!("    \"{name}\": {value}"));
        let faults = self.by_kind().into_iter().map(|(kind, row)| {
            let roles = Role::ALL.iter().zip(row);
            let roles: Vec<_> = roles.map(|(role, n)| format!("\"{role}\": {n}")).collect();
            format!("    \"{kind}\": {{{}}}", roles.join(", "))
        });
        format!(
            "{{\n  \"seeds\": {},\n  \"failed\": {},\n  \"operations_per_seed\": {},\n  \"faults_per_seed\": {},\n  \
             \"operations_checked\": {},\n  \"operations_of_unknown_outcome\": {},\n  \"virtual_seconds\": {},\n  \
             \"counts\": {{\n{}\n  }},\n  \"faults\": {{\n{}\n  }}\n}}\n",
            self.seeds,
            self.failed,
            self.measure.operations,
            self.measure.faults,
            self.checked,
            self.unknown,
            self.lasted_us / 1_000_000,
            counts.collect::<Vec<_>>().join(",\n"),
            faults.collect::<Vec<_>>().join(",\n"),
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{} seeds, {} failed; {} operations checked ({} of unknown outcome) in {} s of simulated time",
            self.seeds,
            self.failed,
            self.checked,
            self.unknown,
            self.lasted_us / 1_000_000
        )?;
        let counts: Vec<_> =
            self.counts.named().map(|(name, value)| format!("{value} {name}")).collect();
        writeln!(f, "{}\n", counts.join(", "))?;
        write!(f, "{:<24}", "fault")?;
        for role in Role::ALL {
            write!(f, "{:>14}", role.to_string())?;
        }
        for (kind, row) in self.by_kind() {
            write!(f, "\n{kind:<24}")?;
            for times in row {
                write!(f, "{times:>14}")?;
            }
        }
        Ok(())
    }
}
