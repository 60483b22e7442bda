use configsrv_server::fleetlock::is_group;

use super::{
    Finding,
    fragment::FleetLockFragment,
    settings::{FleetLock, FleetLockAuth},
};

pub(super) fn validate(dev: bool, file: FleetLockFragment, findings: &mut Vec<Finding>) -> FleetLock {
    let auth = client_auth(dev, file.client_auth.as_deref(), findings);
    let default_slots = file.default_slots.unwrap_or(1);
    if default_slots == 0 {
        findings.push(Finding::new("fleetlock.default_slots", "with 0 no machine could ever reboot; 1 is the least"));
    }
    for group in file.groups.keys().filter(|group| !is_group(group)) {
        findings.push(Finding::new(
            "fleetlock.groups",
            format!("{group:?} is not a group: 1 to 253 letters, digits, dots and hyphens"),
        ));
    }
    FleetLock { auth, default_slots, groups: file.groups, listed_only: file.listed_only }
}

fn client_auth(dev: bool, chosen: Option<&str>, findings: &mut Vec<Finding>) -> FleetLockAuth {
    match chosen {
        Some("none") => FleetLockAuth::None,
        Some("basic") => FleetLockAuth::Basic,
        Some("token") => FleetLockAuth::Token,
        Some("mtls") => FleetLockAuth::Mtls,
        None if dev => FleetLockAuth::None,
        None => {
            findings.push(Finding::new(
                "fleetlock.client_auth",
                "must be chosen: none, basic, token or mtls (the FleetLock protocol itself has no authentication)",
            ));
            FleetLockAuth::Mtls
        }
        Some(other) => {
            findings.push(Finding::new(
                "fleetlock.client_auth",
                format!("{other:?} is not one of none, basic, token, mtls"),
            ));
            FleetLockAuth::Mtls
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_named_as_clients_may_name_them() {
        let read = |text: &str| {
            let mut findings = Vec::new();
            let settings = validate(true, serde_saphyr::from_str(text).unwrap(), &mut findings);
            (settings, findings)
        };
        let (settings, findings) = read("{groups: {workers: 3, rack-1.north: 0}, listed_only: true}");
        assert!(findings.is_empty() && settings.listed_only, "{findings:?}");
        assert_eq!(settings.groups, [("workers".to_owned(), 3), ("rack-1.north".to_owned(), 0)].into());
        let (_, findings) = read("{groups: {a_b: 1}}");
        assert_eq!(findings[0].setting, "fleetlock.groups");
    }
}
