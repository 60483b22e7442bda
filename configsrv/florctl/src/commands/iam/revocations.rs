//! The list of what had ended, or rather of what had not: records forget old revocations, and what is not live has ended.

use std::{collections::BTreeSet, fs, path::Path};

use holdfast_proto::iam::{
    ExportStandingsRequest, ListDeniedRequest, ListMappingsRequest, ListRootsRequest, ListSigningKeysRequest,
    MergeStandingsRequest, Page, Standing, StatusRequest, admin_client::AdminClient, recovery_client::RecoveryClient,
    trust_client::TrustClient,
};
use serde::{Deserialize, Serialize};

use super::PAGE;
use crate::{
    failure::Failure,
    remote::{Channel, refused},
};

const FORMAT: &str = "holdfast-revocations/1";
/// What the servers take at once.
const BATCH: usize = 100;

/// What an export holds.
#[derive(Serialize, Deserialize)]
pub(super) struct Export {
    format: String,
    exported_ms: u64,
    pub(super) bootstrap_token_disabled: bool,
    pub(super) denied_serials: Vec<String>,
    pub(super) principals: Vec<Exported>,
    live: BTreeSet<Live>,
}

/// What else counts; it is ended by hand, since what is active has to be replaced first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Live {
    SigningKey(String),
    Authority(String),
    Mapping { principal: String, name: String },
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Exported {
    id: String,
    disabled: bool,
    access_keys: Vec<String>,
}

impl Export {
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
        let wrong = |reason: String| Failure::usage(format!("{}: {reason}", path.display()));
        let export: Self = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if export.format == FORMAT { Ok(export) } else { Err(wrong(format!("it is no {FORMAT}"))) }
    }

    /// What counts now, was there when the list was written, and did not count then: the commands that end it.
    pub(super) async fn left(&self, channel: Channel) -> Result<Vec<String>, Failure> {
        let ended = |(one, added_ms): &(Live, u64)| *added_ms <= self.exported_ms && !self.live.contains(one);
        Ok(live(channel).await?.into_iter().filter(ended).map(|(one, _)| one.end()).collect())
    }
}

impl Live {
    /// The command that ends it.
    fn end(&self) -> String {
        match self {
            Self::SigningKey(kid) => format!("florctl iam key compromise {kid}"),
            Self::Authority(id) => format!("florctl iam trust distrust {id}"),
            Self::Mapping { principal, name } => format!("florctl iam trust mapping distrust {principal} '{name}'"),
        }
    }
}

/// Everything of these kinds that counts, and when it was added.
async fn live(channel: Channel) -> Result<Vec<(Live, u64)>, Failure> {
    let keys = AdminClient::new(channel.clone()).list_signing_keys(ListSigningKeysRequest {}).await;
    let keys = keys.map_err(refused)?.into_inner().keys.into_iter();
    let counts = |state: &str| !matches!(state, "retired" | "compromised" | "removed" | "distrusted");
    let keys = keys.filter(|key| counts(&key.state)).map(|key| (Live::SigningKey(key.kid), key.added_ms));
    let mut trust = TrustClient::new(channel);
    let roots = trust.list(ListRootsRequest {}).await.map_err(refused)?.into_inner().roots.into_iter();
    let roots = roots.filter(|root| counts(&root.state)).map(|root| (Live::Authority(root.id), root.added_ms));
    let rules = trust.list_mappings(ListMappingsRequest {}).await.map_err(refused)?.into_inner().rules.into_iter();
    let rules = rules
        .filter(|rule| counts(&rule.state))
        .map(|rule| (Live::Mapping { principal: rule.principal, name: rule.name }, rule.added_ms));
    Ok(keys.chain(roots).chain(rules).collect())
}

/// In parts that the servers take.
pub(super) fn batches(export: &Export) -> Vec<MergeStandingsRequest> {
    let Export { exported_ms, denied_serials, principals, .. } = export;
    let standing = |one: &Exported| {
        let Exported { id, disabled, access_keys } = one.clone();
        Standing { principal: id, disabled, access_keys }
    };
    let standings: Vec<_> = principals.iter().map(standing).collect();
    let parts = standings.len().max(denied_serials.len()).div_ceil(BATCH).max(1);
    let part = |number: usize| MergeStandingsRequest {
        standings: standings.chunks(BATCH).nth(number).unwrap_or_default().to_vec(),
        exported_ms: *exported_ms,
        denied_serials: denied_serials.chunks(BATCH).nth(number).unwrap_or_default().to_vec(),
    };
    (0..parts).map(part).collect()
}

pub(super) async fn export(channel: Channel) -> Result<Export, Failure> {
    let status = AdminClient::new(channel.clone()).status(StatusRequest {}).await.map_err(refused)?.into_inner();
    let mut export = Export {
        format: FORMAT.to_owned(),
        exported_ms: u64::MAX,
        bootstrap_token_disabled: !status.bootstrap_token_enabled,
        denied_serials: Vec::new(),
        principals: Vec::new(),
        live: live(channel.clone()).await?.into_iter().map(|(one, _)| one).collect(),
    };
    let (mut client, mut token) = (RecoveryClient::new(channel.clone()), String::new());
    loop {
        let page = Some(Page { size: PAGE, token });
        let page = client.export(ExportStandingsRequest { page }).await.map_err(refused)?.into_inner();
        // The first page's: what comes later knows more than it says.
        export.exported_ms = export.exported_ms.min(page.exported_ms);
        export.principals.extend(page.standings.into_iter().map(|standing| Exported {
            id: standing.principal,
            disabled: standing.disabled,
            access_keys: standing.access_keys,
        }));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let (mut client, mut page_token) = (TrustClient::new(channel), String::new());
    loop {
        let request = ListDeniedRequest { page_size: PAGE, page_token };
        let page = client.list_denied(request).await.map_err(refused)?.into_inner();
        export.denied_serials.extend(page.denied.into_iter().map(|denied| denied.serial));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(export);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_out_of_the_parts() {
        let principal = |number: usize| Exported { id: format!("user/u{number}"), disabled: true, access_keys: vec![] };
        let export = |principals: usize, denied: usize| Export {
            format: FORMAT.to_owned(),
            exported_ms: 7,
            bootstrap_token_disabled: true,
            denied_serials: (0..denied).map(|number| format!("{number:x}")).collect(),
            principals: (0..principals).map(principal).collect(),
            live: BTreeSet::new(),
        };
        for (principals, denied, parts) in [(0, 0, 1), (1, 0, 1), (100, 1, 1), (101, 0, 2), (3, 250, 3)] {
            let batches = batches(&export(principals, denied));
            assert_eq!(batches.len(), parts);
            assert_eq!(batches.iter().map(|batch| batch.standings.len()).sum::<usize>(), principals);
            assert_eq!(batches.iter().map(|batch| batch.denied_serials.len()).sum::<usize>(), denied);
        }
    }
}
