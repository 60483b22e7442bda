use std::sync::Arc;

use rustls::{
    ConfigBuilder, Error, ServerConfig, SupportedProtocolVersion, WantsVerifier,
    crypto::{CryptoProvider, ring},
    version::{TLS12, TLS13},
};

/// What a listener's handshake offers. The default is everything without known weakness: TLS 1.2 with forward secrecy,
/// and TLS 1.3.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOffer {
    only: Option<TlsVersion>,
    /// Of TLS 1.2, by their registered names; those of 1.3 cannot be chosen.
    suites: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    V1_2,
    V1_3,
}

impl TlsOffer {
    #[must_use]
    pub fn only(self, version: TlsVersion) -> Self {
        Self { only: Some(version), ..self }
    }

    /// Keeps those suites of TLS 1.2 that are in `names`. Also returns the names that are not offered anyway.
    #[must_use]
    pub fn with_suites(self, names: &[String]) -> (Self, Vec<String>) {
        let offered: Vec<_> = ring::default_provider().cipher_suites;
        let is_offered = |name: &&String| offered.iter().any(|suite| is_called(suite, name));
        let (known, unknown): (Vec<_>, Vec<_>) = names.iter().partition(is_offered);
        let suites = Some(known.into_iter().cloned().collect());
        (Self { suites, ..self }, unknown.into_iter().cloned().collect())
    }

    /// Whether TLS 1.2 was asked for alone and none of its suites is left.
    pub fn is_empty(&self) -> bool {
        self.only == Some(TlsVersion::V1_2) && self.suites.as_ref().is_some_and(Vec::is_empty)
    }

    pub(crate) fn provider(&self) -> Arc<CryptoProvider> {
        let mut provider = ring::default_provider();
        if let Some(names) = &self.suites {
            provider
                .cipher_suites
                .retain(|suite| suite.tls13().is_some() || names.iter().any(|name| is_called(suite, name)));
        }
        Arc::new(provider)
    }

    pub(crate) fn builder(&self) -> Result<ConfigBuilder<ServerConfig, WantsVerifier>, Error> {
        let both = self.suites.as_ref().is_none_or(|suites| !suites.is_empty());
        let versions: &[&'static SupportedProtocolVersion] = match self.only {
            Some(TlsVersion::V1_2) => &[&TLS12],
            Some(TlsVersion::V1_3) => &[&TLS13],
            None if both => &[&TLS13, &TLS12],
            None => &[&TLS13],
        };
        ServerConfig::builder_with_provider(self.provider()).with_protocol_versions(versions)
    }
}

/// Go calls the suites with `ChaCha20` by a shorter name, too.
fn is_called(suite: &rustls::SupportedCipherSuite, name: &str) -> bool {
    let registered = suite.suite().as_str();
    registered == Some(name) || registered.and_then(|registered| registered.strip_suffix("_SHA256")) == Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn suites_are_chosen_by_name() {
        let chosen = ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305"];
        let (offer, unknown) =
            TlsOffer::default().with_suites(&names(&[&chosen[..], &["TLS_RSA_WITH_AES_128_CBC_SHA"]].concat()));
        assert_eq!(unknown, ["TLS_RSA_WITH_AES_128_CBC_SHA"]);
        let left = offer.provider().cipher_suites.iter().filter(|suite| suite.tls13().is_none()).count();
        assert_eq!(left, 2);
        offer.builder().unwrap();
    }

    #[test]
    fn without_a_suite_of_1_2_there_is_1_3() {
        let (offer, _) = TlsOffer::default().with_suites(&names(&["TLS_RSA_WITH_AES_128_CBC_SHA"]));
        offer.builder().unwrap();
        assert!(!offer.is_empty() && offer.only(TlsVersion::V1_2).is_empty());
    }
}
