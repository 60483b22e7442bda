use std::sync::Arc;

use axum::http::{HeaderMap, header};
use chainfire_core::Origin;
use holdfast_rpc::Connection;

/// What a call proves itself with, if it does. It holds a secret, hence no `Debug`.
#[derive(Clone, Default)]
pub(crate) struct Credentials {
    pub(super) token: Option<Arc<str>>,
    /// Of the client's certificate, which the handshake has verified.
    pub(super) common_name: Option<Arc<str>>,
}

/// A user that has proved itself, at a revision of users and roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuthUser {
    pub(crate) name: Arc<str>,
    pub(crate) revision: u64,
}

/// Who a call comes from; in the extensions of every request.
#[derive(Clone, Default)]
pub(crate) struct Session {
    pub(crate) credentials: Credentials,
    /// None while authentication is off, on routes that are open to all, and for strangers on routes that ask by
    /// themselves.
    pub(crate) user: Option<AuthUser>,
}

/// etcd's clients send their token here; the JSON gateway's in `Authorization`.
const TOKEN: &str = "token";
/// What etcd's JSON gateway adds to a call. The certificate of such a call is the gateway's.
const GATEWAY: &str = "grpcgateway-accept";

impl Credentials {
    /// Reads a call's headers; a certificate counts only where clients must show one.
    pub(super) fn read(headers: &HeaderMap, connection: Option<&Connection>, certificates: bool) -> Self {
        let first = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        let token = first(TOKEN).or_else(|| first(header::AUTHORIZATION.as_str()));
        let certificate = connection
            .filter(|_| certificates && !headers.contains_key(GATEWAY))
            .and_then(|connection| connection.certificates.first());
        Self {
            token: token.map(|token| token.strip_prefix("Bearer ").unwrap_or(token).into()),
            common_name: certificate.and_then(|der| common_name(der)),
        }
    }
}

/// The subject's common name; none if it has none or an empty one.
fn common_name(der: &[u8]) -> Option<Arc<str>> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?;
    (!name.is_empty()).then(|| name.into())
}

impl AuthUser {
    pub(crate) fn origin(&self, source: Option<String>, request_id: &str) -> Origin {
        Origin::etcd_user(&self.name, self.revision, source, request_id)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn token(pairs: &[(&'static str, &'static str)]) -> Option<String> {
        let headers =
            pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        Credentials::read(&headers.collect(), None, true).token.map(|token| token.to_string())
    }

    #[test]
    fn the_token_header_counts_before_the_other() {
        assert_eq!(token(&[]), None);
        assert_eq!(token(&[("token", "a.1"), ("authorization", "b.1")]).as_deref(), Some("a.1"));
        assert_eq!(token(&[("authorization", "b.1")]).as_deref(), Some("b.1"));
        assert_eq!(token(&[("authorization", "Bearer b.1")]).as_deref(), Some("b.1"));
        assert_eq!(token(&[("token", "")]).as_deref(), Some(""), "which is no valid one");
    }

    #[test]
    fn a_certificate_counts_by_its_common_name_and_not_for_a_gateway() {
        let certificate = |name: &str| {
            let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
            parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
            let key = rcgen::KeyPair::generate().unwrap();
            parameters.self_signed(&key).unwrap().der().to_vec()
        };
        let name = |headers: &HeaderMap, required, shown: &str| {
            let source = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
            let connection = Connection { source, certificates: Arc::new([Arc::from(certificate(shown))]) };
            Credentials::read(headers, Some(&connection), required).common_name
        };
        let mut headers = HeaderMap::new();
        assert_eq!(name(&headers, true, "mira").as_deref(), Some("mira"));
        assert_eq!(name(&headers, true, ""), None);
        assert_eq!(name(&headers, false, "mira"), None);
        headers.insert(GATEWAY, HeaderValue::from_static("application/json"));
        assert_eq!(name(&headers, true, "mira"), None);
    }
}
