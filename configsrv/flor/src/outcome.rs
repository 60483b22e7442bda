use std::{
    fmt,
    time::{Duration, UNIX_EPOCH},
};

use configsrv_fleet::{Version, diff::Class};
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    cluster::Cluster,
    drift::Drift,
    identities::CertificateView,
    lane::LaneView,
    machine::{Carried, LastChange, Looked, Phase, Refused, Rejected, Repaired, SyncResult, World},
    plane::PlaneView,
    policy::Policy,
    renewal::NodeCertificate,
    tally::TallyView,
};

/// What a sync is asked to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SyncRequest {
    /// 0: no confirmation is asked for.
    pub window_ms: u64,
    pub dry_run: bool,
    pub supersede: bool,
    pub retry_rejected: bool,
    /// Nobody will type a confirmation: only what can be confirmed by what holds is taken.
    #[serde(default)]
    pub unattended: bool,
    /// A person brought the artifact, the servers did not.
    #[serde(default)]
    pub carried: bool,
    /// Files that somebody changed are gone over, though they are to be decided about first.
    #[serde(default)]
    pub overwrite_drift: bool,
}

/// How a command ended well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(crate) enum Outcome {
    Unchanged {
        version: Version,
    },
    /// A dry run's answer.
    Available {
        version: Version,
        active: Option<Version>,
        class: Class,
        changes: Vec<String>,
        update: bool,
    },
    /// Active, and waiting for a confirmation.
    Pending {
        version: Version,
        class: Class,
        deadline_ms: u64,
        left_ms: u64,
        back_to: Option<Version>,
        /// It came from a file.
        #[serde(default)]
        carried: bool,
    },
    /// Active without waiting.
    Committed {
        version: Version,
        class: Class,
    },
    Confirmed {
        version: Version,
        already: bool,
    },
    Cancelled {
        version: Version,
        active: Option<Version>,
    },
    /// Files are as they were written again.
    Repaired {
        files: Vec<String>,
    },
}

/// What `flor status` shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StatusView {
    pub cluster: String,
    pub node: String,
    pub active: Option<Version>,
    pub confirmed: Option<Version>,
    pub offered: Option<Version>,
    pub pending: Option<PendingView>,
    pub degraded: Option<String>,
    pub last: Option<LastChange>,
    /// How the servers were looked at last.
    #[serde(default)]
    pub looked: Option<Looked>,
    /// What the daemon has counted since it began.
    #[serde(default)]
    pub counters: Option<TallyView>,
    pub rejected: Vec<Rejected>,
    /// What was refused before anything was touched.
    #[serde(default)]
    pub refused: Option<Refused>,
    /// By which the servers know this node.
    #[serde(default)]
    pub node_certificate: Option<NodeCertificate>,
    /// Who this node is in the data plane, and until when.
    #[serde(default)]
    pub certificates: Vec<CertificateView>,
    /// Identities that cannot be used, and why.
    #[serde(default)]
    pub faults: Vec<String>,
    /// The data plane, as the daemon has it.
    #[serde(default)]
    pub plane: Option<PlaneView>,
    /// Whether a daemon answered.
    pub daemon: bool,
    /// Who starts a sync at this daemon, and who confirms.
    #[serde(default)]
    pub policy: Option<Policy>,
    /// Whether what runs should have been followed by something newer, if it says so.
    #[serde(default)]
    pub freshness: Option<Freshness>,
    /// Why the daemon does not confirm what is pending yet.
    #[serde(default)]
    pub not_yet: Option<String>,
    /// What people brought here and the servers have not heard of yet.
    #[serde(default)]
    pub carried: Vec<Carried>,
    /// Files of the active version that somebody else changed.
    #[serde(default)]
    pub drift: Drift,
    /// When files were written again last.
    #[serde(default)]
    pub repaired: Option<Repaired>,
    /// Who is revoked here.
    #[serde(default)]
    pub revocations: Option<LaneView>,
    #[serde(default)]
    pub troubles: Troubles,
}

/// What keeps this node from being brought in order, or from being seen whole. Each is named once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Troubles(Vec<String>);

/// Until when a version is fresh. One that is not any more goes on running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Freshness {
    pub until_ms: u64,
    pub expired: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PendingView {
    pub version: Version,
    pub class: Class,
    pub back_to: Option<Version>,
    pub deadline_ms: Option<u64>,
    pub seconds_left: Option<u64>,
    pub phase: PhaseView,
    /// It came from a file.
    #[serde(default)]
    pub carried: bool,
}

/// How far a pending version is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PhaseView {
    Activating,
    Active,
    RollingBack,
}

impl SyncRequest {
    pub(crate) fn window(&self) -> Option<Duration> {
        (self.window_ms > 0).then(|| Duration::from_millis(self.window_ms))
    }
}

impl StatusView {
    pub(crate) fn of(cluster: &Cluster, world: &World, left_ms: Option<u64>) -> Self {
        let pending = world.pending.as_ref().map(|pending| PendingView {
            version: pending.to.version,
            class: pending.class,
            back_to: pending.from.map(|from| from.version),
            deadline_ms: pending.guard.as_ref().map(|guard| guard.deadline_wall_ms),
            seconds_left: left_ms.map(|left| left.div_ceil(1000)),
            phase: match pending.phase {
                Phase::Activating => PhaseView::Activating,
                Phase::Guarded => PhaseView::Active,
                Phase::RollingBack { .. } => PhaseView::RollingBack,
            },
            carried: pending.carried,
        });
        Self {
            cluster: cluster.cluster.to_string(),
            node: cluster.node.to_string(),
            active: world.active().map(|active| active.version),
            confirmed: world.state.confirmed.map(|confirmed| confirmed.version),
            offered: world.state.offered,
            pending,
            degraded: world.state.degraded.clone(),
            last: world.state.last.clone(),
            looked: world.state.looked.clone(),
            counters: None,
            rejected: world.state.rejected.clone(),
            refused: world.state.refused.clone(),
            node_certificate: None,
            certificates: Vec::new(),
            faults: Vec::new(),
            plane: None,
            daemon: false,
            policy: None,
            freshness: None,
            not_yet: None,
            carried: world.state.carried.clone(),
            drift: Drift::default(),
            repaired: world.state.repaired.clone(),
            revocations: None,
            troubles: Troubles::default(),
        }
    }
}

impl Troubles {
    pub(crate) fn add(&mut self, trouble: String) {
        if !self.0.contains(&trouble) {
            self.0.push(trouble);
        }
    }

    /// What was seen, or nothing and why.
    pub(crate) fn or_none<T: Default>(&mut self, seen: Result<T, Error>) -> T {
        seen.unwrap_or_else(|error| {
            self.add(error.to_string());
            T::default()
        })
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

/// What to do about a version that came from a file, when the servers are what is broken.
const CARRIED: &str = "it came from a file: if the servers cannot be reached, and you see that this node is well, \
    flor sync --confirm --local keeps it; the servers are told when they are back";

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged { version: Version::NONE } => write!(out, "nothing to do"),
            Self::Unchanged { version } => write!(out, "version {version} is active: nothing to do"),
            Self::Available { version, update: false, .. } => write!(out, "version {version} is active: up to date"),
            Self::Available { version, active, class, changes, .. } => {
                let active = Running(*active);
                write!(out, "version {version} is available; active: {active}; change: {class}")?;
                changes.iter().try_for_each(|change| write!(out, "\n  {change}"))
            }
            Self::Pending { version, class, left_ms, back_to, carried, .. } => {
                write!(
                    out,
                    "version {version} is active ({class}); in {} this node goes back to {}, unless flor sync --confirm",
                    humantime::format_duration(Duration::from_secs(left_ms.div_ceil(1000))),
                    Running(*back_to)
                )?;
                if *carried { write!(out, "\n  {CARRIED}") } else { Ok(()) }
            }
            Self::Committed { version, class } => write!(out, "version {version} is active ({class})"),
            Self::Confirmed { version, already: false } => write!(out, "version {version} is confirmed"),
            Self::Confirmed { version, already: true } => write!(out, "version {version} was confirmed before"),
            Self::Cancelled { version, active } => {
                write!(out, "version {version} is rolled back; active: {}", Running(*active))
            }
            Self::Repaired { files } if files.is_empty() => write!(out, "every file is as it was written"),
            Self::Repaired { files } => write!(out, "written again: {}", files.join(", ")),
        }
    }
}

impl fmt::Display for StatusView {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "node      {} of {}", self.node, self.cluster)?;
        writeln!(out, "active    {}", Running(self.active))?;
        writeln!(out, "confirmed {}", Running(self.confirmed))?;
        for trouble in &self.troubles.0 {
            writeln!(out, "TROUBLE   {trouble}")?;
        }
        if let Some(freshness) = &self.freshness {
            writeln!(out, "{freshness}")?;
        }
        if let Some(pending) = &self.pending {
            writeln!(out, "pending   {pending}")?;
            if pending.carried {
                writeln!(out, "          {CARRIED}")?;
            }
        }
        for Carried { version, at_ms, unproven, .. } in &self.carried {
            let kept = if *unproven { " and kept without the servers" } else { "" };
            writeln!(out, "by hand   version {version} at {}{kept}; the servers do not know yet", Day(*at_ms))?;
        }
        if let Some(rejected) = self.rejected.last() {
            writeln!(out, "rejected  version {}: {}", rejected.target.version, rejected.reason)?;
        }
        if let Some(Refused { version, reason, .. }) = &self.refused {
            let what =
                version.map_or_else(|| "what the server sent".to_owned(), |version| format!("version {version}"));
            writeln!(out, "refused   {what}: {reason}")?;
        }
        for file in &self.drift.files {
            writeln!(out, "DRIFT     {file}")?;
        }
        if self.drift.freezes() {
            writeln!(out, "FROZEN    nothing newer is taken; flor drift --repair, or flor sync --overwrite-drift")?;
        }
        if let Some(Repaired { paths, at_ms, failure }) = &self.repaired {
            let how = failure.as_ref().map(|failure| format!(", not all of it: {failure}")).unwrap_or_default();
            writeln!(out, "repaired  {} at {}{how}", paths.join(", "), Day(*at_ms))?;
        }
        if let Some(degraded) = &self.degraded {
            writeln!(out, "DEGRADED  {degraded}")?;
        }
        if let Some(last) = &self.last {
            writeln!(out, "last      version {} {} at {}", last.version, last.result, Day(last.at_ms))?;
        }
        if let Some(looked) = &self.looked {
            writeln!(out, "{looked}")?;
        }
        if let Some(revocations) = &self.revocations {
            write!(out, "{revocations}")?;
        }
        if let Some(certificate) = &self.node_certificate {
            write!(out, "{certificate}")?;
        }
        for certificate in &self.certificates {
            writeln!(out, "identity  {} until {}", certificate.spiffe_id, Day(certificate.until_ms))?;
        }
        for fault in &self.faults {
            writeln!(out, "IDENTITY  {fault}")?;
        }
        if let Some(plane) = &self.plane {
            write!(out, "{plane}")?;
        }
        if let Some(not_yet) = &self.not_yet {
            writeln!(out, "not yet   {not_yet}")?;
        }
        match self.policy {
            Some(Policy { sync, confirm }) => write!(out, "daemon    running; sync: {sync}, confirm: {confirm}"),
            None => write!(out, "daemon    {}", if self.daemon { "running" } else { "not running" }),
        }
    }
}

impl fmt::Display for Looked {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = Day(self.at_ms);
        if let Some(failure) = &self.failure {
            return write!(out, "SYNC      {} at {at} ({}): {failure}", self.result, failure.word());
        }
        match (self.result, self.version) {
            (SyncResult::Unchanged, _) => write!(out, "sync      nothing new at {at}"),
            (result, Some(version)) => write!(out, "sync      version {version} {result} at {at}"),
            (result, None) => write!(out, "sync      {result} at {at}"),
        }
    }
}

impl fmt::Display for NodeCertificate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let until = Day(self.until_ms);
        if self.ended {
            writeln!(
                out,
                "ENDED     this node's own certificate, at {until}: the servers know it no more. Enrol it again with a new \
                 join token: florctl iam join-token create, flor enroll --join-token-file"
            )?;
        } else {
            writeln!(out, "servers   know this node until {until}")?;
        }
        match &self.not_renewed {
            Some(why) => writeln!(out, "RENEWAL   not yet: {why}"),
            None => Ok(()),
        }
    }
}

impl Freshness {
    pub(crate) fn of(until_ms: u64, now_ms: u64) -> Self {
        Self { until_ms, expired: until_ms <= now_ms }
    }
}

impl fmt::Display for Freshness {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let until = Day(self.until_ms);
        if self.expired {
            write!(out, "EXPIRED   something newer should have come until {until}: is it withheld?")
        } else {
            write!(out, "fresh     until {until}")
        }
    }
}

impl fmt::Display for PendingView {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = self.seconds_left.map(|left| humantime::format_duration(Duration::from_secs(left)));
        match (self.phase, left) {
            (PhaseView::RollingBack, _) => write!(out, "version {}, being rolled back", self.version),
            (PhaseView::Activating | PhaseView::Active, Some(left)) => write!(
                out,
                "version {} ({}); goes back to {} in {left}, unless flor sync --confirm",
                self.version,
                self.class,
                Running(self.back_to)
            ),
            (PhaseView::Activating | PhaseView::Active, None) => {
                write!(out, "version {} ({})", self.version, self.class)
            }
        }
    }
}

/// A moment, to the second.
struct Day(u64);

impl fmt::Display for Day {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(self.0)))
    }
}

/// A version that runs, or none.
struct Running(Option<Version>);

impl fmt::Display for Running {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(version) => write!(out, "version {version}"),
            None => out.write_str("no configuration"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_reads_of_an_ended_certificate_knows_what_to_do() {
        let spiffe_id = "spiffe://quay.test/node/pier2".to_owned();
        let good = NodeCertificate { spiffe_id, until_ms: 1000, ended: false, not_renewed: None };
        assert_eq!(good.to_string(), "servers   know this node until 1970-01-01T00:00:01Z\n");
        let ended = NodeCertificate { ended: true, not_renewed: Some("refused".into()), ..good }.to_string();
        assert!(ended.contains("ENDED") && ended.contains("flor enroll --join-token-file"), "{ended}");
        assert!(ended.ends_with("\nRENEWAL   not yet: refused\n"), "{ended}");
    }

    #[test]
    fn a_look_that_failed_is_said_with_its_word_and_its_time() {
        let failure = Some(Error::UnknownNode("it has no artifact".into()));
        let failed = Looked { at_ms: 1000, result: SyncResult::Failed, version: None, failure };
        let said = "SYNC      failed at 1970-01-01T00:00:01Z (unknown_node): it has no artifact";
        assert_eq!(failed.to_string(), said);
        let nothing = Looked { result: SyncResult::Unchanged, failure: None, ..failed };
        assert_eq!(nothing.to_string(), "sync      nothing new at 1970-01-01T00:00:01Z");
        let applied = Looked { result: SyncResult::Applied, version: Version::new(7).ok(), ..nothing };
        assert_eq!(applied.to_string(), "sync      version 7 applied at 1970-01-01T00:00:01Z");
    }

    #[test]
    fn a_trouble_is_named_once() {
        let mut troubles = Troubles::default();
        let failed = || Err::<Option<u64>, _>(Error::Unexpected("disk full".into()));
        assert_eq!((troubles.or_none(failed()), troubles.or_none(failed())), (None, None));
        assert_eq!((troubles.or_none(Ok(Some(7))), troubles.count()), (Some(7), 1));
    }
}
