//! Why a decision is what it is: what each policy says whose scope may fit, clause by clause.

use cedar_policy::{Policy, PolicyId};
use serde_json::{Value, json};

use super::{Caller, Circumstances, Compiled, Policies, Target, Verdict, entities::Asked, error::describe};

/// A policy that a decision looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub id: String,
    pub effect: Effect,
    pub text: String,
    /// Caller, action and target fit what stands before its conditions.
    pub in_scope: bool,
    /// Up to the first that does not hold; what follows is not evaluated. None where the scope does not fit.
    pub clauses: Vec<Clause>,
    /// It has a say: scope and all clauses hold.
    pub applies: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Permit,
    Forbid,
}

/// A part of a condition that holds or does not by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// `when` or `unless`.
    pub word: String,
    pub text: String,
    /// Whether it lets the policy apply, or why it cannot be evaluated.
    pub holds: Result<bool, String>,
}

impl Effect {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Forbid => "forbid",
        }
    }
}

impl Policies {
    /// The decision, and what every policy says whose scope may fit; those that apply come first. An error if the
    /// question cannot be asked.
    pub fn explain(
        &self,
        caller: Caller<'_>,
        action: &str,
        target: Target<'_>,
        circumstances: Circumstances,
    ) -> Result<(Verdict, Vec<Candidate>), String> {
        let verdict = self.decide(caller, action, target, circumstances);
        let asked = Asked::new(&self.types, caller, action, target, circumstances)?;
        let policies = std::iter::once(&self.admin).chain(self.candidates(&asked));
        let mut candidates =
            policies.map(|compiled| self.candidate(&asked, compiled)).collect::<Result<Vec<_>, _>>()?;
        candidates.sort_by_key(|candidate| (!candidate.applies, !candidate.in_scope));
        Ok((verdict, candidates))
    }

    fn candidate(&self, asked: &Asked, compiled: &Compiled) -> Result<Candidate, String> {
        let policy = &compiled.policy;
        let json = policy.to_json().map_err(|error| describe(&error))?;
        let in_scope = self.holds(asked, &bare(&json, &json!([])))? == Ok(true);
        let mut clauses = Vec::new();
        if in_scope {
            for (word, body) in conjuncts(&json) {
                let clause = self.clause(asked, word, body)?;
                let goes_on = clause.holds == Ok(true);
                clauses.push(clause);
                if !goes_on {
                    break;
                }
            }
        }
        Ok(Candidate {
            id: compiled.id.clone(),
            effect: match policy.effect() {
                cedar_policy::Effect::Permit => Effect::Permit,
                cedar_policy::Effect::Forbid => Effect::Forbid,
            },
            text: policy.to_string(),
            in_scope,
            applies: in_scope && clauses.iter().all(|clause| clause.holds == Ok(true)),
            clauses,
        })
    }

    fn clause(&self, asked: &Asked, word: &str, body: &Value) -> Result<Clause, String> {
        let alone = bare(&Value::Null, &json!([{ "kind": word, "body": body }]));
        let text = policy(&alone)?.to_cedar().unwrap_or_default();
        // `permit (…) when { TEXT };`, where *unless* has become `when { !(TEXT) }`.
        let text =
            text.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')).map_or("", |(inner, _)| inner.trim());
        let inner = text.strip_prefix("!(").and_then(|rest| rest.strip_suffix(')')).filter(|_| word == "unless");
        let text = inner.unwrap_or(text).to_owned();
        Ok(Clause { word: word.to_owned(), text, holds: self.holds(asked, &alone)? })
    }

    /// Whether a policy that permits would.
    fn holds(&self, asked: &Asked, json: &Value) -> Result<Result<bool, String>, String> {
        let alone = Compiled { id: String::new(), policy: policy(json)?, speaks_of_time: false };
        let mut verdict = self.apply(asked, [&alone])?;
        Ok(verdict.errors.pop().map_or(Ok(verdict.allowed), Err))
    }
}

/// A permit with the scope of `json`, any if it has none, and these conditions.
fn bare(json: &Value, conditions: &Value) -> Value {
    let scope = |name: &str| json.get(name).cloned().unwrap_or_else(|| json!({ "op": "All" }));
    json!({
        "effect": "permit",
        "principal": scope("principal"),
        "action": scope("action"),
        "resource": scope("resource"),
        "conditions": conditions,
    })
}

fn policy(json: &Value) -> Result<Policy, String> {
    Policy::from_json(Some(PolicyId::new("")), json.clone()).map_err(|error| describe(&error))
}

/// The parts of all conditions, in order. Only what `when` joins by `&&` can be taken apart.
fn conjuncts(json: &Value) -> Vec<(&str, &Value)> {
    let conditions = json.get("conditions").and_then(Value::as_array).into_iter().flatten();
    let mut parts = Vec::new();
    for condition in conditions {
        let (Some(word), Some(body)) = (condition.get("kind").and_then(Value::as_str), condition.get("body")) else {
            continue;
        };
        if word == "when" {
            split(body, &mut parts);
        } else {
            parts.push((word, body));
        }
    }
    parts
}

fn split<'a>(body: &'a Value, parts: &mut Vec<(&'a str, &'a Value)>) {
    match body.get("&&").and_then(|both| Some((both.get("left")?, both.get("right")?))) {
        Some((left, right)) => {
            split(left, parts);
            split(right, parts);
        }
        None => parts.push(("when", body)),
    }
}
