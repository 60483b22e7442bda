use holdfast_rpc::{ClientAuth, ServerTls, TlsFiles};

use super::{Finding, Settings};

/// What is wrong with the certificate files: missing, no PEM, or a key of another certificate. They are read again when
/// the doors open.
pub(crate) fn certificates(settings: &Settings) -> Vec<Finding> {
    let door = settings.tls.clone().map(|files| ("tls", files));
    let peer = settings.peer_tls.clone().map(|tls| {
        let client_auth = ClientAuth::Required(tls.ca);
        ("peer_tls", TlsFiles::new(tls.cert, tls.key, client_auth))
    });
    let loaded = door.into_iter().chain(peer).map(|(setting, files)| (setting, ServerTls::load(files, &[])));
    loaded.filter_map(|(setting, loaded)| Some(Finding::new(setting, loaded.err()?.to_string()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Flags, Fragment, validate};

    #[test]
    fn every_file_that_cannot_be_used_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let garbage = folder.path().join("garbage");
        std::fs::write(&garbage, "no PEM").unwrap();
        let text = format!(
            "tls: {{cert: /nowhere/server.crt, key: /nowhere/server.key}}
peer_tls: {{cert: {0}, key: {0}, ca: {0}}}",
            garbage.display()
        );
        let fragment: Fragment = serde_saphyr::from_str(&text).unwrap();
        let settings = validate(&Flags { dev: true, ..Flags::default() }, fragment).unwrap();
        let findings = certificates(&settings);
        assert_eq!(findings.iter().map(|finding| finding.setting.as_str()).collect::<Vec<_>>(), ["tls", "peer_tls"]);
        assert!(findings[0].problem.contains("/nowhere/server.crt"), "{findings:?}");
        assert!(findings[1].problem.contains("garbage"), "{findings:?}");
    }
}
