//! The file system as the agent uses it: few operations, each of which a crash can follow. Everything that must
//! survive a loss of power goes through [`replace`].

mod folder;
#[cfg(test)]
pub(crate) mod forgetful;
mod real;
mod steps;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
};

use ring::rand::{SecureRandom as _, SystemRandom};

pub(crate) use folder::with_umask;
pub(crate) use real::RealDisk;
pub(crate) use steps::{SteppedDisk, Steps};

/// Between a file's name and what is random in the name of the one that will replace it.
const NEW: &str = ".flor-new-";
/// A folder for what only the agent reads.
pub(crate) const PRIVATE_FOLDER: u32 = 0o700;
/// A folder for other programs' files.
const OPEN_FOLDER: u32 = 0o755;
/// More than any file has that an artifact replaces. Whoever owns the folder decides what is there before.
const LARGEST_ORIGINAL: u64 = 16 << 20;

/// How a new file looks from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// The permission bits.
    pub mode: u32,
    /// User and group, if not the agent's own.
    pub owner: Option<(u32, u32)>,
}

impl Attributes {
    /// For everything that the agent keeps for itself.
    pub(crate) const PRIVATE: Self = Self { mode: 0o600, owner: None };
    /// For what is no secret.
    pub(crate) const PUBLIC: Self = Self { mode: 0o644, owner: None };
}

/// What has a name in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Folder,
    Link,
    Other,
}

/// What can be seen without reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub kind: Kind,
    pub attributes: Attributes,
    pub stamp: Stamp,
}

/// What becomes another with every change, or nearly. Times are seconds and nanoseconds since 1970; anybody may set the
/// first, nobody the second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub device: u64,
    pub inode: u64,
    pub size: u64,
    pub modified: (i64, i64),
    pub changed: (i64, i64),
}

impl Stamp {
    /// Whether a change from now on would show: clocks of file systems are coarse.
    pub(crate) fn is_settled(&self, now_s: i64) -> bool {
        self.changed.0.saturating_add(2) <= now_s
    }
}

/// One operation at a time; nothing is durable before it is synced.
pub(crate) trait Disk: Send + Sync {
    /// The content of a file; `None` if there is none.
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>>;

    /// A file to be replaced, as it is now; `None` if there is none. Something of another kind is an error, and so is a file
    /// that is too large to be kept.
    fn original(&self, path: &Path) -> io::Result<Option<(Attributes, Vec<u8>)>>;

    /// What is at a path, of whatever kind; a link is not followed. `None` if there is nothing.
    fn look(&self, path: &Path) -> io::Result<Option<Seen>>;

    /// Names in a folder, sorted; none if there is no folder.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;

    /// Creates a folder and those above it for good, with this mode.
    fn create_folder(&self, folder: &Path, mode: u32) -> io::Result<()>;

    /// Creates a file; there must be none.
    fn write(&self, path: &Path, bytes: &[u8], attributes: Attributes) -> io::Result<()>;

    /// Makes a file's content durable; its name is the folder's business.
    fn sync(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Gives a file another name, in place of the file that had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file; fine if there is none.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes a folder with all that is in it; fine if there is none.
    fn remove_folder(&self, folder: &Path) -> io::Result<()>;
}

/// Puts `bytes` at `path` so that there is the old file or the new one, whatever happens, and the new one for good
/// once this returns.
pub(crate) fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8], attributes: Attributes) -> io::Result<()> {
    put(disk, path, bytes, attributes, OPEN_FOLDER)
}

/// The same for the agent's own files, whose folders are nobody else's.
pub(crate) fn save(disk: &dyn Disk, path: &Path, bytes: &[u8], attributes: Attributes) -> io::Result<()> {
    put(disk, path, bytes, attributes, PRIVATE_FOLDER)
}

fn put(disk: &dyn Disk, path: &Path, bytes: &[u8], attributes: Attributes, folder_mode: u32) -> io::Result<()> {
    let folder = folder_of(path)?;
    disk.create_folder(&folder, folder_mode)?;
    let name = path.file_name().ok_or_else(|| not_a_file(path))?.to_string_lossy();
    let prefix = format!(".{name}{NEW}");
    // What a killed agent left under way. It is in nobody's way if it stays.
    for left in disk.list(&folder)?.into_iter().filter(|name| name.starts_with(&prefix)) {
        let _ = disk.remove(&folder.join(left));
    }
    // Whoever else may write into the folder must not be waiting under this name.
    let new = folder.join(format!("{prefix}{}", random()?));
    let written = disk
        .write(&new, bytes, attributes)
        .and_then(|()| disk.sync(&new))
        .and_then(|()| disk.rename(&new, path))
        .inspect_err(|_| drop(disk.remove(&new)));
    written?;
    disk.sync_folder(&folder)
}

/// Removes a file for good, or whatever else has its name.
pub(crate) fn erase(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    disk.remove(path)?;
    match disk.sync_folder(&folder_of(path)?) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn random() -> io::Result<String> {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("the system has no randomness"))?;
    Ok(hex::encode(bytes))
}

fn folder_of(path: &Path) -> io::Result<PathBuf> {
    path.parent().map(Path::to_path_buf).ok_or_else(|| not_a_file(path))
}

fn not_a_file(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{} is not the path of a file", path.display()))
}
