use configsrv_fleet::Digest;
use holdfast_keyspace::KeyRange;
use holdfast_proto::iam::{
    Binding, GrantRequest, KeyGrant, ListBindingsRequest, Page, RevokeGrantRequest, admin_client::AdminClient,
};
use serde_json::{Value, json};

use super::{PAGE, directory::within};
use crate::{
    cli::{GrantKeys, KeyAccess, Scope},
    failure::Failure,
    output::{Format, Table, moment},
    remote::{Channel, refused},
};

pub(super) async fn grant(
    subject: String,
    role: String,
    scope: Scope,
    channel: Channel,
    output: Format,
) -> Result<(), Failure> {
    let Scope { org, project } = scope;
    bind(Binding { subject, role, org, project, ..Binding::default() }, channel, output).await
}

pub(super) async fn grant_keys(grant: GrantKeys, channel: Channel, output: Format) -> Result<(), Failure> {
    let GrantKeys { subject, rights, key, range_end, prefix, from_key, forbid, name } = grant;
    let start = key.into_bytes();
    let end = match range_end {
        Some(end) => end.into_bytes(),
        None if from_key => Vec::new(),
        // Without a key after it: to the end of the key space.
        None if prefix => KeyRange::after_prefix(&start).unwrap_or_default(),
        None => [start.as_slice(), &[0]].concat(),
    };
    let read = rights != KeyAccess::Write;
    let write = rights != KeyAccess::Read;
    let keys = KeyGrant { start: start.into(), end: end.into(), read, write, forbid };
    let name = name.unwrap_or_else(|| name_of(&keys));
    bind(Binding { subject, keys: vec![keys], name, ..Binding::default() }, channel, output).await
}

async fn bind(binding: Binding, channel: Channel, output: Format) -> Result<(), Failure> {
    let request = GrantRequest { binding: Some(binding), ..Default::default() };
    let answer = AdminClient::new(channel).grant(request).await.map_err(refused)?.into_inner();
    let bindings: Vec<Binding> = answer.binding.into_iter().collect();
    show(&bindings, output)
}

pub(super) async fn revoke(request: RevokeGrantRequest, channel: Channel, output: Format) -> Result<(), Failure> {
    let answer = AdminClient::new(channel).revoke_grant(request).await.map_err(refused)?.into_inner();
    output.print(&json!({ "revision": answer.revision }), || "revoked".to_owned())
}

/// The same for the same grant, so that repeating it changes nothing.
fn name_of(keys: &KeyGrant) -> String {
    let range = [keys.start.as_ref(), &[0xff], keys.end.as_ref()].concat();
    let hex: String = Digest::of(&range).hex().chars().take(12).collect();
    let verb = if keys.forbid { "forbid" } else { "allow" };
    format!("{verb}-{}-{hex}", rights_of(keys))
}

fn rights_of(keys: &KeyGrant) -> String {
    format!("{}{}", if keys.read { "r" } else { "" }, if keys.write { "w" } else { "" })
}

pub(super) async fn list(subject: Option<String>, channel: Channel, output: Format) -> Result<(), Failure> {
    let mut client = AdminClient::new(channel);
    let mut all = Vec::new();
    let mut token = String::new();
    loop {
        let subject = subject.clone().unwrap_or_default();
        let request = ListBindingsRequest { page: Some(Page { size: PAGE, token }), subject };
        let answer = client.list_bindings(request).await.map_err(refused)?.into_inner();
        all.extend(answer.bindings);
        token = answer.next_page_token;
        if token.is_empty() {
            return show(&all, output);
        }
    }
}

fn show(bindings: &[Binding], output: Format) -> Result<(), Failure> {
    let value: Vec<Value> = bindings
        .iter()
        .map(|binding| {
            json!({
                "name": binding.name,
                "subject": binding.subject,
                "role": binding.role,
                "org": binding.org,
                "project": binding.project,
                "keys": binding.keys.iter().map(keys).collect::<Vec<_>>(),
                "created_ms": binding.created_ms,
                "revision": binding.revision,
            })
        })
        .collect();
    output.print(&value, || {
        let mut table = Table::new(&["SUBJECT", "ROLE", "WITHIN", "KEYS", "SINCE", "NAME"]);
        for binding in bindings {
            table.row([
                binding.subject.clone(),
                binding.role.clone(),
                within(&binding.org, &binding.project),
                binding.keys.iter().map(keys).collect::<Vec<_>>().join(" "),
                moment(Some(binding.created_ms)),
                binding.name.clone(),
            ]);
        }
        table.to_string()
    })
}

/// `[start, end) rw`, with a minus before what is forbidden.
fn keys(grant: &KeyGrant) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).escape_debug().to_string();
    let sign = if grant.forbid { "-" } else { "" };
    format!("{sign}[{}, {}) {}", text(&grant.start), text(&grant.end), rights_of(grant))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_grant_has_one_name() {
        let grant = |start: &[u8], forbid| KeyGrant {
            start: start.to_vec().into(),
            end: b"b".to_vec().into(),
            read: true,
            write: false,
            forbid,
        };
        assert_eq!(name_of(&grant(b"a", false)), name_of(&grant(b"a", false)));
        assert_ne!(name_of(&grant(b"a", false)), name_of(&grant(b"aa", false)));
        assert!(name_of(&grant(b"a", true)).starts_with("forbid-r-"));
    }
}
