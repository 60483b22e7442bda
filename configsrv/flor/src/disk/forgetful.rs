//! A disk that stops the agent after any number of operations, and then shows what would be left: after a kill, all
//! that was written; after a loss of power, only what was synced.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use super::{Attributes, Disk, Kind, Seen, Stamp};

/// What ended the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    /// The kernel lives on with its page cache.
    Kill,
    PowerLoss,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct ForgetfulDisk(Arc<Mutex<State>>);

#[derive(Clone, Debug, Default)]
struct State {
    /// Contents, by file; a name is only a reference to one.
    contents: BTreeMap<u64, Content>,
    names: BTreeMap<PathBuf, u64>,
    synced_names: BTreeMap<PathBuf, u64>,
    next: u64,
    operations: usize,
    /// Operations that succeed before everything fails.
    fuel: Option<usize>,
    /// Reads that see this state before the other.
    turn: Option<(usize, Box<State>)>,
}

#[derive(Clone, Debug)]
struct Content {
    bytes: Vec<u8>,
    synced: Option<Vec<u8>>,
    attributes: Attributes,
}

impl ForgetfulDisk {
    /// From now on `operations` more changes succeed, then none.
    pub(crate) fn stop_after(&self, operations: usize) {
        self.0.lock().unwrap().fuel = Some(operations);
    }

    /// After `reads` more reads the disk is like `other` is now: somebody else was at work meanwhile.
    pub(crate) fn turns_into(&self, other: &Self, reads: usize) {
        let other = other.0.lock().unwrap().clone();
        self.0.lock().unwrap().turn = Some((reads, Box::new(other)));
    }

    /// How many changes have been made.
    pub(crate) fn operations(&self) -> usize {
        self.0.lock().unwrap().operations
    }

    /// The disk as the next start finds it.
    pub(crate) fn after(&self, crash: Crash) -> Self {
        let mut state = self.0.lock().unwrap().clone();
        state.fuel = None;
        if crash == Crash::PowerLoss {
            state.names.clone_from(&state.synced_names);
            for content in state.contents.values_mut() {
                content.bytes = content.synced.clone().unwrap_or_default();
            }
        } else {
            state.synced_names.clone_from(&state.names);
            for content in state.contents.values_mut() {
                content.synced = Some(content.bytes.clone());
            }
        }
        Self(Arc::new(Mutex::new(state)))
    }

    /// A file that was there before the agent came.
    pub(crate) fn plant(&self, path: &str, bytes: &[u8]) {
        let attributes = Attributes { mode: 0o644, owner: None };
        self.remove(Path::new(path)).unwrap();
        self.write(Path::new(path), bytes, attributes).unwrap();
        self.sync(Path::new(path)).unwrap();
        self.sync_folder(Path::new(path).parent().unwrap()).unwrap();
    }

    pub(crate) fn text(&self, path: &str) -> Option<String> {
        self.read(Path::new(path)).unwrap().map(|bytes| String::from_utf8(bytes).unwrap())
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.0.lock().unwrap();
        if let Some(fuel) = &mut state.fuel {
            *fuel = fuel.checked_sub(1).ok_or_else(|| io::Error::other("the agent was stopped here"))?;
        }
        state.operations += 1;
        change(&mut state)
    }
}

impl Disk for ForgetfulDisk {
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        let mut state = self.0.lock().unwrap();
        match state.turn.take() {
            Some((0, other)) => *state = *other,
            Some((reads, other)) => state.turn = Some((reads - 1, other)),
            None => {}
        }
        Ok(state.names.get(path).and_then(|file| state.contents.get(file)).map(|content| content.bytes.clone()))
    }

    fn original(&self, path: &Path) -> io::Result<Option<(Attributes, Vec<u8>)>> {
        let state = self.0.lock().unwrap();
        let content = state.names.get(path).and_then(|file| state.contents.get(file));
        Ok(content.map(|content| (content.attributes, content.bytes.clone())))
    }

    fn look(&self, path: &Path) -> io::Result<Option<Seen>> {
        let state = self.0.lock().unwrap();
        Ok(state.names.get(path).and_then(|file| {
            let content = state.contents.get(file)?;
            let stamp = Stamp { inode: *file, size: content.bytes.len() as u64, ..Stamp::default() };
            Some(Seen { kind: Kind::File, attributes: content.attributes, stamp })
        }))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let state = self.0.lock().unwrap();
        let mut names: Vec<String> = state
            .names
            .keys()
            .filter_map(|path| path.strip_prefix(folder).ok()?.components().next())
            .map(|name| name.as_os_str().to_string_lossy().into_owned())
            .collect();
        names.dedup();
        Ok(names)
    }

    fn create_folder(&self, _folder: &Path, _mode: u32) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, path: &Path, bytes: &[u8], attributes: Attributes) -> io::Result<()> {
        self.change(|state| {
            if state.names.contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            state.next += 1;
            state.names.insert(path.to_owned(), state.next);
            state.contents.insert(state.next, Content { bytes: bytes.to_vec(), synced: None, attributes });
            Ok(())
        })
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        self.change(|state| {
            let file = state.names.get(path).copied().ok_or(io::ErrorKind::NotFound)?;
            if let Some(content) = state.contents.get_mut(&file) {
                content.synced = Some(content.bytes.clone());
            }
            Ok(())
        })
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.change(|state| {
            let inside = |path: &Path| path.parent() == Some(folder);
            state.synced_names.retain(|path, _| !inside(path));
            let now: Vec<_> =
                state.names.iter().filter(|(path, _)| inside(path)).map(|(path, file)| (path.clone(), *file)).collect();
            state.synced_names.extend(now);
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(|state| {
            let file = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            state.names.insert(to.to_owned(), file);
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change(|state| {
            state.names.remove(path);
            Ok(())
        })
    }

    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        self.change(|state| {
            state.names.retain(|path, _| !path.starts_with(folder));
            Ok(())
        })
    }
}
