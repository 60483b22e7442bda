use http::HeaderMap;
use serde::Deserialize;

use super::refusal::Refusal;

/// Larger than any sensible request; Zincati sends about a hundred bytes.
pub(super) const LARGEST_BODY: usize = 4096;

const PROTOCOL: &str = "fleet-lock-protocol";
const LONGEST_NAME: usize = 253;

/// Who asks, and for which group's semaphore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub group: String,
    pub id: String,
}

/// Members that are not named here are ignored: other servers' clients send more.
#[derive(Deserialize)]
struct Body {
    client_params: Params,
}

#[derive(Deserialize)]
struct Params {
    id: String,
    group: String,
}

/// The header that keeps requests out which arrive by accident.
pub(super) fn check_header(headers: &HeaderMap) -> Result<(), Refusal> {
    match headers.get(PROTOCOL) {
        Some(value) if value.as_bytes() == b"true" => Ok(()),
        _ => Err(Refusal::MissingHeader),
    }
}

impl Claim {
    pub(super) fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let Body { client_params: Params { id, group } } =
            serde_json::from_slice(body).map_err(|error| Refusal::DecodeError(error.to_string()))?;
        if !is_group(&group) {
            return Err(Refusal::InvalidGroup);
        }
        if !is_id(&id) {
            return Err(Refusal::InvalidId);
        }
        Ok(Self { group, id })
    }
}

/// `^[a-zA-Z0-9.-]+$` to the very end: a trailing newline does not pass.
pub fn is_group(text: &str) -> bool {
    (1..=LONGEST_NAME).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-')
}

/// Any text of the client's own making, in bounds.
pub(super) fn is_id(text: &str) -> bool {
    (1..=LONGEST_NAME).contains(&text.len()) && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_zincati_sends() {
        let body = b"{\n  \"client_params\": {\n    \"id\": \"978a225b3d7b40e9acd7ce9b62f68444\",\n    \"group\": \"default\"\n  }\n}";
        let claim = Claim::parse(body).unwrap();
        assert_eq!((claim.group.as_str(), claim.id.as_str()), ("default", "978a225b3d7b40e9acd7ce9b62f68444"));
    }

    #[test]
    fn further_members_are_ignored() {
        let body = br#"{"client_params":{"group":"g","id":"a","skip_node_ops":true},"more":1}"#;
        assert!(Claim::parse(body).is_ok());
    }

    #[test]
    fn groups_have_an_alphabet_and_ids_do_not() {
        for group in ["", "default\n", "a_b", "a b", "ä", &"g".repeat(254)] {
            assert!(!is_group(group), "{group:?}");
        }
        for group in ["default", "A", "rack-1.north", &"g".repeat(253)] {
            assert!(is_group(group), "{group:?}");
        }
        for id in ["AB", "ab", "node_1: left", "ä", &"i".repeat(253)] {
            assert!(is_id(id), "{id:?}");
        }
        for id in ["", "a\n", "\u{7f}", &"i".repeat(254)] {
            assert!(!is_id(id), "{id:?}");
        }
    }
}
