use serde::Serialize;
use serde_json::Value;

use super::ArtifactError;

/// How deep an artifact may be nested.
pub const MAX_DEPTH: usize = 64;

const MAX_INTEGER: u64 = 1 << 53;

/// The RFC 8785 form: the one spelling that is signed, digested and stored.
pub fn to_canonical(value: &impl Serialize) -> Result<Vec<u8>, ArtifactError> {
    serde_json_canonicalizer::to_vec(value).map_err(|error| ArtifactError::Malformed(error.to_string()))
}

/// Refuses what has more than one spelling between JSON implementations, and what is nested too deep.
pub(super) fn check_value(value: &Value, depth: usize) -> Result<(), ArtifactError> {
    if depth > MAX_DEPTH {
        return Err(ArtifactError::TooDeep { limit: MAX_DEPTH });
    }
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
        Value::Number(number) => {
            let whole = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
            match whole {
                Some(size) if size <= MAX_INTEGER => Ok(()),
                _ => Err(ArtifactError::Number),
            }
        }
        Value::Array(items) => items.iter().try_for_each(|item| check_value(item, depth + 1)),
        Value::Object(fields) => fields.values().try_for_each(|field| check_value(field, depth + 1)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_spelling_for_equal_values() {
        let value = json!({"b": [1, 2], "a": {"y": "é\n", "x": null}});
        assert_eq!(to_canonical(&value).unwrap(), r#"{"a":{"x":null,"y":"é\n"},"b":[1,2]}"#.as_bytes());
    }

    #[test]
    fn floats_large_numbers_and_depth_are_refused() {
        assert_eq!(check_value(&json!({"a": 1.5}), 0), Err(ArtifactError::Number));
        assert_eq!(check_value(&json!([(1_u64 << 53) + 1]), 0), Err(ArtifactError::Number));
        assert_eq!(check_value(&json!([1_u64 << 53, -5]), 0), Ok(()));
        let deep = (0..=MAX_DEPTH).fold(json!(0), |inner, _| json!([inner]));
        assert_eq!(check_value(&deep, 0), Err(ArtifactError::TooDeep { limit: MAX_DEPTH }));
    }
}
