use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Why a text is not a name (rule V14).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not a valid name: {reason}")]
pub struct NameError {
    text: String,
    reason: &'static str,
}

impl NameError {
    pub(crate) fn new(text: &str, reason: &'static str) -> Self {
        Self { text: text.chars().take(80).collect(), reason }
    }

    /// What to change, without the name itself.
    pub fn reason(&self) -> &'static str {
        self.reason
    }
}

/// Device names of operating systems: names become file names, and these cannot be files everywhere.
const DEVICES: &[&str] = &["con", "prn", "aux", "nul"];

/// A DNS label: 1 to 63 of `a-z`, `0-9` and `-`, without a hyphen at either end; and no operating system's device.
fn check_label(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.len() > 63 {
        return Err("it is longer than 63 characters");
    }
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err("upper-case letters are not allowed, because names are host names and file names");
    }
    if !text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
        return Err("only a-z, 0-9 and - are allowed");
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err("it begins or ends with a hyphen");
    }
    if is_device(text) {
        return Err("it is the name of a device on some operating systems, so it cannot be a file name");
    }
    Ok(())
}

fn is_device(text: &str) -> bool {
    let numbered =
        |prefix: &str| text.strip_prefix(prefix).is_some_and(|rest| matches!(rest.as_bytes(), [b'0'..=b'9']));
    DEVICES.contains(&text) || numbered("com") || numbered("lpt")
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                check_label(text).map_err(|reason| NameError::new(text, reason))?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, "{:?}", self.0)
            }
        }
    };
}

name!(
    /// A machine of the fleet.
    NodeName
);
name!(
    /// A person, or a device that acts as one.
    UserName
);
name!(
    /// Something that is offered on a node.
    ServiceName
);
name!(
    /// A set of services, the target side of the access rule.
    GroupName
);
name!(
    /// What a principal holds, the initiating side of the access rule.
    RoleName
);
name!(
    /// A key that signs artifacts.
    SignerName
);
name!(
    /// Something that must hold on a node.
    ProbeName
);

/// The cluster's name, which is also its SPIFFE trust domain: labels separated by dots, at most 253 characters.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClusterName(String);

impl ClusterName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClusterName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() > 253 {
            return Err(NameError::new(text, "it is longer than 253 characters"));
        }
        for label in text.split('.') {
            check_label(label).map_err(|reason| NameError::new(text, reason))?;
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for ClusterName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<ClusterName> for String {
    fn from(name: ClusterName) -> Self {
        name.0
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for ClusterName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_names() {
        for text in ["a", "pier2", "mira-pad", "0", &"x".repeat(63)] {
            assert!(text.parse::<NodeName>().is_ok(), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused_with_a_reason() {
        for (text, reason) in [
            ("", "empty"),
            ("Pier", "upper-case"),
            ("a/b", "only a-z"),
            ("a.b", "only a-z"),
            ("-a", "hyphen"),
            ("a-", "hyphen"),
            ("com1", "device"),
            ("nul", "device"),
            ("größe", "only a-z"),
        ] {
            let error = text.parse::<NodeName>().unwrap_err();
            assert!(error.reason().contains(reason), "{text}: {error}");
        }
        assert!("x".repeat(64).parse::<NodeName>().is_err());
        assert!("com10".parse::<NodeName>().is_ok());
    }

    #[test]
    fn a_cluster_name_may_have_dots() {
        assert!("quay.test".parse::<ClusterName>().is_ok());
        assert!("quay..test".parse::<ClusterName>().is_err());
        assert!(".test".parse::<ClusterName>().is_err());
    }
}
