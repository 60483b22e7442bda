use std::{fs::File, io::BufReader, path::Path};

use chainfire_backup::{Item, Passphrase, Reader};
use chainfire_core::{cluster, kv, table};
use chainfire_raft::{GroupConfig, Position, Restore, Restoring};
use holdfast_keyspace::{Overlay, Table};

use super::{OtherGroup, RestoreError, Restored, Target};

/// Restores a backup. The whole file is checked before the folder is touched.
pub fn from_backup(
    file: &Path,
    passphrase: Option<&Passphrase>,
    target: Target<'_>,
    others: &[OtherGroup],
) -> Result<Restored, RestoreError> {
    let mut check = open(file, passphrase)?;
    while check.next_item()?.is_some() {}

    let mut reader = open(file, passphrase)?;
    let restore = Restore::begin(target.data_dir)?;
    let mut filling: Option<(String, Restoring)> = None;
    let (mut groups, mut revisions) = (Vec::new(), None);
    loop {
        let item = reader.next_item()?;
        if let Some(Item::Frame(frame)) = &item
            && let Some((_, group)) = &mut filling
        {
            group.accept(frame)?;
            continue;
        }
        // The end of the group before, if there was one.
        if let Some((name, group)) = filling.take() {
            if name == GroupConfig::chainfire().name {
                revisions = Some(prepare(&group, target.bump)?);
            }
            let at = group.position().unwrap_or(Position { index: 0, term: 0 });
            group.finish(at)?;
            groups.push(name);
        }
        match item {
            Some(Item::Group(name)) => {
                let (config, tables) = known(&name, others).ok_or(RestoreError::UnknownGroup(name.clone()))?;
                filling = Some((name, restore.group(&config, tables)?));
            }
            Some(Item::Frame(_)) => return Err(RestoreError::NoChainfire),
            None => break,
        }
    }
    let (revision, bumped) = revisions.ok_or(RestoreError::NoChainfire)?;
    restore.finish()?;
    Ok(Restored { revision, bumped, groups, notes: Vec::new() })
}

fn open(file: &Path, passphrase: Option<&Passphrase>) -> Result<Reader<BufReader<File>>, RestoreError> {
    let opened = File::open(file).map_err(|error| RestoreError::File { path: file.to_owned(), error })?;
    Ok(Reader::open(BufReader::new(opened), passphrase)?)
}

fn known(name: &str, others: &[OtherGroup]) -> Option<(GroupConfig, &'static [Table])> {
    let own = GroupConfig::chainfire();
    if name == own.name {
        return Some((own, table::ALL));
    }
    others.iter().find(|(config, _)| config.name == name).cloned()
}

/// Makes the state ready for another cluster; returns its revision and the one where it goes on.
fn prepare(group: &Restoring, bump: u64) -> Result<(i64, i64), RestoreError> {
    let cut = group.position().map_or(0, |at| at.index);
    group.change(|state: &mut Overlay<'_>| {
        cluster::prepare(state, bump, cut)?;
        let revision = kv::current_revision(state)?.0;
        Ok((revision, revision.saturating_add_unsigned(bump)))
    })
}
