//! Configuration in three stages: a [`fragment::Fragment`] as written, environment and flags over it, and validated
//! [`Settings`] that the rest of the server works with. Validation reports everything that is wrong at once.

mod break_glass;
mod certificates;
mod chainfire;
mod configsrv;
mod effective;
mod fleetlock;
mod fragment;
mod lifetimes;
mod members;
mod settings;
mod validate;

use std::{fmt, fs, path::Path};

pub(crate) use certificates::certificates;
pub(crate) use effective::effective;
pub(crate) use fragment::Fragment;
pub(crate) use members::is_dns_label;
pub(crate) use settings::{Doors, FleetLock, FleetLockAuth, GivenSecrets, Member, SecretFiles, Settings};
pub(crate) use validate::{Flags, validate};

/// One thing that is wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The setting, in the file's dotted form.
    pub(crate) setting: String,
    pub(crate) problem: String,
}

impl Finding {
    pub(crate) fn new(setting: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { setting: setting.into(), problem: problem.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.setting, self.problem)
    }
}

/// Reads a configuration file; a syntax error names line and column.
pub(crate) fn read(path: &Path) -> Result<Fragment, Finding> {
    let here = || path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| Finding::new(here(), format!("cannot be read: {error}")))?;
    serde_saphyr::from_str(&text).map_err(|error| Finding::new(here(), error.to_string()))
}
