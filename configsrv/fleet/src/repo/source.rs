use std::{
    collections::BTreeMap,
    fs, io,
    path::{Component, Path, PathBuf},
};

/// The largest file that a repository may refer to.
const MAX_FILE: u64 = 16 * 1024 * 1024;
/// The most files that are looked at.
const MAX_FILES: usize = 20_000;

/// Where a repository's files come from. Paths are relative and use `/`.
pub trait Source {
    /// Every file that may be part of the model, except those in dot folders. Links to folders are not followed; those with
    /// YAML in them are listed with a `/` at the end, because somebody may rely on it.
    fn list(&self) -> Result<Vec<String>, SourceError>;

    /// The file's bytes, `None` if it does not exist.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, SourceError>;
}

#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("{path}: {source}")]
    Io { path: String, source: io::Error },
    #[error("{0}: the path leaves the repository")]
    Outside(String),
    #[error("{path}: larger than {limit} bytes")]
    TooLarge { path: String, limit: u64 },
    #[error("more than {0} files; choose some with source.include in cluster.yaml")]
    TooMany(usize),
}

/// A folder of the file system.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
}

/// Files in memory.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Folder {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn walk(&self, folder: &Path, out: &mut Vec<String>) -> Result<(), SourceError> {
        let failed = |source| SourceError::Io { path: folder.display().to_string(), source };
        for entry in fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if name.to_string_lossy().starts_with('.') {
                continue;
            }
            // Links to folders are not followed: they may lead out of the repository or round in circles.
            let kind = entry.file_type().map_err(failed)?;
            let path = entry.path();
            if kind.is_dir() {
                self.walk(&path, out)?;
            } else if !kind.is_symlink() || !path.is_dir() {
                out.extend(self.relative(&path));
            } else if has_yaml(&path) {
                out.extend(self.relative(&path).map(|path| path + "/"));
            }
            if out.len() > MAX_FILES {
                return Err(SourceError::TooMany(MAX_FILES));
            }
        }
        Ok(())
    }

    fn relative(&self, path: &Path) -> Option<String> {
        let relative = path.strip_prefix(&self.root).ok()?;
        let parts: Vec<_> = relative.components().map(|part| part.as_os_str().to_string_lossy()).collect();
        Some(parts.join("/"))
    }
}

pub(super) fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

fn has_yaml(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|entries| entries.flatten().any(|entry| is_yaml(&entry.path())))
}

impl Source for Folder {
    fn list(&self) -> Result<Vec<String>, SourceError> {
        let mut out = Vec::new();
        self.walk(&self.root, &mut out)?;
        out.sort();
        Ok(out)
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
        let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !inside {
            return Err(SourceError::Outside(path.to_owned()));
        }
        let failed = |source| SourceError::Io { path: path.to_owned(), source };
        let root = self.root.canonicalize().map_err(failed)?;
        let full = match root.join(path).canonicalize() {
            Ok(full) => full,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        if !full.starts_with(&root) {
            return Err(SourceError::Outside(path.to_owned()));
        }
        if fs::metadata(&full).map_err(failed)?.len() > MAX_FILE {
            return Err(SourceError::TooLarge { path: path.to_owned(), limit: MAX_FILE });
        }
        fs::read(&full).map(Some).map_err(failed)
    }
}

impl Memory {
    pub fn with(mut self, path: &str, text: impl Into<Vec<u8>>) -> Self {
        self.files.insert(path.to_owned(), text.into());
        self
    }
}

impl Source for Memory {
    fn list(&self) -> Result<Vec<String>, SourceError> {
        let hidden = |path: &str| path.split('/').any(|part| part.starts_with('.'));
        Ok(self.files.keys().filter(|path| !hidden(path)).cloned().collect())
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(self.files.get(path).cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_does_not_leave_its_root() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("repo");
        fs::create_dir_all(root.join(".git")).unwrap();
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::write(root.join(".git/config.yaml"), "x").unwrap();
        fs::write(root.join("sub/a.yaml"), "x").unwrap();
        fs::write(dir.path().join("secret"), "x").unwrap();
        let folder = Folder::new(&root);
        assert_eq!(folder.list().unwrap(), ["sub/a.yaml"]);
        assert!(matches!(folder.read("../secret"), Err(SourceError::Outside(_))));
        assert!(matches!(folder.read("/etc/hostname"), Err(SourceError::Outside(_))));
        assert_eq!(folder.read("missing").unwrap(), None);
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(dir.path().join("secret"), root.join("link")).unwrap();
            assert!(matches!(folder.read("link"), Err(SourceError::Outside(_))));
        }
    }
}
