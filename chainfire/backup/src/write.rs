use std::io::Write;

use bytes::Bytes;
use holdfast_format::{kind, to_json};
use holdfast_passphrase::Encryption;
use ring::digest::{Context, SHA256};

use crate::{
    Error, Item, Manifest, Passphrase,
    part::{BodyV1, PartV1, V1},
    seal::Seal,
};

/// Writes a backup. Only [`Writer::finish`] makes it one.
pub struct Writer<W> {
    out: W,
    seal: Option<Seal>,
    number: u64,
    digest: Context,
}

impl<W: Write> Writer<W> {
    /// Begins with the manifest. With a passphrase, how the parts are sealed becomes a part of it.
    pub fn begin(out: W, mut manifest: Manifest, passphrase: Option<&Passphrase>) -> Result<Self, Error> {
        manifest.encryption = passphrase.map(|_| Encryption::new()).transpose()?;
        let bytes = to_json(kind::BACKUP_MANIFEST, V1, &manifest)?;
        let seal = passphrase.zip(manifest.encryption.as_ref());
        let seal = seal.map(|(passphrase, how)| Seal::new(passphrase, how, &bytes)).transpose()?;
        let mut writer = Self { out, seal, number: 0, digest: Context::new(&SHA256) };
        writer.write(&bytes)?;
        Ok(writer)
    }

    /// The frames that follow are those of group `name`.
    pub fn group(&mut self, name: &str) -> Result<(), Error> {
        self.part(&BodyV1::Group(name.to_owned()))
    }

    pub fn frame(&mut self, frame: Bytes) -> Result<(), Error> {
        self.part(&BodyV1::Frame(frame))
    }

    /// The same for what a [`Reader`](crate::Reader) has read.
    pub fn item(&mut self, item: Item) -> Result<(), Error> {
        match item {
            Item::Group(name) => self.group(&name),
            Item::Frame(frame) => self.frame(frame),
        }
    }

    /// Completes the backup. The caller makes it durable.
    pub fn finish(mut self) -> Result<W, Error> {
        let mut digest = [0; 32];
        digest.copy_from_slice(self.digest.clone().finish().as_ref());
        self.part(&BodyV1::End(digest))?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// What the parts are written to.
    pub fn out(&mut self) -> &mut W {
        &mut self.out
    }

    fn part(&mut self, body: &BodyV1) -> Result<(), Error> {
        self.number += 1;
        let number = self.number;
        let body = body.encode()?;
        let body = match &self.seal {
            None => body,
            Some(seal) => seal
                .seal(number, body)
                .ok_or_else(|| Error::Damaged { part: number, problem: "it cannot be sealed".to_owned() })?,
        };
        let bytes = PartV1 { number, body: body.into() }.encode()?;
        self.write(&bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.digest.update(bytes);
        Ok(self.out.write_all(bytes)?)
    }
}
