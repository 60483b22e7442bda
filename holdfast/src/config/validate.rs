use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use holdfast_rpc::{ClientAuth, TlsFiles};
use holdfast_telemetry::Format;

use super::{
    Finding, Fragment, break_glass, chainfire, configsrv, fleetlock,
    fragment::ListenFragment,
    lifetimes,
    members::{self, host_and_port, is_dns_label},
    settings::{Doors, Log, Member, PeerTls, Settings, Timing},
};

/// What the command line adds to the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flags {
    pub(crate) dev: bool,
    pub(crate) data_dir: PathBuf,
    pub(crate) api: Option<String>,
    pub(crate) http: Option<String>,
    pub(crate) sql: Option<String>,
    pub(crate) peer: Option<String>,
    pub(crate) rejoin_wiped: bool,
}

const API: u16 = 2379;
pub(super) const PEER: u16 = 2380;
const HTTP: u16 = 8080;
const SQL: u16 = 5433;

/// Checks everything but secrets, and returns either settings or all findings.
pub(crate) fn validate(flags: &Flags, file: Fragment) -> Result<Settings, Vec<Finding>> {
    let mut findings = Vec::new();
    let doors = doors(flags, &file.listen, &mut findings);
    let (name, members) = members::validate(flags.dev, file.name, file.members, &mut findings);
    let peer_tls = file.peer_tls.map(|tls| PeerTls { cert: tls.cert, key: tls.key, ca: tls.ca });
    if members.len() > 1 && peer_tls.is_none() {
        findings.push(Finding::new(
            "peer_tls",
            "several servers need peer certificates: `holdfast peer-ca init` and `holdfast peer-ca issue` make them",
        ));
    }
    let tls = file.tls.map(|tls| {
        let client_auth = tls.client_ca.map_or(ClientAuth::Presented, ClientAuth::Optional);
        TlsFiles::new(tls.cert, tls.key, client_auth)
    });
    if tls.is_none() {
        require_loopback(&doors, &mut findings);
    }
    let waits = configsrv::validate(&file.configsrv, &mut findings);
    let fleetlock = fleetlock::validate(flags.dev, file.fleetlock, &mut findings);
    let lifetimes = lifetimes::validate(&file.iam, &mut findings);
    let break_glass = break_glass::validate(file.iam.break_glass.as_ref(), &mut findings);
    let trust_domain = trust_domain(flags.dev, file.iam.trust_domain, &mut findings);
    let issuer = issuer(flags.dev, file.iam.issuer, &trust_domain, members.len(), &mut findings);
    let chainfire = chainfire::validate(&file.chainfire, &mut findings);
    let timing = timing(file.raft.heartbeat_ms, file.raft.election_ms, &mut findings);
    let advertise = advertise(file.listen.advertise_api.as_deref(), doors.api, &name, &members, &mut findings);
    let log = log(flags.dev, file.log.filter, file.log.format.as_deref(), &mut findings);
    if !findings.is_empty() {
        return Err(findings);
    }
    Ok(Settings {
        dev: flags.dev,
        data_dir: flags.data_dir.clone(),
        rejoin_wiped: flags.rejoin_wiped,
        name,
        members,
        doors,
        advertise_api: advertise,
        tls,
        peer_tls,
        issuer,
        trust_domain,
        waits,
        fleetlock,
        chainfire,
        lifetimes,
        break_glass,
        break_glass_files: file.iam.break_glass,
        timing,
        log,
    })
}

fn doors(flags: &Flags, listen: &ListenFragment, findings: &mut Vec<Finding>) -> Doors {
    let mut door = |name: &str, flag: &Option<String>, file: &Option<String>, port: u16| {
        let default = SocketAddr::from((Ipv4Addr::LOCALHOST, if flags.dev { 0 } else { port }));
        let Some(text) = flag.as_ref().or(file.as_ref()) else { return default };
        text.parse().unwrap_or_else(|_| {
            findings.push(Finding::new(
                format!("listen.{name}"),
                format!("{text:?} is not an address and port such as 127.0.0.1:{port}"),
            ));
            default
        })
    };
    Doors {
        api: door("api", &flags.api, &listen.api, API),
        http: door("http", &flags.http, &listen.http, HTTP),
        sql: door("sql", &flags.sql, &listen.sql, SQL),
        peer: door("peer", &flags.peer, &listen.peer, PEER),
    }
}

/// What etcd clients are told to dial. An address that stands for all of the server's is none that they could use.
fn advertise(
    chosen: Option<&str>,
    api: SocketAddr,
    name: &str,
    members: &[Member],
    findings: &mut Vec<Finding>,
) -> Option<String> {
    if let Some(address) = chosen {
        if host_and_port(address).is_none() {
            findings.push(Finding::new("listen.advertise_api", format!("{address:?} is not a host and a port")));
        }
        return Some(address.to_owned());
    }
    let own = members.iter().find(|member| member.name == name)?;
    let (host, _) = host_and_port(&own.peer).filter(|_| api.ip().is_unspecified())?;
    Some(format!("{host}:{}", api.port()))
}

fn require_loopback(doors: &Doors, findings: &mut Vec<Finding>) {
    for (name, address) in [("api", doors.api), ("http", doors.http), ("sql", doors.sql)] {
        if !address.ip().is_loopback() {
            findings.push(Finding::new(
                format!("listen.{name}"),
                format!("{address} is not loopback, so `tls` must name a certificate and key"),
            ));
        }
    }
}

fn trust_domain(dev: bool, chosen: Option<String>, findings: &mut Vec<Finding>) -> String {
    match chosen {
        Some(domain) if domain.split('.').all(is_dns_label) => domain,
        Some(domain) => {
            findings.push(Finding::new("iam.trust_domain", format!("{domain:?} is not a lower-case DNS name")));
            domain
        }
        None if dev => "quay.test".to_owned(),
        None => {
            findings
                .push(Finding::new("iam.trust_domain", "must be the cluster's name as in the fleet's cluster.yaml"));
            String::new()
        }
    }
}

/// All servers must sign with the same `iss`. A server alone may derive it from its own HTTP door.
fn issuer(
    dev: bool,
    chosen: Option<String>,
    trust_domain: &str,
    servers: usize,
    findings: &mut Vec<Finding>,
) -> Option<String> {
    match chosen {
        Some(url) if url.starts_with("https://") || (dev && url.starts_with("http://")) => Some(url),
        Some(url) => {
            findings.push(Finding::new("iam.issuer", format!("{url:?} is not an https URL")));
            None
        }
        None if servers <= 1 => None,
        None if dev => Some(format!("https://{trust_domain}")),
        None => {
            findings.push(Finding::new(
                "iam.issuer",
                "several servers need one https URL under which clients reach their HTTP doors",
            ));
            None
        }
    }
}

fn timing(heartbeat_ms: Option<u64>, election_ms: Option<u64>, findings: &mut Vec<Finding>) -> Timing {
    let heartbeat = heartbeat_ms.unwrap_or(100);
    let election = election_ms.unwrap_or(1_000);
    if heartbeat == 0 || election < heartbeat.saturating_mul(5) {
        findings.push(Finding::new(
            "raft",
            format!("election_ms ({election}) must be at least five times heartbeat_ms ({heartbeat}, not 0)"),
        ));
    }
    Timing { heartbeat: Duration::from_millis(heartbeat), election: Duration::from_millis(election) }
}

fn log(dev: bool, filter: Option<String>, format: Option<&str>, findings: &mut Vec<Finding>) -> Log {
    let format = match format {
        Some("json") => Format::Json,
        Some("text") => Format::Text,
        None => {
            if dev {
                Format::Text
            } else {
                Format::Json
            }
        }
        Some(other) => {
            findings.push(Finding::new("log.format", format!("{other:?} is not one of text, json")));
            Format::Text
        }
    };
    // The Raft library says much that our own lines say better; whoever wants it has to name it.
    let filter = match filter.unwrap_or_else(|| "info".to_owned()) {
        named if named.contains("openraft") => named,
        filter => format!("{filter},{}", chainfire_raft::LOG_DIRECTIVES),
    };
    Log { filter, format }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::FleetLockAuth;

    fn production(yaml: &str) -> Result<Settings, Vec<Finding>> {
        let fragment = serde_saphyr::from_str(yaml).unwrap();
        validate(&Flags { data_dir: "/var/lib/holdfast".into(), ..Flags::default() }, fragment)
    }

    #[test]
    fn an_empty_file_names_every_missing_setting() {
        let findings = production("{}").unwrap_err();
        let settings: Vec<_> = findings.iter().map(|finding| finding.setting.as_str()).collect();
        assert_eq!(settings, ["members", "name", "fleetlock.client_auth", "iam.trust_domain"]);
    }

    #[test]
    fn doors_off_loopback_need_tls() {
        let findings = production(
            "name: a
members: [{name: a, peer: '10.0.0.1:2380'}]
listen: {api: '0.0.0.0:2379', sql: '0.0.0.0:x'}
fleetlock: {client_auth: none}
iam: {trust_domain: quay.test}
",
        )
        .unwrap_err();
        let settings: Vec<_> = findings.iter().map(|finding| finding.setting.as_str()).collect();
        assert_eq!(settings, ["listen.sql", "listen.api"]);
    }

    #[test]
    fn three_servers_need_peer_certificates_and_sane_timing() {
        let findings = production(
            "name: b
members: [{name: a, peer: 'a:1'}, {name: b, peer: 'b:1'}, {name: B, peer: 'c:1'}]
fleetlock: {client_auth: maybe}
iam: {trust_domain: Quay}
raft: {heartbeat_ms: 100, election_ms: 200}
log: {format: xml}
",
        )
        .unwrap_err();
        let settings: Vec<_> = findings.iter().map(|finding| finding.setting.as_str()).collect();
        assert_eq!(
            settings,
            ["members", "peer_tls", "fleetlock.client_auth", "iam.trust_domain", "iam.issuer", "raft", "log.format"]
        );
    }

    #[test]
    fn dev_needs_nothing() {
        let flags = Flags { dev: true, data_dir: "dev".into(), ..Flags::default() };
        let settings = validate(&flags, Fragment::default()).unwrap();
        assert_eq!(settings.members.len(), 1);
        assert_eq!(settings.doors.api.port(), 0);
        assert_eq!(settings.fleetlock.auth, FleetLockAuth::None);
    }
}
