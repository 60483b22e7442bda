use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use configsrv_fleet::{NodeName, Subject};

use crate::failure::Failure;

use super::{Repository, SubjectKind};

/// `florctl ca`.
#[derive(Debug, Subcommand)]
pub(crate) enum Ca {
    /// Make the authority: its certificate goes to the repository, its key to --keys. Once for a cluster.
    #[command(mut_arg("keys", |keys| keys.visible_alias("out")))]
    Init {
        #[command(flatten)]
        keys: Keys,
        /// Days that the authority lasts.
        #[arg(long, default_value_t = 3650)]
        days: u32,
    },
    /// Make certificates, for the keys in --keys or for new ones, and record them in enrollment.log.
    Issue {
        #[command(flatten)]
        keys: Keys,
        /// For every signer and principal of the repository that has none, and every principal whose last one has ended.
        #[arg(long, conflicts_with_all = ["kind", "name"])]
        missing: bool,
        /// Make a new key, and write it over the one in --keys. A signer's stays: nodes know the signer by it.
        #[arg(long, conflicts_with = "missing")]
        new_key: bool,
        #[command(flatten)]
        holder: Holder,
    },
    /// Certify the key of a PKCS #10 request, and record it in enrollment.log.
    Sign {
        /// The request, PEM.
        csr: PathBuf,
        #[command(flatten)]
        keys: Keys,
        #[command(flatten)]
        holder: Holder,
        /// Where the certificate goes [default: the standard output].
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Certify the key of a PKCS #10 request as an authority below the cluster's: the servers'. It may vouch for names of
    /// the cluster and for no further authority.
    Intermediate {
        /// The request, PEM.
        csr: PathBuf,
        #[command(flatten)]
        keys: Keys,
        /// Days that it lasts.
        #[arg(long, default_value_t = 365)]
        days: u32,
        /// Where the certificate goes [default: the standard output].
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Encrypt the authority's key with another password, or with its first one.
    Password {
        #[command(flatten)]
        keys: Keys,
        /// A file with the new password.
        #[arg(long, value_name = "FILE")]
        new_password_file: PathBuf,
    },
    /// Record in enrollment.log that a holder's certificates count no longer.
    Revoke {
        #[command(flatten)]
        repository: Repository,
        #[command(flatten)]
        holder: Holder,
        #[arg(long)]
        reason: String,
        /// Who does it.
        #[arg(long, env = "USER", default_value = "operator")]
        operator: String,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Keys {
    #[command(flatten)]
    pub(crate) repository: Repository,
    /// The folder for private keys, outside of the repository.
    #[arg(long, env = "FLORCTL_KEYS", value_name = "DIR")]
    pub(crate) keys: PathBuf,
    /// A file with the password of the authority's key. A new authority's key is encrypted with it.
    #[arg(long, env = "FLORCTL_CA_PASSWORD_FILE", value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// Who does it, for the log.
    #[arg(long, env = "USER", default_value = "operator")]
    pub(crate) operator: String,
}

/// `florctl issue-bundle`. The addresses of the servers' API and their authority are those of --api and --ca, if given.
#[derive(Args, Debug)]
pub(crate) struct IssueBundle {
    #[command(flatten)]
    pub(crate) keys: Keys,
    #[arg(long)]
    pub(crate) node: NodeName,
    /// Certify these requests of `flor id create`; the keys stay on the node. Without it the bundle has the keys, and is
    /// as secret as they are.
    #[arg(long, value_name = "FILE")]
    pub(crate) csr: Option<PathBuf>,
    /// New keys and certificates also for who has good ones in --keys.
    #[arg(long, conflicts_with = "csr")]
    pub(crate) renew: bool,
    /// Days that new certificates last [default: as cluster.yaml says].
    #[arg(long, value_name = "DAYS")]
    pub(crate) validity: Option<u32>,
    /// The HTTP address of a server, repeated in the order in which they are tried [default: read_url in cluster.yaml].
    #[arg(long = "server", visible_alias = "cluster", value_name = "URL")]
    pub(crate) servers: Vec<String>,
    /// A file with a join token, with which the node also enrols at the servers.
    #[arg(long, value_name = "FILE")]
    pub(crate) join_token_file: Option<PathBuf>,
    /// Where the bundle goes, outside of the repository [default: NODE.bundle in --keys].
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// Where a service is one: in the whole cluster, or on each of its nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scope {
    Cluster,
    Node,
}

/// Whose certificate.
#[derive(Args, Debug)]
pub(crate) struct Holder {
    #[arg(long, value_enum)]
    kind: Option<SubjectKind>,
    #[arg(long)]
    name: Option<String>,
    /// The host, for a service with `scope: node`.
    #[arg(long, value_name = "NODE")]
    on: Option<NodeName>,
    /// That of a service; with `node`, --on says which one [default: node if there is --on].
    #[arg(long, value_enum)]
    scope: Option<Scope>,
    /// Days that the certificate lasts [default: as cluster.yaml says; 365 for signers].
    #[arg(long)]
    pub(crate) days: Option<u32>,
}

impl Holder {
    pub(crate) fn subject(&self) -> Result<Subject, Failure> {
        let (Some(kind), Some(name)) = (self.kind, &self.name) else {
            return Err(Failure::usage("--kind and --name say whose certificate it is"));
        };
        if (self.on.is_some() || self.scope.is_some()) && kind != SubjectKind::Service {
            return Err(Failure::usage("--on and --scope are for services"));
        }
        match (self.scope, &self.on) {
            (Some(Scope::Node), None) => return Err(Failure::usage("--scope node needs --on NODE")),
            (Some(Scope::Cluster), Some(_)) => {
                return Err(Failure::usage(
                    "a service whose scope is the cluster is on no node of its own: leave out --on",
                ));
            }
            (Some(Scope::Node), Some(_)) | (Some(Scope::Cluster) | None, _) => {}
        }
        let invalid = |error: &dyn std::fmt::Display| Failure::usage(error.to_string());
        Ok(match kind {
            SubjectKind::User => Subject::User(name.parse().map_err(|error| invalid(&error))?),
            SubjectKind::Node => Subject::Node(name.parse().map_err(|error| invalid(&error))?),
            SubjectKind::Signer => Subject::Signer(name.parse().map_err(|error| invalid(&error))?),
            SubjectKind::Service => {
                Subject::Service { node: self.on.clone(), service: name.parse().map_err(|error| invalid(&error))? }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn parsed(words: &str) -> Command {
        Cli::try_parse_from(["florctl"].into_iter().chain(words.split(' '))).unwrap().command
    }

    #[test]
    fn other_words_mean_the_same() {
        let Command::Ca(Ca::Init { keys, .. }) = parsed("ca init --out /safe") else { panic!() };
        assert_eq!(keys.keys, PathBuf::from("/safe"));
        let words = "issue-bundle --keys /safe --node hub --cluster http://a --server http://b";
        let Command::IssueBundle(options) = parsed(words) else { panic!() };
        assert_eq!(options.servers, ["http://a", "http://b"]);
    }

    #[test]
    fn the_scope_of_a_service_fits_its_node() {
        let subject = |words: &str| {
            let words = format!("ca sign request.pem --keys /safe --name shell {words}");
            let Command::Ca(Ca::Sign { holder, .. }) = parsed(&words) else { panic!("{words}") };
            holder.subject().map(|subject| subject.to_string())
        };
        for words in ["--kind service", "--kind service --scope cluster"] {
            assert_eq!(subject(words).unwrap(), "service/shell");
        }
        for words in ["--kind service --on pier2", "--kind service --scope node --on pier2"] {
            assert_eq!(subject(words).unwrap(), "service/pier2/shell");
        }
        for words in
            ["--kind service --scope node", "--kind service --scope cluster --on pier2", "--kind user --scope cluster"]
        {
            assert!(subject(words).is_err(), "{words}");
        }
    }
}
