use std::fmt;

use chainfire_raft::PeerMetrics;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};

use crate::members::Members;

/// One value of each other member: its name, help and label, and where it is.
type Column = (&'static str, &'static str, &'static str, fn(&PeerMetrics) -> &dyn EncodeMetric);

/// The encoder appends `_total` to the names of counters.
const COLUMNS: &[Column] = &[
    ("etcd_network_peer_sent_bytes", "Bytes sent to another member", "To", |peer| &peer.sent),
    ("etcd_network_peer_sent_failures", "Messages without an answer", "To", |peer| &peer.failed),
    ("etcd_network_peer_received_bytes", "Bytes received from another member", "From", |peer| &peer.received),
    ("etcd_network_peer_round_trip_time_seconds", "From a heartbeat to its answer", "To", |peer| &peer.round_trips),
];

/// What goes to and from the other members, by their ids. `peers` has one of each slot.
pub(super) fn encode(encoder: &mut DescriptorEncoder<'_>, members: &Members, peers: &[PeerMetrics]) -> fmt::Result {
    let others = members.iter().filter(|member| member.slot != members.own());
    let others = others.filter_map(|member| Some((member.id.to_string(), peers.get(usize::from(member.slot.0))?)));
    let others: Vec<_> = others.collect();
    let Some((_, any)) = others.first() else { return Ok(()) };
    for (name, help, label, metric) in COLUMNS {
        let mut family = encoder.encode_descriptor(name, help, None, metric(any).metric_type())?;
        for (id, peer) in &others {
            metric(peer).encode(family.encode_family(&[(*label, id.as_str())])?)?;
        }
    }
    Ok(())
}
