use std::{fmt, str::FromStr};

/// An absolute URL with an authority, resolved as RFC 3986 says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    scheme: String,
    /// `user:password` before the host.
    userinfo: Option<String>,
    host: String,
    /// Begins with a slash.
    path: String,
    query: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlError(String);

impl Url {
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// `host:port`, for a connection.
    pub fn address(&self) -> String {
        let bracketed = self.host.rfind(']').unwrap_or(0);
        let port = if self.scheme == "https" { 443 } else { 80 };
        if self.host[bracketed..].contains(':') { self.host.clone() } else { format!("{}:{port}", self.host) }
    }

    /// As in the `host` header.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn userinfo(&self) -> Option<&str> {
        self.userinfo.as_deref()
    }

    /// Path and query, as in the request line.
    pub fn target(&self) -> String {
        self.query.as_ref().map_or_else(|| self.path.clone(), |query| format!("{}?{query}", self.path))
    }

    /// Whether credentials for this URL may be shown at `other`.
    pub fn is_same_host(&self, other: &Self) -> bool {
        self.scheme == other.scheme && self.address() == other.address()
    }

    /// Section 5.2.2: the reference as seen from here.
    ///
    /// # Errors
    /// When an absolute reference is none.
    pub fn join(&self, reference: &str) -> Result<Self, UrlError> {
        let reference = reference.split('#').next().unwrap_or_default();
        let is_scheme = |text: &str| {
            text.starts_with(|first: char| first.is_ascii_alphabetic())
                && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter))
        };
        if reference.split_once(':').is_some_and(|(scheme, _)| is_scheme(scheme)) {
            return reference.parse();
        }
        if reference.starts_with("//") {
            return format!("{}:{reference}", self.scheme).parse();
        }
        let (path, query) = split_query(reference);
        let (path, query) = if path.is_empty() {
            (self.path.clone(), query.or_else(|| self.query.clone()))
        } else if path.starts_with('/') {
            (without_dots(path), query)
        } else {
            // Everything up to the last slash of the base stays: this is why a base wants one at its end.
            let folder = self.path.rfind('/').map_or("/", |slash| &self.path[..=slash]);
            (without_dots(&format!("{folder}{path}")), query)
        };
        Ok(Self { path, query, ..self.clone() })
    }
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let wrong = || UrlError(text.to_owned());
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let (rest, query) = split_query(rest.split('#').next().unwrap_or_default());
        let (authority, path) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
        let (userinfo, host) = match authority.rsplit_once('@') {
            Some((userinfo, host)) => (Some(userinfo.to_owned()), host),
            None => (None, authority),
        };
        if scheme.is_empty() || host.is_empty() {
            return Err(wrong());
        }
        Ok(Self {
            scheme: scheme.to_ascii_lowercase(),
            userinfo,
            host: host.to_ascii_lowercase(),
            path: without_dots(path),
            query,
        })
    }
}

impl fmt::Display for UrlError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?} is not an absolute URL", self.0)
    }
}

impl std::error::Error for UrlError {}

fn split_query(text: &str) -> (&str, Option<String>) {
    text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query.to_owned())))
}

/// Section 5.2.4.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slash_at_the_end_of_a_base_counts() {
        for (base, joined) in [
            ("http://h", "/v1/pre-reboot"),
            ("http://h/", "/v1/pre-reboot"),
            ("http://h/base/", "/base/v1/pre-reboot"),
            ("http://h/base/fleet", "/base/v1/pre-reboot"),
            ("http://h/base/fleet/", "/base/fleet/v1/pre-reboot"),
        ] {
            let base: Url = base.parse().unwrap();
            assert_eq!(base.join("v1/pre-reboot").unwrap().target(), joined, "{base:?}");
        }
    }

    /// Examples of section 5.4 that a redirect could have.
    #[test]
    fn references_are_resolved_as_the_rfc_shows() {
        let base: Url = "http://a/b/c/d;p?q".parse().unwrap();
        for (reference, host, target) in [
            ("g", "a", "/b/c/g"),
            ("./g", "a", "/b/c/g"),
            ("g/", "a", "/b/c/g/"),
            ("/g", "a", "/g"),
            ("//g", "g", "/"),
            ("?y", "a", "/b/c/d;p?y"),
            ("g?y", "a", "/b/c/g?y"),
            ("", "a", "/b/c/d;p?q"),
            (".", "a", "/b/c/"),
            ("..", "a", "/b/"),
            ("../g", "a", "/b/g"),
            ("../../../g", "a", "/g"),
            ("./g/.", "a", "/b/c/g/"),
            ("g?y/../x", "a", "/b/c/g?y/../x"),
            ("https://x:1/y", "x:1", "/y"),
        ] {
            let found = base.join(reference).unwrap();
            assert_eq!((found.host(), found.target().as_str()), (host, target), "{reference}");
        }
    }

    #[test]
    fn authorities_have_their_parts() {
        let url: Url = "http://key:sec@ret@LOCKS/".parse().unwrap();
        assert_eq!((url.userinfo(), url.address().as_str()), (Some("key:sec@ret"), "locks:80"));
        let url: Url = "https://[::1]".parse().unwrap();
        assert_eq!(url.address(), "[::1]:443");
        assert_eq!("http://[::1]:8/".parse::<Url>().unwrap().address(), "[::1]:8");
        assert!("locks:80/".parse::<Url>().is_err());
    }
}
