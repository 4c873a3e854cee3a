//! What each key was told, kept small: the last acknowledged version and the unknown ones since the run began.

use flin_check::{History, Outcome, Read, Verdict, Write, check};

use crate::traffic::Tagged;

/// The keys that one worker writes, and what became of it.
pub(super) struct Ledger {
    entries: Vec<Entry>,
    /// Acknowledged writes, also of versions since replaced.
    pub(super) acknowledged: u64,
    pub(super) maybe: u64,
}

struct Entry {
    key: String,
    next_version: u64,
    acknowledged: Option<u64>,
    maybe: Vec<u64>,
}

/// What a final read saw.
pub(super) struct Seen {
    pub(super) key: String,
    pub(super) value: Option<Vec<u8>>,
}

impl Ledger {
    /// A ledger of these keys.
    pub(super) fn of(keys: impl Iterator<Item = String>) -> Self {
        let fresh = |key| Entry { key, next_version: 0, acknowledged: None, maybe: Vec::new() };
        Self { entries: keys.map(fresh).collect(), acknowledged: 0, maybe: 0 }
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The name of a key.
    pub(super) fn key(&self, at: usize) -> &str {
        &self.entries[at].key
    }

    /// The next value for a key: a new version, never used before.
    pub(super) fn next(&mut self, at: usize) -> (&str, u64, String) {
        let entry = &mut self.entries[at];
        let version = entry.next_version;
        entry.next_version += 1;
        (&entry.key, version, tag(&entry.key, version))
    }

    /// A version was acknowledged.
    pub(super) fn acknowledge(&mut self, at: usize, version: u64) {
        self.entries[at].acknowledged = Some(version);
        self.acknowledged += 1;
    }

    /// A version may or may not be there, now or later.
    pub(super) fn doubt(&mut self, at: usize, version: u64) {
        self.entries[at].maybe.push(version);
        self.maybe += 1;
    }

    /// Whether a read between two writes of this worker may have seen `value`: only what was acknowledged last
    /// or may have come through. A node that answers without being the leader any more is caught here.
    ///
    /// # Errors
    /// What was seen instead, in words.
    pub(super) fn expect(
        &self,
        at: usize,
        value: Option<&[u8]>,
        value_bytes: usize,
    ) -> Result<(), String> {
        let entry = &self.entries[at];
        let Some(value) = value else {
            return match entry.acknowledged {
                Some(version) => Err(format!("{} is absent after {version}", entry.key)),
                None => Ok(()),
            };
        };
        let seen = Tagged::recognize(value, value_bytes);
        let mut fit = entry.acknowledged.iter().chain(&entry.maybe);
        if fit.any(|version| seen == tag(&entry.key, *version)) {
            return Ok(());
        }
        let (last, key) = (entry.acknowledged, &entry.key);
        Err(format!("{key} holds {seen:?}; acknowledged last was version {last:?}"))
    }

    /// Judges final reads, which all began after the last write of every ledger ended. Versions that were
    /// replaced are no part of the history, so one that is back counts as altered.
    ///
    /// # Errors
    /// When the checker cannot judge the history.
    pub(super) fn judge(
        ledgers: &[Self],
        seen: Vec<Seen>,
        value_bytes: usize,
    ) -> Result<Verdict, String> {
        let mut history = History::default();
        for entry in ledgers.iter().flat_map(|ledger| &ledger.entries) {
            let versions = entry.maybe.iter().map(|version| (*version, Outcome::Maybe));
            let last = entry.acknowledged.map(|version| (version, Outcome::Acknowledged));
            for (version, outcome) in versions.chain(last) {
                let (key, value) = (entry.key.clone(), tag(&entry.key, version));
                history.push(Write { key, value: Some(value), from: 0, to: 1, outcome });
            }
        }
        for Seen { key, value } in seen {
            let value = value.map(|value| Tagged::recognize(&value, value_bytes));
            history.push(Read { key, value, from: 2, to: 3 });
        }
        check(&history).map_err(|e| e.to_string())
    }
}

fn tag(key: &str, version: u64) -> String {
    format!("{key}.{version}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        let mut ledger = Ledger::of(["a".to_owned(), "b".to_owned()].into_iter());
        for (at, told) in [(0, true), (0, true), (0, false), (1, true)] {
            let (_, version, _) = ledger.next(at);
            if told { ledger.acknowledge(at, version) } else { ledger.doubt(at, version) }
        }
        ledger
    }

    fn judge(a: Option<&str>, b: Option<&str>) -> bool {
        let seen = [("a", a), ("b", b)].map(|(key, tag)| Seen {
            key: key.to_owned(),
            value: tag.map(|tag| Tagged::expand(tag, 32)),
        });
        Ledger::judge(&[ledger()], seen.into(), 32).expect("a fit history").is_clean()
    }

    #[test]
    fn the_last_acknowledged_and_the_doubtful_versions_are_fine() {
        assert!(judge(Some("a.1"), Some("b.0")));
        assert!(judge(Some("a.2"), Some("b.0")));
    }

    #[test]
    fn a_read_sees_the_last_acknowledged_or_a_doubtful_version() {
        let ledger = ledger();
        let sees = |tag: &str| ledger.expect(0, Some(&Tagged::expand(tag, 32)), 32).is_ok();
        assert!(sees("a.1") && sees("a.2"));
        assert!(!sees("a.0") && !sees("b.0"));
        assert!(ledger.expect(0, None, 32).is_err());
    }

    #[test]
    fn absent_replaced_and_foreign_values_are_found() {
        assert!(!judge(None, Some("b.0")));
        assert!(!judge(Some("a.0"), Some("b.0")));
        assert!(!judge(Some("a.1"), Some("a.1")));
    }
}
