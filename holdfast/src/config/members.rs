use std::collections::BTreeSet;

use super::{Finding, fragment::MemberFragment, settings::Member, validate::PEER};

/// The list of servers, and which of them this is.
pub(super) fn validate(
    dev: bool,
    name: Option<String>,
    listed: Vec<MemberFragment>,
    findings: &mut Vec<Finding>,
) -> (String, Vec<Member>) {
    let members: Vec<_> = listed.into_iter().map(|member| Member { name: member.name, peer: member.peer }).collect();
    if members.is_empty() && dev {
        // A server alone never dials this address; it stays the same when the system chooses other ports.
        let name = name.unwrap_or_else(|| "dev".to_owned());
        return (name.clone(), vec![Member { name, peer: format!("127.0.0.1:{PEER}") }]);
    }
    if !matches!(members.len(), 1 | 3 | 5) {
        findings.push(Finding::new("members", format!("list 1, 3 or 5 servers, not {}", members.len())));
    }
    let distinct: BTreeSet<_> = members.iter().map(|member| &member.name).collect();
    if distinct.len() != members.len() {
        findings.push(Finding::new("members", "names must differ"));
    }
    for member in members.iter().filter(|member| !is_dns_label(&member.name)) {
        findings.push(Finding::new(
            "members",
            format!("{:?} is not a name of lower-case letters, digits and hyphens", member.name),
        ));
    }
    for member in members.iter().filter(|member| host_and_port(&member.peer).is_none()) {
        let problem = format!("{:?} is not host:port, such as {}.example.org:{PEER}", member.peer, member.name);
        findings.push(Finding::new(format!("members.{}.peer", member.name), problem));
    }
    let addresses: BTreeSet<_> = members.iter().map(|member| &member.peer).collect();
    if addresses.len() != members.len() {
        findings.push(Finding::new("members", "peer addresses must differ"));
    }
    let name = name.unwrap_or_default();
    if !members.iter().any(|member| member.name == name) {
        findings.push(Finding::new("name", format!("{name:?} is not one of `members`; set this server's own name")));
    }
    (name, members)
}

/// Host and port as written: a name or an IPv4 address, or an IPv6 address in brackets.
pub(super) fn host_and_port(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let valid = match bracketed {
        Some(inside) => inside.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte)),
    };
    valid.then_some((host, port))
}

/// The name becomes part of a certificate's DNS name.
pub(crate) fn is_dns_label(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(host_and_port("s1.example.org:2380"), Some(("s1.example.org", 2380)));
        assert_eq!(host_and_port("[::1]:2380"), Some(("[::1]", 2380)));
        for bad in ["localhost", "http://localhost:2380", "::1:2380", ":2380", "s1:0", "s1:x", "s 1:2380"] {
            assert_eq!(host_and_port(bad), None, "{bad}");
        }
    }

    #[test]
    fn two_servers_cannot_share_an_address() {
        let member = |name: &str| MemberFragment { name: name.into(), peer: "s:1".into() };
        let mut findings = Vec::new();
        validate(false, Some("a".into()), ["a", "b", "c"].map(member).into(), &mut findings);
        assert_eq!(findings, [Finding::new("members", "peer addresses must differ")]);
    }
}
