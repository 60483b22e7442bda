use std::path::PathBuf;

use clap::Args;
use configsrv_fleet::{ClusterName, SpiffeId, Subject};

use crate::failure::Failure;

use super::{Ignored, Repository};

/// `florctl revoke`.
#[derive(Args, Debug)]
pub(crate) struct Revoke {
    /// Whom: user/NAME, service/NAME, service/NODE/NAME, node/NAME, or a whole SPIFFE id.
    #[arg(value_name = "ID", required_unless_present = "settle")]
    pub(crate) ids: Vec<String>,
    /// Why; everybody who reads the revocations sees it.
    #[arg(long)]
    pub(crate) reason: String,
    /// Let versions name those again who are revoked and whom the published version, as it was compiled in this
    /// repository, does not name any more.
    #[arg(long)]
    pub(crate) settle: bool,
    /// Private key of a signer whom the nodes trust, PEM.
    #[arg(long, env = "FLORCTL_SIGN_KEY", value_name = "FILE")]
    pub(crate) sign_key: PathBuf,
    /// Revoke also whom neither the published version, nor the YAML, nor enrollment.log names.
    #[arg(long)]
    pub(crate) unknown: bool,
    #[command(flatten)]
    pub(crate) ignored: Ignored,
    /// Revoke although operators or nodes lose their way to the servers.
    #[arg(long)]
    pub(crate) allow_lockout: bool,
    /// Do not ask.
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Who does it, for enrollment.log.
    #[arg(long, env = "USER", default_value = "operator")]
    pub(crate) operator: String,
    #[command(flatten)]
    pub(crate) repository: Repository,
}

impl Revoke {
    /// Those who are named, in the trust domain of `cluster`.
    pub(crate) fn ids(&self, cluster: &ClusterName) -> Result<Vec<SpiffeId>, Failure> {
        let parse = |text: &String| -> Result<SpiffeId, configsrv_fleet::spiffe::SpiffeError> {
            if text.starts_with("spiffe://") {
                return text.parse();
            }
            Ok(SpiffeId::new(cluster, text.parse::<Subject>()?))
        };
        let ids = self.ids.iter().map(parse).collect::<Result<Vec<_>, _>>();
        ids.map_err(|error| Failure::usage(error.to_string()))
    }
}
