use clap::Args;
use configsrv_fleet::{address::HostPort, names::UserName};

/// A way to the servers through the data plane of this machine, which may be the only one.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Tunnel {
    /// Go through this machine's data plane as this user; `flor status` says where its SOCKS5 port is. The servers are
    /// then what --http or cluster.yaml calls them there, else config-publisher.CLUSTER.rete.
    #[arg(long = "as", global = true, env = "HOLDFAST_AS", value_name = "USER")]
    pub(crate) user: Option<UserName>,
    /// Go through this SOCKS5 port, and ask no agent where it is.
    #[arg(long, global = true, env = "HOLDFAST_SOCKS5", value_name = "HOST:PORT")]
    pub(crate) socks5: Option<HostPort>,
}

impl Tunnel {
    pub(crate) fn is_asked_for(&self) -> bool {
        self.user.is_some() || self.socks5.is_some()
    }
}
