use std::{fmt, str::FromStr};

/// A listening or advertised address as etcd writes it: `http://host:port` or `https://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) secure: bool,
    /// `host:port`.
    pub(super) authority: String,
}

impl Url {
    pub(super) fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }

    /// Without port, and without the brackets of an IPv6 address.
    pub(super) fn host(&self) -> &str {
        let host = self.authority.rsplit_once(':').map_or(self.authority.as_str(), |(host, _)| host);
        host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host)
    }
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let uri: http::Uri = text.parse().map_err(|error| format!("{text:?} is not a URL: {error}"))?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(format!("{text:?} must begin with http:// or https://")),
        };
        let authority = uri.authority().filter(|authority| authority.port_u16().is_some());
        let authority = authority.ok_or_else(|| format!("{text:?} has no port"))?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(format!("{text:?} must not have a path"));
        }
        Ok(Self { secure, authority: authority.to_string() })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}://{}", self.scheme(), self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_scheme_host_and_port_only() {
        let url: Url = "https://[::1]:2379".parse().unwrap();
        assert_eq!((url.to_string().as_str(), url.secure, url.host()), ("https://[::1]:2379", true, "::1"));
        for bad in ["localhost:2379", "http://localhost", "http://a:1/x", "unix://a:1", "http://a:1?x=1"] {
            assert!(bad.parse::<Url>().is_err(), "{bad}");
        }
    }
}
