//! What all members must say alike once nobody writes any more.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use holdfast_testkit::eventually;

use crate::{
    etcd::{Change, Member},
    history::{AuditRow, History, Position},
    members::PATIENCE,
};

/// Every member's digest at a revision, once all have reached it.
pub(super) async fn agreed_hashes(members: &[Member], revision: i64) -> Result<BTreeMap<String, u32>> {
    let mut hashes = BTreeMap::new();
    for member in members {
        // Before it has applied the revision, a member answers that it lies in the future.
        let hash = eventually("a member's hash", PATIENCE, async || Ok(member.hash_at(revision).await.ok())).await?;
        hashes.insert(member.name().to_owned(), hash);
    }
    let mut different: Vec<_> = hashes.values().collect();
    different.dedup();
    if different.len() > 1 {
        bail!("the members disagree at revision {revision}: {hashes:?}");
    }
    Ok(hashes)
}

/// Every change since the store was empty, told alike by all members.
pub(super) async fn agreed_history(members: &[Member], last: i64) -> Result<Vec<Change>> {
    let mut agreed: Option<Vec<Change>> = None;
    for member in members {
        let told = member.history(1, last).await.with_context(|| format!("{}'s watch", member.name()))?;
        match &agreed {
            Some(before) if *before != told => {
                bail!("{} tells another history than the members before it", member.name())
            }
            Some(_) => {}
            None => agreed = Some(told),
        }
    }
    agreed.context("no members")
}

/// Waits until nobody's journal holds what the history does not have, and all have the same of it.
pub(super) async fn shipped(histories: &[History]) -> Result<Vec<Position>> {
    eventually("the journal to be shipped", PATIENCE, async || {
        let mut positions: Vec<Position> = Vec::new();
        for history in histories {
            // A member that came back just now may not answer yet.
            let Ok(position) = history.position().await else { return Ok(None) };
            positions.push(position);
        }
        let empty = positions.iter().all(|position| position.unshipped_bytes == 0);
        let equal = positions.windows(2).all(|pair| matches!(pair, [one, next] if one.rows == next.rows));
        Ok((empty && equal).then_some(positions))
    })
    .await
}

/// Every row of the journal's stream, told alike by all members.
pub(super) async fn agreed_rows(histories: &[History], stream: &str) -> Result<Vec<AuditRow>> {
    let mut agreed: Option<Vec<AuditRow>> = None;
    for history in histories {
        let rows = history.rows(stream).await.with_context(|| format!("{}'s audit rows", history.member()))?;
        match &agreed {
            Some(before) if *before != rows => {
                bail!("{} has other audit rows than the members before it", history.member())
            }
            Some(_) => {}
            None => agreed = Some(rows),
        }
    }
    agreed.context("no members")
}
