//! Arithmetic that fails where the engine's own would wrap: a sum that is off by 2^64 is worse than an error.
//!
//! The engine has the kernels and no setting for them, so whole-number operators become calls of functions that use
//! them. What only the engine computes (the aggregate `sum`) still wraps.

use std::sync::{Arc, LazyLock};

use arrow::{compute::kernels::numeric, datatypes::DataType};
use datafusion::{
    common::{DFSchema, Result, ScalarValue, config::ConfigOptions, plan_err, tree_node::Transformed},
    logical_expr::{
        BinaryExpr, ColumnarValue, Expr, ExprSchemable as _, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
        Signature, Volatility, expr_rewriter::FunctionRewrite,
    },
    optimizer::analyzer::{AnalyzerRule, function_rewrite::ApplyFunctionRewrites},
    physical_expr_common::datum,
};

/// The rule that puts checked functions in the place of operators; to be run after types are settled.
pub(crate) fn arithmetic() -> Arc<dyn AnalyzerRule + Send + Sync> {
    Arc::new(ApplyFunctionRewrites::new(vec![Arc::new(Checked)]))
}

#[derive(Debug)]
struct Checked;

impl FunctionRewrite for Checked {
    fn name(&self) -> &str {
        "checked_arithmetic"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        let whole = |expr: &Expr| expr.get_type(schema).ok().filter(DataType::is_integer);
        match expr {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match function(op) {
                Some(function) if whole(&left).is_some_and(|kind| Some(kind) == whole(&right)) => {
                    Ok(Transformed::yes(function.call(vec![*left, *right])))
                }
                _ => Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right }))),
            },
            Expr::Negative(inner) => match whole(&inner) {
                Some(kind) => {
                    let zero = Expr::Literal(ScalarValue::new_zero(&kind)?, None);
                    Ok(Transformed::yes(SUBTRACT.call(vec![zero, *inner])))
                }
                None => Ok(Transformed::no(Expr::Negative(inner))),
            },
            other => Ok(Transformed::no(other)),
        }
    }
}

fn function(op: Operator) -> Option<&'static ScalarUDF> {
    match op {
        Operator::Plus => Some(&ADD),
        Operator::Minus => Some(&SUBTRACT),
        Operator::Multiply => Some(&MULTIPLY),
        // Division and remainder are checked by the engine.
        _ => None,
    }
}

static ADD: LazyLock<ScalarUDF> = LazyLock::new(|| Function::udf("checked_add", Operator::Plus));
static SUBTRACT: LazyLock<ScalarUDF> = LazyLock::new(|| Function::udf("checked_subtract", Operator::Minus));
static MULTIPLY: LazyLock<ScalarUDF> = LazyLock::new(|| Function::udf("checked_multiply", Operator::Multiply));

/// An operator on two whole numbers of one type.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Function {
    name: &'static str,
    op: Operator,
    signature: Signature,
}

impl Function {
    fn udf(name: &'static str, op: Operator) -> ScalarUDF {
        ScalarUDF::from(Self { name, op, signature: Signature::any(2, Volatility::Immutable) })
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, kinds: &[DataType]) -> Result<DataType> {
        match kinds {
            [left, right] if left == right && left.is_integer() => Ok(left.clone()),
            _ => plan_err!("{} does not support {kinds:?}", self.name),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match (self.op, arguments.args.as_slice()) {
            (Operator::Plus, [left, right]) => datum::apply(left, right, numeric::add),
            (Operator::Minus, [left, right]) => datum::apply(left, right, numeric::sub),
            (Operator::Multiply, [left, right]) => datum::apply(left, right, numeric::mul),
            _ => plan_err!("{} takes two numbers", self.name),
        }
    }
}
