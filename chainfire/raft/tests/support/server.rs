use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use chainfire_raft::{
    Cluster, Committed, Error, Group, GroupConfig, Member, Node, NodeConfig, PeerTls, PeerTrust, ProposeError, Slot,
    Status, Timing, peer_ca,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{
    Ledger, Proxy,
    ledger::{count, pairs},
};

/// What a test's servers have in common: addresses, folders, certificates.
pub(crate) struct Plan {
    pub(crate) cluster: Cluster,
    pub(crate) folder: TempDir,
    /// Kept until the first start, so that nobody else takes the port.
    listeners: Vec<Option<TcpListener>>,
    /// Where the servers listen, which is not where they are reached if a proxy stands before them.
    own: Vec<SocketAddr>,
    pub(crate) group: GroupConfig,
    /// Beside the first; none in most tests.
    pub(crate) second: Option<GroupConfig>,
    pub(crate) tls: bool,
    pub(crate) timing: Timing,
}

/// A running server.
pub(crate) struct Server {
    runtime: Option<Runtime>,
    node: Option<Node>,
    pub(crate) group: Option<Group<Ledger>>,
    second: Option<Group<Ledger>>,
}

impl Plan {
    pub(crate) fn new(members: usize) -> Self {
        let listeners: Vec<TcpListener> = (0..members).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let member = |(slot, listener): (usize, &TcpListener)| Member {
            name: format!("cp{slot}"),
            address: listener.local_addr().unwrap().to_string(),
        };
        let cluster = Cluster { token: "test".into(), members: listeners.iter().enumerate().map(member).collect() };
        let folder = tempfile::tempdir().unwrap();
        let certificates = folder.path().join("certificates");
        peer_ca::init(&certificates).unwrap();
        for member in &cluster.members {
            peer_ca::issue(&certificates, &member.name, &[], &certificates.join(&member.name)).unwrap();
        }
        let own = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
        Self {
            cluster,
            folder,
            listeners: listeners.into_iter().map(Some).collect(),
            own,
            group: GroupConfig::chainfire(),
            second: None,
            tls: members > 1,
            timing: Timing::default(),
        }
    }

    pub(crate) fn data_dir(&self, slot: usize) -> PathBuf {
        self.folder.path().join(format!("data{slot}"))
    }

    pub(crate) fn tls(&self, name: &str) -> PeerTls {
        let own = self.folder.path().join("certificates").join(name);
        let trust = PeerTrust::Slots(own.join("ca.crt"));
        PeerTls::new(own.join("peer.crt"), own.join("peer.key"), trust)
    }

    pub(crate) fn config(&self, slot: usize) -> NodeConfig {
        let name = self.cluster.members[slot].name.clone();
        let mut config = NodeConfig::new(self.data_dir(slot), self.cluster.clone(), name.clone());
        config.tls = self.tls.then(|| self.tls(&name));
        config.timing = self.timing;
        config
    }

    /// Puts a proxy before a server that has not started yet.
    pub(crate) fn proxy(&mut self, slot: usize) -> Proxy {
        let own = TcpListener::bind("127.0.0.1:0").unwrap();
        self.own[slot] = own.local_addr().unwrap();
        Proxy::start(self.listeners[slot].replace(own).unwrap(), self.own[slot])
    }

    fn listener(&mut self, slot: usize) -> TcpListener {
        let address = self.own[slot];
        self.listeners[slot].take().unwrap_or_else(|| eventually(|| TcpListener::bind(address).ok()))
    }

    /// Starts all servers and waits until they are one cluster.
    pub(crate) fn start_all(&mut self) -> Vec<Server> {
        let starting: Vec<_> =
            (0..self.cluster.members.len()).map(|slot| self.begin(slot, self.config(slot))).collect();
        starting.into_iter().map(|started| started.recv().unwrap().unwrap()).collect()
    }

    pub(crate) fn start(&mut self, slot: usize) -> Result<Server, Error> {
        self.begin(slot, self.config(slot)).recv().unwrap()
    }

    /// Takes a server's disk away.
    pub(crate) fn wipe(&self, slot: usize) {
        fs::remove_dir_all(self.data_dir(slot)).unwrap();
    }

    /// Starts a server that asks for its place back.
    pub(crate) fn rejoin(&mut self, slot: usize) -> mpsc::Receiver<Result<Server, Error>> {
        let config = NodeConfig { rejoin_wiped: true, ..self.config(slot) };
        self.begin(slot, config)
    }

    /// Starts a server on a thread and a runtime of its own.
    pub(crate) fn begin(&mut self, slot: usize, config: NodeConfig) -> mpsc::Receiver<Result<Server, Error>> {
        let listener = self.listener(slot);
        let groups = (self.group.clone(), self.second.clone());
        let (done, started) = mpsc::channel();
        std::thread::spawn(move || {
            let _ = done.send(Server::start(&config, groups, &listener));
        });
        started
    }
}

impl Server {
    fn start(
        config: &NodeConfig,
        (first, second): (GroupConfig, Option<GroupConfig>),
        listener: &TcpListener,
    ) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let started = runtime.block_on(async {
            let listener = || {
                let listener = listener.try_clone().unwrap();
                listener.set_nonblocking(true).unwrap();
                tokio::net::TcpListener::from_std(listener).unwrap()
            };
            // A server that was killed a moment ago may still hold the folder's lock.
            let deadline = Instant::now() + Duration::from_secs(20);
            let node = loop {
                match Node::open(config.clone(), listener()) {
                    Err(error) if matches!(error, Error::InUse { .. }) && Instant::now() < deadline => {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    opened => break opened?,
                }
            };
            let group = node.group(first, Arc::new(Ledger::default())).await?;
            let second = match second {
                Some(second) => Some(node.group(second, Arc::new(Ledger::default())).await?),
                None => None,
            };
            let first = |facts: &chainfire_raft::Founding| {
                let names: Vec<&str> = facts.members.iter().map(|member| member.name.as_str()).collect();
                Ok(format!("genesis={}", names.join(",")).into_bytes())
            };
            node.start(first).await?;
            Ok((node, group, second))
        });
        match started {
            Ok((node, group, second)) => {
                Ok(Self { runtime: Some(runtime), node: Some(node), group: Some(group), second })
            }
            Err(error) => {
                runtime.shutdown_timeout(Duration::from_secs(5));
                Err(error)
            }
        }
    }

    pub(crate) fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    pub(crate) fn group(&self) -> &Group<Ledger> {
        self.group.as_ref().unwrap()
    }

    pub(crate) fn second(&self) -> &Group<Ledger> {
        self.second.as_ref().unwrap()
    }

    /// Runs a request where the server's own tasks run.
    pub(crate) fn run<T: Send + 'static>(&self, request: impl Future<Output = T> + Send + 'static) -> T {
        self.runtime.as_ref().unwrap().block_on(request)
    }

    /// The same, without waiting for its end.
    pub(crate) fn spawn(&self, request: impl Future<Output = ()> + Send + 'static) {
        self.runtime.as_ref().unwrap().spawn(request);
    }

    pub(crate) fn propose(&self, command: impl Into<Vec<u8>>) -> Result<Committed, ProposeError> {
        let (group, command) = (self.group().clone(), command.into());
        self.run(async move { group.propose(command).await })
    }

    pub(crate) fn status(&self) -> Status {
        self.group().status()
    }

    pub(crate) fn slot(&self) -> Slot {
        self.node().slot()
    }

    /// All pairs, after everything acknowledged anywhere is here.
    pub(crate) fn pairs(&self) -> Vec<(String, String)> {
        let group = self.group().clone();
        self.run(async move {
            group.read_index().await.unwrap();
            pairs(&group.state().snapshot())
        })
    }

    pub(crate) fn count(&self) -> u64 {
        count(&self.group().state().snapshot()).unwrap()
    }

    /// Ends the server as a crash would: nothing is handed over, nothing is flushed.
    pub(crate) fn kill(mut self) {
        self.tear_down();
    }

    pub(crate) fn stop(mut self) {
        let node = self.node.take().unwrap();
        drop((self.group.take(), self.second.take()));
        self.run(node.stop());
    }

    fn tear_down(&mut self) {
        drop((self.group.take(), self.second.take()));
        drop(self.node.take());
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tear_down();
    }
}

/// Waits until `condition` gives something.
pub(crate) fn eventually<T>(mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < deadline, "the condition never came true");
        std::thread::sleep(Duration::from_millis(20));
    }
}
