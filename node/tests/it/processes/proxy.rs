//! A way to a node that breaks and jams when a test wants it to.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Passes connections on to a node, for as long as it lives.
pub struct Proxy {
    address: SocketAddr,
    way: Arc<Way>,
    _passing: JoinSet<()>,
}

struct Way {
    target: String,
    /// A connection that brought so many bytes is cut, as often as [`Way::cuts_left`] says.
    cut_after: usize,
    cuts_left: AtomicUsize,
    /// Nothing passes, but nothing breaks either.
    jammed: watch::Sender<bool>,
}

impl Proxy {
    /// A way to `target` that cuts the first `cuts` connections that bring more than `cut_after` bytes.
    pub async fn cutting(target: String, cut_after: usize, cuts: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let jammed = watch::Sender::new(false);
        let way = Arc::new(Way { target, cut_after, cuts_left: AtomicUsize::new(cuts), jammed });
        let mut passing = JoinSet::new();
        passing.spawn(pass_all(listener, way.clone()));
        Proxy { address, way, _passing: passing }
    }

    /// A way to `target` that never breaks.
    pub async fn to(target: String) -> Self {
        Proxy::cutting(target, usize::MAX, 0).await
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// How many connections it has still to cut.
    pub fn cuts_left(&self) -> usize {
        self.way.cuts_left.load(Ordering::Relaxed)
    }

    /// Lets nothing pass, or everything again.
    pub fn jam(&self, jammed: bool) {
        self.way.jammed.send_replace(jammed);
    }
}

async fn pass_all(listener: TcpListener, way: Arc<Way>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (from, _) = accepted.expect("a connection");
                let way = way.clone();
                // Its end is what both sides notice.
                connections.spawn(async move { drop(pass(from, &way).await) });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn pass(mut from: TcpStream, way: &Way) -> io::Result<()> {
    let mut to = TcpStream::connect(&way.target).await?;
    from.set_nodelay(true)?;
    to.set_nodelay(true)?;
    let (mut from_read, mut from_write) = from.split();
    let (mut to_read, mut to_write) = to.split();
    // Whichever direction ends, both do.
    tokio::select! {
        there = pump(&mut from_read, &mut to_write, way, way.cut_after) => there,
        back = pump(&mut to_read, &mut from_write, way, usize::MAX) => back,
    }
}

async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    way: &Way,
    cut_after: usize,
) -> io::Result<()> {
    let mut jammed = way.jammed.subscribe();
    let mut buffer = vec![0; 64 << 10];
    let mut passed = 0_usize;
    loop {
        let count = from.read(&mut buffer).await?;
        let _ = jammed.wait_for(|jammed| !jammed).await;
        if count == 0 {
            return Ok(());
        }
        passed = passed.saturating_add(count);
        let cut = |left: usize| left.checked_sub(1);
        if passed > cut_after
            && way.cuts_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, cut).is_ok()
        {
            return Ok(());
        }
        to.write_all(&buffer[..count]).await?;
    }
}
