//! `mod(a, b)`, which is `a % b`.

use std::sync::Arc;

use arrow::{compute::kernels::numeric, datatypes::DataType};
use datafusion::{
    common::{Result, exec_err, plan_err},
    logical_expr::{
        ColumnarValue, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
        type_coercion::binary::BinaryTypeCoercer,
    },
    physical_expr_common::datum::apply,
};

/// The function.
pub(super) fn modulo() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Modulo { signature: Signature::user_defined(Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Modulo {
    signature: Signature,
}

impl ScalarUDFImpl for Modulo {
    fn name(&self) -> &'static str {
        "mod"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let is_number = |kind: &DataType| kind.is_numeric() || kind.is_null();
        match types {
            [left, right] if is_number(left) && is_number(right) => {
                let (left, right) = BinaryTypeCoercer::new(left, &Operator::Modulo, right).get_input_types()?;
                Ok(vec![left, right])
            }
            _ => plan_err!("mod() takes two numbers"),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [left, right] => BinaryTypeCoercer::new(left, &Operator::Modulo, right).get_result_type(),
            _ => plan_err!("mod() takes two numbers"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = args.args.as_slice() else { return exec_err!("mod() takes two numbers") };
        apply(left, right, numeric::rem)
    }
}
