use std::{
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    runtime::Runtime,
    sync::watch,
};

/// Stands before a server's peer port. While it holds, connections come about and nothing passes, as with a process
/// that is stopped.
pub(crate) struct Proxy {
    open: watch::Sender<bool>,
    counts: Arc<Counts>,
    /// Ends with the proxy, and all connections with it.
    _runtime: Runtime,
}

#[derive(Default)]
struct Counts {
    connections: AtomicUsize,
    bytes: AtomicUsize,
}

impl Proxy {
    /// Passes what comes to `listener` on to `to`.
    pub(crate) fn start(listener: TcpListener, to: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (open, gate) = watch::channel(true);
        let counts = Arc::new(Counts::default());
        let counted = Arc::clone(&counts);
        listener.set_nonblocking(true).unwrap();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                counted.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(connection(client, to, gate.clone(), Arc::clone(&counted)));
            }
        });
        Self { open, counts, _runtime: runtime }
    }

    pub(crate) fn hold(&self) {
        self.open.send_replace(false);
    }

    pub(crate) fn release(&self) {
        self.open.send_replace(true);
    }

    /// How many connections were made.
    pub(crate) fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::SeqCst)
    }

    /// How many bytes have passed.
    pub(crate) fn bytes(&self) -> usize {
        self.counts.bytes.load(Ordering::SeqCst)
    }
}

async fn connection(client: TcpStream, to: SocketAddr, gate: watch::Receiver<bool>, counts: Arc<Counts>) {
    let Ok(server) = TcpStream::connect(to).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = relay(from_client, to_server, gate.clone(), &counts) => {}
        () = relay(from_server, to_client, gate, &counts) => {}
    }
}

async fn relay(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut gate: watch::Receiver<bool>,
    counts: &Counts,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if gate.wait_for(|open| *open).await.is_err() || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
        counts.bytes.fetch_add(length, Ordering::SeqCst);
    }
}
