use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use crate::{Error, disk::Attributes};

/// What files were before the first change since the last confirmation touched them, by path. The first note of a path
/// counts: later changes find what earlier ones wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Originals(BTreeMap<String, Original>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "was", rename_all = "snake_case")]
pub(crate) enum Original {
    Absent,
    File { mode: u32, user: Option<u32>, group: Option<u32>, base64: String },
}

impl Originals {
    pub(crate) fn knows(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    pub(crate) fn get(&self, path: &str) -> Option<&Original> {
        self.0.get(path)
    }

    pub(crate) fn note(&mut self, path: &str, original: Original) {
        self.0.entry(path.to_owned()).or_insert(original);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Original)> {
        self.0.iter().map(|(path, original)| (path.as_str(), original))
    }
}

impl Original {
    pub(crate) fn file(attributes: Attributes, bytes: &[u8]) -> Self {
        let (user, group) = attributes.owner.unzip();
        Self::File { mode: attributes.mode, user, group, base64: STANDARD.encode(bytes) }
    }

    /// How to bring it back; `None` if there was no file.
    pub(crate) fn content(&self) -> Result<Option<(Attributes, Vec<u8>)>, Error> {
        let Self::File { mode, user, group, base64 } = self else { return Ok(None) };
        let bytes = STANDARD.decode(base64).map_err(|error| Error::Unexpected(format!("a kept file: {error}")))?;
        Ok(Some((Attributes { mode: *mode, owner: user.zip(*group) }, bytes)))
    }
}
