use configsrv_fleet::{ClusterName, NodeName, Signer, SpiffeId};
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    disk::{Attributes, Disk, save},
    home::Layout,
};

/// What enrolment wrote down: who this node is, and whom it asks. The trust anchor beside it is `ca.crt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cluster {
    /// Name and trust domain.
    pub cluster: ClusterName,
    pub node: NodeName,
    /// The servers' HTTP addresses, tried in this order.
    pub urls: Vec<String>,
    /// Their API addresses, for the next certificate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub api: Vec<String>,
    /// Signers that were known at enrolment; without any, the first artifact names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signers: Vec<Signer>,
}

impl Cluster {
    pub(crate) fn load(disk: &dyn Disk, layout: &Layout) -> Result<Self, Error> {
        let path = layout.cluster();
        let bytes = disk.read(&path).map_err(|error| Error::file(&path, &error))?;
        let bytes =
            bytes.ok_or_else(|| Error::State(format!("{} is missing: enrol this machine first", path.display())))?;
        serde_json::from_slice(&bytes).map_err(|error| Error::Configuration(format!("{}: {error}", path.display())))
    }

    pub(crate) fn save(&self, disk: &dyn Disk, layout: &Layout) -> Result<(), Error> {
        let path = layout.cluster();
        let bytes = serde_json::to_vec_pretty(self).map_err(|error| Error::Unexpected(error.to_string()))?;
        save(disk, &path, &bytes, Attributes::PUBLIC).map_err(|error| Error::file(&path, &error))
    }

    pub(crate) fn spiffe_id(&self) -> SpiffeId {
        SpiffeId::node(&self.cluster, &self.node)
    }
}
