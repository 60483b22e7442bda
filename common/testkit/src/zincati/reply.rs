use serde::Deserialize;

/// Why a request failed, in the two words that the agent keeps: a metric's label and a line of its journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub kind: String,
    pub value: String,
    /// None if no answer came.
    pub status: Option<u16>,
}

#[derive(Deserialize)]
struct Body {
    kind: String,
    value: String,
}

/// Any 2xx is a success, whatever its body says.
pub(super) fn outcome(status: u16, body: &[u8]) -> Result<(), Failure> {
    if (200..300).contains(&status) {
        return Ok(());
    }
    let (kind, value) = match serde_json::from_slice(body) {
        Ok(Body { kind, value }) => (kind, value),
        Err(_) => (format!("generic_http_{status}"), "(unknown/generic server error)".to_owned()),
    };
    Err(Failure { kind, value, status: Some(status) })
}

impl Failure {
    /// No answer: the network, a time-out, or one that is no HTTP.
    pub(super) fn of_request(why: &std::io::Error) -> Self {
        Self { kind: "client_failed_request".to_owned(), value: why.to_string(), status: None }
    }

    /// Whether the server said no, rather than that it cannot say.
    pub fn is_refusal(&self) -> bool {
        self.status.is_some_and(|status| status < 500)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_2xx_is_a_success() {
        for (status, body) in [(200, &b"granted"[..]), (202, br#"{"kind":"waiting_for_node_drain","value":"w"}"#)] {
            assert_eq!(outcome(status, body), Ok(()));
        }
    }

    #[test]
    fn failures_have_a_kind_of_the_server_s_or_a_generic_one() {
        let kind = |status, body: &str| outcome(status, body.as_bytes()).unwrap_err().kind;
        assert_eq!(kind(423, r#"{"kind":"lock_held","value":"by a","holders":[]}"#), "lock_held");
        assert_eq!(kind(503, "no"), "generic_http_503");
        assert_eq!(kind(418, r#"{"kind":1,"value":"x"}"#), "generic_http_418");
        assert_eq!(kind(500, r#"{"kind":"x"}"#), "generic_http_500");
        assert_eq!(kind(304, ""), "generic_http_304");
    }
}
