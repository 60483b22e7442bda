//! Two encodings of payloads. Compact (postcard) is for what is written often and whose every change is a new
//! version; JSON is for records that grow by optional fields and that a person may have to read at night.

use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, Frame, decode, encode, kind::Kind};

/// `value` in a compact frame.
pub fn to_compact<T: Serialize>(kind: Kind, version: u16, value: &T) -> Result<Vec<u8>, Error> {
    let payload = postcard::to_allocvec(value).map_err(|error| Error::Payload(error.to_string()))?;
    Ok(encode(kind, version, &payload))
}

/// Reads a compact frame. The caller has looked at the version and picked the type that belongs to it; `version` is
/// the newest that it knows.
pub fn from_compact<T: DeserializeOwned>(kind: Kind, version: u16, bytes: &[u8]) -> Result<T, Error> {
    let payload = expect(version, decode(kind, bytes)?)?;
    match postcard::take_from_bytes(payload) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(Error::Payload(format!("{} bytes follow the value", rest.len()))),
        Err(error) => Err(Error::Payload(error.to_string())),
    }
}

/// `value` in a JSON frame.
pub fn to_json<T: Serialize>(kind: Kind, version: u16, value: &T) -> Result<Vec<u8>, Error> {
    let payload = serde_json::to_vec(value).map_err(|error| Error::Payload(error.to_string()))?;
    Ok(encode(kind, version, &payload))
}

/// Reads a JSON frame of at most `version`; older versions decode through `T`'s defaults.
pub fn from_json<T: DeserializeOwned>(kind: Kind, version: u16, bytes: &[u8]) -> Result<T, Error> {
    let payload = expect(version, decode(kind, bytes)?)?;
    serde_json::from_slice(payload).map_err(|error| Error::Payload(error.to_string()))
}

fn expect(supported: u16, frame: Frame<'_>) -> Result<&[u8], Error> {
    if frame.version > supported {
        return Err(Error::Newer { found: frame.version, supported });
    }
    Ok(frame.payload)
}
