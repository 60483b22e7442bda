use bytes::Bytes;
use holdfast_keyspace::{Error, KeyRange, Order, Read as _, Table};
use ring::digest;

use super::{Meta, View, failed};
use crate::format::{ChunkV1, EndV1, HeaderV1, PartV1, encode_part};

/// Pairs of one chunk take about this much; a larger pair has a chunk of its own.
const CHUNK_BYTES: usize = 256 << 10;

/// The frames of a snapshot, made while they are sent.
pub(crate) struct Outgoing {
    view: View,
    tables: Vec<Table>,
    next: Next,
    pairs: u64,
    digest: digest::Context,
}

enum Next {
    Header(Box<HeaderV1>),
    Chunk { table: usize, from: Vec<u8> },
    End,
    Nothing,
}

/// The frames of a view's whole state, in order; an error ends them. What they make is [`Restoring::accept`]'s.
///
/// [`Restoring::accept`]: crate::Restoring::accept
pub struct Frames(Outgoing);

impl Frames {
    pub(super) fn new(view: View) -> Result<Self, Error> {
        Outgoing::new(view).map(Self)
    }
}

impl Iterator for Frames {
    type Item = Result<Bytes, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.0.next_frame();
        if next.is_err() {
            self.0.next = Next::Nothing;
        }
        next.transpose()
    }
}

impl Outgoing {
    pub(crate) fn new(view: View) -> Result<Self, Error> {
        let tables: Vec<Table> = view.generation().machine_tables().collect();
        let Meta { applied, membership, first_command } = view.meta()?;
        let applied = applied.ok_or_else(|| failed("an empty state has no snapshot"))?;
        let header = HeaderV1 {
            applied: (&applied).into(),
            membership: (&membership).into(),
            first_command,
            tables: tables.iter().map(|table| table.name.to_owned()).collect(),
        };
        let next = Next::Header(Box::new(header));
        Ok(Self { view, tables, next, pairs: 0, digest: digest::Context::new(&digest::SHA256) })
    }

    /// The next frame; none after the end.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Bytes>, Error> {
        let part = match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Header(header) => {
                self.next = Next::Chunk { table: 0, from: Vec::new() };
                PartV1::Header(*header)
            }
            Next::Chunk { table, from } => self.chunk(table, from)?,
            Next::End => self.end(),
            Next::Nothing => return Ok(None),
        };
        let frame = encode_part(&part).map_err(failed)?;
        self.digest.update(&frame);
        Ok(Some(frame.into()))
    }

    /// The next pairs; skips tables that have none left.
    fn chunk(&mut self, mut at: usize, mut from: Vec<u8>) -> Result<PartV1, Error> {
        while let Some(table) = self.tables.get(at) {
            let mut chunk = ChunkV1 { table: u32::try_from(at).map_err(failed)?, pairs: Vec::new() };
            let mut bytes = 0;
            for pair in self.view.scan(*table, KeyRange::from(from), Order::Ascending) {
                let (key, value) = pair?;
                bytes += key.len() + value.len();
                chunk.pairs.push((key.into(), value.into()));
                if bytes >= CHUNK_BYTES {
                    break;
                }
            }
            let last = chunk.pairs.last().map(|(key, _)| key.clone());
            self.next = match last {
                Some(last) if bytes >= CHUNK_BYTES => {
                    let mut from = last.to_vec();
                    from.push(0);
                    Next::Chunk { table: at, from }
                }
                _ => Next::Chunk { table: at + 1, from: Vec::new() },
            };
            if !chunk.pairs.is_empty() {
                self.pairs += chunk.pairs.len() as u64;
                return Ok(PartV1::Chunk(chunk));
            }
            at += 1;
            from = Vec::new();
        }
        self.next = Next::End;
        Ok(self.end())
    }

    fn end(&mut self) -> PartV1 {
        self.next = Next::Nothing;
        let mut digest = [0; 32];
        digest.copy_from_slice(self.digest.clone().finish().as_ref());
        PartV1::End(EndV1 { pairs: self.pairs, digest })
    }
}
