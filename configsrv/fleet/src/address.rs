use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

/// `host:port`; the host is an IP literal (IPv6 in brackets) or a DNS name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPort {
    pub host: Host,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    Ip(IpAddr),
    Dns(String),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not an address: {reason}")]
pub struct AddressError {
    text: String,
    reason: &'static str,
}

impl HostPort {
    pub fn loopback(port: u16) -> Self {
        Self { host: Host::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST)), port }
    }

    /// All interfaces, in the address family of `self`.
    pub fn any_like(&self) -> Self {
        let ip = match self.host {
            Host::Ip(IpAddr::V6(_)) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            Host::Ip(IpAddr::V4(_)) | Host::Dns(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        Self { host: Host::Ip(ip), port: self.port }
    }

    pub fn is_loopback(&self) -> bool {
        self.ip().map_or_else(|| self.is_localhost(), |ip| ip.is_loopback())
    }

    pub fn is_unspecified(&self) -> bool {
        self.ip().is_some_and(|ip| ip.is_unspecified())
    }

    /// Whether the Internet can be expected to reach this address (rule V20): a DNS name, or a literal outside of the
    /// ranges that are private, local to a link or a host, shared by carriers, multicast, or nobody's.
    pub fn is_internet(&self) -> bool {
        match self.ip() {
            None => !self.is_localhost(),
            Some(IpAddr::V4(ip)) => {
                let [a, b, ..] = ip.octets();
                let shared = a == 100 && (64..128).contains(&b);
                // 0.0.0.0/8 is this network, 240.0.0.0/4 reserved (RFC 6890 section 2.2.2).
                let assigned = (1..240).contains(&a);
                assigned && !(ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_multicast() || shared)
            }
            Some(IpAddr::V6(ip)) => {
                !(ip.is_loopback()
                    || ip.is_unspecified()
                    || ip.is_multicast()
                    || ip.is_unique_local()
                    || ip.is_unicast_link_local())
            }
        }
    }

    /// Whether sockets on both addresses cannot exist on one host: same port, and the same host or a wildcard.
    pub fn collides(&self, other: &Self) -> bool {
        let same = match (&self.host, &other.host) {
            (Host::Ip(one), Host::Ip(two)) => one.to_canonical() == two.to_canonical(),
            (Host::Dns(one), Host::Dns(two)) => one.eq_ignore_ascii_case(two),
            (Host::Ip(ip), Host::Dns(name)) | (Host::Dns(name), Host::Ip(ip)) => is_localhost(name, *ip),
        };
        self.port == other.port && (same || self.is_unspecified() || other.is_unspecified())
    }

    /// The address that a literal stands for: an IPv4 address written as an IPv6 one (`::ffff:10.0.0.1`) is itself.
    fn ip(&self) -> Option<IpAddr> {
        match &self.host {
            Host::Ip(ip) => Some(ip.to_canonical()),
            Host::Dns(_) => None,
        }
    }

    fn is_localhost(&self) -> bool {
        matches!(&self.host, Host::Dns(name) if name.eq_ignore_ascii_case("localhost"))
    }
}

/// Whether `name` is the name of the loopback, and `ip` what it stands for, in either family.
fn is_localhost(name: &str, ip: IpAddr) -> bool {
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    name.eq_ignore_ascii_case("localhost") && loopback.contains(&ip.to_canonical())
}

impl FromStr for HostPort {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let failed = |reason| AddressError { text: text.chars().take(300).collect(), reason };
        let (host, port) = text.rsplit_once(':').ok_or_else(|| failed("expected HOST:PORT"))?;
        if port.starts_with('+') {
            return Err(failed("the port is not a number from 1 to 65535"));
        }
        let port: u16 = port.parse().map_err(|_| failed("the port is not a number from 1 to 65535"))?;
        if port == 0 {
            return Err(failed("the port is not a number from 1 to 65535"));
        }
        let host = if let Some(inner) = host.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or_else(|| failed("the bracket is not closed"))?;
            Host::Ip(IpAddr::V6(inner.parse().map_err(|_| failed("an IPv6 address belongs between the brackets"))?))
        } else if let Ok(ip) = host.parse::<Ipv4Addr>() {
            Host::Ip(IpAddr::V4(ip))
        } else if host.contains(':') {
            return Err(failed("an IPv6 address needs brackets: [::1]:80"));
        } else if is_dns_name(host) {
            Host::Dns(host.to_owned())
        } else {
            return Err(failed("the host is neither an IP address nor a DNS name"));
        };
        Ok(Self { host, port })
    }
}

/// Labels of letters, digits, hyphens and underscores. A name of digits and dots alone is a broken IPv4 address.
fn is_dns_name(text: &str) -> bool {
    text.len() <= 253
        && text.bytes().any(|byte| byte.is_ascii_lowercase() || byte.is_ascii_uppercase())
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

impl TryFrom<String> for HostPort {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<HostPort> for String {
    fn from(address: HostPort) -> Self {
        address.to_string()
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(IpAddr::V6(ip)) => write!(out, "[{ip}]:{}", self.port),
            Host::Ip(IpAddr::V4(ip)) => write!(out, "{ip}:{}", self.port),
            Host::Dns(name) => write!(out, "{name}:{}", self.port),
        }
    }
}

impl fmt::Debug for HostPort {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> HostPort {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_round_trip() {
        for text in ["127.0.0.1:9000", "[::1]:80", "db.quay.test:5432", "localhost:1"] {
            assert_eq!(address(text).to_string(), text);
        }
        for text in ["127.0.0.1", "a:0", "a:65536", "::1:80", "300.1.1.1:1", ":80", "a b:1", "[::1:80", "a:+1"] {
            assert!(text.parse::<HostPort>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_the_internet_reaches() {
        for text in ["203.0.113.10:1", "hub.quay.test:1", "[2001:db8::1]:1", "[::ffff:203.0.113.10]:1"] {
            assert!(address(text).is_internet(), "{text}");
        }
        for text in [
            "10.8.0.2:1",
            "127.0.0.1:1",
            "169.254.1.1:1",
            "100.64.0.1:1",
            "[fd00::1]:1",
            "[fe80::1]:1",
            "0.0.0.0:1",
            "0.1.2.3:1",
            "224.0.0.1:1",
            "240.0.0.1:1",
            "255.255.255.255:1",
            "[::ffff:10.0.0.1]:1",
            "[::ffff:127.0.0.1]:1",
            "localhost:1",
            "LocalHost:1",
        ] {
            assert!(!address(text).is_internet(), "{text}");
        }
    }

    #[test]
    fn wildcards_collide_with_everything_on_their_port() {
        assert!(address("0.0.0.0:22").collides(&address("127.0.0.1:22")));
        assert!(address("127.0.0.1:22").collides(&address("127.0.0.1:22")));
        assert!(!address("127.0.0.1:22").collides(&address("127.0.0.2:22")));
        assert!(!address("0.0.0.0:22").collides(&address("127.0.0.1:23")));
        assert!(address("[::ffff:0.0.0.0]:22").collides(&address("127.0.0.2:22")));
    }

    #[test]
    fn one_host_by_two_names_collides() {
        for (one, two) in [
            ("localhost:17100", "127.0.0.1:17100"),
            ("localhost:17100", "[::1]:17100"),
            ("localhost:17100", "LOCALHOST:17100"),
            ("localhost:17100", "[::ffff:127.0.0.1]:17100"),
            ("[::ffff:127.0.0.1]:17100", "127.0.0.1:17100"),
        ] {
            let (one, two) = (address(one), address(two));
            assert!(one.collides(&two) && two.collides(&one), "{one} {two}");
            assert!(one.is_loopback() && two.is_loopback(), "{one} {two}");
        }
        assert!(!address("localhost:17100").collides(&address("127.0.0.1:17101")));
        assert!(!address("localhost:17100").collides(&address("127.0.0.2:17100")));
        assert!(!address("db.quay.test:1").collides(&address("127.0.0.1:1")));
    }
}
