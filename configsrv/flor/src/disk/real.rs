use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, Metadata, Permissions},
    io::{self, ErrorKind, Read as _, Write as _},
    os::{
        fd::OwnedFd,
        unix::{
            ffi::OsStrExt as _,
            fs::{MetadataExt as _, PermissionsExt as _, fchown},
        },
    },
    path::Path,
};

use rustix::{
    fs::{AtFlags, Dir, Mode, OFlags, fsync, openat, renameat, unlinkat},
    io::Errno,
};

use super::{Attributes, Disk, Kind, LARGEST_ORIGINAL, Seen, Stamp, folder};

/// Never through a link, and never waiting for the other end of a pipe.
const READ: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
const CREATE: OFlags =
    OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// As many links as Linux follows.
const MOST_LINKS: usize = 40;

/// The machine's own file system.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RealDisk;

impl Disk for RealDisk {
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        found(follow(path).and_then(content))
    }

    fn original(&self, path: &Path) -> io::Result<Option<(Attributes, Vec<u8>)>> {
        let Some(file) = found(folder::above(path).and_then(|(folder, name)| open(&folder, name)))? else {
            return Ok(None);
        };
        let metadata = file.metadata()?;
        if metadata.len() > LARGEST_ORIGINAL {
            return Err(too_large());
        }
        Ok(Some((attributes(&metadata), bounded(file)?)))
    }

    fn look(&self, path: &Path) -> io::Result<Option<Seen>> {
        let named = folder::above(path).and_then(|(folder, name)| folder::named(&folder, name));
        let Some(named) = found(named)? else { return Ok(None) };
        let metadata = File::from(named).metadata()?;
        let kind = match metadata.file_type() {
            kind if kind.is_file() => Kind::File,
            kind if kind.is_dir() => Kind::Folder,
            kind if kind.is_symlink() => Kind::Link,
            _ => Kind::Other,
        };
        let stamp = Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        };
        Ok(Some(Seen { kind, attributes: attributes(&metadata), stamp }))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let Some(folder) = found(folder::open(folder))? else { return Ok(Vec::new()) };
        let mut names = Vec::new();
        for entry in Dir::new(folder::readable(&folder)?)? {
            let name = OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned();
            // A name that is not text is not ours.
            names.extend(OsString::into_string(name).ok().filter(|name| name != "." && name != ".."));
        }
        names.sort();
        Ok(names)
    }

    fn create_folder(&self, folder: &Path, mode: u32) -> io::Result<()> {
        folder::open_or_make(folder, mode).map(|_| ())
    }

    fn write(&self, path: &Path, bytes: &[u8], attributes: Attributes) -> io::Result<()> {
        let (folder, name) = folder::above(path)?;
        // Never readable for others, not even for a moment: owner and mode come after the content. Both go by the
        // descriptor: the name may be another file's by then.
        let mut file = File::from(openat(&folder, name, CREATE, Mode::RUSR | Mode::WUSR)?);
        file.write_all(bytes)?;
        if let Some((user, group)) = attributes.owner {
            let metadata = file.metadata()?;
            if (metadata.uid(), metadata.gid()) != (user, group) {
                fchown(&file, Some(user), Some(group))?;
            }
        }
        file.set_permissions(Permissions::from_mode(attributes.mode))
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        let (folder, name) = folder::above(path)?;
        open(&folder, name)?.sync_all()
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        Ok(fsync(folder::readable(&folder::open(folder)?)?)?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let ((from_folder, from), (to_folder, to)) = (folder::above(from)?, folder::above(to)?);
        Ok(renameat(from_folder, from, to_folder, to)?)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let gone = folder::above(path).and_then(|(folder, name)| Ok(unlinkat(folder, name, AtFlags::empty())?));
        found(gone).map(|_| ())
    }

    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        found(fs::remove_dir_all(folder)).map(|_| ())
    }
}

/// The file at `path`, at the end of links that may be followed.
fn follow(path: &Path) -> io::Result<File> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        let (folder, name) = folder::above(&path)?;
        match folder::link(&folder, name)? {
            Some(target) => path = path.parent().unwrap_or(Path::new("/")).join(target),
            None => return open(&folder, name),
        }
    }
    Err(Errno::LOOP.into())
}

/// A file by the name it has in a folder, and nothing but a file.
fn open(folder: &OwnedFd, name: &OsStr) -> io::Result<File> {
    let strange = |what: &str| io::Error::new(ErrorKind::InvalidInput, format!("{} is {what}", name.display()));
    let file = match openat(folder, name, READ, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::LOOP) => return Err(strange("a link, not a file")),
        Err(error) => return Err(error.into()),
    };
    if file.metadata()?.is_file() { Ok(file) } else { Err(strange("no regular file")) }
}

fn attributes(metadata: &Metadata) -> Attributes {
    Attributes { mode: metadata.mode() & 0o7777, owner: Some((metadata.uid(), metadata.gid())) }
}

fn content(mut file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The same of a file that somebody may be writing to meanwhile.
fn bounded(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = file.take(LARGEST_ORIGINAL + 1).read_to_end(&mut bytes)?;
    if u64::try_from(read).is_ok_and(|read| read <= LARGEST_ORIGINAL) { Ok(bytes) } else { Err(too_large()) }
}

fn too_large() -> io::Error {
    let text = format!(
        "the file there is larger than {} MiB, which nothing here replaces: move it away",
        LARGEST_ORIGINAL >> 20
    );
    io::Error::new(ErrorKind::FileTooLarge, text)
}

fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
