//! The status as Prometheus reads it, for node_exporter's textfile collector. Labels are from closed sets, or of a
//! bounded number.

use std::fmt::{self, Write as _};

use crate::{
    outcome::StatusView,
    plane::{CountersView, PlaneView},
    renewal::NodeCertificate,
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
