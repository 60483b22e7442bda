use std::{net::SocketAddr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use holdfast_rpc::Connection;
use http::{HeaderMap, header::AUTHORIZATION};

use crate::Refusal;

/// etcd clients send their token here.
const ETCD_TOKEN: &str = "token";

/// What a caller presented, taken from the connection and the headers by the layer. It holds secrets, hence no `Debug`.
#[derive(Clone, Default)]
pub struct Presented {
    /// `Authorization: Bearer`, or etcd's `token` metadata.
    pub bearer: Option<String>,
    /// `Authorization: Basic`: user and secret.
    pub basic: Option<(String, String)>,
    /// The client's certificate chain, leaf first, DER. The handshake has proved possession of the leaf's key; who the
    /// chain belongs to, and whether it is trusted, is the authority's business.
    pub certificates: Arc<[Arc<[u8]>]>,
    pub source: Option<SocketAddr>,
    /// Unique per request; the identity carries it on.
    pub request_id: String,
}

impl Presented {
    /// Reads headers strictly: two headers that could each be a credential are refused, because proxies and servers
    /// disagree about which one counts.
    pub(crate) fn read(
        headers: &HeaderMap,
        connection: Option<&Connection>,
        request_id: String,
    ) -> Result<Self, Refusal> {
        let mut presented = Self { request_id, ..Self::default() };
        if let Some(connection) = connection {
            presented.source = Some(connection.source);
            presented.certificates = Arc::clone(&connection.certificates);
        }
        match (single(headers, AUTHORIZATION.as_str())?, single(headers, ETCD_TOKEN)?) {
            (Some(_), Some(_)) => return Err(Refusal::Unauthenticated),
            (Some(value), None) => presented.authorization(value)?,
            (None, Some(token)) => presented.bearer = Some(token.to_owned()),
            (None, None) => {}
        }
        Ok(presented)
    }

    pub fn is_empty(&self) -> bool {
        self.bearer.is_none() && self.basic.is_none() && self.certificates.is_empty()
    }

    fn authorization(&mut self, value: &str) -> Result<(), Refusal> {
        // etcd's JSON gateway sends the bare token.
        let Some((scheme, rest)) = value.split_once(' ') else {
            self.bearer = Some(value.to_owned());
            return Ok(());
        };
        if scheme.eq_ignore_ascii_case("bearer") {
            self.bearer = Some(rest.trim().to_owned());
        } else if scheme.eq_ignore_ascii_case("basic") {
            let decoded = STANDARD.decode(rest.trim()).map_err(|_| Refusal::Unauthenticated)?;
            let text = String::from_utf8(decoded).map_err(|_| Refusal::Unauthenticated)?;
            let (user, secret) = text.split_once(':').ok_or(Refusal::Unauthenticated)?;
            self.basic = Some((user.to_owned(), secret.to_owned()));
        } else {
            return Err(Refusal::Unauthenticated);
        }
        Ok(())
    }
}

fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            let value = value.to_str().map_err(|_| Refusal::Unauthenticated)?.trim();
            // An empty credential is a broken client, not an anonymous caller.
            if value.is_empty() { Err(Refusal::Unauthenticated) } else { Ok(Some(value)) }
        }
        (Some(_), Some(_)) => Err(Refusal::Unauthenticated),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(pairs: &[(&'static str, &'static str)]) -> Result<Presented, Refusal> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        Presented::read(&headers, None, "r".into())
    }

    #[test]
    fn every_known_way_is_read() {
        assert_eq!(read(&[("authorization", "bEaReR abc")]).unwrap().bearer.as_deref(), Some("abc"));
        assert_eq!(read(&[("authorization", "abc")]).unwrap().bearer.as_deref(), Some("abc"));
        assert_eq!(read(&[("token", "abc")]).unwrap().bearer.as_deref(), Some("abc"));
        let basic = read(&[("authorization", "Basic SEZBSzE6YTpi")]).unwrap().basic;
        assert_eq!(basic, Some(("HFAK1".to_owned(), "a:b".to_owned())));
        assert!(read(&[]).unwrap().is_empty());
    }

    #[test]
    fn ambiguous_and_malformed_headers_are_refused() {
        for pairs in [
            &[("authorization", "Bearer a"), ("authorization", "Bearer b")][..],
            &[("authorization", "Bearer a"), ("token", "b")],
            &[("authorization", "Digest a")],
            &[("authorization", "Basic %%%")],
            &[("authorization", "Basic bm9jb2xvbg==")],
            &[("authorization", "")],
            &[("token", "")],
        ] {
            assert!(matches!(read(pairs), Err(Refusal::Unauthenticated)), "{pairs:?}");
        }
    }
}
