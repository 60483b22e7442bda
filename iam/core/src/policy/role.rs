use std::fmt;

use serde::{Deserialize, Serialize};

/// The built-in roles. What each may do is in `builtin.cedar`; nobody can edit them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    Admin,
    Operator,
    Auditor,
    Node,
    Reader,
    LockClient,
}

impl Role {
    pub const ALL: [Self; 6] = [Self::Admin, Self::Operator, Self::Auditor, Self::Node, Self::Reader, Self::LockClient];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Auditor => "auditor",
            Self::Node => "node",
            Self::Reader => "reader",
            Self::LockClient => "lock-client",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}
