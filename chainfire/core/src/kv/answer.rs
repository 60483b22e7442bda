use serde::{Deserialize, Serialize};

use crate::kv::{KeyValue, Revision};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeAnswer {
    /// The store's newest revision when it answered, whatever revision was asked for.
    pub revision: Revision,
    pub kvs: Vec<KeyValue>,
    /// The limit cut something off.
    pub more: bool,
    /// All keys in the range, whatever limit and filters.
    pub count: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutAnswer {
    pub revision: Revision,
    pub prev_kv: Option<KeyValue>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteAnswer {
    pub revision: Revision,
    pub deleted: u64,
    pub prev_kvs: Vec<KeyValue>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxnAnswer {
    pub revision: Revision,
    /// Whether the compares held.
    pub succeeded: bool,
    /// One for each operation of the chosen branch.
    pub responses: Vec<OpAnswer>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OpAnswer {
    Range(RangeAnswer),
    Put(PutAnswer),
    DeleteRange(DeleteAnswer),
    Txn(TxnAnswer),
}
