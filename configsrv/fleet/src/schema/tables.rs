use super::{
    Form, Shape, Value,
    shape::{needed, optional},
};

const ANY: Value = Value::Text(Form::Any);
const NAME: Value = Value::Text(Form::Name);
const ADDRESS_TEXT: Value = Value::Text(Form::Address);
const NAMES: Value = Value::List { of: &NAME, least: 0 };
/// The same for nodes and services.
const FILES: Value = Value::List { of: &Value::Block(&FILE), least: 0 };

/// A whole file. Which file something is written in does not matter, except for `cluster` and `source`.
pub(crate) const REPOSITORY: Shape = Shape {
    name: "repository",
    about: "A file of a fleet's repository. Collections may be spread over files as one likes.",
    fields: &[
        optional("cluster", Value::Block(&CLUSTER), "The cluster: written once, in cluster.yaml."),
        optional("nodes", Value::Map { keys: Form::Name, of: &Value::Block(&NODE) }, "The machines, by name."),
        optional("services", Value::Map { keys: Form::Name, of: &Value::Block(&SERVICE) }, "What is offered, by name."),
        optional(
            "groups",
            Value::Map { keys: Form::Name, of: &Value::Nothing },
            "The sets of services that roles allow. Names only: services say which groups they are in.",
        ),
        optional("roles", Value::Map { keys: Form::Name, of: &Value::Block(&ROLE) }, "What their holders may reach."),
        optional("users", Value::Map { keys: Form::Name, of: &Value::Block(&USER) }, "People, and what they act from."),
        optional("source", Value::Block(&SOURCE), "Which files make the fleet. Only in cluster.yaml."),
    ],
    choice: &[],
};

pub(crate) const CLUSTER: Shape = Shape {
    name: "cluster",
    about: "The cluster.",
    fields: &[
        needed("name", Value::Text(Form::Cluster), "The cluster's name, which is also its SPIFFE trust domain."),
        needed("crypto", Value::Block(&CRYPTO), "Whose certificates count."),
        needed("signers", Value::Block(&SIGNERS), "Whose signatures nodes accept."),
        optional("config_server", Value::Block(&CONFIG_SERVER), "How nodes find the next version."),
        optional("version", Value::Ignored, "Not used: versions come from florctl compile."),
    ],
    choice: &[],
};

pub(crate) const CRYPTO: Shape = Shape {
    name: "crypto",
    about: "Whose certificates count.",
    fields: &[
        needed("ca_cert", ANY, "The certificate of the cluster's authority, a path in the repository."),
        optional("signature_algorithm", Value::Word(&["ed25519"]), "The algorithm of signatures on artifacts."),
        optional(
            "cert_validity_days",
            Value::Whole { least: 1, most: 3650 },
            "Days that certificates of users, services and nodes last; 90 if absent.",
        ),
    ],
    choice: &[],
};

pub(crate) const SIGNERS: Shape = Shape {
    name: "signers",
    about: "Whose signatures nodes accept.",
    fields: &[needed("mgmt", Value::Block(&MGMT), "The signers of configuration.")],
    choice: &[],
};

pub(crate) const MGMT: Shape = Shape {
    name: "mgmt",
    about: "The signers of configuration.",
    fields: &[needed("keys", Value::List { of: &Value::Block(&KEY), least: 0 }, "At least one.")],
    choice: &[],
};

pub(crate) const KEY: Shape = Shape {
    name: "key",
    about: "A key that signs artifacts.",
    fields: &[
        needed("name", NAME, "The signer's name."),
        needed("cert", ANY, "Its certificate, below certs/management-planes/ in the repository."),
    ],
    choice: &[],
};

pub(crate) const CONFIG_SERVER: Shape = Shape {
    name: "config-server",
    about: "How nodes find the next version.",
    fields: &[
        optional(
            "via",
            Value::Word(&["direct", "rete"]),
            "direct: the servers' own HTTPS. rete: the service config-server, through the data plane. direct if absent.",
        ),
        optional(
            "read_url",
            Value::Either(&[Value::Text(Form::Url), Value::List { of: &Value::Text(Form::Url), least: 0 }]),
            "Where nodes ask, in this order; where enrolment said if absent.",
        ),
        optional("publish_url", Value::Text(Form::Url), "Where florctl publishes."),
        optional("poll_interval", Value::Text(Form::Span), "How often nodes ask that sync by a timer."),
        optional("hold", Value::Text(Form::Span), "How long probes must hold before a node confirms by itself."),
        optional(
            "expires_after",
            Value::Text(Form::Lasting),
            "How long an artifact is fresh; past that a node without a newer one raises an alarm.",
        ),
    ],
    choice: &[],
};

pub(crate) const NODE: Shape = Shape {
    name: "node",
    about: "A machine. One without an address only initiates.",
    fields: &[
        optional(
            "addresses",
            Value::List { of: &Value::Block(&ADDRESS), least: 0 },
            "Where others reach its data plane. They dial one that is declared public, else the first that looks so.",
        ),
        optional("labels", Value::Map { keys: Form::Any, of: &ANY }, "Texts to select nodes by."),
        optional("socks5", ADDRESS_TEXT, "The listener of the node's own dial-out; chosen for it if absent."),
        optional("files", FILES, "Files that the node writes."),
        optional(
            "drift",
            Value::Word(&["report", "repair", "freeze"]),
            "What the node does when somebody else changes those files; it tells of them, and no more, if absent.",
        ),
        optional(
            "probes",
            Value::List { of: &Value::Block(&PROBE), least: 0 },
            "What must hold before the node confirms a version by itself.",
        ),
    ],
    choice: &[],
};

pub(crate) const ADDRESS: Shape = Shape {
    name: "address",
    about: "Where others reach a node's data plane.",
    fields: &[
        needed("name", NAME, "What the address is called: wan, lan."),
        needed("udp", ADDRESS_TEXT, "HOST:PORT, for QUIC."),
        optional("public", Value::Flag, "Whether the Internet reaches it, if it does not look so."),
    ],
    choice: &[],
};

pub(crate) const PROBE: Shape = Shape {
    name: "probe",
    about: "Something that holds on a node that is well: a connection through the data plane, or a GET.",
    fields: &[
        needed("name", NAME, "The probe's name."),
        optional("as", NAME, "Who connects: a user, a service or the node itself, on this node."),
        optional("target", ANY, "What it connects to: SERVICE, or NODE/SERVICE for a service with scope: node."),
        optional("url", Value::Text(Form::PlainUrl), "What is asked with GET, and answered with success."),
    ],
    choice: &[&["as", "target"], &["url"]],
};

pub(crate) const SERVICE: Shape = Shape {
    name: "service",
    about: "Something that is offered on a node. groups is the side that is reached; socks5_proxy and roles are the side that \
            reaches.",
    fields: &[
        needed(
            "at",
            Value::Either(&[NAME, Value::List { of: &NAME, least: 1 }]),
            "The node that has it, or several that serve the same.",
        ),
        needed("addr", ADDRESS_TEXT, "Where it listens on its node: 127.0.0.1:PORT."),
        optional("socks5_proxy", ADDRESS_TEXT, "The listener through which it reaches others; it needs roles, too."),
        needed("groups", NAMES, "The groups that it is in: roles that allow one of them reach it."),
        optional("roles", NAMES, "The roles that it holds when it reaches others."),
        optional(
            "scope",
            Value::Word(&["cluster", "node"]),
            "cluster: one principal, wherever it runs. node: one for each of its nodes. cluster if absent.",
        ),
        optional("image", ANY, "An OCI reference, carried through to the node."),
        optional("files", FILES, "Files that its nodes write."),
    ],
    choice: &[],
};

pub(crate) const FILE: Shape = Shape {
    name: "file",
    about: "A file that a node writes, and what it does afterwards.",
    fields: &[
        needed("path", Value::Text(Form::Path), "Where: absolute, without . and .."),
        optional("mode", Value::Text(Form::Mode), "Four octal digits in quotes; \"0644\" if absent."),
        optional("owner", Value::Text(Form::Owner), "USER or USER:GROUP; the agent's own if absent."),
        optional("content", ANY, "What is in it."),
        optional("from", ANY, "The file of the repository that it is a copy of."),
        optional("activate", Value::Block(&ACTIVATION), "What makes a program see it."),
    ],
    choice: &[&["content"], &["from"]],
};

pub(crate) const ACTIVATION: Shape = Shape {
    name: "activation",
    about: "What makes a program see its new file.",
    fields: &[
        optional("reload", ANY, "The unit that systemctl reloads."),
        optional("restart", ANY, "The unit that systemctl restarts."),
        optional("run", Value::Command { first: Form::Path }, "A program, by its absolute path, and its arguments."),
    ],
    choice: &[&["reload"], &["restart"], &["run"]],
};

pub(crate) const ROLE: Shape = Shape {
    name: "role",
    about: "What the holders of a role may reach.",
    fields: &[needed("allow", NAMES, "The groups whose services its holders may reach.")],
    choice: &[],
};

pub(crate) const USER: Shape = Shape {
    name: "user",
    about: "A person.",
    fields: &[
        needed("roles", NAMES, "The roles that the person holds."),
        needed(
            "nodes",
            Value::List { of: &Value::Either(&[NAME, Value::Block(&DEVICE)]), least: 0 },
            "The nodes that act as the person.",
        ),
    ],
    choice: &[],
};

pub(crate) const DEVICE: Shape = Shape {
    name: "device",
    about: "A node that acts as a person.",
    fields: &[
        needed("at", NAME, "The node."),
        optional("socks5", ADDRESS_TEXT, "The person's listener there; chosen for them if absent."),
    ],
    choice: &[],
};

pub(crate) const SOURCE: Shape = Shape {
    name: "source",
    about: "Which files make the fleet.",
    fields: &[
        optional("include", Value::List { of: &ANY, least: 0 }, "Globs: these files instead of every YAML file."),
        optional("exclude", Value::List { of: &ANY, least: 0 }, "Globs: not these files."),
    ],
    choice: &[],
};
