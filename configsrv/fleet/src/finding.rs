use std::{fmt, sync::Arc};

use serde::Serialize;

pub use crate::yaml::Mark;

/// A place in a repository's file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Relative to the repository, with `/`.
    pub file: Arc<str>,
    pub mark: Mark,
}

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located<T> {
    pub value: T,
    pub at: Place,
}

/// The rules of a repository. Their numbers are stable: people look them up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Rule {
    /// Every file matches its schema.
    V1,
    /// Files that are named exist.
    V2,
    /// Users, services and nodes share one namespace.
    V3,
    /// Every principal has a certificate in the enrollment log that is not revoked, and the log is intact.
    V4,
    /// Services and devices are at known nodes.
    V5,
    /// The distribution services exist, are reachable and carry their groups.
    V6,
    /// Reserved roles and groups are there and unchanged.
    V7,
    /// Somebody can publish.
    V8,
    /// Hosts of services have an address; those of workload services one that the Internet reaches.
    V9,
    /// Groups and roles that are named are defined.
    V10,
    /// A service that initiates has roles and a proxy, or neither.
    V11,
    /// Artifact signers are certified by the cluster's authority.
    V12,
    /// Reserved words are not names.
    V13,
    /// Names are DNS labels, unique whatever their case.
    V14,
    /// A service and a node do not share a name.
    V15,
    /// Nothing is defined twice, there is one cluster block, and no unknown collection.
    V16,
    /// A node listens on one port.
    V17,
    /// No two listeners and no two files of a node collide.
    V18,
    /// Proxies and upstreams are on the loopback.
    V19,
    /// Addresses that claim to be public can be.
    V20,
    /// Everything that is defined is used.
    V21,
    /// Certificates last a while yet.
    V22,
    /// A new tree does not lock operators or nodes out.
    V23,
    /// Probes can hold: their principals are on the node and may reach what they name.
    V24,
    /// Nobody is named who is revoked, and the revocations are intact.
    V25,
    /// A repository holds no private keys.
    S1,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Error,
    Warning,
}

/// Something to change in a repository. Ordered as people read: by file and place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    pub file: String,
    /// From 1; 0 means the file as a whole.
    pub line: u32,
    pub column: u32,
    pub severity: Severity,
    pub rule: Rule,
    pub message: String,
}

/// Findings as they are collected.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings(Vec<Finding>);

impl Place {
    /// A file as a whole.
    pub fn file(file: &str) -> Self {
        Self { file: file.into(), mark: Mark::default() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.file)?;
        if self.mark.line > 0 {
            write!(out, ":{}", self.mark.line)?;
        }
        Ok(())
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self:?}")
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

impl Finding {
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Finding {
    /// `file:line:column: error[V5]: message`, as editors parse it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.file)?;
        if self.line > 0 {
            write!(out, ":{}:{}", self.line, self.column)?;
        }
        write!(out, ": {}[{}]: {}", self.severity, self.rule, self.message)
    }
}

impl Findings {
    pub(crate) fn error(&mut self, rule: Rule, at: &Place, message: impl Into<String>) {
        self.push(Severity::Error, rule, at, message.into());
    }

    pub(crate) fn warning(&mut self, rule: Rule, at: &Place, message: impl Into<String>) {
        self.push(Severity::Warning, rule, at, message.into());
    }

    fn push(&mut self, severity: Severity, rule: Rule, at: &Place, message: String) {
        let Mark { line, column } = at.mark;
        self.0.push(Finding { file: at.file.to_string(), line, column, severity, rule, message });
    }

    pub(crate) fn extend(&mut self, more: &[Finding]) {
        self.0.extend_from_slice(more);
    }

    /// In reading order, each once.
    pub(crate) fn into_sorted(mut self) -> Vec<Finding> {
        self.0.sort();
        self.0.dedup();
        self.0
    }
}
