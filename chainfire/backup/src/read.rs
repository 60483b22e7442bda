use std::io::{self, Read};

use bytes::Bytes;
use holdfast_format::{HEADER, from_json, kind};
use ring::digest::{Context, SHA256};

use crate::{
    Error, Manifest, Passphrase,
    part::{BodyV1, PartV1, V1},
    seal::Seal,
};

/// No frame comes near this; a length beyond it is damage, not a reason to ask for memory.
const FRAME_BYTES: usize = 256 << 20;

/// Reads a backup and believes none of it before it is checked.
pub struct Reader<R> {
    input: R,
    manifest: Manifest,
    seal: Option<Seal>,
    /// The last part that was read.
    number: u64,
    digest: Context,
    ended: bool,
}

/// What a backup says next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// The group whose frames follow.
    Group(String),
    Frame(Bytes),
}

impl<R: Read> Reader<R> {
    /// Reads the manifest. An encrypted backup needs its passphrase, another one must have none.
    pub fn open(input: R, passphrase: Option<&Passphrase>) -> Result<Self, Error> {
        let (mut reader, bytes) = Self::look(input)?;
        reader.seal = match (passphrase, &reader.manifest.encryption) {
            (None, None) => None,
            (Some(passphrase), Some(how)) => Some(Seal::new(passphrase, how, &bytes)?),
            (None, Some(_)) => return Err(Error::Encrypted),
            (Some(_), None) => return Err(Error::NotEncrypted),
        };
        Ok(reader)
    }

    /// Only the manifest, which needs no passphrase, and which nothing has proved yet.
    pub fn manifest_of(input: R) -> Result<Manifest, Error> {
        Self::look(input).map(|(reader, _)| reader.manifest)
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The next group or frame. None after the last, when everything has proved whole.
    pub fn next_item(&mut self) -> Result<Option<Item>, Error> {
        if self.ended {
            return Ok(None);
        }
        let expected = {
            let mut digest = [0; 32];
            digest.copy_from_slice(self.digest.clone().finish().as_ref());
            digest
        };
        let bytes = match read_frame(&mut self.input)? {
            Frame::Whole(bytes) => bytes,
            Frame::Nothing | Frame::Cut => return Err(Error::Truncated(self.number)),
            Frame::TooLarge => return Err(self.damaged(&"it is larger than any part")),
        };
        self.digest.update(&bytes);
        let part = PartV1::decode(&bytes).map_err(|error| self.damaged(&error))?;
        self.number += 1;
        if part.number != self.number {
            return Err(self.damaged(&format_args!("it says that it is part {}", part.number)));
        }
        let body = match &self.seal {
            None => part.body.to_vec(),
            Some(seal) => match seal.open(self.number, part.body.to_vec()) {
                Some(body) => body,
                None if self.number == 1 => return Err(Error::WrongPassphrase),
                None => return Err(self.damaged(&"its seal is broken")),
            },
        };
        match BodyV1::decode(&body).map_err(|error| self.damaged(&error))? {
            BodyV1::Group(name) => Ok(Some(Item::Group(name))),
            BodyV1::Frame(frame) => Ok(Some(Item::Frame(frame))),
            BodyV1::End(digest) if digest == expected => self.end().map(|()| None),
            BodyV1::End(_) => Err(self.damaged(&"the checksum of the whole does not match")),
        }
    }

    fn look(mut input: R) -> Result<(Self, Vec<u8>), Error> {
        let not_one = |why: &str| Error::NotBackup(why.to_owned());
        let bytes = match read_frame(&mut input)? {
            Frame::Whole(bytes) => bytes,
            Frame::Nothing => return Err(not_one("the file is empty")),
            Frame::Cut | Frame::TooLarge => return Err(not_one("it does not begin with a manifest")),
        };
        let manifest: Manifest = from_json(kind::BACKUP_MANIFEST, V1, &bytes).map_err(|error| match error {
            newer @ holdfast_format::Error::Newer { .. } => Error::Format(newer),
            other => Error::NotBackup(other.to_string()),
        })?;
        let mut digest = Context::new(&SHA256);
        digest.update(&bytes);
        Ok((Self { input, manifest, seal: None, number: 0, digest, ended: false }, bytes))
    }

    fn end(&mut self) -> Result<(), Error> {
        self.ended = true;
        match self.input.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(self.damaged(&"bytes follow the end")),
        }
    }

    fn damaged(&self, problem: &dyn std::fmt::Display) -> Error {
        Error::Damaged { part: self.number, problem: problem.to_string() }
    }
}

enum Frame {
    Whole(Vec<u8>),
    Nothing,
    Cut,
    TooLarge,
}

/// Reads as many bytes as the frame's own length says, and nothing else about it.
fn read_frame(input: &mut impl Read) -> io::Result<Frame> {
    let mut header = [0; HEADER];
    match fill(input, &mut header)? {
        0 => return Ok(Frame::Nothing),
        HEADER => {}
        _ => return Ok(Frame::Cut),
    }
    // Magic, kind and version come before the length.
    let [.., l0, l1, l2, l3, _, _, _, _] = header;
    let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
    if length > FRAME_BYTES {
        return Ok(Frame::TooLarge);
    }
    let mut bytes = header.to_vec();
    // Grows with what is there, not with what is promised.
    let found = input.by_ref().take(length as u64).read_to_end(&mut bytes)?;
    Ok(if found == length { Frame::Whole(bytes) } else { Frame::Cut })
}

fn fill(input: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < into.len() {
        match input.read(&mut into[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
