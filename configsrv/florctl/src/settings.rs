use std::{
    env, fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use configsrv_fleet::address::HostPort;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::{
    cli::{Connection, Tunnel},
    failure::{Code, Failure},
};

const DEFAULT_API: &str = "http://127.0.0.1:2379";
const DEFAULT_HTTP: &str = "http://127.0.0.1:8080";

/// Where the servers are and as whom to speak to them. The nearer source wins: option or variable, the folder of a
/// development server, the settings file, the default.
pub(crate) struct Settings {
    pub(crate) api: String,
    pub(crate) http: String,
    /// Whether somebody said where the HTTP interface is.
    pub(crate) http_is_named: bool,
    /// PEM.
    pub(crate) ca: Option<Vec<u8>>,
    pub(crate) token: Option<Zeroizing<String>>,
    /// The way there, if it is not the usual one.
    pub(crate) tunnel: Tunnel,
}

/// How the id of an access key begins; a token is no `ID:SECRET`.
const ACCESS_KEY: &str = "HFAK";

/// The settings file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    api: Option<String>,
    http: Option<String>,
    ca: Option<PathBuf>,
    token_file: Option<PathBuf>,
}

/// What a development server writes about itself.
#[derive(Debug, Deserialize)]
struct Endpoints {
    api: String,
    http: String,
}

impl Settings {
    pub(crate) fn resolve(options: &Connection) -> Result<Self, Failure> {
        let file = File::read(options.config.as_deref())?;
        let dev = options.dev_dir.as_deref().map(Endpoints::read).transpose()?;
        let pick = |option: &Option<String>, dev: Option<String>, file: Option<String>, default: &str| {
            let url = option.clone().or(dev).or(file).unwrap_or_else(|| default.to_owned());
            url.trim_end_matches('/').to_owned()
        };
        let (dev_api, dev_http) =
            dev.map(|dev| (format!("http://{}", dev.api), format!("http://{}", dev.http))).unzip();
        let http_is_named = options.http.is_some() || dev_http.is_some() || file.http.is_some();
        let ca = options.ca.clone().or(file.ca);
        let dev_token = options.dev_dir.as_deref().map(|dir| dir.join("admin.token"));
        let token_file = options.token_file.clone().or(dev_token).or(file.token_file);
        let settings = Self {
            api: pick(&options.api, dev_api, file.api, DEFAULT_API),
            http: pick(&options.http, dev_http, file.http, DEFAULT_HTTP),
            http_is_named,
            ca: ca.as_deref().map(authorities).transpose()?,
            token: token(token_file.as_deref())?,
            tunnel: options.tunnel.clone(),
        };
        for url in [&settings.api, &settings.http] {
            settings.check(url)?;
        }
        Ok(settings)
    }

    /// Whether requests may go to `url`. In the data plane TLS runs from node to node already; the way to a SOCKS5 port
    /// that is not on this machine is a network like any other.
    pub(crate) fn check(&self, url: &str) -> Result<(), Failure> {
        let is_tunnelled = self.tunnel.is_asked_for() && in_plane(url);
        let enters_here = self.tunnel.socks5.as_ref().is_none_or(HostPort::is_loopback);
        let is_private = enters_here && (is_tunnelled || is_local(url));
        check_url(url, self.token.is_some() && !is_private)
    }

    pub(crate) fn token(&self) -> Result<&str, Failure> {
        self.token.as_ref().map(|token| token.as_str()).ok_or_else(|| {
            Failure::new(Code::Usage, "no token: the servers need to know who you are")
                .hint("set HOLDFAST_TOKEN, or name a file with --token-file (--dev-dir for a development server)")
        })
    }

    /// What goes into the header of that name; an access key is sent as HTTP Basic.
    pub(crate) fn authorization(&self) -> Result<Zeroizing<String>, Failure> {
        let token = self.token()?;
        Ok(Zeroizing::new(match token.starts_with(ACCESS_KEY) && token.contains(':') {
            true => format!("Basic {}", STANDARD.encode(token)),
            false => format!("Bearer {token}"),
        }))
    }
}

impl File {
    /// The file that was named must exist; the one at the usual place need not.
    fn read(named: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = named.map(Path::to_owned).or_else(usual_place) else { return Ok(Self::default()) };
        match fs::read_to_string(&path) {
            Ok(text) => serde_saphyr::from_str(&text)
                .map_err(|error| Failure::usage(format!("{}: {}", path.display(), error.without_snippet()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => Ok(Self::default()),
            Err(error) => Err(Failure::file(&path, &error)),
        }
    }
}

impl Endpoints {
    fn read(dir: &Path) -> Result<Self, Failure> {
        let path = dir.join("endpoints.json");
        let bytes = fs::read(&path).map_err(|error| {
            Failure::file(&path, &error).hint("--dev-dir is the data folder of a running `holdfast serve --dev`")
        })?;
        serde_json::from_slice(&bytes).map_err(|error| Failure::unexpected(format!("{}: {error}", path.display())))
    }
}

fn usual_place() -> Option<PathBuf> {
    let base = env::var_os("XDG_CONFIG_HOME")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")))?;
    Some(base.join("florctl/config.yaml"))
}

fn token(file: Option<&Path>) -> Result<Option<Zeroizing<String>>, Failure> {
    if let Ok(token) = env::var("HOLDFAST_TOKEN")
        && !token.is_empty()
    {
        return Ok(Some(Zeroizing::new(token.trim().to_owned())));
    }
    let Some(path) = file else { return Ok(None) };
    let text = fs::read_to_string(path).map(Zeroizing::new).map_err(|error| Failure::file(path, &error))?;
    Ok(Some(Zeroizing::new(text.trim().to_owned())))
}

/// Certificates to check those of servers against. Without one nobody would be trusted, which is not what was meant.
fn authorities(path: &Path) -> Result<Vec<u8>, Failure> {
    let pem = fs::read(path).map_err(|error| Failure::file(path, &error))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let hint = "--ca (or HOLDFAST_CA) names a file with certificates, PEM";
    match found {
        Ok(found) if !found.is_empty() => Ok(pem),
        Ok(_) => Err(Failure::usage(format!("{}: there is no certificate in it", path.display())).hint(hint)),
        Err(error) => Err(Failure::usage(format!("{}: {error}", path.display())).hint(hint)),
    }
}

/// Whether the host of `url` is called by a name that only the data plane knows.
pub(crate) fn in_plane(url: &str) -> bool {
    let host = host(url).to_ascii_lowercase();
    host.strip_suffix('.').unwrap_or(&host).rsplit_once('.').is_some_and(|(_, last)| last == "rete")
}

/// Whether the host of `url` is this machine.
fn is_local(url: &str) -> bool {
    let host = host(url);
    host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Empty if `url` is none.
fn host(url: &str) -> String {
    let uri: Option<http::Uri> = url.parse().ok();
    uri.as_ref().and_then(http::Uri::host).unwrap_or_default().to_owned()
}

/// A token on a network without TLS belongs to everybody there.
fn check_url(url: &str, needs_tls: bool) -> Result<(), Failure> {
    let parsed: http::Uri = url.parse().map_err(|error| Failure::usage(format!("{url}: not a URL: {error}")))?;
    let (Some(scheme), Some(_)) = (parsed.scheme_str(), parsed.host()) else {
        return Err(Failure::usage(format!("{url}: expected http://HOST:PORT or https://HOST:PORT")));
    };
    match scheme {
        "https" => Ok(()),
        "http" if !needs_tls => Ok(()),
        "http" => Err(Failure::usage(format!("{url}: a token is not sent without TLS; use https://"))),
        _ => Err(Failure::usage(format!("{url}: expected http:// or https://"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_do_not_travel_in_the_clear() {
        for (url, needs_tls, may) in [
            ("https://plane.test:8080", true, true),
            ("http://plane.test:8080", false, true),
            ("http://plane.test:8080", true, false),
            ("plane.test:8080", false, false),
            ("ftp://plane.test", false, false),
        ] {
            assert_eq!(check_url(url, needs_tls).is_ok(), may, "{url}");
        }
        const ELSEWHERE: Option<&str> = Some("192.0.2.1:1081");
        const HERE: Option<&str> = Some("127.0.0.1:1081");
        for (url, socks5, may) in [
            ("http://127.0.0.1:8080", None, true),
            ("http://[::1]:8080", None, true),
            ("http://localhost:8080", HERE, true),
            ("http://plane.test:8080", HERE, false),
            ("http://config-publisher.quay.test.rete", None, false),
            ("http://config-publisher.quay.test.rete", HERE, true),
            ("http://config-publisher.quay.test.rete", ELSEWHERE, false),
            ("http://localhost:8080", ELSEWHERE, false),
            ("https://plane.test:8080", ELSEWHERE, true),
        ] {
            let tunnel = Tunnel { user: None, socks5: socks5.map(|port| port.parse().unwrap()) };
            let settings = Settings {
                api: String::new(),
                http: String::new(),
                http_is_named: false,
                ca: None,
                token: Some(Zeroizing::new("t".to_owned())),
                tunnel,
            };
            assert_eq!(settings.check(url).is_ok(), may, "{url} {socks5:?}");
        }
    }

    #[test]
    fn services_have_names_of_their_own() {
        for url in ["http://config-publisher.quay.test.rete", "https://API.quay.test.RETE.:2379"] {
            assert!(in_plane(url), "{url}");
        }
        for url in ["http://127.0.0.1:8080", "http://rete", "http://quay.test", "http://quay.rete.test", "quay", ""] {
            assert!(!in_plane(url), "{url}");
        }
    }
}
