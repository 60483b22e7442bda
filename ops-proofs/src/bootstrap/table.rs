//! The start-up contract as a table: what a server is given, and what it must say to that.

/// The value of a variable.
#[derive(Clone, Copy, Debug)]
pub(super) enum Given {
    Nothing,
    Text(&'static str),
    /// So many hexadecimal digits.
    Hex(usize),
    /// So many bytes in base64.
    Base64(usize),
    /// The name of a file with so many bytes.
    Raw(usize),
    /// A PKCS#8 PEM.
    Pem,
}

/// Differs in one thing from a start that works.
pub(super) struct Start {
    /// In the contract, after `iam.bootstrap.`.
    pub(super) id: &'static str,
    /// For people: `holdfast serve` with this.
    pub(super) with: &'static str,
    pub(super) config: &'static str,
    pub(super) environment: &'static [(&'static str, Given)],
    /// How each finding begins; none for a start that works.
    pub(super) findings: &'static [&'static str],
}

const TOKEN: &str = "IAM_ADMIN_TOKEN";
const PHOTON: &str = "PHOTON_IAM_ADMIN_TOKEN";
pub(super) const SIGNING_KEY: &str = "IAM_SIGNING_KEY";
const MASTER: &str = "IAM_CRED_MASTER_KEY";
const MASTER_FILE: &str = "IAM_CRED_MASTER_KEY_FILE";
const LAX: &str = "IAM_ALLOW_UNAUTHENTICATED_ADMIN";

const NO_TOKEN: &str = "IAM_ADMIN_TOKEN: it is missing";
const NO_SIGNING_KEY: &str = "authn.internal_token.signing_key: it is missing";
const NO_MASTER_KEY: &str = "IAM_CRED_MASTER_KEY: it is missing";
const DIFFERENT_TOKENS: &str = "IAM_ADMIN_TOKEN: it is given more than once, with different values";

/// What is given where a row does not say otherwise.
pub(super) const SOUND: [(&str, Given); 3] =
    [(TOKEN, Given::Text("f00dfeed-0123456789-abcdefghijklmnop")), (SIGNING_KEY, Given::Pem), (MASTER, Given::Hex(64))];

/// Starts that work.
pub(super) const GOOD: [Start; 3] = [
    good("master-key-hex", "IAM_CRED_MASTER_KEY as 64 hexadecimal digits", &[]),
    good(
        "master-key-base64",
        "IAM_CRED_MASTER_KEY as 44 base64 characters, the token as PHOTON_IAM_ADMIN_TOKEN",
        &[
            (MASTER, Given::Base64(32)),
            (TOKEN, Given::Nothing),
            (PHOTON, Given::Text("f00dfeed-0123456789-abcdefghijklmnop")),
        ],
    ),
    good(
        "master-key-raw",
        "IAM_CRED_MASTER_KEY_FILE naming a file of 32 bytes",
        &[(MASTER, Given::Nothing), (MASTER_FILE, Given::Raw(32))],
    ),
];

/// Starts that are refused.
pub(super) const BAD: [Start; 22] = [
    bad("no-token", "no admin token", "", &[(TOKEN, Given::Nothing)], &[NO_TOKEN]),
    bad("empty-token", "an empty IAM_ADMIN_TOKEN", "", &[(TOKEN, Given::Text(""))], &[NO_TOKEN]),
    bad(
        "different-tokens",
        "IAM_ADMIN_TOKEN and another PHOTON_IAM_ADMIN_TOKEN",
        "",
        &[(PHOTON, Given::Text("0th3r-t0ken-0123456789-abcdefghijkl"))],
        &[DIFFERENT_TOKENS],
    ),
    bad(
        "short-token",
        "an admin token of 31 characters",
        "",
        &[(TOKEN, Given::Text("f00dfeed-0123456789-abcdefghijk"))],
        &["IAM_ADMIN_TOKEN: it has 31 characters, fewer than 32"],
    ),
    bad(
        "poor-token",
        "an admin token of 9 distinct characters",
        "",
        &[(TOKEN, Given::Text("abcdefghiabcdefghiabcdefghiabcdefghi"))],
        &["IAM_ADMIN_TOKEN: it has 9 distinct characters, fewer than 10"],
    ),
    bad("no-signing-key", "no signing key", "", &[(SIGNING_KEY, Given::Nothing)], &[NO_SIGNING_KEY]),
    bad(
        "signing-key-without-pem",
        "a signing key that is no PEM",
        "",
        &[(SIGNING_KEY, Given::Text("c29tZXRoaW5nIGVsc2UgdGhhbiBhIGtleQ=="))],
        &["authn.internal_token.signing_key: it is not a PEM"],
    ),
    bad(
        "signing-key-unreadable",
        "IAM_SIGNING_KEY_FILE naming a file that is not there",
        "",
        &[(SIGNING_KEY, Given::Nothing), ("IAM_SIGNING_KEY_FILE", Given::Text("/nowhere/key.pem"))],
        &["authn.internal_token.signing_key: /nowhere/key.pem cannot be read"],
    ),
    bad("no-master-key", "no master key", "", &[(MASTER, Given::Nothing)], &[NO_MASTER_KEY]),
    bad_key("master-key-hex-31", "a master key of 31 bytes in hexadecimal", &[(MASTER, Given::Hex(62))]),
    bad_key("master-key-hex-33", "a master key of 33 bytes in hexadecimal", &[(MASTER, Given::Hex(66))]),
    bad_key("master-key-base64-31", "a master key of 31 bytes in base64", &[(MASTER, Given::Base64(31))]),
    bad_key("master-key-base64-33", "a master key of 33 bytes in base64", &[(MASTER, Given::Base64(33))]),
    bad_key(
        "master-key-raw-31",
        "a master key of 31 bytes in a file",
        &[(MASTER, Given::Nothing), (MASTER_FILE, Given::Raw(31))],
    ),
    bad_key(
        "master-key-raw-33",
        "a master key of 33 bytes in a file",
        &[(MASTER, Given::Nothing), (MASTER_FILE, Given::Raw(33))],
    ),
    bad(
        "different-master-keys",
        "IAM_CRED_MASTER_KEY and another key in IAM_CRED_MASTER_KEY_FILE",
        "",
        &[(MASTER_FILE, Given::Raw(32))],
        &["IAM_CRED_MASTER_KEY: it is given more than once, with different values"],
    ),
    bad(
        "same-previous-master-key",
        "the same key as IAM_CRED_MASTER_KEY_PREVIOUS",
        "",
        &[("IAM_CRED_MASTER_KEY_PREVIOUS", Given::Hex(64))],
        &["IAM_CRED_MASTER_KEY_PREVIOUS: it is the same key as IAM_CRED_MASTER_KEY"],
    ),
    bad(
        "anybody-is-admin-by-variable",
        "IAM_ALLOW_UNAUTHENTICATED_ADMIN=true without --dev",
        "",
        &[(LAX, Given::Text("true"))],
        &["IAM_ALLOW_UNAUTHENTICATED_ADMIN: it is a laboratory setting"],
    ),
    bad(
        "anybody-is-admin-by-configuration",
        "admin.allow_unauthenticated: true without --dev",
        "admin: {allow_unauthenticated: true}\n",
        &[],
        &["admin.allow_unauthenticated: it is a laboratory setting"],
    ),
    bad(
        "random-signing-key",
        "authn.internal_token.random_signing_key: true without --dev",
        "authn: {internal_token: {random_signing_key: true}}\n",
        &[],
        &["authn.internal_token.random_signing_key: it is a laboratory setting"],
    ),
    bad(
        "nothing",
        "no secret at all",
        "",
        &[(TOKEN, Given::Nothing), (SIGNING_KEY, Given::Nothing), (MASTER, Given::Nothing)],
        &[NO_TOKEN, NO_SIGNING_KEY, NO_MASTER_KEY],
    ),
    bad(
        "everything",
        "every laboratory setting, two tokens, no signing key, a short master key, and a bad setting of the server",
        "raft: {heartbeat_ms: 100, election_ms: 200}\nadmin: {allow_unauthenticated: true}\n\
         authn: {internal_token: {random_signing_key: true}}\n",
        &[
            (LAX, Given::Text("true")),
            (PHOTON, Given::Text("0th3r-t0ken-0123456789-abcdefghijkl")),
            (SIGNING_KEY, Given::Nothing),
            (MASTER, Given::Base64(31)),
        ],
        &[
            "raft: ",
            "IAM_ALLOW_UNAUTHENTICATED_ADMIN: it is a laboratory setting",
            "admin.allow_unauthenticated: it is a laboratory setting",
            "authn.internal_token.random_signing_key: it is a laboratory setting",
            DIFFERENT_TOKENS,
            NO_SIGNING_KEY,
            "IAM_CRED_MASTER_KEY: it is not exactly 32 bytes",
        ],
    ),
];

/// On the data of a server that has started before.
pub(super) const AGAIN: Start =
    good("signing-key-in-the-ring", "no signing key, on data that has the key ring", &[(SIGNING_KEY, Given::Nothing)]);

/// On the data of a server that was sealed with another key.
pub(super) const OTHER_KEY: Start = bad(
    "another-master-key",
    "another master key than the one that its data is sealed with",
    "",
    &[(MASTER, Given::Text("ZGlmZmVyZW50LWtleS1kaWZmZXJlbnQta2V5LTMyISE="))],
    &["IAM_CRED_MASTER_KEY: it is not the key that this server's data was sealed with last"],
);

const fn good(id: &'static str, with: &'static str, environment: &'static [(&'static str, Given)]) -> Start {
    Start { id, with, config: "", environment, findings: &[] }
}

const fn bad(
    id: &'static str,
    with: &'static str,
    config: &'static str,
    environment: &'static [(&'static str, Given)],
    findings: &'static [&'static str],
) -> Start {
    Start { id, with, config, environment, findings }
}

/// A master key of another length.
const fn bad_key(id: &'static str, with: &'static str, environment: &'static [(&'static str, Given)]) -> Start {
    bad(id, with, "", environment, &["IAM_CRED_MASTER_KEY: it is not exactly 32 bytes"])
}
