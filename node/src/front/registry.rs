//! Who is connected to a port, for CLIENT LIST and CLIENT KILL.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use flin_resp::commands;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What a connection shows of itself to others.
pub(super) struct Card {
    pub(super) id: u64,
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) opened: Instant,
    /// Milliseconds from `opened` to the last request.
    pub(super) last_request_ms: AtomicU64,
    /// The last command's place in the table; [`usize::MAX`] before the first.
    pub(super) last_command: AtomicUsize,
    /// 2 or 3.
    pub(super) protocol: AtomicU64,
    labels: Mutex<Labels>,
    /// Closes the connection once its replies are sent.
    pub(super) close: CancellationToken,
}

/// What a client says of itself.
#[derive(Clone, Default)]
pub(super) struct Labels {
    pub(super) name: String,
    pub(super) library: String,
    pub(super) library_version: String,
}

/// The connections of a port.
#[derive(Default)]
pub(super) struct Registry {
    cards: Mutex<BTreeMap<u64, Arc<Card>>>,
}

impl Registry {
    pub(super) fn insert(&self, card: Arc<Card>) {
        self.lock().insert(card.id, card);
    }

    pub(super) fn remove(&self, id: u64) {
        self.lock().remove(&id);
    }

    /// Every connection, the oldest first.
    pub(super) fn cards(&self) -> Vec<Arc<Card>> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Card>>> {
        self.cards.lock().expect("no thread panics while it holds the registry")
    }
}

impl Card {
    pub(super) fn new(
        id: u64,
        peer: SocketAddr,
        local: SocketAddr,
        close: CancellationToken,
    ) -> Card {
        Card {
            id,
            peer,
            local,
            opened: Instant::now(),
            last_request_ms: AtomicU64::new(0),
            last_command: AtomicUsize::new(usize::MAX),
            protocol: AtomicU64::new(2),
            labels: Mutex::new(Labels::default()),
            close,
        }
    }

    /// What the client said of itself, to read or to change; not to be held for long.
    pub(super) fn labels(&self) -> MutexGuard<'_, Labels> {
        self.labels.lock().expect("no thread panics while it holds a connection's labels")
    }

    /// Notes a request: `command` is its place in the table.
    pub(super) fn requested(&self, command: Option<usize>) {
        self.last_request_ms.store(self.age_ms(), Relaxed);
        self.last_command.store(command.unwrap_or(usize::MAX), Relaxed);
    }

    fn age_ms(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The line that CLIENT LIST and CLIENT INFO answer, without a line break.
    pub(super) fn line(&self) -> String {
        let labels = self.labels().clone();
        let age_ms = self.age_ms();
        let idle_ms = age_ms.saturating_sub(self.last_request_ms.load(Relaxed));
        let command = commands::all()
            .get(self.last_command.load(Relaxed))
            .map_or("NULL", |command| command.name);
        let mut line = String::new();
        write!(
            line,
            "id={} addr={} laddr={} name={} age={} idle={} flags=N db=0 cmd={command} user=default \
             lib-name={} lib-ver={} resp={}",
            self.id,
            self.peer,
            self.local,
            labels.name,
            age_ms / 1000,
            idle_ms / 1000,
            labels.library,
            labels.library_version,
            self.protocol.load(Relaxed),
        )
        .expect("writing to a string cannot fail");
        line
    }
}
