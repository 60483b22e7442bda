//! Functions whose result can be far larger than their arguments. What a function allocates is not seen by the engine's
//! memory limit, so how much it would be is reckoned before they run.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray as _, Int64Array},
    compute::{cast, kernels::length::length},
    datatypes::{DataType, FieldRef, Int64Type},
};
use datafusion::{
    common::{DataFusionError, Result},
    execution::{FunctionRegistry, SessionState},
    logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature},
};

/// Lists hold values of any type; most are smaller.
const ELEMENT_BYTES: i64 = 64;

/// How large the result of a function gets, by the arguments that decide it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Growth {
    /// Text, and how often.
    Times,
    /// Any, and the length of the result in characters.
    Characters,
    /// Any, and the length of the result in elements.
    Elements,
    /// First and last element, and the step between.
    Series,
    /// Text, what is replaced (anything may be), and by what.
    Replaced,
}

const FUNCTIONS: [(&str, Growth); 9] = [
    ("repeat", Growth::Times),
    ("lpad", Growth::Characters),
    ("rpad", Growth::Characters),
    ("array_repeat", Growth::Elements),
    ("array_resize", Growth::Elements),
    ("range", Growth::Series),
    ("generate_series", Growth::Series),
    ("replace", Growth::Replaced),
    ("regexp_replace", Growth::Replaced),
];

/// Puts the bounded functions in the place of the engine's; `most` is bytes for one batch of rows.
pub(crate) fn register_functions(state: &mut SessionState, most: usize) -> Result<()> {
    for (name, growth) in FUNCTIONS {
        let inner = state.udf(name)?;
        state.register_udf(Arc::new(ScalarUDF::new_from_impl(Bounded { inner, growth, most })))?;
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    growth: Growth,
    most: usize,
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arguments)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(arguments)
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arguments)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&arguments.args)?;
        let bytes = self.growth.bytes(&columns);
        if usize::try_from(bytes).is_ok_and(|bytes| bytes <= self.most) {
            return self.inner.invoke_with_args(arguments);
        }
        let (name, most) = (self.name(), self.most >> 20);
        Err(DataFusionError::ResourcesExhausted(format!(
            "{name} would make up to {bytes} bytes; the limit is {most} MiB"
        )))
    }
}

impl Growth {
    /// At most so many bytes for all rows together.
    fn bytes(self, columns: &[ArrayRef]) -> i64 {
        let number = |at: usize| columns.get(at).and_then(numbers);
        let size = |at: usize| columns.get(at).and_then(|column| numbers(&length(column).ok()?));
        let rows = columns.iter().map(Array::len).max().unwrap_or_default();
        let of = |column: &Option<Int64Array>, row: usize, otherwise: i64| match column {
            Some(column) if row < column.len() && column.is_valid(row) => column.value(row),
            _ => otherwise,
        };
        let total = |row_bytes: &dyn Fn(usize) -> i64| {
            (0..rows).map(row_bytes).fold(0_i64, |total, bytes| total.saturating_add(bytes.max(0)))
        };
        match self {
            Self::Times => {
                let (text, times) = (size(0), number(1));
                total(&|row| of(&text, row, 0).saturating_mul(of(&times, row, 0)))
            }
            Self::Characters => {
                let characters = number(1);
                total(&|row| of(&characters, row, 0).saturating_mul(4))
            }
            Self::Elements => {
                // The count is the second argument of both functions.
                let elements = number(1);
                total(&|row| of(&elements, row, 0).saturating_mul(ELEMENT_BYTES))
            }
            Self::Series => {
                let ends = if columns.len() == 1 { (None, number(0)) } else { (number(0), number(1)) };
                let step = number(2);
                total(&|row| {
                    let span = of(&ends.1, row, 0).abs_diff(of(&ends.0, row, 0));
                    let elements = span / of(&step, row, 1).unsigned_abs().max(1);
                    i64::try_from(elements).unwrap_or(i64::MAX).saturating_mul(8)
                })
            }
            Self::Replaced => {
                let (text, by) = (size(0), size(2));
                total(&|row| of(&text, row, 0).saturating_add(1).saturating_mul(of(&by, row, 0).max(1)))
            }
        }
    }
}

/// As whole numbers; none for what has no such form, such as dates, whose series cannot be long.
fn numbers(column: &ArrayRef) -> Option<Int64Array> {
    let whole = cast(column, &DataType::Int64).ok()?;
    column.data_type().is_numeric().then(|| whole.as_primitive::<Int64Type>().clone())
}

#[cfg(test)]
mod tests {
    use arrow::array::StringArray;

    use super::*;

    fn text(values: &[&str]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    fn whole(values: &[i64]) -> ArrayRef {
        Arc::new(Int64Array::from(values.to_vec()))
    }

    #[test]
    fn what_a_result_can_take() {
        assert_eq!(Growth::Times.bytes(&[text(&["ab", "c"]), whole(&[10, -1])]), 20);
        assert_eq!(Growth::Times.bytes(&[text(&["ab"]), whole(&[i64::MAX])]), i64::MAX);
        assert_eq!(Growth::Characters.bytes(&[text(&["a"]), whole(&[1000]), text(&["é"])]), 4000);
        assert_eq!(Growth::Elements.bytes(&[text(&["a"]), whole(&[2])]), 128);
        assert_eq!(Growth::Series.bytes(&[whole(&[100])]), 800);
        assert_eq!(Growth::Series.bytes(&[whole(&[-5]), whole(&[5]), whole(&[-2])]), 40);
        assert_eq!(Growth::Series.bytes(&[whole(&[i64::MIN]), whole(&[i64::MAX])]), i64::MAX);
        assert_eq!(Growth::Replaced.bytes(&[text(&["aaa"]), text(&["a"]), text(&["bb"])]), 8);
    }
}
