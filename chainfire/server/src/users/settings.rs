use std::{collections::BTreeMap, fs, io, path::PathBuf, sync::Arc, time::Duration};

use super::{
    SimpleTokens,
    jwt::{Jwt, KeyError, Keys, Method},
    tokens::Tokens,
};

/// How users prove themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthSettings {
    pub(super) tokens: TokenSettings,
    /// How long an unused simple token lives.
    pub(crate) token_ttl: Duration,
    /// 4 to 31: each step doubles the time that a password takes.
    pub(super) bcrypt_cost: u32,
    /// Whether a client's certificate names a user: where clients must show one.
    pub(super) certificates: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TokenSettings {
    /// Certificates alone prove who somebody is.
    None,
    Simple,
    Jwt {
        method: Method,
        public: Option<PathBuf>,
        private: Option<PathBuf>,
        ttl: Duration,
    },
}

/// What is wrong with the kind of tokens that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum AuthTokenError {
    #[error("it begins with simple or jwt, or is empty for no tokens at all")]
    Kind,
    #[error("{0:?} is not an option as name=value, or comes twice")]
    Option(String),
    #[error("sign-method must be RS, PS or HS with 256, 384 or 512, ES256, ES384, or EdDSA")]
    Method,
    #[error("ttl: {0:?} is not a time such as 10m")]
    Ttl(String),
    #[error("cannot read {path}: {error}")]
    Read { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// etcd's limits for bcrypt, and what it uses instead of anything else.
const COSTS: std::ops::RangeInclusive<u32> = 4..=31;
pub(crate) const DEFAULT_COST: u32 = 10;

impl AuthSettings {
    /// `tokens` is etcd's text: `simple`, `jwt,sign-method=...,pub-key=...,priv-key=...,ttl=...`, or nothing.
    pub(crate) fn new(
        tokens: &str,
        token_ttl: Duration,
        bcrypt_cost: u32,
        certificates: bool,
        time: impl Fn(&str) -> Option<Duration>,
    ) -> Result<Self, AuthTokenError> {
        let bcrypt_cost = if COSTS.contains(&bcrypt_cost) { bcrypt_cost } else { DEFAULT_COST };
        Ok(Self { tokens: TokenSettings::parse(tokens, time)?, token_ttl, bcrypt_cost, certificates })
    }

    pub(crate) fn is_cost(cost: u32) -> bool {
        COSTS.contains(&cost)
    }
}

impl TokenSettings {
    fn parse(text: &str, time: impl Fn(&str) -> Option<Duration>) -> Result<Self, AuthTokenError> {
        let (kind, options) = text.split_once(',').unwrap_or((text, ""));
        let mut given = BTreeMap::new();
        for option in options.split(',').filter(|_| !options.is_empty()) {
            let pair = option.split_once('=').filter(|(_, value)| !value.contains('='));
            let (name, value) = pair.ok_or_else(|| AuthTokenError::Option(option.to_owned()))?;
            if given.insert(name, value).is_some() {
                return Err(AuthTokenError::Option(option.to_owned()));
            }
        }
        match kind {
            "" => Ok(Self::None),
            "simple" => Ok(Self::Simple),
            "jwt" => {
                let file = |name| given.get(name).filter(|path| !path.is_empty()).map(PathBuf::from);
                let method = given.get("sign-method").and_then(|name| Method::named(name));
                let ttl = match given.get("ttl").filter(|ttl| !ttl.is_empty()) {
                    Some(ttl) => time(ttl).ok_or_else(|| AuthTokenError::Ttl((*ttl).to_owned()))?,
                    None => Duration::from_secs(300),
                };
                let (public, private) = (file("pub-key"), file("priv-key"));
                Ok(Self::Jwt { method: method.ok_or(AuthTokenError::Method)?, public, private, ttl })
            }
            _ => Err(AuthTokenError::Kind),
        }
    }

    /// The tokens that are asked for: the simple ones that this server knows, or signed ones with keys from their files.
    pub(super) fn tokens(&self, simple: Arc<SimpleTokens>) -> Result<Tokens, AuthTokenError> {
        let (method, public, private, ttl) = match self {
            Self::None => return Ok(Tokens::None),
            Self::Simple => return Ok(Tokens::Simple(simple)),
            Self::Jwt { method, public, private, ttl } => (*method, public, private, *ttl),
        };
        let read = |path: &Option<PathBuf>| {
            let read =
                |path: &PathBuf| fs::read(path).map_err(|error| AuthTokenError::Read { path: path.clone(), error });
            path.as_ref().map(read).transpose()
        };
        let keys = Keys::new(method, read(public)?.as_deref(), read(private)?.as_deref())?;
        Ok(Tokens::Jwt(Box::new(Jwt::new(keys, ttl))))
    }
}

impl Default for AuthSettings {
    /// etcd's.
    fn default() -> Self {
        let token_ttl = Duration::from_secs(300);
        Self { tokens: TokenSettings::Simple, token_ttl, bcrypt_cost: DEFAULT_COST, certificates: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<TokenSettings, String> {
        let time =
            |text: &str| text.strip_suffix('m')?.parse().ok().map(|minutes: u64| Duration::from_secs(minutes * 60));
        TokenSettings::parse(text, time).map_err(|error| error.to_string())
    }

    #[test]
    fn options_are_etcds() {
        assert_eq!(parse("simple"), Ok(TokenSettings::Simple));
        assert_eq!(parse(""), Ok(TokenSettings::None));
        let jwt = parse("jwt,pub-key=/a,priv-key=/b,sign-method=RS512,ttl=10m").unwrap();
        let (public, private) = (Some(PathBuf::from("/a")), Some(PathBuf::from("/b")));
        let ttl = Duration::from_secs(600);
        assert_eq!(jwt, TokenSettings::Jwt { method: Method::Rs512, public, private, ttl });
        let TokenSettings::Jwt { ttl, .. } = parse("jwt,sign-method=EdDSA,other=1").unwrap() else { panic!("simple") };
        assert_eq!(ttl, Duration::from_secs(300));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, says) in [
            ("basic", "simple or jwt"),
            ("jwt", "sign-method"),
            ("jwt,sign-method=none", "sign-method"),
            ("jwt,sign-method=ES512", "sign-method"),
            ("jwt,sign-method", "\"sign-method\""),
            ("jwt,sign-method=RS256,sign-method=RS256", "twice"),
            ("jwt,sign-method=RS256,ttl=soon", "\"soon\""),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        let simple = Arc::new(SimpleTokens::new(Duration::ZERO));
        let missing = parse("jwt,sign-method=RS256,pub-key=/no/such/file").unwrap().tokens(simple).err().unwrap();
        assert!(missing.to_string().contains("/no/such/file"), "{missing}");
    }

    #[test]
    fn costs_that_bcrypt_does_not_have_are_the_default() {
        let cost = |cost| AuthSettings::new("simple", Duration::ZERO, cost, false, |_| None).unwrap().bcrypt_cost;
        assert_eq!([3, 4, 31, 32].map(cost), [10, 4, 31, 10]);
    }
}
