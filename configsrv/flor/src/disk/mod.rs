//! The file system as the agent uses it: few operations, each of which a crash can follow. Everything that must
//! survive a loss of power goes through [`replace`].

#[cfg(test)]
pub(crate) mod forgetful;
mod real;

use std::{
    io,
    path::{Path, PathBuf},
};

pub(crate) use real::RealDisk;

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
}

/// One operation at a time; nothing is durable before it is synced.
pub(crate) trait Disk: Send + Sync {
    /// The content of a file; `None` if there is none.
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>>;

    /// Mode and owner of a file; `None` if there is none.
    fn attributes(&self, path: &Path) -> io::Result<Option<Attributes>>;

    /// Names in a folder, sorted; none if there is no folder.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;

    /// Creates a folder and those above it.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;

    /// Creates a file or overwrites it.
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
    let folder = folder_of(path)?;
    disk.create_folder(&folder)?;
    let name = path.file_name().ok_or_else(|| not_a_file(path))?.to_string_lossy();
    let new = folder.join(format!(".{name}.flor-new"));
    disk.write(&new, bytes, attributes)?;
    disk.sync(&new)?;
    disk.rename(&new, path)?;
    disk.sync_folder(&folder)
}

/// Removes a file for good.
pub(crate) fn erase(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    if disk.attributes(path)?.is_none() {
        return Ok(());
    }
    disk.remove(path)?;
    disk.sync_folder(&folder_of(path)?)
}

fn folder_of(path: &Path) -> io::Result<PathBuf> {
    path.parent().map(Path::to_path_buf).ok_or_else(|| not_a_file(path))
}

fn not_a_file(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{} is not the path of a file", path.display()))
}
