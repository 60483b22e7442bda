//! Names for the steps after which a crash may come, so that tests can stop the agent at each of them.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use super::{Attributes, Disk, NEW, Seen};
use crate::home::Layout;

/// What happens at a step that was just taken.
type AtStep = dyn Fn(&str) + Send + Sync;

/// The steps of one run, in order: `pending.rename`, then `pending.rename#2` when it is taken again.
pub(crate) struct Steps {
    layout: Layout,
    taken: Mutex<BTreeMap<String, usize>>,
    at: Box<AtStep>,
}

impl Steps {
    pub(crate) fn new(layout: Layout, at: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { layout, taken: Mutex::default(), at: Box::new(at) }
    }

    /// A step was taken.
    pub(crate) fn take(&self, name: &str) {
        let count = {
            let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            let count = taken.entry(name.to_owned()).or_default();
            *count += 1;
            *count
        };
        let name = if count == 1 { name.to_owned() } else { format!("{name}#{count}") };
        tracing::trace!(target: "flor::step", step = %name);
        (self.at)(&name);
    }

    /// What a path is to the agent.
    fn what(&self, path: &Path) -> String {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let new = name.strip_prefix('.').and_then(|name| name.split_once(NEW));
        let name = new.map_or(name.as_ref(), |(name, _)| name);
        let path = path.with_file_name(name);
        let layout = &self.layout;
        let known = [
            (layout.state(), "state"),
            (layout.pending(), "pending"),
            (layout.originals(), "originals"),
            (layout.pointer(), "current"),
            (layout.lane(), "revocations"),
        ];
        if let Some((_, what)) = known.iter().find(|(known, _)| *known == path) {
            return (*what).to_owned();
        }
        let folder_of = |known: &Path| known.parent() == Some(path.as_path());
        if folder_of(&layout.state()) {
            "records".to_owned()
        } else if folder_of(&layout.pointer()) {
            "artifacts".to_owned()
        } else if path.parent() == Some(layout.sets().as_path()) {
            "set".to_owned()
        } else if path.starts_with(layout.sets()) {
            "artifact".to_owned()
        } else {
            format!("file:{name}")
        }
    }
}

/// A disk whose changes are steps.
#[derive(Clone)]
pub(crate) struct SteppedDisk<D> {
    disk: D,
    steps: Arc<Steps>,
}

impl<D: Disk> SteppedDisk<D> {
    pub(crate) fn new(disk: D, steps: Arc<Steps>) -> Self {
        Self { disk, steps }
    }

    fn stepped(&self, path: &Path, change: &str, done: io::Result<()>) -> io::Result<()> {
        if done.is_ok() {
            self.steps.take(&format!("{}.{change}", self.steps.what(path)));
        }
        done
    }
}

impl<D: Disk> Disk for SteppedDisk<D> {
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        self.disk.read(path)
    }

    fn original(&self, path: &Path) -> io::Result<Option<(Attributes, Vec<u8>)>> {
        self.disk.original(path)
    }

    fn look(&self, path: &Path) -> io::Result<Option<Seen>> {
        self.disk.look(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.disk.list(folder)
    }

    fn create_folder(&self, folder: &Path, mode: u32) -> io::Result<()> {
        self.stepped(folder, "create", self.disk.create_folder(folder, mode))
    }

    fn write(&self, path: &Path, bytes: &[u8], attributes: Attributes) -> io::Result<()> {
        self.stepped(path, "write", self.disk.write(path, bytes, attributes))
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        self.stepped(path, "sync", self.disk.sync(path))
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.stepped(folder, "sync", self.disk.sync_folder(folder))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.stepped(to, "rename", self.disk.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.stepped(path, "remove", self.disk.remove(path))
    }

    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        self.stepped(folder, "remove", self.disk.remove_folder(folder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{forgetful::ForgetfulDisk, replace, save};

    #[test]
    fn steps_have_names_that_no_run_changes() {
        let layout = Layout::at("/flor");
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let note = Arc::clone(&seen);
        let steps = Steps::new(layout.clone(), move |step| note.lock().unwrap().push(step.to_owned()));
        let disk = SteppedDisk::new(ForgetfulDisk::default(), Arc::new(steps));
        save(&disk, &layout.pending(), b"x", Attributes::PRIVATE).unwrap();
        replace(&disk, Path::new("/etc/shop"), b"x", Attributes::PUBLIC).unwrap();
        save(&disk, &layout.pending(), b"y", Attributes::PRIVATE).unwrap();
        disk.remove_folder(&layout.set("7".parse().unwrap())).unwrap();
        assert_eq!(
            seen.lock().unwrap().as_slice(),
            [
                "records.create",
                "pending.write",
                "pending.sync",
                "pending.rename",
                "records.sync",
                "file:etc.create",
                "file:shop.write",
                "file:shop.sync",
                "file:shop.rename",
                "file:etc.sync",
                "records.create#2",
                "pending.write#2",
                "pending.sync#2",
                "pending.rename#2",
                "records.sync#2",
                "set.remove",
            ]
        );
    }
}
