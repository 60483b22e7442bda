//! The status as Prometheus reads it, for node_exporter's textfile collector. Labels are from closed sets, or of a
//! bounded number.

use std::fmt::{self, Write as _};

use crate::{
    machine::Looked,
    outcome::StatusView,
    plane::{CountersView, PlaneView},
    renewal::NodeCertificate,
    tally::TallyView,
};

pub(crate) fn text(status: &StatusView) -> Result<String, fmt::Error> {
    let mut out = String::new();
    for (name, help, version) in [
        ("flor_active_version", "The version that runs.", status.active),
        ("flor_confirmed_version", "The last version that was confirmed.", status.confirmed),
    ] {
        head(&mut out, name, help, "gauge")?;
        writeln!(out, "{name} {}", version.map_or(0, configsrv_fleet::Version::get))?;
    }
    head(&mut out, "flor_pending", "Whether a version waits for its confirmation.", "gauge")?;
    writeln!(out, "flor_pending {}", u8::from(status.pending.is_some()))?;
    head(&mut out, "flor_degraded", "Whether the way back failed.", "gauge")?;
    writeln!(out, "flor_degraded {}", u8::from(status.degraded.is_some()))?;
    head(&mut out, "flor_troubles", "What keeps the node from being brought in order or seen whole.", "gauge")?;
    writeln!(out, "flor_troubles {}", status.troubles.count())?;
    head(&mut out, "flor_files_drifted", "Files of the active version that somebody else changed.", "gauge")?;
    writeln!(out, "flor_files_drifted {}", status.drift.files.len())?;
    if let Some(looked) = &status.looked {
        last_sync(&mut out, looked)?;
    }
    if let Some(counters) = &status.counters {
        agent(&mut out, counters)?;
    }
    if let Some(freshness) = &status.freshness {
        head(&mut out, "flor_artifact_expiry_seconds", "Until when something newer is to come, Unix time.", "gauge")?;
        writeln!(out, "flor_artifact_expiry_seconds {}", freshness.until_ms / 1000)?;
    }
    if let Some(lane) = &status.revocations {
        head(&mut out, "flor_revocations_sequence", "The revocations that count here.", "gauge")?;
        writeln!(out, "flor_revocations_sequence {}", lane.sequence)?;
        head(&mut out, "flor_revoked", "Principals that are subtracted from every allow list.", "gauge")?;
        writeln!(out, "flor_revoked {}", lane.revoked.len())?;
        head(&mut out, "flor_revocations_refused", "Whether the newest revocations were refused.", "gauge")?;
        writeln!(out, "flor_revocations_refused {}", u8::from(lane.refused.is_some()))?;
    }
    head(&mut out, "flor_certificate_expiry_seconds", "When a certificate ends, Unix time.", "gauge")?;
    if let Some(NodeCertificate { spiffe_id: id, until_ms, .. }) = &status.node_certificate {
        // The node has another one of the same name, for its peers.
        let until = until_ms / 1000;
        writeln!(out, "flor_certificate_expiry_seconds{{spiffe_id=\"{id}\",for=\"servers\"}} {until}")?;
    }
    for certificate in &status.certificates {
        let (id, until) = (&certificate.spiffe_id, certificate.until_ms / 1000);
        writeln!(out, "flor_certificate_expiry_seconds{{spiffe_id=\"{id}\"}} {until}")?;
    }
    if let Some(plane) = &status.plane {
        vertex(&mut out, plane)?;
    }
    Ok(out)
}

fn last_sync(out: &mut String, looked: &Looked) -> fmt::Result {
    head(out, "flor_agent_last_sync_seconds", "When the servers were asked last, Unix time.", "gauge")?;
    writeln!(out, "flor_agent_last_sync_seconds {}", looked.at_ms / 1000)?;
    head(out, "flor_agent_last_sync_failed", "Whether that came to nothing.", "gauge")?;
    writeln!(out, "flor_agent_last_sync_failed {}", u8::from(looked.failure.is_some()))
}

/// What the daemon has counted since it began.
fn agent(out: &mut String, counters: &TallyView) -> fmt::Result {
    let TallyView { syncs, restarts } = counters;
    head(out, "flor_agent_sync_total", "How syncs ended, and what became of what they applied.", "counter")?;
    for sync in syncs {
        writeln!(out, "flor_agent_sync_total{{result=\"{}\"}} {}", sync.result.as_str(), sync.count)?;
    }
    head(
        out,
        "flor_agent_workload_restarts_total",
        "The data plane, units and programs that were started anew.",
        "counter",
    )?;
    for restart in restarts {
        let (workload, cause) = (escaped(&restart.workload), restart.cause.as_str());
        writeln!(
            out,
            "flor_agent_workload_restarts_total{{workload=\"{workload}\",cause=\"{cause}\"}} {}",
            restart.count
        )?;
    }
    Ok(())
}

/// The name of a unit or a program as a label's value.
fn escaped(name: &str) -> String {
    name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn vertex(out: &mut String, plane: &PlaneView) -> fmt::Result {
    head(out, "flor_vertex_up", "Whether the data plane runs.", "gauge")?;
    writeln!(out, "flor_vertex_up {}", u8::from(plane.running))?;
    head(out, "flor_vertex_connections", "QUIC connections with other nodes.", "gauge")?;
    writeln!(out, "flor_vertex_connections {}", plane.connections)?;
    let CountersView {
        opened,
        closed,
        connect_failures,
        bytes_in,
        bytes_out,
        socks_failures,
        denials,
        handshake_failures,
    } = &plane.counters;
    for (name, help, count) in [
        ("flor_vertex_tunnels_opened_total", "TCP connections that were carried.", opened),
        ("flor_vertex_tunnels_closed_total", "TCP connections that have ended.", closed),
        ("flor_vertex_connect_failures_total", "Services and nodes that did not answer.", connect_failures),
        ("flor_vertex_socks_failures_total", "Programs that said nothing sensible.", socks_failures),
    ] {
        head(out, name, help, "counter")?;
        writeln!(out, "{name} {count}")?;
    }
    head(out, "flor_vertex_bytes_total", "Bytes from and to other nodes.", "counter")?;
    writeln!(out, "flor_vertex_bytes_total{{direction=\"in\"}} {bytes_in}")?;
    writeln!(out, "flor_vertex_bytes_total{{direction=\"out\"}} {bytes_out}")?;
    head(out, "flor_vertex_acl_denials_total", "Who was refused, by which table.", "counter")?;
    for denial in denials {
        let (initiator, acl) = (&denial.initiator, &denial.acl);
        writeln!(out, "flor_vertex_acl_denials_total{{initiator=\"{initiator}\",acl=\"{acl}\"}} {}", denial.count)?;
    }
    head(out, "flor_vertex_handshake_failures_total", "Handshakes that failed.", "counter")?;
    for (reason, count) in handshake_failures {
        writeln!(out, "flor_vertex_handshake_failures_total{{reason=\"{reason}\"}} {count}")?;
    }
    Ok(())
}

fn head(out: &mut String, name: &str, help: &str, kind: &str) -> fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{
        Error,
        cluster::Cluster,
        identities::CertificateView,
        lane::LaneView,
        machine::{SyncResult, World},
        outcome::Freshness,
        tally::{Cause, PLANE, Tally},
    };

    const RUNBOOK: &str = include_str!("../../../deploy/runbooks/alerts.md");

    /// A node of which everything is known.
    fn whole() -> StatusView {
        let cluster = Cluster {
            cluster: "quay.test".parse().unwrap(),
            node: "pier2".parse().unwrap(),
            urls: Vec::new(),
            api: Vec::new(),
            signers: Vec::new(),
        };
        let tally = Tally::default();
        tally.ended(SyncResult::RolledBack);
        tally.restarted(PLANE, Cause::Crash);
        tally.restarted("odd\"\\\n.service", Cause::Sync);
        let spiffe_id = "spiffe://quay.test/node/pier2".to_owned();
        let failure = Some(Error::Unreachable("no answer".into()));
        let plane = PlaneView {
            running: true,
            fault: None,
            listen_udp: None,
            inbound: Vec::new(),
            connections: 0,
            peers: Vec::new(),
            counters: CountersView::default(),
        };
        StatusView {
            looked: Some(Looked { at_ms: 7000, result: SyncResult::Failed, version: None, failure }),
            counters: Some(tally.view()),
            freshness: Some(Freshness::of(1000, 0)),
            revocations: Some(LaneView::default()),
            certificates: vec![CertificateView { spiffe_id: spiffe_id.clone(), until_ms: 1000 }],
            node_certificate: Some(NodeCertificate { spiffe_id, until_ms: 1000, ended: false, not_renewed: None }),
            plane: Some(plane),
            ..StatusView::of(&cluster, &World::default(), None)
        }
    }

    #[test]
    fn what_the_agent_counts_is_shown() {
        let shown = text(&whole()).unwrap();
        for line in [
            "flor_agent_last_sync_seconds 7",
            "flor_agent_last_sync_failed 1",
            "flor_agent_sync_total{result=\"unchanged\"} 0",
            "flor_agent_sync_total{result=\"rolled_back\"} 1",
            "flor_agent_workload_restarts_total{workload=\"plane\",cause=\"crash\"} 1",
            r#"flor_agent_workload_restarts_total{workload="odd\"\\\n.service",cause="sync"} 1"#,
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line}: {shown}");
        }
    }

    #[test]
    fn the_metrics_of_the_alarms_are_shown() {
        let shown = text(&whole()).unwrap();
        let words = RUNBOOK.split(|sign: char| !sign.is_ascii_alphanumeric() && sign != '_');
        let metrics: BTreeSet<&str> = words.filter(|word| word.starts_with("flor_")).collect();
        assert!(metrics.len() >= 8, "{metrics:?}");
        for metric in metrics {
            assert!(shown.contains(&format!("# TYPE {metric} ")), "no node shows {metric}");
        }
    }
}
