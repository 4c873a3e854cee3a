//! Events: what changed from one status to the next, for `kubectl describe`.

use flin_crds::{BootstrapPhase, FlinClusterStatus, condition, reason};

use super::conditions::find;

/// The longest note that an event may carry, in bytes.
const NOTE_BYTES_MAX: usize = 1000;

/// Something worth an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// Whether people should look.
    pub is_warning: bool,
    /// What happened, in one word.
    pub reason: String,
    /// What happened.
    pub note: String,
    /// What the operator was about.
    pub action: &'static str,
}

/// What happened between two statuses.
#[must_use]
pub fn happenings(old: Option<&FlinClusterStatus>, new: &FlinClusterStatus) -> Vec<Happening> {
    let mut all = Vec::new();
    let old_birth = old.and_then(|old| old.bootstrap.as_ref());
    if let Some(birth) = &new.bootstrap {
        let id = &birth.cluster_id;
        let is_formed = birth.phase == BootstrapPhase::Formed;
        match old_birth {
            None if is_formed => all.push(normal("Adopted", format!("adopted cluster {id}"))),
            None => all.push(normal("Forming", format!("forming cluster {id}"))),
            Some(old) if is_formed && old.phase == BootstrapPhase::Forming => {
                all.push(normal("Formed", format!("cluster {id} is formed")));
            }
            Some(_) => {}
        }
    }
    for (type_, good) in [
        (condition::AVAILABLE, "True"),
        (condition::PROGRESSING, ""),
        (condition::DEGRADED, "False"),
    ] {
        let Some(now) = find(new, type_) else { continue };
        let before = old.and_then(|old| find(old, type_));
        let turned =
            before.is_none_or(|old| (&old.status, &old.reason) != (&now.status, &now.reason));
        // What a fresh cluster is not yet, and what Progressing says when all is well, is no news.
        let dull = [reason::FORMING, reason::SETTLED].contains(&now.reason.as_str())
            || (before.is_none() && now.status == good)
            || (type_ != condition::AVAILABLE && now.status == good);
        if turned && !dull {
            let said = all.iter().any(|other: &Happening| other.reason == now.reason);
            if !said {
                all.push(Happening {
                    is_warning: now.status != good,
                    reason: now.reason.clone(),
                    note: cut(&now.message),
                    action: "Reconcile",
                });
            }
        }
    }
    all
}

fn normal(reason: &str, note: String) -> Happening {
    Happening { is_warning: false, reason: reason.to_owned(), note, action: "Bootstrap" }
}

fn cut(message: &str) -> String {
    let mut end = message.len().min(NOTE_BYTES_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message[..end].to_owned()
}
