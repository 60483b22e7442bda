use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

use holdfast_format::{from_compact, kind, to_compact};

use crate::Error;

const POINTER: &str = "active";
const V1: u16 = 1;

/// The folder of a state: numbered generations and a pointer to the one that counts.
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Only this generation begins empty; the others are snapshots, which are whole before they count.
    pub(super) const FIRST: u64 = 1;

    /// Opens `path`, creating it if there is nothing, and removes generations that never became current.
    pub(super) fn open(path: PathBuf) -> Result<(Self, u64), Error> {
        fs::create_dir_all(&path).map_err(Error::io(&path))?;
        let folder = Self { path };
        let generations = folder.generations()?;
        let pointer = folder.path.join(POINTER);
        let current = match fs::read(&pointer) {
            Ok(bytes) => from_compact::<u64>(kind::STATE_POINTER, V1, &bytes)
                .map_err(|error| Error::damaged(&pointer, &error))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && generations.is_empty() => {
                folder.point_to(Self::FIRST)?;
                Self::FIRST
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::damaged(&pointer, &"the file is missing, and there are states"));
            }
            Err(error) => return Err(Error::Io { path: pointer, error }),
        };
        for stale in generations.into_iter().filter(|number| *number != current) {
            let path = folder.generation(stale);
            fs::remove_dir_all(&path).map_err(Error::io(&path))?;
        }
        Ok((folder, current))
    }

    pub(super) fn generation(&self, number: u64) -> PathBuf {
        self.path.join(format!("generation-{number}"))
    }

    /// Makes `number` the generation that the next start opens. Its files are durable already.
    pub(super) fn point_to(&self, number: u64) -> Result<(), Error> {
        let bytes = to_compact(kind::STATE_POINTER, V1, &number)
            .map_err(|error| Error::Corrupt { path: self.path.clone(), message: error.to_string() })?;
        replace_file(&self.path.join(POINTER), &bytes)
    }

    /// A number that no generation has had.
    pub(super) fn next_number(&self) -> Result<u64, Error> {
        Ok(self.generations()?.into_iter().max().unwrap_or(0) + 1)
    }

    fn generations(&self) -> Result<Vec<u64>, Error> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(Error::io(&self.path))? {
            let name = entry.map_err(Error::io(&self.path))?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix("generation-"));
            found.extend(number.and_then(|number| number.parse::<u64>().ok()));
        }
        Ok(found)
    }
}

/// Replaces a small file so that a crash leaves the old or the new content, never a part.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary).map_err(Error::io(&temporary))?;
    file.write_all(bytes).map_err(Error::io(&temporary))?;
    file.sync_all().map_err(Error::io(&temporary))?;
    fs::rename(&temporary, path).map_err(Error::io(path))?;
    sync_parent(path)
}

/// Makes a name durable: renames and creations live in the parent folder.
pub(crate) fn sync_parent(path: &Path) -> Result<(), Error> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|folder| folder.sync_all()).map_err(Error::io(parent))
}
