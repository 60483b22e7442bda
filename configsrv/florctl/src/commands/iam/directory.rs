use holdfast_proto::iam::{
    self, AddMemberRequest, CreatePrincipalRequest, ListMembersRequest, ListPrincipalsRequest, Membership, Page,
    RemoveMemberRequest, SetPrincipalRequest, admin_client::AdminClient,
};
use serde_json::{Value, json};

use super::PAGE;
use crate::{
    cli::{Group, Principal, Scope},
    failure::Failure,
    output::{Format, Table, moment},
    remote::{Channel, refused},
};

pub(super) async fn principal(command: Principal, channel: Channel, output: Format) -> Result<(), Failure> {
    let mut client = AdminClient::new(channel);
    let changed = match command {
        Principal::List { kind } => return list(client, kind, output).await,
        Principal::Create { id, display_name, scope: Scope { org, project } } => {
            let request = CreatePrincipalRequest { id, display_name, org, project };
            client.create_principal(request).await.map_err(refused)?.into_inner().principal
        }
        Principal::Disable { id, expected_revision } => {
            set(&mut client, SetPrincipalRequest { id, disabled: true, expected_revision }).await?
        }
        Principal::Enable { id, expected_revision } => {
            set(&mut client, SetPrincipalRequest { id, disabled: false, expected_revision }).await?
        }
    };
    let principals: Vec<iam::Principal> = changed.into_iter().collect();
    show(&principals, output)
}

async fn set(
    client: &mut AdminClient<Channel>,
    request: SetPrincipalRequest,
) -> Result<Option<iam::Principal>, Failure> {
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
                "revision": principal.revision,
                "org": principal.org,
                "project": principal.project,
            })
        })
        .collect();
    output.print(&value, || {
        let mut table = Table::new(&["PRINCIPAL", "NAME", "WITHIN", "CREATED", "STATE"]);
        for principal in principals {
            table.row([
                principal.id.clone(),
                principal.display_name.clone(),
                within(&principal.org, &principal.project),
                moment(Some(principal.created_ms)),
                if principal.disabled { "disabled" } else { "enabled" }.to_owned(),
            ]);
        }
        table.to_string()
    })
}

/// For people: nothing for the whole system.
pub(super) fn within(org: &str, project: &str) -> String {
    if project.is_empty() { org.to_owned() } else { format!("{org}/{project}") }
}

pub(super) async fn group(command: Group, channel: Channel, output: Format) -> Result<(), Failure> {
    let mut client = AdminClient::new(channel);
    let revision = match command {
        Group::List { group, member } => return list_members(client, group, member, output).await,
        Group::Add { group, member } => {
            let request = AddMemberRequest { group, member };
            client.add_member(request).await.map_err(refused)?.into_inner().revision
        }
        Group::Remove { group, member } => {
            let request = RemoveMemberRequest { group, member };
            client.remove_member(request).await.map_err(refused)?.into_inner().revision
        }
    };
    output.print(&json!({ "revision": revision }), || "done".to_owned())
}

async fn list_members(
    mut client: AdminClient<Channel>,
    group: String,
    member: String,
    output: Format,
) -> Result<(), Failure> {
    let mut all: Vec<Membership> = Vec::new();
    let mut token = String::new();
    loop {
        let page = Some(Page { size: PAGE, token });
        let request = ListMembersRequest { page, member: member.clone(), group: group.clone() };
        let answer = client.list_members(request).await.map_err(refused)?.into_inner();
        all.extend(answer.members);
        token = answer.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    all.sort_by(|a, b| (&a.group, &a.member).cmp(&(&b.group, &b.member)));
    let value: Vec<Value> = all
        .iter()
        .map(|one| json!({ "group": one.group, "member": one.member, "created_ms": one.created_ms }))
        .collect();
    output.print(&value, || {
        let mut table = Table::new(&["GROUP", "MEMBER", "SINCE"]);
        for one in &all {
            table.row([one.group.clone(), one.member.clone(), moment(Some(one.created_ms))]);
        }
        table.to_string()
    })
}
