//! How a node reaches another: by name, or where it was found last when names cannot be looked up.

use std::io;
use std::net::SocketAddr;
use std::sync::RwLock;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

use super::{
    CONNECTION_WINDOW_BYTES, KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, STREAM_WINDOW_BYTES,
};

/// How long a name service may take. It answers within milliseconds, or is away.
const LOOKUP_TIME: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// For an address that may be out of date, where nobody may be any more.
const CONNECT_TIMEOUT_UNSURE: Duration = Duration::from_millis(500);

/// Why a node was not reached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The name service does not know the name, or cannot be asked; and nothing is known from before.
    #[error("the name cannot be looked up: {0}")]
    Lookup(io::Error),
    /// Nobody listens there, or the way is blocked.
    #[error(transparent)]
    Connect(#[from] tonic::transport::Error),
}

/// Where one other node is.
pub(crate) struct Whereabouts(RwLock<Place>);

struct Place {
    address: String,
    /// Where the name led to last.
    found: Option<SocketAddr>,
}

impl Whereabouts {
    /// A node at `address`, host and port.
    pub(crate) fn new(address: String) -> Self {
        Whereabouts(RwLock::new(Place { address, found: None }))
    }

    /// Host and port.
    pub(crate) fn address(&self) -> String {
        self.0.read().expect(POISON).address.clone()
    }

    /// The node is at `address` now.
    pub(crate) fn set(&self, address: String) {
        let mut place = self.0.write().expect(POISON);
        if place.address != address {
            *place = Place { address, found: None };
        }
    }

    /// Connects to the node. Nodes must reach each other also while the name service is away; another that has
    /// taken over an address from before is harmless, for whoever answers has to prove who it is.
    pub(crate) async fn connect(&self) -> Result<Channel, ConnectError> {
        let address = self.address();
        match look_up(&address).await {
            Ok(found) => {
                let channel = connect(found[0], CONNECT_TIMEOUT).await?;
                self.remember(&address, found[0]);
                Ok(channel)
            }
            Err(error) => match self.remembered() {
                Some(found) => Ok(connect(found, CONNECT_TIMEOUT_UNSURE).await?),
                None => Err(ConnectError::Lookup(error)),
            },
        }
    }

    fn remember(&self, address: &str, found: SocketAddr) {
        let mut place = self.0.write().expect(POISON);
        if place.address == address {
            place.found = Some(found);
        }
    }

    fn remembered(&self) -> Option<SocketAddr> {
        self.0.read().expect(POISON).found
    }
}

/// Every address that a name, host and port, leads to; at least one.
///
/// # Errors
/// The name is not known, leads to nobody, or the name service does not answer in time.
pub(crate) async fn look_up(name: &str) -> io::Result<Vec<SocketAddr>> {
    let looking = tokio::time::timeout(LOOKUP_TIME, tokio::net::lookup_host(name));
    let found: Vec<SocketAddr> = looking.await.map_err(|_| no_answer())??.collect();
    match found.is_empty() {
        true => Err(io::Error::new(io::ErrorKind::NotFound, "it leads to no address")),
        false => Ok(found),
    }
}

fn no_answer() -> io::Error {
    let what = format!("no answer within {} ms", LOOKUP_TIME.as_millis());
    io::Error::new(io::ErrorKind::TimedOut, what)
}

async fn connect(to: SocketAddr, patience: Duration) -> Result<Channel, tonic::transport::Error> {
    Endpoint::from_shared(format!("http://{to}"))?
        .connect_timeout(patience)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .tcp_nodelay(true)
        .connect()
        .await
}

const POISON: &str = "no thread panics while it holds the address";

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_node_is_found_again_when_its_name_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let whereabouts = Whereabouts::new(format!("localhost:{port}"));
        whereabouts.connect().await.expect("it listens");
        let found = whereabouts.remembered().expect("it was found");
        assert_eq!(found.port(), port);

        // `.invalid` never resolves.
        let lost = Whereabouts::new(format!("node.invalid:{port}"));
        let error = lost.connect().await.expect_err("nothing is known of it");
        assert!(matches!(error, ConnectError::Lookup(_)), "{error}");
        lost.remember(&lost.address(), found);
        lost.connect().await.expect("it is where it was");
    }

    #[tokio::test]
    async fn an_address_that_changed_forgets_where_the_old_one_led() {
        let whereabouts = Whereabouts::new("a.invalid:1".into());
        let found = SocketAddr::from(([127, 0, 0, 1], 1));
        whereabouts.remember("a.invalid:1", found);
        whereabouts.set("a.invalid:1".into());
        assert_eq!(whereabouts.remembered(), Some(found));
        whereabouts.set("b.invalid:1".into());
        assert_eq!(whereabouts.remembered(), None);
        // An answer that comes late is for the name that was asked for.
        whereabouts.remember("a.invalid:1", found);
        assert_eq!(whereabouts.remembered(), None);
    }
}
