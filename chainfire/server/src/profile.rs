/// The etcd release whose behaviour clients may expect. They switch features on by its numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// What this server offers in full.
    #[default]
    V3_6,
    /// For clients and monitors that know only what the older release has.
    V3_4,
}

/// RPCs that came after 3.4.
const AFTER_3_4: &[&str] =
    &["/etcdserverpb.Auth/AuthStatus", "/etcdserverpb.KV/RangeStream", "/etcdserverpb.Maintenance/Downgrade"];

impl Profile {
    pub const ALL: [Self; 2] = [Self::V3_6, Self::V3_4];

    /// The profile that calls itself `version`, as in `--emulate-version`.
    pub fn named(version: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.server() == version)
    }

    /// The release, as `Status` and `/version` tell it.
    pub const fn server(self) -> &'static str {
        match self {
            Self::V3_6 => "3.6.16",
            Self::V3_4 => "3.4.23",
        }
    }

    /// The protocol level that all members share.
    pub const fn cluster(self) -> &'static str {
        match self {
            Self::V3_6 => "3.6.0",
            Self::V3_4 => "3.4.0",
        }
    }

    /// The same without the patch, as `Downgrade` and the metrics tell it.
    pub(crate) fn protocol(self) -> &'static str {
        self.cluster().strip_suffix(".0").unwrap_or(self.cluster())
    }

    /// The level of the stored schema; earlier releases had none.
    pub const fn storage(self) -> Option<&'static str> {
        match self {
            Self::V3_6 => Some("3.6.0"),
            Self::V3_4 => None,
        }
    }

    /// Whether the release has `/livez` and `/readyz`.
    pub(crate) const fn has_probes(self) -> bool {
        match self {
            Self::V3_6 => true,
            Self::V3_4 => false,
        }
    }

    /// Whether the release has the gRPC method at `path`.
    pub(crate) fn has(self, path: &str) -> bool {
        match self {
            Self::V3_6 => true,
            Self::V3_4 => !AFTER_3_4.contains(&path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_named_by_its_release() {
        assert_eq!(Profile::named("3.4.23"), Some(Profile::V3_4));
        assert_eq!(Profile::named(Profile::default().server()), Some(Profile::default()));
        assert_eq!(Profile::named("3.5.0"), None);
    }
}
