use std::{collections::BTreeSet, path::Path, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use configsrv_fleet::{
    Payload, SpiffeId,
    artifact::{Activation, Content, File},
};

use super::{Hooks, Original, Untold, owner};
use crate::{
    Error,
    disk::{Attributes, Disk, erase, replace},
    machine::Failure,
    plane::{DataPlane, Reached},
    store::Store,
    tally::{Cause, PLANE, Tally},
};

/// Brings the machine from one payload to another.
#[derive(Clone)]
pub(crate) struct Activator {
    hooks: Arc<dyn Hooks>,
    plane: Arc<dyn DataPlane>,
    tally: Tally,
}

/// In which direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// To something new: what is overwritten is kept first.
    Forward,
    /// To what was: everything that was kept comes back.
    Back,
}

impl Activator {
    pub(crate) fn new(hooks: Arc<dyn Hooks>, plane: Arc<dyn DataPlane>) -> Self {
        Self { hooks, plane, tally: Tally::default() }
    }

    /// The data plane alone: at the start of a daemon files are as they were.
    pub(crate) async fn connect(&self, payload: Option<&Payload>) -> Result<(), Failure> {
        self.reach(payload, Cause::Sync).await
    }

    /// From now on nobody of `revoked` reaches anything through the data plane, or is reached.
    pub(crate) async fn narrow(&self, revoked: BTreeSet<SpiffeId>) {
        self.plane.narrow(revoked).await;
    }

    pub(crate) fn plane_runs(&self) -> bool {
        self.plane.runs()
    }

    /// What was started anew is counted here, and how syncs ended.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    async fn reach(&self, payload: Option<&Payload>, cause: Cause) -> Result<(), Failure> {
        if self.plane.apply(payload).await? == Reached::Restarted {
            self.tally.restarted(PLANE, cause);
        }
        Ok(())
    }

    async fn tell(&self, hook: &Activation, cause: Cause) -> Result<(), Failure> {
        self.hooks.run(hook).await?;
        match hook {
            Activation::Restart(unit) => self.tally.restarted(unit, cause),
            Activation::Run(words) => self.tally.restarted(words.first().map_or("", String::as_str), cause),
            // It goes on with its new file.
            Activation::Reload(_) => {}
        }
        Ok(())
    }

    /// Repeating it after a crash ends in the same state.
    pub(crate) async fn bring(
        &self,
        store: &Store,
        from: Option<&Payload>,
        to: Option<&Payload>,
        way: Way,
    ) -> Result<(), Failure> {
        let from = from.map_or(&[][..], |payload| &payload.files);
        match way {
            Way::Forward => self.forward(store, from, to).await,
            Way::Back => self.back(store, from, to).await,
        }
    }

    /// Ends with the first failure, and notes whom it did not tell then.
    async fn forward(&self, store: &Store, from: &[File], payload: Option<&Payload>) -> Result<(), Failure> {
        let to = payload.map_or(&[][..], |payload| &payload.files);
        let hooks = hooks(from, to, Way::Forward);
        let mut untold = Untold { failed: None, others: hooks.iter().copied().cloned().collect() };
        let done = async {
            keep(store, from, to).map_err(failed)?;
            for file in to {
                write(store, file).map_err(failed)?;
            }
            for path in leftovers(store, from, to, Way::Forward).map_err(failed)? {
                put_back(store, &path).map_err(failed)?;
            }
            // Before the hooks: programs may need to reach something.
            self.reach(payload, Cause::Sync).await?;
            for (at, hook) in hooks.iter().copied().enumerate() {
                let told = self.tell(hook, Cause::Sync).await;
                if told.is_err() {
                    untold = Untold { failed: Some(hook.clone()), others: untold.others.split_off(at + 1) };
                }
                told?;
            }
            self.hooks.outlive(&hooks).await
        };
        let done = done.await;
        if done.is_err()
            && !hooks.is_empty()
            && let Err(error) = note(store, untold)
        {
            tracing::warn!(%error, "it is not written down whom the change did not tell: every hook counts on the way back");
        }
        done
    }

    /// Tries everything: as much as possible of the old state is best.
    async fn back(&self, store: &Store, from: &[File], payload: Option<&Payload>) -> Result<(), Failure> {
        let to = payload.map_or(&[][..], |payload| &payload.files);
        let mut failures = Vec::new();
        for file in to {
            failures.extend(write(store, file).map_err(failed).err());
        }
        for path in leftovers(store, from, to, Way::Back).map_err(failed)? {
            failures.extend(put_back(store, &path).map_err(failed).err());
        }
        // Before the hooks: programs may need to reach something.
        failures.extend(self.reach(payload, Cause::Rollback).await.err());
        let untold = store.originals().map_err(failed)?.untold.unwrap_or_default();
        let hooks = hooks(from, to, Way::Back);
        let kept = |hook: &Activation| to.iter().any(|file| file.activate.as_ref() == Some(hook));
        for hook in hooks.iter().copied() {
            match self.tell(hook, Cause::Rollback).await {
                Err(Failure(reason)) if untold.excuses(hook, kept(hook)) => {
                    tracing::warn!(reason, "a hook that came to nothing on the way there fails on the way back, too");
                }
                told => failures.extend(told.err()),
            }
        }
        // A program that was not told of a file that went again is as it was, whether it runs or not.
        let counts = |hook: &Activation| kept(hook) || !untold.excuses(hook, false);
        let watched: Vec<&Activation> = hooks.into_iter().filter(|&hook| counts(hook)).collect();
        failures.extend(self.hooks.outlive(&watched).await.err());
        failures.into_iter().next().map_or(Ok(()), Err)
    }

    /// Writes some of a payload's files again, whatever became of them, and tells their programs. Everything is tried;
    /// repeating it ends in the same state.
    pub(crate) async fn rewrite(&self, store: &Store, payload: &Payload, paths: &[String]) -> Result<(), Failure> {
        let (mut first_failure, mut written) = (None, Vec::new());
        for file in payload.files.iter().filter(|file| paths.contains(&file.path)) {
            match write(store, file) {
                Ok(()) => written.push(file.clone()),
                Err(error) => drop(first_failure.get_or_insert(failed(error))),
            }
        }
        let hooks = hooks(&[], &written, Way::Back);
        for hook in &hooks {
            if let Err(failure) = self.tell(hook, Cause::Repair).await {
                first_failure.get_or_insert(failure);
            }
        }
        if let Err(failure) = self.hooks.outlive(&hooks).await {
            first_failure.get_or_insert(failure);
        }
        first_failure.map_or(Ok(()), Err)
    }
}

/// Notes what the files of `to` are now, unless a payload wrote them, and forgets whom an earlier change did not tell.
fn keep(store: &Store, from: &[File], to: &[File]) -> Result<(), Error> {
    let mut originals = store.originals()?;
    let before = originals.clone();
    originals.untold = None;
    for file in to.iter().filter(|file| find(from, &file.path).is_none()) {
        if originals.knows(&file.path) {
            continue;
        }
        let path = Path::new(&file.path);
        let read = |error| Error::file(path, &error);
        let original = match store.disk().original(path).map_err(read)? {
            None => Original::Absent,
            Some((attributes, bytes)) => Original::file(attributes, &bytes),
        };
        originals.note(&file.path, original);
    }
    if originals == before { Ok(()) } else { store.save_originals(&originals) }
}

/// Whom a change did not tell that is undone now.
fn note(store: &Store, untold: Untold) -> Result<(), Error> {
    let mut originals = store.originals()?;
    originals.untold = Some(untold);
    store.save_originals(&originals)
}

fn write(store: &Store, file: &File) -> Result<(), Error> {
    let path = Path::new(&file.path);
    let (bytes, attributes) = content(store.disk(), file)?;
    replace(store.disk(), path, &bytes, attributes).map_err(|error| Error::file(path, &error))
}

/// What a file is to be. Names of owners are this machine's.
pub(crate) fn content(disk: &dyn Disk, file: &File) -> Result<(Vec<u8>, Attributes), Error> {
    let bytes = match &file.content {
        Content::Text(text) => text.as_bytes().to_vec(),
        Content::Base64(text) => {
            STANDARD.decode(text).map_err(|error| Error::Untrusted(format!("{}: {error}", file.path)))?
        }
    };
    let mode = u32::from_str_radix(&file.mode, 8)
        .map_err(|_| Error::Untrusted(format!("{}: mode {} is not octal", file.path, file.mode)))?;
    let owner = file.owner.as_deref().map(|owner| owner::resolve(disk, owner)).transpose()?;
    Ok((bytes, Attributes { mode, owner }))
}

/// Files that `to` does not have and that must not stay as they are: everything that was kept, since a change may have been
/// replaced or cut off while it wrote; and forward what `from` wrote. On the way back a file of `from` that was not kept was
/// not touched: it is still somebody else's.
fn leftovers(store: &Store, from: &[File], to: &[File], way: Way) -> Result<BTreeSet<String>, Error> {
    let mut paths: BTreeSet<String> = store.originals()?.iter().map(|(path, _)| path.to_owned()).collect();
    if way == Way::Forward {
        paths.extend(from.iter().map(|file| file.path.clone()));
    }
    paths.retain(|path| find(to, path).is_none());
    Ok(paths)
}

/// What was there before any payload, or nothing.
fn put_back(store: &Store, path: &str) -> Result<(), Error> {
    let kept = store.originals()?.get(path).map(Original::content).transpose()?.flatten();
    let path = Path::new(path);
    let done = match kept {
        Some((attributes, bytes)) => replace(store.disk(), path, &bytes, attributes),
        None => erase(store.disk(), path),
    };
    done.map_err(|error| Error::file(path, &error))
}

/// Each once, in file order: hooks of what differs, or all of them on the way back, where nobody can say how far the
/// way there went. A file that goes runs the hook that it came with.
fn hooks<'a>(from: &'a [File], to: &'a [File], way: Way) -> Vec<&'a Activation> {
    let changed = to.iter().filter(|file| way == Way::Back || find(from, &file.path) != Some(*file));
    let gone = from.iter().filter(|file| find(to, &file.path).is_none());
    let mut hooks: Vec<&Activation> = Vec::new();
    for hook in changed.chain(gone).filter_map(|file| file.activate.as_ref()) {
        if !hooks.contains(&hook) {
            hooks.push(hook);
        }
    }
    hooks
}

fn find<'a>(files: &'a [File], path: &str) -> Option<&'a File> {
    files.iter().find(|file| file.path == path)
}

#[expect(clippy::needless_pass_by_value, reason = "the form that map_err wants")]
fn failed(error: Error) -> Failure {
    Failure(error.to_string())
}
