use std::{
    fs::File,
    io::{self, BufReader, Read as _},
    path::Path,
};

use chainfire_bolt::{Reader, Source};
use ring::digest::{Context, SHA256};

use super::RestoreError;

/// Bytes of the checksum at the end of a file that `snapshot save` wrote.
const CHECKSUM: u64 = 32;
/// A database is a multiple of this; what is left over tells that the checksum follows.
const UNIT: u64 = 512;

/// The database inside of a file.
pub(super) struct Database {
    file: File,
    length: u64,
}

/// A database, and whether a checksum has proved it.
pub(super) struct Opened {
    pub(super) reader: Reader<Database>,
    pub(super) checked: bool,
}

impl Source for Database {
    fn length(&self) -> io::Result<u64> {
        Ok(self.length)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, into)
    }
}

/// Opens what `snapshot save` wrote, or the database of an etcd that does not run (`member/snap/db`).
pub(super) fn open(path: &Path) -> Result<Opened, RestoreError> {
    let failed = |error| RestoreError::File { path: path.to_owned(), error };
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let checked = length % UNIT == CHECKSUM;
    if !checked {
        return Ok(Opened { reader: Reader::open(Database { file, length })?, checked });
    }
    let content = length - CHECKSUM;
    let mut input = BufReader::new(&file);
    let digest = digest(&mut input, content).map_err(failed)?;
    let mut expected = [0; CHECKSUM as usize];
    input.read_exact(&mut expected).map_err(failed)?;
    if digest != expected {
        return Err(RestoreError::Checksum);
    }
    drop(input);
    Ok(Opened { reader: Reader::open(Database { file, length: content })?, checked })
}

fn digest(input: &mut impl io::Read, length: u64) -> io::Result<Vec<u8>> {
    let mut context = Context::new(&SHA256);
    let mut input = input.take(length);
    let mut buffer = vec![0; 256 << 10];
    loop {
        match input.read(&mut buffer)? {
            0 => return Ok(context.finish().as_ref().to_vec()),
            count => context.update(&buffer[..count]),
        }
    }
}
