use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use configsrv_fleet::artifact::Activation;
use serde::{Deserialize, Serialize};

use crate::{Error, disk::Attributes};

/// What files were before the first change since the last confirmation touched them, by path. The first note of a path
/// counts: later changes find what earlier ones wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Originals {
    /// If the last change failed. No path is called that: they begin with a slash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untold: Option<Untold>,
    #[serde(flatten)]
    files: BTreeMap<String, Original>,
}

/// Whom a change that failed did not tell of its files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Untold {
    /// The hook that failed, if it was one.
    pub failed: Option<Activation>,
    /// Hooks that were not reached, or whose programs may not have lived on.
    pub others: Vec<Activation>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "was", rename_all = "snake_case")]
pub(crate) enum Original {
    Absent,
    File { mode: u32, user: Option<u32>, group: Option<u32>, base64: String },
}

impl Originals {
    pub(crate) fn knows(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    pub(crate) fn get(&self, path: &str) -> Option<&Original> {
        self.files.get(path)
    }

    pub(crate) fn note(&mut self, path: &str, original: Original) {
        self.files.entry(path.to_owned()).or_insert(original);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Original)> {
        self.files.iter().map(|(path, original)| (path.as_str(), original))
    }
}

impl Untold {
    /// Whether a failure of `hook` says nothing about the way back, once all files are as they were: it failed on the way
    /// there, too, or its program was not told of a file that went again. `kept` says that a file that stays has it.
    pub(crate) fn excuses(&self, hook: &Activation, kept: bool) -> bool {
        self.failed.as_ref() == Some(hook) || (!kept && self.others.contains(hook))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Release 1 wrote this; every later release must read it.
    #[test]
    fn the_first_release_still_reads() {
        let text =
            r#"{"/etc/motd":{"was":"file","mode":420,"user":0,"group":0,"base64":"b25l"},"/etc/new":{"was":"absent"}}"#;
        let originals: Originals = serde_json::from_str(text).unwrap();
        assert_eq!(originals.get("/etc/new"), Some(&Original::Absent));
        let motd = originals.get("/etc/motd").unwrap().content().unwrap();
        assert_eq!(motd, Some((Attributes { mode: 0o644, owner: Some((0, 0)) }, b"one".to_vec())));
        assert_eq!(serde_json::to_string(&originals).unwrap(), text);
        let untold = Untold { failed: Some(Activation::Reload("shop".into())), others: Vec::new() };
        let originals = Originals { untold: Some(untold), ..originals };
        let text = serde_json::to_string(&originals).unwrap();
        assert_eq!(serde_json::from_str::<Originals>(&text).unwrap(), originals);
    }

    #[test]
    fn what_failed_on_the_way_there_is_no_news_on_the_way_back() {
        let [failed, other, told] = ["failed", "other", "told"].map(|unit| Activation::Reload(unit.into()));
        let untold = Untold { failed: Some(failed.clone()), others: vec![other.clone()] };
        for (hook, kept, expected) in [
            (&failed, false, true),
            (&failed, true, true),
            (&other, false, true),
            (&other, true, false),
            (&told, false, false),
            (&told, true, false),
        ] {
            assert_eq!(untold.excuses(hook, kept), expected, "{hook:?} {kept}");
        }
    }
}
