use holdfast_proto::iam::{
    self, Binding, CreatePrincipalRequest, GrantRequest, ListBindingsRequest, ListPrincipalsRequest, Page,
    SetPrincipalRequest, admin_client::AdminClient,
};
use serde_json::{Value, json};

use super::PAGE;
use crate::{
    cli::Principal,
    failure::Failure,
    output::{Format, Table, moment},
    remote::{Channel, refused},
};

pub(super) async fn principal(command: Principal, channel: Channel, output: Format) -> Result<(), Failure> {
    let mut client = AdminClient::new(channel);
    let changed = match command {
        Principal::List { kind } => return list(client, kind, output).await,
        Principal::Create { id, display_name } => {
            let request = CreatePrincipalRequest { id, display_name };
            client.create_principal(request).await.map_err(refused)?.into_inner().principal
        }
        Principal::Disable { id } => set(&mut client, id, true).await?,
        Principal::Enable { id } => set(&mut client, id, false).await?,
    };
    let principals: Vec<iam::Principal> = changed.into_iter().collect();
    show(&principals, output)
}

async fn set(client: &mut AdminClient<Channel>, id: String, disabled: bool) -> Result<Option<iam::Principal>, Failure> {
    let request = SetPrincipalRequest { id, disabled };
    Ok(client.set_principal(request).await.map_err(refused)?.into_inner().principal)
}

async fn list(mut client: AdminClient<Channel>, kind: String, output: Format) -> Result<(), Failure> {
    let mut all = Vec::new();
    let mut token = String::new();
    loop {
        let request = ListPrincipalsRequest { page: Some(Page { size: PAGE, token }), kind: kind.clone() };
        let answer = client.list_principals(request).await.map_err(refused)?.into_inner();
        all.extend(answer.principals);
        token = answer.next_page_token;
        if token.is_empty() {
            return show(&all, output);
        }
    }
}

fn show(principals: &[iam::Principal], output: Format) -> Result<(), Failure> {
    let value: Vec<Value> = principals
        .iter()
        .map(|principal| {
            json!({
                "id": principal.id,
                "display_name": principal.display_name,
                "spiffe_id": principal.spiffe_id,
                "created_ms": principal.created_ms,
                "disabled": principal.disabled,
            })
        })
        .collect();
    output.print(&value, || {
        let mut table = Table::new(&["PRINCIPAL", "NAME", "CREATED", "STATE"]);
        for principal in principals {
            table.row([
                principal.id.clone(),
                principal.display_name.clone(),
                moment(Some(principal.created_ms)),
                if principal.disabled { "disabled" } else { "enabled" }.to_owned(),
            ]);
        }
        table.to_string()
    })
}

pub(super) async fn grant(subject: String, role: String, channel: Channel, output: Format) -> Result<(), Failure> {
    let binding = Binding { subject, role, ..Binding::default() };
    let request = GrantRequest { binding: Some(binding) };
    let answer = AdminClient::new(channel).grant(request).await.map_err(refused)?.into_inner();
    let bindings: Vec<Binding> = answer.binding.into_iter().collect();
    show_bindings(&bindings, output)
}

pub(super) async fn grants(subject: Option<String>, channel: Channel, output: Format) -> Result<(), Failure> {
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
            return show_bindings(&all, output);
        }
    }
}

fn show_bindings(bindings: &[Binding], output: Format) -> Result<(), Failure> {
    let value: Vec<Value> = bindings
        .iter()
        .map(|binding| {
            json!({
                "name": binding.name,
                "subject": binding.subject,
                "role": binding.role,
                "keys": binding.keys.iter().map(keys).collect::<Vec<_>>(),
                "created_ms": binding.created_ms,
            })
        })
        .collect();
    output.print(&value, || {
        let mut table = Table::new(&["SUBJECT", "ROLE", "KEYS", "SINCE", "NAME"]);
        for binding in bindings {
            table.row([
                binding.subject.clone(),
                binding.role.clone(),
                binding.keys.iter().map(keys).collect::<Vec<_>>().join(" "),
                moment(Some(binding.created_ms)),
                binding.name.clone(),
            ]);
        }
        table.to_string()
    })
}

/// `[start, end) rw`.
fn keys(grant: &iam::KeyGrant) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let rights = format!("{}{}", if grant.read { "r" } else { "" }, if grant.write { "w" } else { "" });
    format!("[{}, {}) {rights}", text(&grant.start), text(&grant.end))
}
