/// What an operator can do about a handshake between two servers that has failed with `reason`, which is rustls' text.
pub fn handshake_advice(reason: &str) -> Option<&'static str> {
    let says = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    if !says(&["certificate", "fatal alert"]) {
        None
    } else if says(&["Expired", "NotValidYet"]) {
        Some("a certificate is outside of its time: look at the clocks of both servers, and renew what has ended")
    } else if says(&["invalid peer certificate: NotValidForName"]) {
        Some("the address leads to another server than it should, or the certificate is another server's")
    } else if says(&["invalid peer certificate"]) {
        Some("this server does not accept the other's certificate: is it of the authority in this server's CA file?")
    } else if says(&["fatal alert"]) {
        Some("the other side does not accept this server's certificate: is it of the authority in the other's CA file?")
    } else if says(&["no certificates"]) {
        Some("the caller shows no certificate: either it is no server of this cluster, or its peer TLS is not set up")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_done_depends_on_whose_certificate_it_is() {
        let advice = |reason| handshake_advice(reason).unwrap_or_default();
        assert!(advice("invalid peer certificate: BadSignature").contains("this server's CA file"));
        assert!(advice("invalid peer certificate: UnknownIssuer").contains("this server's CA file"));
        assert!(advice("received fatal alert: DecryptError").contains("the other's CA file"));
        assert!(advice("invalid peer certificate: certificate expired: Expired").contains("clocks"));
        assert!(advice("received fatal alert: CertificateExpired").contains("clocks"));
        assert!(advice("invalid peer certificate: NotValidForName").contains("address"));
        assert!(advice("peer sent no certificates").contains("shows no certificate"));
        assert_eq!(handshake_advice("tcp connect error: Connection refused (os error 111)"), None);
    }
}
