//! Events: what changed from one status to the next, for `kubectl describe`.

use flin_crds::{BootstrapPhase, FlinClusterStatus, condition, reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::conditions::find;
use super::story;

/// The longest note that an event may carry, in bytes.
const NOTE_BYTES_MAX: usize = 1000;

/// Reasons that are no news by themselves: what a fresh cluster is not yet, what is said when all is well,
/// and what the story of a change tells.
const DULL: [&str; 7] = [
    reason::FORMING,
    reason::NODES_STARTING,
    reason::SETTLED,
    reason::ALL_NODES_HEALTHY,
    reason::NODE_RESTARTING,
    reason::REBALANCING,
    reason::ROLLOUT_BLOCKED,
];

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
    pub action: String,
    /// The node that it happened to, when it was one.
    pub node: Option<String>,
}

impl Happening {
    pub(super) fn normal(reason: &str, note: String) -> Self {
        let (reason, action) = (reason.to_owned(), "Reconcile".to_owned());
        Self { is_warning: false, reason, note, action, node: None }
    }

    pub(super) fn warning(reason: &str, note: String) -> Self {
        Self { is_warning: true, ..Self::normal(reason, note) }
    }

    pub(super) fn about(self, action: String) -> Self {
        Self { action, ..self }
    }

    pub(super) fn on(self, node: &str) -> Self {
        Self { node: Some(node.to_owned()), ..self }
    }
}

/// What happened between two statuses.
#[must_use]
pub fn happenings(old: Option<&FlinClusterStatus>, new: &FlinClusterStatus) -> Vec<Happening> {
    let mut all: Vec<_> = birth(old, new).into_iter().collect();
    if let Some(old) = old {
        all.extend(story::tell(old, new));
    }
    for (type_, good) in [
        (condition::AVAILABLE, "True"),
        // That something progresses is told by its story; that it does not is news.
        (condition::PROGRESSING, "True"),
        (condition::DEGRADED, "False"),
    ] {
        let Some(now) = find(new, type_) else { continue };
        let before = old.and_then(|old| find(old, type_));
        let turned =
            before.is_none_or(|old| (&old.status, &old.reason) != (&now.status, &now.reason));
        let dull = DULL.contains(&now.reason.as_str())
            || (before.is_none() && now.status == good)
            || (type_ != condition::AVAILABLE && now.status == good);
        let said = all.iter().any(|other| other.reason == now.reason);
        if turned && !dull && !said {
            let is_warning = now.status != good;
            let note = cut(&now.message);
            all.push(Happening { is_warning, ..Happening::normal(&now.reason, note) });
        }
    }
    all.extend(zones_shared(old, new));
    all
}

/// That replicas share zones, once the nodes are in balance and it will stay so.
fn zones_shared(old: Option<&FlinClusterStatus>, new: &FlinClusterStatus) -> Option<Happening> {
    let is_said = |condition: &&Condition| condition.reason == reason::ZONES_SHARED;
    let now = find(new, condition::REBALANCING).filter(is_said)?;
    let before = old.and_then(|old| find(old, condition::REBALANCING)).filter(is_said);
    before.is_none().then(|| Happening::normal(reason::ZONES_SHARED, cut(&now.message)))
}

fn birth(old: Option<&FlinClusterStatus>, new: &FlinClusterStatus) -> Option<Happening> {
    let birth = new.bootstrap.as_ref()?;
    let id = &birth.cluster_id;
    let is_formed = birth.phase == BootstrapPhase::Formed;
    let (reason, note) = match old.and_then(|old| old.bootstrap.as_ref()) {
        None if is_formed => ("Adopted", format!("adopted cluster {id}")),
        None => ("Forming", format!("forming cluster {id}")),
        Some(old) if is_formed && old.phase == BootstrapPhase::Forming => {
            ("Formed", format!("cluster {id} is formed"))
        }
        Some(_) => return None,
    };
    Some(Happening::normal(reason, note).about("Bootstrap".to_owned()))
}

/// The beginning of a message, as much of it as an event takes.
pub(super) fn cut(message: &str) -> String {
    let mut end = message.len().min(NOTE_BYTES_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message[..end].to_owned()
}
