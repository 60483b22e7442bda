//! The release's own migrations, applied by whichever server leads.

use std::time::Duration;

use chainfire_core::Origin;
use flaredb_core::{MigrationFile, MigrationSet, store};
use flaredb_sql::Error;
use holdfast_service::Stop;

use crate::{Consistency, Flaredb, Outcome};

const FILES: &[(&str, &str)] = &[("0001_audit_events.sql", include_str!("../migrations/0001_audit_events.sql"))];

const RETRY: Duration = Duration::from_secs(1);

impl Flaredb {
    /// Applies what the release brings and the state does not have, each time this server begins to lead.
    pub async fn keep_schema(self, stop: Stop) {
        let mut status = self.group().status_changes();
        loop {
            let led = tokio::select! {
                () = stop.requested() => return,
                led = status.wait_for(|status| status.is_leader) => led.map(|_| ()),
            };
            if led.is_err() {
                return;
            }
            if let Err(error) = self.apply_builtin().await {
                tracing::warn!(%error, state = %error.state, "the release's migrations are not applied yet");
                tokio::select! {
                    () = stop.requested() => return,
                    () = tokio::time::sleep(RETRY) => continue,
                }
            }
            tokio::select! {
                () = stop.requested() => return,
                lost = status.wait_for(|status| !status.is_leader) => if lost.is_err() { return },
            }
        }
    }

    /// Waits until the schema that this release needs is in this server's state.
    pub async fn ready(&self) {
        let mut entries = self.group().state().applied_changes();
        let mut said = false;
        loop {
            entries.mark_unchanged();
            match store::last_migration(self.group().state(), MigrationSet::Builtin) {
                Ok(number) if number as usize >= FILES.len() => return,
                Ok(_) => {}
                // A snapshot of the leader may mend it; until then nothing else says why this server is not ready.
                Err(damage) => {
                    if !std::mem::replace(&mut said, true) {
                        tracing::error!(error = %damage, "the catalog could not be read; this server is not ready");
                    }
                }
            }
            if entries.changed().await.is_err() {
                return;
            }
        }
    }

    async fn apply_builtin(&self) -> Result<(), Error> {
        let view = self.view(Consistency::Strong).await?;
        let applied = store::last_migration(&view, MigrationSet::Builtin)?;
        for (name, text) in FILES {
            let file = MigrationFile::parse(name, text)?;
            if file.number <= applied {
                continue;
            }
            let origin = Origin::system("flaredb", format!("migration-{}", file.number));
            let migration = self.migrate(&origin, MigrationSet::Builtin, file, false).await?;
            if migration.outcome == Outcome::Applied {
                tracing::info!(migration = name, "schema extended");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use flaredb_core::{Phase, audit, catalog::Alteration};
    use flaredb_sql::ddl;

    use super::*;

    #[test]
    fn the_release_brings_files_that_count_and_expand() {
        for (number, (name, text)) in (1..).zip(FILES) {
            let file = MigrationFile::parse(name, text).unwrap();
            assert_eq!((file.number, file.phase), (number, Phase::Expand), "{name}");
            ddl::parse(&file.sql).unwrap();
        }
    }

    /// A released file never changes: its checksum is in every cluster.
    #[test]
    fn released_files_are_frozen() {
        let checksums: Vec<_> =
            FILES.iter().map(|(name, text)| MigrationFile::parse(name, text).unwrap().checksum_hex()).collect();
        assert_eq!(checksums, include_str!("../migrations/CHECKSUMS").lines().collect::<Vec<_>>());
    }

    #[test]
    fn events_have_the_columns_that_streams_fill() {
        let Some(Alteration::CreateTable(events)) = ddl::parse(FILES[0].1).unwrap().into_iter().nth(1) else {
            panic!()
        };
        assert_eq!(events.name, audit::events());
        assert_eq!(events.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(), audit::COLUMNS);
    }
}
