//! Three machines: the servers', one that passes packets on, and the one that is cut off.

use anyhow::Result;
use holdfast_testkit::{End, Namespace};

use super::PIER;

/// The servers' address.
pub(super) const PLANE: &str = "10.77.1.1";
/// Those of the machine between: towards the servers, and towards the other machine.
pub(super) const HUB: [&str; 2] = ["10.77.1.2", "10.77.2.1"];
pub(super) const PIER_ADDRESS: &str = "10.77.2.2";
/// Where nobody is.
pub(super) const NOBODY: &str = "10.77.2.3";

/// To be dropped after everything that runs in it.
pub(super) struct Network {
    pub(super) plane: Namespace,
    hub: Namespace,
    pier: Namespace,
}

impl Network {
    /// One cable from the servers to the hub, another one from there to the pier.
    pub(super) fn lay() -> Result<Self> {
        let network =
            Self { plane: Namespace::create("plane")?, hub: Namespace::create("hub")?, pier: Namespace::create(PIER)? };
        let Self { plane, hub, pier } = &network;
        cable((plane, "hub", PLANE), (hub, "plane", HUB[0]))?;
        cable((hub, PIER, HUB[1]), (pier, "hub", PIER_ADDRESS))?;
        hub.forward()?;
        plane.ip(&format!("route add default via {}", HUB[0]))?;
        pier.ip(&format!("route add default via {}", HUB[1]))?;
        Ok(network)
    }

    pub(super) fn of(&self, node: &str) -> &Namespace {
        if node == PIER { &self.pier } else { &self.hub }
    }
}

/// Each end by its machine, its device there and its address.
fn cable(one: (&Namespace, &str, &str), other: (&Namespace, &str, &str)) -> Result<()> {
    let [address, peer] = [one.2, other.2].map(|address| format!("{address}/24"));
    Namespace::join(
        End { namespace: one.0, device: one.1, address: &address },
        End { namespace: other.0, device: other.1, address: &peer },
    )
}
