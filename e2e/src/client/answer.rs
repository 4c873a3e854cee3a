//! What became of a request, by the first word of an error (`docs/COMMANDS.md`, "Errors").

use super::resp::Value;

/// What a client knows after one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Done.
    Done(Value),
    /// Surely not done; trying again may help.
    NotDone(String),
    /// A write may or may not take effect.
    Unknown(String),
    /// Surely not done, and trying again changes nothing.
    Refused(String),
}

/// An error reply that a router acts upon before anybody else sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Moved {
    /// The slot that has another owner.
    pub(crate) slot: u16,
    /// Where it is, `host:port`.
    pub(crate) address: String,
}

impl Answer {
    /// Judges a reply. An error of a kind that nobody documented counts as unknown: it proves nothing.
    pub(crate) fn of(reply: Value) -> Self {
        let Value::Error(text) = reply else { return Self::Done(reply) };
        match text.split(' ').next().unwrap_or_default() {
            "MOVED" | "TRYAGAIN" | "CLUSTERDOWN" | "LOADING" => Self::NotDone(text),
            "ERR" | "WRONGTYPE" | "CROSSSLOT" | "NOAUTH" | "WRONGPASS" | "NOPERM" => {
                Self::Refused(text)
            }
            _ => Self::Unknown(text),
        }
    }
}

impl Moved {
    /// Reads `MOVED 3999 host:port`.
    pub(crate) fn parse(error: &str) -> Option<Self> {
        let mut words = error.split(' ');
        let (kind, slot, address) = (words.next()?, words.next()?, words.next()?);
        let slot = slot.parse().ok()?;
        (kind == "MOVED").then(|| Self { slot, address: address.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_tell_what_happened() {
        let of = |text: &str| Answer::of(Value::Error(text.to_owned()));
        assert!(matches!(of("TRYAGAIN no leader yet"), Answer::NotDone(_)));
        assert!(matches!(of("UNKNOWNOUTCOME lost the leader"), Answer::Unknown(_)));
        assert!(matches!(of("WRONGTYPE no"), Answer::Refused(_)));
        assert!(matches!(of("SOMETHING new"), Answer::Unknown(_)));
        assert_eq!(Answer::of(Value::Nil), Answer::Done(Value::Nil));
    }

    #[test]
    fn a_redirection_names_slot_and_address() {
        let moved = Moved::parse("MOVED 3999 demo-1.demo-nodes:6384").expect("a redirection");
        assert_eq!((moved.slot, moved.address.as_str()), (3_999, "demo-1.demo-nodes:6384"));
        assert_eq!(Moved::parse("TRYAGAIN 1 a"), None);
    }
}
