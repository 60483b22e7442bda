use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{Kind, PrincipalId, secret};

/// The longest life of a join token.
pub const MAX_TTL_MS: u64 = 3_600_000;
/// How long the same key may fetch its certificate again.
pub const REPEAT_MS: u64 = 600_000;
const PREFIX: &str = "hfjoin";

/// A join token's text is `hfjoin.<node>.<hash of the CA's public key>.<secret>`: the node learns from it who it is and
/// whom to trust at first contact. Hash and secret are 32 bytes in base64url; node names may contain dots.
pub struct JoinToken {
    node: PrincipalId,
    ca_sha256: [u8; 32],
    secret: Zeroizing<[u8; 32]>,
}

/// What is stored of a join token, under the hash of its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinTokenRecord {
    pub node: PrincipalId,
    pub created_ms: u64,
    pub expires_ms: u64,
    pub created_by: String,
    /// Set by the first use, in the same command that records the enrolment.
    pub redeemed: Option<Redemption>,
}

/// Who used the token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redemption {
    /// [`super::CertificateRequest::key_sha256`].
    pub key_sha256: String,
    pub at_ms: u64,
    /// The certificate that was issued; base64 DER.
    pub certificate: String,
    /// The authority between it and the root, if there is one; base64 DER.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intermediate: Option<String>,
}

/// Why a join token admits nobody. Callers see one text for all of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinTokenError {
    #[error("malformed join token")]
    Malformed,
    #[error("expired")]
    Expired,
    /// Somebody else holds the token: an alarm.
    #[error("another key used it already")]
    OtherKey,
    #[error("its ten minutes for a repeat are over")]
    Spent,
}

impl JoinToken {
    pub fn new(node: PrincipalId, ca_sha256: [u8; 32], secret: Zeroizing<[u8; 32]>) -> Result<Self, JoinTokenError> {
        if node.kind() != Kind::Node {
            return Err(JoinTokenError::Malformed);
        }
        Ok(Self { node, ca_sha256, secret })
    }

    pub fn parse(text: &str) -> Result<Self, JoinTokenError> {
        let rest =
            text.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix('.')).ok_or(JoinTokenError::Malformed)?;
        let mut parts = rest.rsplitn(3, '.');
        let (Some(secret), Some(hash), Some(node)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(JoinTokenError::Malformed);
        };
        let node = PrincipalId::new(Kind::Node, node).map_err(|_| JoinTokenError::Malformed)?;
        Ok(Self { node, ca_sha256: bytes(hash)?, secret: Zeroizing::new(bytes(secret)?) })
    }

    pub fn text(&self) -> Zeroizing<String> {
        let hash = URL_SAFE_NO_PAD.encode(self.ca_sha256);
        let secret = Zeroizing::new(URL_SAFE_NO_PAD.encode(self.secret.as_slice()));
        Zeroizing::new(format!("{PREFIX}.{}.{hash}.{}", self.node.name(), secret.as_str()))
    }

    /// The key under which it is stored.
    pub fn id(&self) -> String {
        secret::sha256_hex(self.text().as_bytes())
    }

    pub fn node(&self) -> &PrincipalId {
        &self.node
    }

    pub fn ca_sha256(&self) -> &[u8; 32] {
        &self.ca_sha256
    }
}

impl JoinTokenRecord {
    /// Whether `key_sha256` may be certified now: `Ok(None)` for the first use, the earlier certificate for a repeat.
    pub fn admit(&self, key_sha256: &str, now_ms: u64) -> Result<Option<&Redemption>, JoinTokenError> {
        match &self.redeemed {
            Some(redeemed) if redeemed.key_sha256 != key_sha256 => Err(JoinTokenError::OtherKey),
            Some(redeemed) if now_ms < redeemed.at_ms.saturating_add(REPEAT_MS) => Ok(Some(redeemed)),
            Some(_) => Err(JoinTokenError::Spent),
            None if now_ms < self.expires_ms => Ok(None),
            None => Err(JoinTokenError::Expired),
        }
    }

    /// Whether it is of no use to anybody any more, not even to repeat a use in its last moment.
    pub fn is_over(&self, now_ms: u64) -> bool {
        let used_ms = self.redeemed.as_ref().map_or(0, |redeemed| redeemed.at_ms);
        now_ms >= self.expires_ms.max(used_ms).saturating_add(REPEAT_MS)
    }
}

fn bytes(text: &str) -> Result<[u8; 32], JoinTokenError> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| JoinTokenError::Malformed)?;
    bytes.try_into().map_err(|_| JoinTokenError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> JoinToken {
        JoinToken::new("node/pier-2.dock".parse().unwrap(), [1; 32], Zeroizing::new([2; 32])).unwrap()
    }

    #[test]
    fn the_text_carries_node_and_authority() {
        let text = token().text();
        let parsed = JoinToken::parse(&text).unwrap();
        assert_eq!((parsed.node(), parsed.ca_sha256()), (token().node(), &[1; 32]));
        assert_eq!(parsed.id(), token().id());
        for text in ["", "hfjoin", "hfjoin.a", "hfjoin.a.b.c", &text[1..], &format!("{}x", text.as_str())] {
            assert_eq!(JoinToken::parse(text).err(), Some(JoinTokenError::Malformed), "{text}");
        }
        assert!(JoinToken::new("user/mira".parse().unwrap(), [1; 32], Zeroizing::new([2; 32])).is_err());
    }

    #[test]
    fn one_key_uses_it_once_and_may_repeat_for_ten_minutes() {
        let fresh = JoinTokenRecord {
            node: "node/pier2".parse().unwrap(),
            created_ms: 0,
            expires_ms: 1000,
            created_by: "user/mira".into(),
            redeemed: None,
        };
        assert_eq!(fresh.admit("a", 999), Ok(None));
        assert_eq!(fresh.admit("a", 1000), Err(JoinTokenError::Expired));
        let redemption =
            Redemption { key_sha256: "a".into(), at_ms: 900, certificate: String::new(), intermediate: None };
        let used = JoinTokenRecord { redeemed: Some(redemption.clone()), ..fresh };
        assert_eq!(used.admit("a", 900 + REPEAT_MS - 1), Ok(Some(&redemption)));
        assert_eq!(used.admit("a", 900 + REPEAT_MS), Err(JoinTokenError::Spent));
        assert_eq!(used.admit("b", 901), Err(JoinTokenError::OtherKey));
        assert!(!used.is_over(1000 + REPEAT_MS - 1) && used.is_over(1000 + REPEAT_MS));
    }
}
