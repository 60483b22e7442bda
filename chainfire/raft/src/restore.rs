use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use holdfast_keyspace::{Overlay, Table};

use crate::{
    Error, GroupConfig, Position, StateDb,
    state::{Incoming, Progress, sync_parent},
    types::LogId,
};

/// Lies in a folder while a restore fills it.
const MARKER: &str = "restoring";

/// Fills an empty data folder, offline, with states from a backup.
///
/// The first member of the configuration starts with the folder, all others with empty ones. The cluster is formed like
/// every new one: all members answer *empty, same configuration*, and the members, their disks and the cluster's id are
/// new. Only then the restored states get their members; the others receive the states as Raft snapshots. So no vote
/// and no entry of the old cluster can meet the new one, and all members have the same.
pub struct Restore {
    data_dir: PathBuf,
}

/// One group's state while it is filled.
pub struct Restoring {
    path: PathBuf,
    state: StateDb,
    incoming: Option<Box<Incoming>>,
    at: Option<LogId>,
}

impl Restore {
    /// Begins with a folder that is empty or does not exist.
    pub fn begin(data_dir: &Path) -> Result<Self, Error> {
        fs::create_dir_all(data_dir).map_err(Error::io(data_dir))?;
        let mut entries = fs::read_dir(data_dir).map_err(Error::io(data_dir))?;
        if entries.next().is_some() {
            let message = "the folder is not empty; a restore never writes over data: name another folder";
            return Err(Error::Refused(format!("{}: {message}", data_dir.display())));
        }
        let marker = data_dir.join(MARKER);
        File::create(&marker).and_then(|file| file.sync_all()).map_err(Error::io(&marker))?;
        sync_parent(&marker)?;
        Ok(Self { data_dir: data_dir.to_owned() })
    }

    /// Opens the state of a group whose machine has `tables`.
    pub fn group(&self, config: &GroupConfig, tables: &[Table]) -> Result<Restoring, Error> {
        let path = config.state_folder(&self.data_dir);
        let state = StateDb::open(path.clone(), tables)?;
        Ok(Restoring { path, state, incoming: None, at: None })
    }

    /// The folder is complete: a server may start with it.
    pub fn finish(self) -> Result<(), Error> {
        let marker = self.data_dir.join(MARKER);
        fs::remove_file(&marker).map_err(Error::io(&marker))?;
        sync_parent(&marker)
    }
}

/// Refuses a folder whose restore did not come to its end.
pub(crate) fn check_finished(data_dir: &Path) -> Result<(), Error> {
    if !data_dir.join(MARKER).exists() {
        return Ok(());
    }
    let message = "a restore into this folder did not finish: remove what it has left and restore again".to_owned();
    Err(Error::Corrupt { path: data_dir.to_owned(), message })
}

impl Restoring {
    /// Takes the next of the frames that [`View::frames`](crate::View::frames) made.
    pub fn accept(&mut self, frame: &[u8]) -> Result<(), Error> {
        if self.at.is_some() {
            return Err(self.damaged(&"the state goes on behind its end"));
        }
        let incoming = match self.incoming.take() {
            Some(incoming) => incoming,
            None => self.state.receive()?,
        };
        match incoming.accept(frame).map_err(|error| self.damaged(&error))? {
            Progress::More(more) => self.incoming = Some(more),
            Progress::Complete(verified) => {
                self.at = verified.meta().applied;
                self.state.install(*verified)?;
            }
        }
        Ok(())
    }

    /// Changes the state, as one batch.
    pub fn change<T, E: From<holdfast_keyspace::Error>>(
        &self,
        change: impl FnOnce(&mut Overlay<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let generation = self.state.generation();
        let mut overlay = Overlay::new(generation.as_ref());
        let done = change(&mut overlay)?;
        let changes: Vec<_> = overlay.into_changes().collect();
        generation.commit(&changes, None)?;
        Ok(done)
    }

    /// Where the old log ended; none before all frames are taken.
    pub fn position(&self) -> Option<Position> {
        self.at.as_ref().map(crate::types::position)
    }

    /// Makes the state one that waits for its members. Where no frames were taken, `or` is what it is a state of.
    pub fn finish(self, or: Position) -> Result<(), Error> {
        if self.incoming.is_some() {
            return Err(self.damaged(&"the state has no end"));
        }
        let at = self.at.unwrap_or(LogId::new_term_index(or.term, or.index));
        self.state.wait_for_members(at).map_err(|error| self.damaged(&error))
    }

    fn damaged(&self, message: &dyn std::fmt::Display) -> Error {
        Error::Corrupt { path: self.path.clone(), message: message.to_string() }
    }
}
