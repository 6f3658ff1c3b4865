//! The parts of shared costs, and what is drawn of credits. Both go by what every tenant used, so they are reckoned before the fence and
//! put behind it: a caller sees the rows of its own tenants. They are what of an answer depends on what others used, and all that does.

use std::collections::HashSet;

use arrow::array::RecordBatch;
use futures::TryStreamExt as _;
use schemas::policy::Tenants;
use tokio_util::sync::CancellationToken;

use super::{Engine, QueryError, execute, made, provider, session, statement};
use crate::{
    cut::Cut,
    error::Error,
    imports::{Imported, by_name},
    table::{draws, parts},
};

/// The most rows of use that anything is reckoned of: 1,000,000 × some 200 bytes = 200 MB.
const MAX_ROWS: usize = 1_000_000;

/// Makes the rows, of what was imported and of what was used, that these tenants may see; nothing if there are more than so many.
type Rows = fn(&[RecordBatch], &[RecordBatch], &Tenants, usize) -> Result<Option<RecordBatch>, Error>;

/// A table that is made of an import and of what everybody used.
struct Made {
    table: Imported,
    of: &'static str,
    question: fn(&[RecordBatch]) -> Result<String, Error>,
    rows: Rows,
}

const ALL: [Made; 2] = [
    Made { table: parts::TABLE, of: "shared_costs", question: parts::used_in, rows: parts::parts },
    Made {
        table: draws::TABLE,
        of: "commitments",
        question: draws::used_of,
        rows: |credits, used, _, _| draws::draws(credits, used).map(Some),
    },
];

impl Engine {
    /// Fills those of the tables that a statement reads.
    pub(super) async fn add_made(
        &self,
        cut: &Cut,
        tenants: &Tenants,
        read: &HashSet<String>,
        tables: &mut made::Tables,
        gone: &CancellationToken,
    ) -> Result<(), QueryError> {
        for made in ALL.iter().filter(|made| read.contains(made.table.name)) {
            let Some((of, imports)) = by_name(made.of).zip(self.cuts.imports()) else { continue };
            let imported = imports.rows(of).await?;
            let used = self.used(cut, &(made.question)(&imported)?, gone).await?;
            let rows = (made.rows)(&imported, &used, tenants, MAX_ROWS)?;
            let rows = rows.ok_or_else(|| {
                QueryError::Refused(format!(
                    "{} would have more than {MAX_ROWS} rows, and that is the most",
                    made.table.name
                ))
            })?;
            let rows = made::visible(&rows, tenants)?;
            tables.insert(made.table.name, provider::in_memory(rows)?);
        }
        Ok(())
    }

    /// The answer to a question of ours about everybody.
    async fn used(&self, cut: &Cut, sql: &str, gone: &CancellationToken) -> Result<Vec<RecordBatch>, QueryError> {
        let tables = self.tables(cut, &Tenants::All, &HashSet::new()).await?;
        let (state, _) = session::open(&self.runtime, &Tenants::All, tables, &[], None, true)?;
        let plan = state.statement_to_plan(statement::parse(sql, None)?).await?;
        let mut rows = execute(&state, &plan, gone).await?;
        let (mut used, mut count) = (Vec::new(), 0);
        while let Some(batch) = rows.try_next().await? {
            count += batch.num_rows();
            if count > MAX_ROWS {
                let why =
                    format!("it goes by what more than {MAX_ROWS} keys with their tags used, and that is the most");
                return Err(QueryError::Refused(why));
            }
            used.push(batch);
        }
        Ok(used)
    }
}
