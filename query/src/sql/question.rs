//! A question as it comes from a surface: the statement, what its session says of how to read it, and the values of its parameters.

use std::{fmt, sync::Arc, time::Duration};

use arrow::datatypes::DataType;
use datafusion::{
    common::{ScalarValue, tree_node::TreeNodeRecursion},
    logical_expr::{Expr, LogicalPlan},
};

use super::{QueryError, functions::MAX_SCALAR_BYTES, reading::Reading};

/// The most parameters of a statement.
const MAX_PARAMETERS: usize = 1_000;

/// Makes the values of parameters, by the types that they are known to have, and the zone of what is written without one.
type Bind = Box<dyn FnOnce(&[Option<DataType>], &str) -> Result<Vec<ScalarValue>, QueryError> + Send>;

/// A question.
pub(crate) struct Question {
    /// One statement.
    pub(crate) sql: String,
    /// How it is read, where that is not as it stands.
    pub(crate) reading: Option<Arc<Reading>>,
    /// How long it may take, if that is less than any may.
    pub(crate) within: Option<Duration>,
    /// Whether rollups may be read in the place of rows. The answer is the same.
    pub(crate) rollups: bool,
    bind: Option<Bind>,
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question").field("sql", &self.sql).field("reading", &self.reading).finish_non_exhaustive()
    }
}

impl Question {
    /// A statement without parameters, read as it stands.
    pub(crate) fn plain(sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), reading: None, within: None, rollups: true, bind: None }
    }

    /// The same, read as a session says.
    pub(crate) fn read(self, reading: Arc<Reading>) -> Self {
        Self { reading: Some(reading), ..self }
    }

    /// The same with a time of its own.
    pub(crate) fn within(self, within: Option<Duration>) -> Self {
        Self { within, ..self }
    }

    /// The same by rollups where they know what is asked, or by rows alone.
    pub(crate) fn rollups(self, rollups: bool) -> Self {
        Self { rollups, ..self }
    }

    /// The same with values for its parameters.
    pub(crate) fn with(
        self,
        bind: impl FnOnce(&[Option<DataType>], &str) -> Result<Vec<ScalarValue>, QueryError> + Send + 'static,
    ) -> Self {
        Self { bind: Some(Box::new(bind)), ..self }
    }

    /// Whether values came for its parameters.
    pub(super) const fn is_bound(&self) -> bool {
        self.bind.is_some()
    }

    /// The plan with the values in it, those that are written without a zone as of `zone`.
    pub(super) fn bound(self, plan: LogicalPlan, zone: &str) -> Result<LogicalPlan, QueryError> {
        let types = parameters(&plan)?;
        let Some(bind) = self.bind else {
            if types.is_empty() {
                return Ok(plan);
            }
            return Err(QueryError::Invalid("the statement has parameters, and no values came for them".into()));
        };
        let values = bind(&types, zone)?;
        let given = values.len();
        if given < types.len() {
            let wanted = types.len();
            return Err(QueryError::Invalid(format!("the statement has {wanted} parameters; {given} values came")));
        }
        if values
            .iter()
            .any(|value| value.try_as_str().flatten().is_some_and(|text| text.len() as u128 > MAX_SCALAR_BYTES))
        {
            return Err(QueryError::Refused(format!("the value of a parameter may be {MAX_SCALAR_BYTES} bytes long")));
        }
        Ok(plan.with_param_values(values)?)
    }
}

/// By number, the types of a plan's parameters, as far as they are known.
pub(super) fn parameters(plan: &LogicalPlan) -> Result<Vec<Option<DataType>>, QueryError> {
    let mut types = Vec::new();
    let mut known = plan.get_parameter_types()?;
    // What says how many rows there are is a number; the engine knows no type of it.
    plan.apply_with_subqueries(|node| {
        let LogicalPlan::Limit(limit) = node else { return Ok(TreeNodeRecursion::Continue) };
        for count in limit.skip.iter().chain(&limit.fetch) {
            if let Expr::Placeholder(parameter) = &**count
                && let Some(kind) = known.get_mut(&parameter.id)
            {
                kind.get_or_insert(DataType::Int64);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    for (name, kind) in known {
        let number = name.strip_prefix('$').and_then(|number| number.parse::<usize>().ok());
        let Some(number) = number.filter(|number| (1..=MAX_PARAMETERS).contains(number)) else {
            return Err(QueryError::Invalid(format!("{name} is no parameter: they are $1 to ${MAX_PARAMETERS}")));
        };
        if types.len() < number {
            types.resize(number, None);
        }
        if let Some(slot) = types.get_mut(number - 1) {
            *slot = kind;
        }
    }
    Ok(types)
}
