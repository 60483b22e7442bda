use crate::{Error, Profile};

/// Whether the cluster could go back to `version`, by etcd's rule: the minor release before.
pub(super) fn check(profile: Profile, founded: bool, version: &str) -> Result<(), Error> {
    let target = minor(version).ok_or(Error::DowngradeFormat)?;
    let current = Some(profile.cluster()).filter(|_| founded).and_then(minor);
    let (major, minor) = current.ok_or(Error::ClusterVersionUnknown)?;
    let allowed = minor.checked_sub(1).map(|minor| (major, minor));
    if Some(target) == allowed { Ok(()) } else { Err(Error::DowngradeTarget) }
}

/// Major and minor number of `3.5`, `3.5.1` or `3.5.1-rc.1`.
fn minor(version: &str) -> Option<(u64, u64)> {
    let release = version.split(['-', '+']).next().unwrap_or_default();
    let numbers: Option<Vec<u64>> = release.split('.').map(|number| number.parse().ok()).collect();
    match numbers?.as_slice() {
        [major, minor] | [major, minor, _] => Some((*major, *minor)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// §1.5: the texts of a downgrade.
    #[test]
    fn only_the_minor_release_before_is_a_target() {
        for good in ["3.5", "3.5.0", "3.5.7"] {
            assert_eq!(check(Profile::V3_6, true, good), Ok(()), "{good}");
        }
        for bad in ["3.6.0", "3.4.0", "2.5.0", "4.5"] {
            let text = check(Profile::V3_6, true, bad).unwrap_err().to_string();
            assert_eq!(text, "etcdserver: invalid downgrade target version", "{bad}");
        }
        let text = check(Profile::V3_6, false, "3.5").unwrap_err().to_string();
        assert_eq!(text, "etcdserver: cluster version not found during downgrade");
        for garbage in ["", "3", "three.five", "3.5.0.0", "v3.5"] {
            let text = check(Profile::V3_6, true, garbage).unwrap_err().to_string();
            assert_eq!(text, "etcdserver: wrong downgrade target version format", "{garbage}");
        }
    }
}
