//! What a check found, in words that can be acted on.

use std::collections::BTreeMap;
use std::fmt;

/// How many findings the [`fmt::Display`] of a verdict spells out; all of them are in [`Verdict::findings`].
pub const FINDINGS_SHOWN: usize = 20;

/// What happened to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Violation {
    /// An acknowledged (or already seen) value is gone and nothing that could have removed it was written.
    Lost,
    /// A value is back that an acknowledged (or already seen) later write had replaced or removed.
    Resurrected,
    /// A value that nobody ever wrote to this key, though others were.
    Altered,
    /// A value where none can be: its write surely failed, had not begun, or the key was never written.
    Phantom,
    /// The key has an acknowledged write and nobody read it afterwards, so nothing is proven.
    Unread,
}

/// One violation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The key.
    pub key: String,
    /// What kind it is.
    pub violation: Violation,
    /// What the read saw; `None` for an absent key, and for [`Violation::Unread`].
    pub saw: Option<String>,
    /// When the read began; 0 for [`Violation::Unread`].
    pub at: u64,
    /// What a correct cluster could have answered; `None` is an absent key. Empty for
    /// [`Violation::Unread`].
    pub allowed: Vec<Option<String>>,
}

/// How much was checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Distinct keys in the history.
    pub keys: u64,
    /// Keys with at least one acknowledged write that put a value.
    pub keys_acknowledged: u64,
    /// Acknowledged writes.
    pub acknowledged: u64,
    /// Writes of unknown outcome.
    pub maybe: u64,
    /// Writes that surely failed.
    pub failed: u64,
    /// Answered reads.
    pub reads: u64,
}

/// The result of a check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// How much was checked.
    pub tally: Tally,
    /// Every violation, ordered by key and then by time; empty means that the cluster kept its word.
    pub findings: Vec<Finding>,
}

impl Verdict {
    /// Whether nothing was found.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// How many findings there are of each kind.
    pub fn counts(&self) -> BTreeMap<Violation, usize> {
        self.findings.iter().fold(BTreeMap::new(), |mut counts, finding| {
            *counts.entry(finding.violation).or_default() += 1;
            counts
        })
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "lost",
            Self::Resurrected => "resurrected",
            Self::Altered => "altered",
            Self::Phantom => "phantom",
            Self::Unread => "unread",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.violation == Violation::Unread {
            return write!(f, "unread: {:?} was acknowledged and never read afterwards", self.key);
        }
        write!(f, "{}: {:?} was {} at {}", self.violation, self.key, Shown(&self.saw), self.at)?;
        let allowed: Vec<_> = self.allowed.iter().map(|value| Shown(value).to_string()).collect();
        write!(f, ", could only be {}", allowed.join(" or "))
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} keys ({} acknowledged); writes: {} acknowledged, {} maybe, {} failed; {} reads",
            self.keys,
            self.keys_acknowledged,
            self.acknowledged,
            self.maybe,
            self.failed,
            self.reads
        )
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; ", self.tally)?;
        if self.is_clean() {
            return f.write_str("nothing lost, altered, resurrected or phantom");
        }
        let counts: Vec<_> = self.counts().iter().map(|(kind, n)| format!("{n} {kind}")).collect();
        write!(f, "VIOLATIONS: {}", counts.join(", "))?;
        for finding in self.findings.iter().take(FINDINGS_SHOWN) {
            write!(f, "\n  {finding}")?;
        }
        match self.findings.len().checked_sub(FINDINGS_SHOWN) {
            Some(more) if more > 0 => write!(f, "\n  and {more} more"),
            _ => Ok(()),
        }
    }
}

struct Shown<'a>(&'a Option<String>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(value) => write!(f, "{value:?}"),
            None => f.write_str("absent"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(n: usize) -> Finding {
        Finding {
            key: format!("k{n}"),
            violation: Violation::Lost,
            saw: None,
            at: 9,
            allowed: vec![Some("v".into())],
        }
    }

    #[test]
    fn a_finding_says_what_was_seen_and_what_could_have_been() {
        assert_eq!(lost(1).to_string(), "lost: \"k1\" was absent at 9, could only be \"v\"");
    }

    #[test]
    fn a_long_verdict_names_the_first_findings_and_counts_the_rest() {
        let findings = (0..FINDINGS_SHOWN + 3).map(lost).collect();
        let text = Verdict { tally: Tally::default(), findings }.to_string();
        assert!(text.contains("VIOLATIONS: 23 lost"));
        assert!(text.ends_with("and 3 more"));
    }
}
