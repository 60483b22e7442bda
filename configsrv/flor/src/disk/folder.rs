//! Finding a folder without being led elsewhere. The agent is root, and files go into folders that belong to others:
//! whoever may make names there must not choose what it writes to. So a path is walked folder by folder, each held
//! open, and a link is followed only where nobody but root or the agent's own user can have placed it.

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::ffi::OsStringExt as _,
    },
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, Stat, fstat, fsync, mkdirat, openat, readlinkat},
    io::Errno,
    process::{geteuid, umask},
};

/// As many links as Linux follows.
const MOST_LINKS: usize = 40;
/// Held to look names up in it; needs no right to read.
const HELD: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const READ: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

enum Step {
    Root,
    Up,
    Down(OsString),
}

/// What a name is.
enum Named {
    Folder(OwnedFd),
    Link(PathBuf),
    Other,
}

/// The folder at `path`.
pub(super) fn open(path: &Path) -> io::Result<OwnedFd> {
    walk(path, None)
}

/// The same; folders that are not there are made with exactly this mode, and stay after a loss of power.
pub(super) fn open_or_make(path: &Path, mode: u32) -> io::Result<OwnedFd> {
    walk(path, Some(mode))
}

/// The folder that a file's path names, and the file's name in it.
pub(super) fn above(path: &Path) -> io::Result<(OwnedFd, &OsStr)> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(super::not_a_file(path));
    };
    Ok((open(folder)?, name))
}

/// Whatever has the name in `folder`, a link included, to be looked at.
pub(super) fn named(folder: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
    Ok(openat(folder, name, HELD, Mode::empty())?)
}

/// Where the name in `folder` leads if it is a link that may be followed; `None` if it is no link.
pub(super) fn link(folder: &OwnedFd, name: &OsStr) -> io::Result<Option<PathBuf>> {
    match look(folder, name)? {
        Named::Link(target) => Ok(Some(target)),
        Named::Folder(_) | Named::Other => Ok(None),
    }
}

/// A descriptor that can be read and synced; one to look names up cannot.
pub(super) fn readable(folder: &OwnedFd) -> io::Result<OwnedFd> {
    Ok(openat(folder, ".", READ, Mode::empty())?)
}

fn walk(path: &Path, make: Option<u32>) -> io::Result<OwnedFd> {
    let mut within = Vec::new();
    let mut here = openat(CWD, ".", HELD, Mode::empty())?;
    let mut ahead: VecDeque<Step> = steps(path).collect();
    let mut links = 0;
    while let Some(step) = ahead.pop_front() {
        match step {
            Step::Root => {
                within.clear();
                here = openat(CWD, "/", HELD, Mode::empty())?;
            }
            // By the way we came: a folder that somebody moves meanwhile has another one above it.
            Step::Up => match within.pop() {
                Some(above) => here = above,
                None => here = openat(&here, "..", HELD, Mode::empty())?,
            },
            Step::Down(name) => match step_down(&here, &name, make)? {
                Named::Folder(folder) => within.push(std::mem::replace(&mut here, folder)),
                Named::Link(target) => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(Errno::LOOP.into());
                    }
                    for step in steps(&target).collect::<Vec<_>>().into_iter().rev() {
                        ahead.push_front(step);
                    }
                }
                Named::Other => return Err(Errno::NOTDIR.into()),
            },
        }
    }
    Ok(here)
}

fn steps(path: &Path) -> impl Iterator<Item = Step> + '_ {
    path.components().filter_map(|component| match component {
        Component::RootDir => Some(Step::Root),
        Component::ParentDir => Some(Step::Up),
        Component::Normal(name) => Some(Step::Down(name.to_owned())),
        Component::CurDir | Component::Prefix(_) => None,
    })
}

fn step_down(folder: &OwnedFd, name: &OsStr, make: Option<u32>) -> io::Result<Named> {
    match (look(folder, name), make) {
        (Err(error), Some(mode)) if error.kind() == io::ErrorKind::NotFound => {
            match with_umask(0, || mkdirat(folder, name, Mode::from_raw_mode(mode))) {
                // Somebody was faster.
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            fsync(readable(folder)?)?;
            look(folder, name)
        }
        (found, _) => found,
    }
}

fn look(folder: &OwnedFd, name: &OsStr) -> io::Result<Named> {
    let found = openat(folder, name, HELD, Mode::empty())?;
    let seen = fstat(&found)?;
    match FileType::from_raw_mode(seen.st_mode) {
        FileType::Directory => Ok(Named::Folder(found)),
        FileType::Symlink if is_ours(&fstat(folder)?, &seen) => {
            let target = readlinkat(found.as_fd(), "", Vec::new())?;
            Ok(Named::Link(OsString::from_vec(target.into_bytes()).into()))
        }
        FileType::Symlink => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("{} is a link that others may have placed; it is not followed", name.display()),
        )),
        _ => Ok(Named::Other),
    }
}

/// Whether only root or the agent's own user can have put `link` into `folder`.
fn is_ours(folder: &Stat, link: &Stat) -> bool {
    let ours = |seen: &Stat| seen.st_uid == 0 || seen.st_uid == geteuid().as_raw();
    let mode = Mode::from_raw_mode(folder.st_mode);
    let shared = mode.intersects(Mode::WGRP | Mode::WOTH) && !mode.contains(Mode::SVTX);
    ours(folder) && ours(link) && !shared
}

/// Does something with another umask than the process has, which may be as strict as one likes: what is made for
/// other programs is still as open as it was meant to be.
pub(crate) fn with_umask<T>(mask: u32, make: impl FnOnce() -> T) -> T {
    let before = umask(Mode::from_raw_mode(mask));
    let made = make();
    umask(before);
    made
}
