//! The configuration as it is in force: file, flags, environment and defaults together, in the form of the file.

use std::path::PathBuf;

use holdfast_rpc::ClientAuth;
use holdfast_telemetry::Format;

use super::{
    FleetLockAuth, GivenSecrets, SecretFiles, Settings,
    fragment::{
        AdminFragment, AuthnFragment, ChainfireFragment, ConfigsrvFragment, FleetLockFragment, Fragment, IamFragment,
        InternalTokenFragment, ListenFragment, LogFragment, MemberFragment, PeerTlsFragment, RaftFragment,
        SecretsFragment, TlsFragment,
    },
};

/// YAML that can be used as a configuration file. Values of secrets are never in it: for a secret from the environment
/// it names the variable.
pub(crate) fn effective(
    settings: &Settings,
    given: &GivenSecrets,
    is_set: impl Fn(&str) -> bool,
) -> Result<String, serde_saphyr::ser::Error> {
    let millis = |duration: std::time::Duration| u64::try_from(duration.as_millis()).ok();
    let fragment = Fragment {
        name: Some(settings.name.clone()),
        members: settings
            .members
            .iter()
            .map(|member| MemberFragment { name: member.name.clone(), peer: member.peer.clone() })
            .collect(),
        listen: ListenFragment {
            api: Some(settings.doors.api.to_string()),
            http: Some(settings.doors.http.to_string()),
            sql: Some(settings.doors.sql.to_string()),
            peer: Some(settings.doors.peer.to_string()),
            advertise_api: settings.advertise_api.clone(),
        },
        tls: settings.tls.as_ref().map(|tls| TlsFragment {
            cert: tls.cert.clone(),
            key: tls.key.clone(),
            client_ca: match &tls.client_auth {
                ClientAuth::Optional(roots) | ClientAuth::Required(roots) => Some(roots.clone()),
                ClientAuth::None | ClientAuth::Presented => None,
            },
        }),
        peer_tls: settings.peer_tls.as_ref().map(|tls| PeerTlsFragment {
            cert: tls.cert.clone(),
            key: tls.key.clone(),
            ca: tls.ca.clone(),
        }),
        secrets: secrets(&given.files, is_set),
        authn: AuthnFragment {
            internal_token: InternalTokenFragment {
                signing_key: given.signing_key.clone(),
                random_signing_key: given.random_signing_key,
            },
        },
        admin: AdminFragment { allow_unauthenticated: given.allow_unauthenticated_admin },
        iam: IamFragment {
            issuer: settings.issuer.clone(),
            trust_domain: Some(settings.trust_domain.clone()),
            break_glass: settings.break_glass_files.clone(),
            ..IamFragment::from(&settings.lifetimes)
        },
        configsrv: ConfigsrvFragment::from(&settings.waits),
        fleetlock: FleetLockFragment {
            client_auth: Some(word(settings.fleetlock.auth).to_owned()),
            default_slots: Some(settings.fleetlock.default_slots),
            groups: settings.fleetlock.groups.clone(),
            listed_only: settings.fleetlock.listed_only,
        },
        chainfire: ChainfireFragment::from(&settings.chainfire),
        raft: RaftFragment {
            heartbeat_ms: millis(settings.timing.heartbeat),
            election_ms: millis(settings.timing.election),
        },
        log: LogFragment {
            filter: Some(settings.log.filter.clone()),
            format: Some(if settings.log.format == Format::Json { "json" } else { "text" }.to_owned()),
        },
    };
    serde_saphyr::to_string(&fragment)
}

fn secrets(files: &SecretFiles, is_set: impl Fn(&str) -> bool) -> SecretsFragment {
    let source = |variables: &[&str], file: &Option<PathBuf>| {
        let variable = variables.iter().find(|name| is_set(name));
        variable.map(|name| PathBuf::from(format!("(environment: {name})"))).or_else(|| file.clone())
    };
    SecretsFragment {
        admin_token_file: source(
            &["IAM_ADMIN_TOKEN", "IAM_ADMIN_TOKEN_FILE", "PHOTON_IAM_ADMIN_TOKEN"],
            &files.admin_token,
        ),
        signing_key_file: source(&["IAM_SIGNING_KEY", "IAM_SIGNING_KEY_FILE"], &files.signing_key),
        master_key_file: source(&["IAM_CRED_MASTER_KEY", "IAM_CRED_MASTER_KEY_FILE"], &files.master_key),
        previous_master_key_file: source(
            &["IAM_CRED_MASTER_KEY_PREVIOUS", "IAM_CRED_MASTER_KEY_PREVIOUS_FILE"],
            &files.previous_master_key,
        ),
    }
}

fn word(auth: FleetLockAuth) -> &'static str {
    match auth {
        FleetLockAuth::None => "none",
        FleetLockAuth::Basic => "basic",
        FleetLockAuth::Token => "token",
        FleetLockAuth::Mtls => "mtls",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Flags, validate};

    #[test]
    fn what_is_printed_means_the_same() {
        let text = include_str!("../../../deploy/etc/holdfast/holdfast.yaml");
        let flags = Flags { api: Some("127.0.0.1:1".into()), ..Flags::default() };
        let fragment: Fragment = serde_saphyr::from_str(text).unwrap();
        let given = GivenSecrets::new(&flags, &fragment);
        let settings = validate(&flags, fragment).unwrap();
        let printed = effective(&settings, &given, |name| name == "IAM_ADMIN_TOKEN").unwrap();
        assert!(printed.contains("(environment: IAM_ADMIN_TOKEN)"), "{printed}");
        let again = validate(&Flags::default(), serde_saphyr::from_str(&printed).unwrap()).unwrap();
        assert_eq!(format!("{again:?}"), format!("{settings:?}"), "{printed}");
    }

    #[test]
    fn a_secret_in_the_file_is_hidden() {
        let flags = Flags { dev: true, ..Flags::default() };
        let text = "authn: {internal_token: {signing_key: 'very secret'}}";
        let fragment: Fragment = serde_saphyr::from_str(text).unwrap();
        let given = GivenSecrets::new(&flags, &fragment);
        let printed = effective(&validate(&flags, fragment).unwrap(), &given, |_| false).unwrap();
        assert!(printed.contains("(hidden)") && !printed.contains("very secret"), "{printed}");
    }
}
