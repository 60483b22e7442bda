use super::Agent;
use crate::{
    Error,
    machine::World,
    outcome::{Freshness, StatusView, Troubles},
    renewal::NodeCertificate,
};

impl Agent {
    /// As much as the disk shows, without touching it. What it does not show is named: who looks at a node in trouble needs
    /// the rest of it the more.
    pub(crate) fn status(&self) -> StatusView {
        let mut troubles = Troubles::default();
        let (world, faults) = self.store.glance();
        faults.iter().for_each(|fault| troubles.add(fault.to_string()));
        let left_ms = troubles.or_none(self.left_ms(&world));
        let mut view = StatusView::of(&self.cluster, &world, left_ms);
        view.looked = self.looked(&world);
        view.revocations = troubles.or_none(self.lane().view().map(Some));
        view.drift = troubles.or_none(self.drift_in(&world));
        if let Some(now) = troubles.or_none(self.clock.now().map(Some)) {
            view.freshness = self.expiry(&world).map(|until_ms| Freshness::of(until_ms, now.wall_ms));
            let (disk, layout) = (self.store.disk(), self.store.layout());
            let certificate = NodeCertificate::load(disk, layout, &self.cluster, now.wall_ms);
            view.node_certificate = troubles.or_none(certificate);
            if let Some(held) = troubles.or_none(self.identities.load(disk, now.wall_ms)) {
                view.certificates = held.certificates();
                view.faults = held.faults;
            }
        }
        StatusView { troubles, ..view }
    }

    /// What is durable, for whoever waits for what becomes of it.
    pub(crate) fn world(&self) -> Result<World, Error> {
        self.store.load()
    }
}
