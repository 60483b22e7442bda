//! By which ways the servers are reached: what the active artifact says, and what enrolment said for when that fails.

use std::net::IpAddr;

use configsrv_fleet::{Payload, address::HostPort, artifact::Via, hosts::host_name};
use reqwest::Url;

use crate::Error;

/// One way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// Without a slash at the end.
    pub url: String,
    /// The SOCKS5 port that leads there.
    pub through: Option<HostPort>,
}

/// What an artifact says about the way to the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Distribution {
    tunnel: Option<Route>,
    urls: Vec<Route>,
}

impl Route {
    pub(super) fn direct(url: &str) -> Self {
        Self { url: url.trim_end_matches('/').to_owned(), through: None }
    }

    /// Whether nobody on the network can read what is sent: by TLS, because the plane encrypts it, or because it stays on
    /// this machine.
    pub(super) fn keeps_secrets(&self) -> bool {
        let Ok(url) = Url::parse(&self.url) else { return false };
        self.through.is_some() || url.scheme() == "https" || url.host_str().is_some_and(is_loopback)
    }
}

/// Whether a host of a URL is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl Distribution {
    pub(super) fn of(payload: &Payload) -> Self {
        let host = host_name(&payload.sync.config_server).filter(|_| payload.sync.via == Via::Rete);
        let through = Some(payload.local_node.socks5_proxy.clone());
        Self {
            // TLS already runs from end to end.
            tunnel: host.map(|host| Route { url: format!("http://{host}"), through }),
            urls: payload.sync.urls.iter().map(|url| Route::direct(url)).collect(),
        }
    }
}

/// All ways, in the order in which they are tried: an artifact whose own way is broken does not keep a node from the next
/// one. Without a plane here there is no tunnel: whoever listens on its port would be told what is for the servers.
pub(super) fn every(active: Option<&Distribution>, enrolled: &[String], plane: bool) -> Vec<Route> {
    let tunnel = |active: &Distribution| active.tunnel.clone().filter(|_| plane);
    let named = active.into_iter().flat_map(|active| tunnel(active).into_iter().chain(active.urls.clone()));
    let mut routes: Vec<Route> = Vec::new();
    for route in named.chain(enrolled.iter().map(|url| Route::direct(url))) {
        if !routes.contains(&route) {
            routes.push(route);
        }
    }
    routes
}

/// The ways that count when a version is to be confirmed: those that it names itself. An artifact that names none means
/// enrolment's.
pub(super) fn own(active: Option<&Distribution>, enrolled: &[String], plane: bool) -> Result<Vec<Route>, Error> {
    match active {
        Some(Distribution { tunnel: Some(tunnel), .. }) if plane => Ok(vec![tunnel.clone()]),
        Some(Distribution { tunnel: Some(tunnel), .. }) => Err(Error::Unreachable(format!(
            "{}: this version is confirmed through the data plane, which does not run; look at flor status",
            tunnel.url
        ))),
        Some(Distribution { tunnel: None, urls }) if !urls.is_empty() => Ok(urls.clone()),
        Some(_) | None => Ok(enrolled.iter().map(|url| Route::direct(url)).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distribution(tunnel: bool, urls: &[&str]) -> Distribution {
        let through = Some("127.0.0.1:1070".parse().unwrap());
        let tunnel = tunnel.then(|| Route { url: "http://config-server.quay.test.rete".into(), through });
        Distribution { tunnel, urls: urls.iter().map(|url| Route::direct(url)).collect() }
    }

    fn urls(routes: &[Route]) -> Vec<&str> {
        routes.iter().map(|route| route.url.as_str()).collect()
    }

    #[test]
    fn the_artifact_s_way_comes_first_and_enrolment_s_stays() {
        let enrolled = ["https://old:8080/".to_owned(), "https://new:8080".to_owned()];
        let moved = distribution(false, &["https://new:8080"]);
        assert_eq!(urls(&every(Some(&moved), &enrolled, true)), ["https://new:8080", "https://old:8080"]);
        let rete = distribution(true, &["https://new:8080"]);
        let all = every(Some(&rete), &enrolled, true);
        assert_eq!(urls(&all), ["http://config-server.quay.test.rete", "https://new:8080", "https://old:8080"]);
        assert!(all[0].through.is_some() && all[1].through.is_none());
        assert_eq!(every(Some(&rete), &enrolled, false), all[1..], "the port may be anybody's");
        assert_eq!(urls(&every(None, &enrolled, true)), ["https://old:8080", "https://new:8080"]);
    }

    #[test]
    fn secrets_do_not_travel_in_the_clear() {
        for (url, expected) in [
            ("https://hub.test:8080", true),
            ("http://127.0.0.1:8080", true),
            ("http://[::1]:8080", true),
            ("http://localhost", true),
            ("http://hub.test:8080", false),
            ("http://10.77.1.1:8080", false),
            ("http://127.0.0.1@hub.test", false),
            ("http://localhost.hub.test", false),
            ("hub.test:8080", false),
            ("", false),
        ] {
            assert_eq!(Route::direct(url).keeps_secrets(), expected, "{url}");
        }
        let tunnel = distribution(true, &[]).tunnel.unwrap();
        assert!(tunnel.keeps_secrets(), "{tunnel:?}");
    }

    #[test]
    fn a_version_is_confirmed_by_its_own_way_only() {
        let enrolled = ["https://old:8080".to_owned()];
        let up = |active: &Distribution| own(Some(active), &enrolled, true).unwrap();
        assert_eq!(urls(&up(&distribution(true, &["https://new:8080"]))), ["http://config-server.quay.test.rete"]);
        assert_eq!(urls(&up(&distribution(false, &["https://new:8080"]))), ["https://new:8080"]);
        assert_eq!(urls(&up(&distribution(false, &[]))), ["https://old:8080"]);
        assert_eq!(urls(&own(None, &enrolled, false).unwrap()), ["https://old:8080"]);
        let down = own(Some(&distribution(true, &["https://new:8080"])), &enrolled, false);
        assert!(matches!(down, Err(Error::Unreachable(_))));
    }
}
