use std::net::SocketAddr;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// What becomes of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Open,
    /// They are accepted, also those that are open already, and nothing is ever answered.
    Silent,
    /// They are closed at once.
    Gone,
}

/// A way to a server that can be broken.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    way: watch::Sender<Way>,
}

impl Relay {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (way, seen) = watch::channel(Way::Open);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(carry(stream, server, seen.clone()));
            }
        });
        Self { address, way }
    }

    pub(crate) fn becomes(&self, way: Way) {
        self.way.send_replace(way);
    }
}

async fn carry(mut stream: TcpStream, server: SocketAddr, mut seen: watch::Receiver<Way>) {
    let way = *seen.borrow_and_update();
    if way == Way::Open {
        let mut inner = TcpStream::connect(server).await.unwrap();
        tokio::select! {
            _ = copy_bidirectional(&mut stream, &mut inner) => return,
            _ = seen.changed() => {}
        }
    }
    // What was begun before the way broke is not answered either.
    if *seen.borrow() == Way::Silent {
        let _ = seen.changed().await;
    }
}
