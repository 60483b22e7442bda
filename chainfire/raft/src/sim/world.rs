use std::{collections::BTreeSet, sync::Arc, time::Duration};

use chainfire_core::{
    Command as CoreCommand, Envelope, Origin,
    cluster::{ClusterCommand, GenesisCommand, Limits},
    format,
    journal::AuditPolicy,
    kv::{self, Revision},
    lease::LeaseId,
};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{
    Kind, Sabotage, Trouble,
    chance::Chance,
    clients::Client,
    invariants::Verdict,
    network::Net,
    record::Record,
    server::{Common, Fleet},
};
use crate::{GroupConfig, Slot, Timing, group::settings, types::Command};

pub(super) const TIMING: Timing = Timing {
    heartbeat: Duration::from_millis(60),
    election_min: Duration::from_millis(300),
    election_max: Duration::from_millis(600),
};

/// What a run may do to the cluster lasts this long; then everything is mended and must work again.
const TROUBLE: Duration = Duration::from_secs(12);
const RECOVERY: Duration = Duration::from_secs(60);

/// One cluster, its clients, and what happens to them.
pub(super) struct World {
    pub(super) fleet: Fleet,
    chance: Chance,
    pub(super) record: Record,
    trouble: Trouble,
}

impl World {
    pub(super) fn new(seed: u64, kind: Kind, record: Record) -> Self {
        let Kind { sabotage, members, trouble } = kind;
        let chance = Chance::new(seed);
        let group = GroupConfig { snapshot_every: 40, keep_entries: 10, ..GroupConfig::chainfire() };
        let mut settings = settings(&group, TIMING).unwrap_or_default();
        if sabotage == Sabotage::LeadershipIsRestored {
            settings.enable_leader_restore = Some(true);
        }
        let settings = Arc::new(settings);
        let net = Net::new(chance.clone());
        let chosen = if chance.percent(70) { 3 } else { 5 };
        let members = members.unwrap_or(chosen);
        let common =
            Common { members, timing: TIMING, settings, net, record: record.clone(), chance: chance.clone(), sabotage };
        Self { fleet: Fleet::new(common), chance, record, trouble }
    }

    /// A phase in which only safety counts, then one in which the cluster must come to life again.
    pub(super) async fn run(&self) {
        self.fleet.begin().await;
        self.found().await;
        let client = |number| Client { fleet: self.fleet.clone(), number };
        let clients = [
            tokio::spawn(client(1).write()),
            tokio::spawn(client(2).write()),
            tokio::spawn(client(3).read()),
            tokio::spawn(client(4).lease()),
            tokio::spawn(client(5).lease()),
            tokio::spawn(client(6).watch()),
            tokio::spawn(client(7).watch()),
        ];
        match self.trouble {
            Trouble::Any => self.trouble().await,
            Trouble::HungDisks => {
                let verdict = self.hang_disks().await;
                self.record.judge(|_| verdict);
            }
        }
        self.mend();
        let recovered = self.recovered().await;
        for task in clients {
            task.abort();
        }
        if self.record.violation().is_none() {
            let verdict = if recovered { self.compare().await } else { Err("liveness: no recovery".to_owned()) };
            self.record.judge(|_| verdict);
        }
    }

    /// The first command, which the first leader proposes.
    async fn found(&self) {
        let genesis = GenesisCommand {
            cluster: Uuid::from_u128(1),
            members: Vec::new(),
            lineage: Uuid::from_u128(2),
            feature_level: 1,
            journal: false,
            limits: Limits::default(),
            audit: AuditPolicy::default(),
        };
        let command = CoreCommand::Cluster(ClusterCommand::Genesis(genesis));
        let envelope = Envelope { origin: Origin::system("sim", "genesis"), time_ms: 1, command };
        let bytes = format::encode_command(&envelope).unwrap_or_default();
        loop {
            if let Some(leader) = self.fleet.leader()
                && leader.raft.client_write(Command(bytes.clone().into())).await.is_ok()
            {
                return;
            }
            sleep(TIMING.heartbeat).await;
        }
    }

    fn any(&self) -> Slot {
        Slot(u16::try_from(self.chance.below(usize::from(self.fleet.common.members))).unwrap_or(0))
    }

    async fn trouble(&self) {
        let end = Instant::now() + TROUBLE;
        while Instant::now() < end && self.record.violation().is_none() {
            self.next_trouble().await;
        }
    }

    /// The next thing that goes wrong, or right again.
    async fn next_trouble(&self) {
        sleep(self.chance.millis(20, 700)).await;
        let net = &self.fleet.common.net;
        match self.chance.below(100) {
            0..14 => self.bounce(self.any(), self.chance.millis(1, 1_500)),
            14..20 => {
                let slot = self.fleet.leader().map_or_else(|| self.any(), |leader| leader.id.slot());
                self.hang(slot, self.chance.millis(100, 4_000));
            }
            20..35 => {
                let Some(leader) = self.fleet.leader() else { return };
                self.bounce(leader.id.slot(), self.chance.millis(1, 1_500));
            }
            35..50 => {
                let size = 1 + self.chance.below(usize::from(self.fleet.common.members) / 2);
                let these: BTreeSet<Slot> = (0..size).map(|_| self.any()).collect();
                self.record.note(format!("cut off: {these:?}"));
                net.part(&these, self.fleet.common.members);
            }
            50..55 => net.deafen(self.any(), self.any()),
            55..70 => {
                self.record.note("links are whole");
                net.heal();
            }
            70..75 => net.lose(u32::try_from(self.chance.below(20)).unwrap_or(0)),
            75..80 => {
                self.record.note("the power fails");
                let back = self.chance.millis(1, 300);
                for slot in self.fleet.slots() {
                    self.bounce(slot, back);
                }
            }
            80..90 => self.lose_a_disk(self.any()),
            _ => self.squeeze().await,
        }
    }

    /// Crashes a server and starts it again after `pause`.
    fn bounce(&self, slot: Slot, pause: Duration) {
        if self.fleet.is_down(slot) {
            return;
        }
        self.record.note(format!("slot {slot} crashes for {} ms", pause.as_millis()));
        self.fleet.crash(slot);
        let fleet = self.fleet.clone();
        tokio::spawn(async move {
            sleep(pause).await;
            if fleet.is_down(slot) {
                fleet.start(slot);
            }
        });
    }

    /// A disk syncs nothing for a while.
    fn hang(&self, slot: Slot, lasting: Duration) {
        self.fleet.hang(slot, true);
        let fleet = self.fleet.clone();
        tokio::spawn(async move {
            sleep(lasting).await;
            fleet.hang(slot, false);
        });
    }

    /// As long as the others, with their disks, are a majority, a lost one can be replaced.
    fn lose_a_disk(&self, slot: Slot) {
        let bearable = (usize::from(self.fleet.common.members) - 1) / 2;
        let lost = self.fleet.lost_besides(slot);
        if lost >= bearable || self.fleet.is_down(slot) {
            return;
        }
        self.record.note(format!("slot {slot} loses its disk"));
        self.fleet.crash(slot);
        self.fleet.wipe(slot);
        self.fleet.start(slot);
    }

    /// One server is cut off and falls behind; then the leader is away, and one of those who have all loses its disk.
    async fn squeeze(&self) {
        let Some(leader) = self.fleet.leader().map(|leader| leader.id.slot()) else { return };
        let others: Vec<Slot> = self.fleet.slots().into_iter().filter(|slot| *slot != leader).collect();
        let behind = others.len() / 2;
        let net = &self.fleet.common.net;
        self.record.note(format!("squeeze: {:?} fall behind {leader}", &others[..behind]));
        net.part(&others[..behind].iter().copied().collect(), self.fleet.common.members);
        sleep(self.chance.millis(100, 600)).await;
        self.bounce(leader, self.chance.millis(1_000, 4_000));
        self.lose_a_disk(others[behind]);
        net.heal();
    }

    /// No more trouble.
    fn mend(&self) {
        self.record.note("no more trouble");
        self.fleet.common.net.heal();
        self.fleet.common.net.lose(0);
        for slot in self.fleet.slots() {
            self.fleet.hang(slot, false);
            if self.fleet.is_down(slot) {
                self.fleet.start(slot);
            }
        }
    }

    /// Waits until every slot has its vote and a write is acknowledged.
    async fn recovered(&self) -> bool {
        let end = Instant::now() + RECOVERY;
        let client = Client { fleet: self.fleet.clone(), number: 0 };
        while Instant::now() < end {
            if self.record.violation().is_some() {
                return true;
            }
            let whole = self.fleet.processes().len() == self.fleet.slots().len() && self.fleet.unsettled() == 0;
            if whole && client.put("last".into(), format!("last at {:?}", end - Instant::now()), LeaseId::NONE).await {
                return true;
            }
            sleep(TIMING.heartbeat).await;
        }
        false
    }

    /// What all servers have in the end.
    async fn compare(&self) -> Verdict {
        let newest = self.record.lock().writes.newest();
        let mut logs = Vec::new();
        for process in self.fleet.processes() {
            let caught_up = async {
                while process.state.read(kv::current_revision).unwrap_or_default() < newest {
                    sleep(TIMING.heartbeat).await;
                }
            };
            let caught_up = tokio::time::timeout(RECOVERY, caught_up).await;
            caught_up.map_err(|_| format!("liveness: {} does not catch up", process.id))?;
            let whole =
                process.state.read(|read| kv::history(read, Revision(2), Revision(i64::MAX - 1), usize::MAX, false));
            let history = whole.map_err(|error| format!("{error:?}"))?.revisions;
            {
                let record = self.record.lock();
                record.writes.compare(newest, &history)?;
                record.watches.compare(&history)?;
            }
            logs.push(self.fleet.log_of(process.id.slot()).await?);
        }
        self.record.lock().logs.compare(&logs)
    }
}
