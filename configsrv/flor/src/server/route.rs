//! By which ways the servers are reached: what the active artifact says, and what enrolment said for when that fails.

use configsrv_fleet::{Payload, address::HostPort, artifact::Via};
use configsrv_rete::names::host_name;

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
/// one.
pub(super) fn every(active: Option<&Distribution>, enrolled: &[String]) -> Vec<Route> {
    let named = active.into_iter().flat_map(|active| active.tunnel.iter().chain(&active.urls)).cloned();
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
pub(super) fn own(active: Option<&Distribution>, enrolled: &[String]) -> Vec<Route> {
    match active {
        Some(Distribution { tunnel: Some(tunnel), .. }) => vec![tunnel.clone()],
        Some(Distribution { tunnel: None, urls }) if !urls.is_empty() => urls.clone(),
        Some(_) | None => enrolled.iter().map(|url| Route::direct(url)).collect(),
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
        assert_eq!(urls(&every(Some(&moved), &enrolled)), ["https://new:8080", "https://old:8080"]);
        let rete = distribution(true, &["https://new:8080"]);
        let all = every(Some(&rete), &enrolled);
        assert_eq!(urls(&all), ["http://config-server.quay.test.rete", "https://new:8080", "https://old:8080"]);
        assert!(all[0].through.is_some() && all[1].through.is_none());
        assert_eq!(urls(&every(None, &enrolled)), ["https://old:8080", "https://new:8080"]);
    }

    #[test]
    fn a_version_is_confirmed_by_its_own_way_only() {
        let enrolled = ["https://old:8080".to_owned()];
        let own = |active: &Distribution| own(Some(active), &enrolled);
        assert_eq!(urls(&own(&distribution(true, &["https://new:8080"]))), ["http://config-server.quay.test.rete"]);
        assert_eq!(urls(&own(&distribution(false, &["https://new:8080"]))), ["https://new:8080"]);
        assert_eq!(urls(&own(&distribution(false, &[]))), ["https://old:8080"]);
        assert_eq!(urls(&super::own(None, &enrolled)), ["https://old:8080"]);
    }
}
