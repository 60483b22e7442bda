use std::fmt;

use configsrv_fleet::{Digest, artifact::DriftPolicy};
use serde::{Deserialize, Serialize};

/// A file as the active version has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    pub path: String,
    pub size: u64,
    pub digest: Digest,
    pub mode: u32,
    pub user: Option<u32>,
    pub group: Option<u32>,
}

/// What is at its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Missing,
    /// Something that is no file.
    Other(&'static str),
    /// It cannot be looked at.
    Hidden(String),
    File {
        size: u64,
        /// Known where the size does not say enough.
        digest: Option<Digest>,
        mode: u32,
        owner: Option<(u32, u32)>,
    },
}

/// One thing that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub(crate) enum Fault {
    Missing,
    Replaced {
        /// What is there instead.
        by: String,
    },
    Content,
    Mode {
        wanted: String,
        found: String,
    },
    Owner {
        wanted: String,
        found: String,
    },
    Hidden {
        why: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DriftedFile {
    pub path: String,
    pub faults: Vec<Fault>,
}

/// What differs on this node, and what is to be done about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Drift {
    pub policy: DriftPolicy,
    pub files: Vec<DriftedFile>,
}

/// In what `found` is not as it was written.
pub(super) fn compare(expected: &Expected, found: &Found) -> Vec<Fault> {
    let (size, digest, mode, owner) = match found {
        Found::Missing => return vec![Fault::Missing],
        Found::Other(what) => return vec![Fault::Replaced { by: (*what).to_owned() }],
        Found::Hidden(why) => return vec![Fault::Hidden { why: why.clone() }],
        Found::File { size, digest, mode, owner } => (*size, *digest, *mode, *owner),
    };
    let mut faults = Vec::new();
    if size != expected.size || digest != Some(expected.digest) {
        faults.push(Fault::Content);
    }
    if mode != expected.mode {
        faults.push(Fault::Mode { wanted: format!("{:04o}", expected.mode), found: format!("{mode:04o}") });
    }
    if let Some((user, group)) = owner {
        let (wanted_user, wanted_group) = (expected.user.unwrap_or(user), expected.group.unwrap_or(group));
        if (wanted_user, wanted_group) != (user, group) {
            let (wanted, found) = (format!("{wanted_user}:{wanted_group}"), format!("{user}:{group}"));
            faults.push(Fault::Owner { wanted, found });
        }
    }
    faults
}

impl Drift {
    /// Whether nothing newer is taken until somebody has decided.
    pub(crate) fn freezes(&self) -> bool {
        self.policy == DriftPolicy::Freeze && !self.files.is_empty()
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.files.is_empty() {
            return out.write_str("every file is as it was written");
        }
        write!(out, "{} files differ from what the active version wrote; policy: {}", self.files.len(), self.policy)?;
        self.files.iter().try_for_each(|file| write!(out, "\n  {file}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => out.write_str("missing"),
            Self::Replaced { by } => write!(out, "is {by} now"),
            Self::Content => out.write_str("another content"),
            Self::Mode { wanted, found } => write!(out, "mode {found} instead of {wanted}"),
            Self::Owner { wanted, found } => write!(out, "owner {found} instead of {wanted}"),
            Self::Hidden { why } => write!(out, "cannot be looked at: {why}"),
        }
    }
}

impl fmt::Display for DriftedFile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: ", self.path)?;
        for (at, fault) in self.faults.iter().enumerate() {
            write!(out, "{}{fault}", if at == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_in_which_a_file_may_differ() {
        let written = Expected {
            path: "/etc/shop".into(),
            size: 3,
            digest: Digest::of(b"one"),
            mode: 0o640,
            user: Some(990),
            group: Some(33),
        };
        let file = |text: &[u8], mode, owner| Found::File {
            size: text.len() as u64,
            digest: Some(Digest::of(text)),
            mode,
            owner: Some(owner),
        };
        let mode = Fault::Mode { wanted: "0640".into(), found: "4755".into() };
        let owner = Fault::Owner { wanted: "990:33".into(), found: "0:33".into() };
        for (found, expected) in [
            (file(b"one", 0o640, (990, 33)), vec![]),
            (file(b"two", 0o640, (990, 33)), vec![Fault::Content]),
            (file(b"more", 0o640, (990, 33)), vec![Fault::Content]),
            (Found::File { size: 4, digest: None, mode: 0o640, owner: None }, vec![Fault::Content]),
            (file(b"one", 0o4755, (990, 33)), vec![mode.clone()]),
            (file(b"one", 0o640, (0, 33)), vec![owner.clone()]),
            (file(b"two", 0o4755, (0, 33)), vec![Fault::Content, mode, owner]),
            (Found::Missing, vec![Fault::Missing]),
            (Found::Other("a link"), vec![Fault::Replaced { by: "a link".into() }]),
            (Found::Hidden("denied".into()), vec![Fault::Hidden { why: "denied".into() }]),
        ] {
            assert_eq!(compare(&written, &found), expected, "{found:?}");
        }
        let anybodys = Expected { user: None, group: None, ..written };
        assert_eq!(compare(&anybodys, &file(b"one", 0o640, (5, 5))), []);
    }

    #[test]
    fn only_changed_files_freeze() {
        let file = DriftedFile { path: "/etc/shop".into(), faults: vec![Fault::Missing, Fault::Content] };
        assert_eq!(file.to_string(), "/etc/shop: missing, another content");
        for (policy, freezes) in
            [(DriftPolicy::Report, false), (DriftPolicy::Repair, false), (DriftPolicy::Freeze, true)]
        {
            assert_eq!(Drift { policy, files: vec![file.clone()] }.freezes(), freezes, "{policy}");
            assert!(!Drift { policy, files: Vec::new() }.freezes(), "{policy}");
        }
    }
}
