//! Where the servers' HTTP interface is.

use configsrv_fleet::{ClusterName, hosts};

use super::tunnel::Entry;
use crate::{
    failure::Failure,
    settings::{Settings, in_plane},
};

/// What says where the servers are, beside the settings.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Named<'a> {
    /// What was named for this once.
    pub(crate) target: Option<&'a str>,
    /// `publish_url` in cluster.yaml.
    pub(crate) written: Option<&'a str>,
    /// The repository's.
    pub(crate) cluster: Option<&'a ClusterName>,
}

/// The URL without a final slash. The nearer word counts: `target`, then the settings, then cluster.yaml, then what
/// the settings are without being told. Only services can be dialled in the data plane: there the settings and cluster.yaml
/// count if they name one, and the last word is what the servers are called in the cluster.
pub(super) fn base(settings: &Settings, named: &Named<'_>, entry: Option<&Entry>) -> Result<String, Failure> {
    let leads = |url: &&str| entry.is_none() || in_plane(url);
    let set = Some(settings.http.as_str()).filter(|_| settings.http_is_named);
    let said = named.target.or(set.filter(leads)).or(named.written.filter(leads));
    let base = match (said, entry) {
        (Some(said), _) => said.to_owned(),
        (None, None) => settings.http.clone(),
        (None, Some(Entry { cluster: Some(cluster), .. })) => format!("http://{}", hosts::publisher(cluster)),
        (None, Some(Entry { cluster: None, .. })) => {
            return Err(Failure::usage("nobody said what the servers are called in the data plane")
                .hint("--http (or HOLDFAST_HTTP) names them: http://config-publisher.CLUSTER.rete"));
        }
    };
    settings.check(&base)?;
    Ok(base.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::{cli::Tunnel, failure::Code};

    const PUBLISHER: &str = "http://config-publisher.quay.test.rete";

    fn settings(http: Option<&str>, tunnel: Tunnel) -> Settings {
        Settings {
            api: "http://127.0.0.1:2379".to_owned(),
            http: http.unwrap_or("http://127.0.0.1:8080").to_owned(),
            http_is_named: http.is_some(),
            ca: None,
            token: Some(Zeroizing::new("t".to_owned())),
            tunnel,
        }
    }

    #[test]
    fn the_nearer_word_counts() {
        let (target, written) = (Some("https://target.test/"), Some("https://written.test"));
        let base = |http, named: Named<'_>| base(&settings(http, Tunnel::default()), &named, None).unwrap();
        let named = Named { target, written, cluster: None };
        assert_eq!(base(Some("https://named.test"), named), "https://target.test");
        let named = Named { target: None, ..named };
        assert_eq!(base(Some("https://named.test"), named), "https://named.test");
        assert_eq!(base(None, named), "https://written.test");
        assert_eq!(base(None, Named::default()), "http://127.0.0.1:8080");
    }

    #[test]
    fn in_the_data_plane_servers_are_called_as_services_are() {
        let port: configsrv_fleet::address::HostPort = "127.0.0.1:1081".parse().unwrap();
        let tunnel = Tunnel { user: None, socks5: Some(port.clone()) };
        let quay = Entry { port: port.clone(), cluster: Some("quay.test".parse().unwrap()) };
        let base = |http, named: Named<'_>, entry: &Entry| base(&settings(http, tunnel.clone()), &named, Some(entry));
        // What is named for the way without the data plane leads nowhere in it.
        for http in [None, Some("https://named.test:8080")] {
            assert_eq!(base(http, Named::default(), &quay).unwrap(), PUBLISHER);
        }
        let other = Some("http://plane.quay.test.rete:8080");
        assert_eq!(base(other, Named::default(), &quay).unwrap(), "http://plane.quay.test.rete:8080");
        let written = Named { written: Some("http://config.quay.test.rete"), ..Named::default() };
        assert_eq!(base(None, written, &quay).unwrap(), "http://config.quay.test.rete");
        let outside = Named { written: Some("https://publish.test"), ..Named::default() };
        assert_eq!(base(None, outside, &quay).unwrap(), PUBLISHER);
        let target = Named { target: Some("http://plane.test:8080"), ..written };
        assert_eq!(base(None, target, &quay).unwrap_err().code(), Code::Usage, "a token without TLS");
        let somewhere = Entry { port, cluster: None };
        assert_eq!(base(None, Named::default(), &somewhere).unwrap_err().code(), Code::Usage);
    }
}
