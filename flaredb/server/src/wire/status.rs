use flaredb_core::{Catalog, store};
use flaredb_sql::Error;
use holdfast_proto::flaredb as proto;

use crate::{Consistency, Flaredb};

/// This server's view of itself; it answers without a quorum.
pub(crate) async fn status(flaredb: &Flaredb) -> Result<proto::StatusResponse, Error> {
    let view = flaredb.view(Consistency::Local).await?;
    let raft = flaredb.raft_status();
    let name = |slot: chainfire_raft::Slot| {
        flaredb.config().members.get(usize::from(slot.0)).map(|member| member.name.clone()).unwrap_or_default()
    };
    let tables = Catalog::load(&view)?
        .tables()
        .map(|table| proto::TableStatus {
            schema: table.name.schema.clone(),
            name: table.name.name.clone(),
            columns: u32::try_from(table.columns.len()).unwrap_or(u32::MAX),
        })
        .collect();
    let migrations = store::migrations(&view)?
        .into_iter()
        .map(|record| proto::MigrationStatus {
            set: record.set.as_str().to_owned(),
            number: record.number,
            name: record.name,
            phase: record.phase.as_str().to_owned(),
            checksum: record.checksum,
            applied_at_ms: record.applied_at_ms,
            applied_by: record.applied_by,
        })
        .collect();
    let streams = store::cursors(&view)?
        .into_iter()
        .map(|record| proto::StreamStatus { name: record.stream, index: record.index, rows: record.rows })
        .collect();
    Ok(proto::StatusResponse {
        member: flaredb.config().member.clone(),
        leader: raft.leader.map(name).unwrap_or_default(),
        is_leader: raft.is_leader,
        raft_term: raft.term,
        raft_index: raft.last_log,
        committed_index: raft.committed,
        applied_index: raft.applied,
        tables,
        migrations,
        streams,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

/// The membership that this server booted with.
pub(crate) fn members(flaredb: &Flaredb) -> proto::MemberListResponse {
    let leader = flaredb.raft_status().leader;
    let members = flaredb
        .config()
        .members
        .iter()
        .zip(0_u16..)
        .map(|(member, slot)| proto::Member {
            slot: u32::from(slot),
            name: member.name.clone(),
            peer_url: member.address.clone(),
            is_leader: leader.is_some_and(|leader| leader.0 == slot),
        })
        .collect();
    proto::MemberListResponse { members }
}
