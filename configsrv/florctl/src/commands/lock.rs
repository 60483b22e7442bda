use serde_json::json;

use crate::{
    cli::Lock,
    failure::{Code, Failure},
    output::{Format, Table, moment},
    remote::{Http, LockGroup, Released},
    settings::Settings,
};

pub(super) async fn run(command: Lock, settings: &Settings, output: Format) -> Result<Code, Failure> {
    let http = Http::new(settings)?;
    match command {
        Lock::Status => status(&http.locks().await?, output)?,
        Lock::Who { group } => {
            let mut groups = http.locks().await?;
            groups.retain(|found| group.as_ref().is_none_or(|group| *group == found.group));
            who(&groups, output)?;
        }
        Lock::Release { group, id, reason } => {
            let body = json!({ "id": id, "reason": reason });
            let released: Released = http.post(&format!("/locks/{}/release", segment(&group)?), &body).await?;
            if !released.held {
                return Err(Failure::new(Code::State, format!("{id} holds no slot of {group}")));
            }
            output.print(&released, || format!("{id} holds no slot of {group} any more"))?;
        }
        Lock::Freeze { group, reason } => set_frozen(&http, &group, Some(&reason), &reason, output).await?,
        Lock::Unfreeze { group, reason } => set_frozen(&http, &group, None, &reason, output).await?,
    }
    Ok(Code::Done)
}

fn status(groups: &[LockGroup], output: Format) -> Result<(), Failure> {
    output.print(&groups, || {
        if groups.is_empty() {
            return "no group has been used yet".to_owned();
        }
        let mut table = Table::new(&["GROUP", "SLOTS", "TAKEN", "FROZEN"]);
        for group in groups {
            table.row([
                group.group.clone(),
                group.slots_in_force.to_string(),
                group.holders.len().to_string(),
                group.frozen.clone().unwrap_or_default(),
            ]);
        }
        table.to_string()
    })
}

fn who(groups: &[LockGroup], output: Format) -> Result<(), Failure> {
    output.print(&groups, || {
        let mut table = Table::new(&["GROUP", "HOLDER", "TAKEN BY", "SINCE", "LAST SEEN", "GRANT"]);
        for group in groups {
            for holder in &group.holders {
                table.row([
                    group.group.clone(),
                    holder.id.clone(),
                    holder.owner.clone().unwrap_or_default(),
                    moment(Some(holder.granted_at_ms)),
                    moment(Some(holder.last_seen_ms)),
                    holder.grant.to_string(),
                ]);
            }
        }
        table.to_string()
    })
}

/// A policy is replaced as a whole, so the slots are repeated.
async fn set_frozen(
    http: &Http,
    group: &str,
    frozen: Option<&str>,
    reason: &str,
    output: Format,
) -> Result<(), Failure> {
    let known = http.locks().await?;
    let slots = known.iter().find(|known| known.group == group).map_or(1, |known| known.slots_in_force);
    let body = json!({ "slots": slots, "frozen": frozen, "reason": reason });
    let answer: serde_json::Value = http.post(&format!("/locks/{}/policy", segment(group)?), &body).await?;
    output.print(&answer, || match frozen {
        Some(_) => format!("{group} grants no new slots"),
        None => format!("{group} grants slots again"),
    })
}

/// A group's name as part of a path; other characters would need escapes and are in no group's name.
fn segment(group: &str) -> Result<&str, Failure> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if !group.is_empty() && group.bytes().all(plain) {
        Ok(group)
    } else {
        Err(Failure::usage(format!("\"{group}\" is not the name of a group")))
    }
}
