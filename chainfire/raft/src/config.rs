use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use holdfast_rpc::TlsOffer;
use ring::digest;
use serde::{Deserialize, Serialize};

use crate::{Error, GroupId, Slot};

/// The fixed set of servers. Slots are positions in `members`. Part of stored and sent formats: its fields are frozen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Keeps two clusters apart whose servers have the same names (etcd's cluster token).
    pub token: String,
    pub members: Vec<Member>,
}

/// One configured server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Unique in the cluster; the peer certificate carries it.
    pub name: String,
    /// Where its peer listener answers, `host:port`.
    pub address: String,
}

/// What a server needs to know to open its [`Node`](crate::Node).
#[derive(Clone)]
pub struct NodeConfig {
    pub data_dir: PathBuf,
    pub cluster: Cluster,
    /// This server's name in `cluster`.
    pub name: String,
    /// Certificates for the peer port; a cluster of one needs none.
    pub tls: Option<PeerTls>,
    pub timing: Timing,
    pub limits: Limits,
    /// Lets an empty server ask an existing cluster for its slot's place (`--rejoin-wiped`).
    pub rejoin_wiped: bool,
    pub on_fatal: FatalHook,
}

/// One Raft group of the node.
#[derive(Clone, Debug)]
pub struct GroupConfig {
    pub id: GroupId,
    /// Names the folder of its state, `DIR/<name>-state`.
    pub name: &'static str,
    /// Entries after which the log may be shortened.
    pub snapshot_every: u64,
    /// Entries that stay in the log for followers that lag, although a snapshot covers them.
    pub keep_entries: u64,
    /// How much of the log a restart may have to apply again, in time.
    pub flush_every: Duration,
}

/// PEM files of the peer port. They are read again for each new connection, so replacing them needs no restart.
#[derive(Clone, Debug)]
pub struct PeerTls {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Certificate and key for calls to peers, if they are others.
    pub calling: Option<(PathBuf, PathBuf)>,
    pub trust: PeerTrust,
    /// Certificates of peers that do not count any more.
    pub revoked: Option<PathBuf>,
    pub offer: TlsOffer,
}

impl PeerTls {
    /// With everything that is safe on offer and nobody's certificate revoked.
    pub fn new(certificate: PathBuf, key: PathBuf, trust: PeerTrust) -> Self {
        Self { certificate, key, calling: None, trust, revoked: None, offer: TlsOffer::default() }
    }
}

/// Whom this server takes for a peer. Paths are of one or more CA certificates; two while a CA is being replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerTrust {
    /// Who shows a certificate of the CA that names its server's slot.
    Slots(PathBuf),
    /// The same where this server's own certificate names a slot. Else, as etcd has it, whoever has a certificate of
    /// the CA may call, and who answers must show one for the host that was dialled.
    Hosts(PathBuf),
    /// Everybody: the line is encrypted, and that is all.
    Anyone,
}

impl PeerTrust {
    /// The file of the CA's certificates, if there is a CA.
    pub fn authority(&self) -> Option<&Path> {
        match self {
            Self::Slots(ca) | Self::Hosts(ca) => Some(ca),
            Self::Anyone => None,
        }
    }
}

/// Raft's clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    pub heartbeat: Duration,
    /// A follower that hears nothing starts an election after a random time between these two.
    pub election_min: Duration,
    pub election_max: Duration,
}

/// What a peer or a caller may make this server hold in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest command that can be proposed.
    pub command_bytes: usize,
    /// Entries of one append message are cut at this size (one entry always fits).
    pub append_bytes: usize,
}

/// Called once with the reason when the node cannot go on without risking data: a failed fsync, a state machine that
/// halts. The default logs and aborts the process. A hook that returns leaves a node that answers nothing.
#[derive(Clone)]
pub struct FatalHook(Arc<dyn Fn(&str) + Send + Sync>);

impl Cluster {
    /// A cluster of this one server.
    pub fn single(name: impl Into<String>, address: impl Into<String>) -> Self {
        Self { token: "holdfast".into(), members: vec![Member { name: name.into(), address: address.into() }] }
    }

    pub fn slot(&self, name: &str) -> Option<Slot> {
        let position = self.members.iter().position(|member| member.name == name)?;
        u16::try_from(position).ok().map(Slot)
    }

    pub fn member(&self, slot: Slot) -> Option<&Member> {
        self.members.get(usize::from(slot.0))
    }

    /// How many members there are; their slots are below it.
    pub(crate) fn size(&self) -> u16 {
        u16::try_from(self.members.len()).unwrap_or(u16::MAX)
    }

    /// Every slot with its server.
    pub fn slots(&self) -> impl Iterator<Item = (Slot, &Member)> {
        self.members.iter().zip(0..=u16::MAX).map(|(member, slot)| (Slot(slot), member))
    }

    /// SHA-256 over everything that all servers must agree on before the first start.
    pub fn digest(&self) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        let mut add = |text: &str| {
            context.update(&(text.len() as u64).to_be_bytes());
            context.update(text.as_bytes());
        };
        add("holdfast cluster 1");
        add(&self.token);
        for member in &self.members {
            add(&member.name);
            add(&member.address);
        }
        let mut out = [0; 32];
        out.copy_from_slice(context.finish().as_ref());
        out
    }

    /// How `other` differs, in words for an operator; `None` if it does not. `self` is called *configured*.
    pub fn difference(&self, other: &Self, called: &str) -> Option<String> {
        if self.token != other.token {
            return Some(format!(
                "the cluster token (iam.trust_domain, or --initial-cluster-token) is {:?} here and {:?} {called}",
                self.token, other.token
            ));
        }
        if self.members.len() != other.members.len() {
            return Some(format!("{} members here, {} {called}", self.members.len(), other.members.len()));
        }
        let (slot, (here, there)) =
            self.members.iter().zip(&other.members).enumerate().find(|(_, (here, there))| here != there)?;
        Some(format!(
            "slot {slot} is {} at {} here and {} at {} {called}",
            here.name, here.address, there.name, there.address
        ))
    }

    pub(crate) fn validate(&self, own_name: &str) -> Result<Slot, Error> {
        let invalid = |message: String| Err(Error::Config(message));
        if !matches!(self.members.len(), 1..=7) {
            return invalid(format!("a cluster has 1 to 7 members, not {}", self.members.len()));
        }
        for (slot, member) in self.slots() {
            if member.name.is_empty() || member.name.len() > MAX_NAME || member.name.contains(char::is_control) {
                return invalid(format!("{:?} is not a server name: use 1 to {MAX_NAME} characters", member.name));
            }
            if self.slot(&member.name) != Some(slot) {
                return invalid(format!("two members are called {}", member.name));
            }
        }
        self.slot(own_name).ok_or_else(|| Error::Config(format!("no member is called {own_name}")))
    }
}

/// Bytes of a server's name. etcd has no such limit; every handshake and every status carries the names.
const MAX_NAME: usize = 255;

impl GroupConfig {
    pub fn chainfire() -> Self {
        Self::new(GroupId::CHAINFIRE, "chainfire")
    }

    pub fn flaredb() -> Self {
        Self::new(GroupId::FLAREDB, "flaredb")
    }

    /// Where a server with this data folder keeps the group's state.
    pub(crate) fn state_folder(&self, data_dir: &Path) -> PathBuf {
        data_dir.join(format!("{}-state", self.name))
    }

    fn new(id: GroupId, name: &'static str) -> Self {
        Self { id, name, snapshot_every: 10_000, keep_entries: 5_000, flush_every: Duration::from_secs(30) }
    }
}

impl NodeConfig {
    /// Defaults for everything that is not about this server.
    pub fn new(data_dir: impl Into<PathBuf>, cluster: Cluster, name: impl Into<String>) -> Self {
        Self {
            data_dir: data_dir.into(),
            cluster,
            name: name.into(),
            tls: None,
            timing: Timing::default(),
            limits: Limits::default(),
            rejoin_wiped: false,
            on_fatal: FatalHook::default(),
        }
    }
}

impl Timing {
    /// How long a proposal or a read may take: five seconds and two elections, as etcd has it.
    pub fn request(&self) -> Duration {
        Duration::from_secs(5) + self.election_min * 2
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(100),
            election_min: Duration::from_secs(1),
            election_max: Duration::from_secs(2),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { command_bytes: 8 << 20, append_bytes: 2 << 20 }
    }
}

/// The largest answer on the peer port. A command that is passed on to the leader may have an answer that is far larger
/// than itself, such as all that it has deleted; this is the most that clients take.
pub(crate) const ANSWER_BYTES: usize = i32::MAX as usize;

impl Limits {
    /// The largest request on the peer port: a full append, or one command with its envelope.
    pub(crate) fn message_bytes(&self) -> usize {
        self.command_bytes.max(self.append_bytes) + (1 << 20)
    }
}

impl FatalHook {
    pub fn new(hook: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hook))
    }

    pub(crate) fn call(&self, reason: &str) {
        tracing::error!(reason, "the node cannot go on");
        (self.0)(reason);
    }
}

impl Default for FatalHook {
    fn default() -> Self {
        Self::new(|reason| {
            // Whatever happens to the log pipeline, the reason must reach the operator.
            eprintln!("holdfast: fatal: {reason}");
            std::process::abort();
        })
    }
}

impl fmt::Debug for FatalHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FatalHook")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(names: &[&str]) -> Cluster {
        let member = |name: &&str| Member { name: (*name).into(), address: format!("{name}:2380") };
        Cluster { token: "t".into(), members: names.iter().map(member).collect() }
    }

    #[test]
    fn the_digest_depends_on_order_and_names() {
        let digests = [cluster(&["a", "b"]), cluster(&["b", "a"]), cluster(&["a", "c"]), cluster(&["ab"])];
        for (at, one) in digests.iter().enumerate() {
            for other in &digests[at + 1..] {
                assert_ne!(one.digest(), other.digest());
                assert!(one.difference(other, "there").is_some());
            }
            assert_eq!(one.difference(one, "there"), None);
        }
    }

    #[test]
    fn the_difference_names_the_slot() {
        let text = cluster(&["a", "b"]).difference(&cluster(&["a", "c"]), "on disk").unwrap();
        assert_eq!(text, "slot 1 is b at b:2380 here and c at c:2380 on disk");
    }

    #[test]
    fn names_are_unique_and_of_bounded_length() {
        assert_eq!(cluster(&["a", "B c"]).validate("B c").unwrap(), Slot(1));
        assert!(cluster(&["a", "a"]).validate("a").is_err());
        assert!(cluster(&["a", ""]).validate("a").is_err());
        assert!(cluster(&["a", "b\n"]).validate("a").is_err());
        assert!(cluster(&["a", &"b".repeat(256)]).validate("a").is_err());
        assert!(cluster(&["a"]).validate("b").is_err());
        assert!(cluster(&[]).validate("a").is_err());
    }
}
