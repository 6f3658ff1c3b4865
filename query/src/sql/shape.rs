//! What functions have in common, so that each says only what is its own.
//!
//! One over another has the methods of that, but for those that it changes (`as_inner!`). One that stands for a cast is seen in no name
//! (`as_cast!`). One that makes an array of arrays is a name, types and that ([`Plain`]).

use std::{
    hash::{Hash, Hasher},
    sync::{Arc, LazyLock},
};

use arrow::{array::ArrayRef, datatypes::DataType};
use datafusion::{
    common::Result,
    functions::utils::make_scalar_function,
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
};

/// Methods of a function, or of an aggregate, that are those of its `inner`.
macro_rules! as_inner {
    ($($method:ident),+) => {
        $(as_inner!(@$method);)+
    };
    (@name) => {
        fn name(&self) -> &str {
            self.inner.name()
        }
    };
    (@aliases) => {
        fn aliases(&self) -> &[String] {
            self.inner.aliases()
        }
    };
    (@signature) => {
        fn signature(&self) -> &::datafusion::logical_expr::Signature {
            self.inner.signature()
        }
    };
    (@coerce_types) => {
        fn coerce_types(
            &self,
            types: &[::arrow::datatypes::DataType],
        ) -> ::datafusion::common::Result<Vec<::arrow::datatypes::DataType>> {
            self.inner.coerce_types(types)
        }
    };
    (@return_type) => {
        fn return_type(
            &self,
            types: &[::arrow::datatypes::DataType],
        ) -> ::datafusion::common::Result<::arrow::datatypes::DataType> {
            self.inner.return_type(types)
        }
    };
    (@return_field_from_args) => {
        fn return_field_from_args(
            &self,
            args: ::datafusion::logical_expr::ReturnFieldArgs,
        ) -> ::datafusion::common::Result<::arrow::datatypes::FieldRef> {
            self.inner.return_field_from_args(args)
        }
    };
}

pub(crate) use as_inner;

/// Methods of a function of one value that has no part in the name of a column, as a cast has none.
macro_rules! as_cast {
    ($name:expr) => {
        fn name(&self) -> &'static str {
            $name
        }

        fn schema_name(&self, args: &[::datafusion::logical_expr::Expr]) -> ::datafusion::common::Result<String> {
            Ok(args.iter().map(|of| of.schema_name().to_string()).collect())
        }

        fn signature(&self) -> &::datafusion::logical_expr::Signature {
            &$crate::sql::shape::OF_ONE
        }
    };
}

pub(crate) use as_cast;

/// One value of any type.
pub(crate) static OF_ONE: LazyLock<Signature> = LazyLock::new(|| Signature::any(1, Volatility::Immutable));

/// A function of arrays and of nothing else, which its name tells from every other.
#[derive(Debug)]
pub(crate) struct Plain {
    /// What it is called.
    pub(crate) name: &'static str,
    /// What arguments of some types are cast to, or why there are none such.
    pub(crate) takes: fn(&[DataType]) -> Result<Vec<DataType>>,
    /// The type of what is made of these.
    pub(crate) gives: fn(&[DataType]) -> Result<DataType>,
    /// Makes it.
    pub(crate) makes: fn(&[ArrayRef]) -> Result<ArrayRef>,
}

impl Plain {
    /// As the engine has it.
    pub(crate) fn shared(self) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::from(self))
    }
}

impl PartialEq for Plain {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Plain {}

impl Hash for Plain {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Plain {
    fn name(&self) -> &'static str {
        self.name
    }

    fn signature(&self) -> &Signature {
        static SIGNATURE: LazyLock<Signature> = LazyLock::new(|| Signature::user_defined(Volatility::Immutable));
        &SIGNATURE
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        (self.takes)(types)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        (self.gives)(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        make_scalar_function(self.makes, Vec::new())(&args.args)
    }
}
