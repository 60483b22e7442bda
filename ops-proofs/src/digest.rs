//! SHA-256, as evidence is named by it.

use std::{fs::File, io::Read as _, path::Path};

use anyhow::{Context as _, Result};
use ring::digest::{Context, SHA256, digest};

/// Lower-case hexadecimal digest of a file, read in pieces: server binaries are large.
pub(crate) fn of_file(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut context = Context::new(&SHA256);
    let mut piece = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut piece).with_context(|| format!("cannot read {}", path.display()))?;
        match piece.get(..read) {
            Some(bytes) if read > 0 => context.update(bytes),
            _ => return Ok(hex::encode(context.finish())),
        }
    }
}

/// Lower-case hexadecimal digest of bytes.
pub(crate) fn of_bytes(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_and_bytes_agree() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, "abc").unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(of_file(&path).unwrap(), abc);
        assert_eq!(of_bytes(b"abc"), abc);
    }
}
