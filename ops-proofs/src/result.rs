//! `result.json`: what a run found, in the shape that `result.schema.json` describes.

use serde::Serialize;

/// Raised when the shape changes.
pub(crate) const FORMAT: u32 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Setting {
    Short,
    Long,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Passed,
    Failed,
    /// The machine does not allow it; never a lane's.
    Skipped,
}

#[derive(Debug, Serialize)]
pub(crate) struct ProofResult {
    pub(crate) format: u32,
    pub(crate) lane: String,
    pub(crate) setting: Setting,
    pub(crate) status: Status,
    /// RFC 3339, UTC.
    pub(crate) begun: String,
    pub(crate) ended: String,
    pub(crate) duration_ms: u64,
    pub(crate) commit: String,
    pub(crate) binaries: Vec<Binary>,
    pub(crate) checks: Vec<CheckResult>,
    pub(crate) counts: Counts,
}

#[derive(Debug, Serialize)]
pub(crate) struct Binary {
    pub(crate) name: String,
    pub(crate) sha256: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct CheckResult {
    pub(crate) id: String,
    pub(crate) requirement: String,
    pub(crate) status: Status,
    pub(crate) duration_ms: u64,
    /// Why it failed or was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    pub(crate) evidence: Vec<Evidence>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Evidence {
    /// Relative to the folder of `result.json`.
    pub(crate) file: String,
    pub(crate) sha256: String,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Counts {
    pub(crate) fn of(checks: &[CheckResult]) -> Self {
        let count = |status| checks.iter().filter(|check| check.status == status).count();
        Self { passed: count(Status::Passed), failed: count(Status::Failed), skipped: count(Status::Skipped) }
    }

    /// A run without checks proves nothing.
    pub(crate) fn status(self) -> Status {
        if self.failed == 0 && self.passed > 0 { Status::Passed } else { Status::Failed }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const SCHEMA: &str = include_str!("../result.schema.json");

    /// The keywords of JSON schema that `result.schema.json` uses; any other fails the test, so that none is believed
    /// to be checked that is not.
    fn violations(schema: &Value, root: &Value, value: &Value, place: &str) -> Vec<String> {
        let mut found = Vec::new();
        for (keyword, rule) in schema.as_object().unwrap() {
            let wrong = match keyword.as_str() {
                "$ref" => {
                    let target = rule.as_str().unwrap().strip_prefix('#').unwrap();
                    found.extend(violations(root.pointer(target).unwrap(), root, value, place));
                    false
                }
                "type" => !match rule.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "integer" => value.is_u64() || value.is_i64(),
                    other => panic!("type {other}"),
                },
                "const" => value != rule,
                "enum" => !rule.as_array().unwrap().contains(value),
                "minimum" => value.as_i64() < rule.as_i64(),
                "minLength" => value.as_str().is_some_and(|text| (text.len() as u64) < rule.as_u64().unwrap()),
                "pattern" => !matches_pattern(rule.as_str().unwrap(), value.as_str().unwrap_or_default()),
                "required" => rule.as_array().unwrap().iter().any(|name| value.get(name.as_str().unwrap()).is_none()),
                "additionalProperties" => {
                    let known = schema["properties"].as_object().unwrap();
                    value.as_object().is_some_and(|members| members.keys().any(|name| !known.contains_key(name)))
                }
                "properties" => {
                    for (name, rule) in rule.as_object().unwrap() {
                        if let Some(member) = value.get(name) {
                            found.extend(violations(rule, root, member, &format!("{place}/{name}")));
                        }
                    }
                    false
                }
                "items" => {
                    for (number, item) in value.as_array().into_iter().flatten().enumerate() {
                        found.extend(violations(rule, root, item, &format!("{place}/{number}")));
                    }
                    false
                }
                "$schema" | "$id" | "$defs" | "title" | "description" => false,
                other => panic!("keyword {other}"),
            };
            if wrong {
                found.push(format!("{place}: {keyword}"));
            }
        }
        found
    }

    /// The two patterns of the schema, by hand.
    fn matches_pattern(pattern: &str, text: &str) -> bool {
        match pattern {
            "^[0-9a-f]{64}$" => text.len() == 64 && text.bytes().all(|byte| b"0123456789abcdef".contains(&byte)),
            pattern if pattern.starts_with("^[0-9]{4}-") => {
                let form = "0000-00-00T00:00:00";
                let digits = |(form, byte): (u8, u8)| if form == b'0' { byte.is_ascii_digit() } else { form == byte };
                text.len() >= form.len() && form.bytes().zip(text.bytes()).all(digits)
            }
            other => panic!("pattern {other}"),
        }
    }

    fn sample() -> ProofResult {
        let evidence = Evidence { file: "leader-kill.json".into(), sha256: "0".repeat(64) };
        let checks = vec![
            CheckResult {
                id: "leader-kill".into(),
                requirement: "no acknowledged write is lost".into(),
                status: Status::Passed,
                duration_ms: 12,
                reason: None,
                evidence: vec![evidence],
            },
            CheckResult {
                id: "other".into(),
                requirement: "something else".into(),
                status: Status::Failed,
                duration_ms: 0,
                reason: Some("it is not so".into()),
                evidence: Vec::new(),
            },
        ];
        let counts = Counts::of(&checks);
        ProofResult {
            format: FORMAT,
            lane: "core".into(),
            setting: Setting::Short,
            status: counts.status(),
            begun: "2026-11-09T13:05:01Z".into(),
            ended: "2026-11-09T13:06:01Z".into(),
            duration_ms: 60_000,
            commit: "unknown".into(),
            binaries: vec![Binary { name: "holdfast".into(), sha256: "f".repeat(64) }],
            checks,
            counts,
        }
    }

    #[test]
    fn a_result_has_the_shape_of_the_schema() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let value = serde_json::to_value(sample()).unwrap();
        assert_eq!(violations(&schema, &schema, &value, ""), Vec::<String>::new());
    }

    #[test]
    fn the_schema_refuses_what_is_not_a_result() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let good = serde_json::to_value(sample()).unwrap();
        for (place, wrong) in [
            ("/format", json!(1)),
            ("/status", json!("fine")),
            ("/begun", json!("yesterday")),
            ("/duration_ms", json!(-1)),
            ("/binaries/0/sha256", json!("abc")),
            ("/checks/0/evidence/0", json!({"file": "x", "sha256": "0".repeat(64), "more": 1})),
            ("/counts", json!({"passed": 1})),
            ("/checks/1/status", json!("maybe")),
        ] {
            let mut bad = good.clone();
            *bad.pointer_mut(place).unwrap() = wrong;
            assert_eq!(violations(&schema, &schema, &bad, "").len(), 1, "{place}");
        }
    }

    #[test]
    fn one_failure_or_no_check_fails_the_run() {
        assert_eq!(sample().status, Status::Failed);
        for (passed, skipped, status) in [(0, 0, Status::Failed), (0, 1, Status::Failed), (1, 1, Status::Passed)] {
            assert_eq!(Counts { passed, failed: 0, skipped }.status(), status);
        }
    }
}
