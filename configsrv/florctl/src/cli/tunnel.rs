use clap::Args;
use configsrv_fleet::{address::HostPort, names::UserName};

/// A way to the servers through the data plane of this machine, which may be the only one.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Tunnel {
    /// Go through this machine's data plane as this user; `flor status` says where its SOCKS5 port is.
    #[arg(long = "as", value_name = "USER")]
    pub(crate) user: Option<UserName>,
    /// Go through this SOCKS5 port, and ask no agent where it is.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) socks5: Option<HostPort>,
}
