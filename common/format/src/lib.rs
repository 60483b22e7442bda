//! Frames around everything that Holdfast stores: magic, kind, version, length, checksum.
//!
//! A frame is `"HF" | kind u16 | version u16 | length u32 | CRC-32C u32 | payload`, integers big-endian; the checksum
//! covers kind, version, length and payload. A released (kind, version) is frozen for ever: newer code reads it, and
//! an old fixture in the owner's tests proves that it does. Kinds are handed out in [`kind`], in one place, so that no
//! two formats can be mistaken for each other.

mod frame;
pub mod kind;
mod payload;

pub use frame::{Error, Frame, HEADER, decode, decode_prefix, encode};
pub use payload::{from_compact, from_json, to_compact, to_json};
