//! What a client asks for: a statement, or what there is to ask.

use bytes::Bytes;
use prost::Message;
use tonic::Status;

use super::{
    asked::Asked,
    error::wrong,
    message::{Any, GetDbSchemas, GetSqlInfo, GetTables, GetXdbcTypeInfo, Handle, Statement},
};
use crate::sql::QueryError;

/// What is asked for, by a descriptor or a ticket.
#[derive(Clone, Debug)]
pub(super) enum Command {
    /// A statement.
    Ask(Asked),
    Catalogs,
    Schemas(GetDbSchemas),
    Tables(GetTables),
    TableTypes,
    /// Primary keys, which no table has.
    PrimaryKeys,
    /// Foreign keys from a table, to a table or between two, which no table has.
    ForeignKeys,
    SqlInfo(GetSqlInfo),
    TypeInfo(GetXdbcTypeInfo),
}

impl Command {
    /// Reads one.
    pub(super) fn of(bytes: &Bytes) -> Result<Self, Status> {
        let any: Any = decoded(bytes)?;
        Ok(match any.name().unwrap_or(&any.type_url) {
            "CommandStatementQuery" => Self::Ask(Asked::of(decoded(&any.value)?)?),
            "TicketStatementQuery" | "CommandPreparedStatementQuery" => {
                Self::Ask(Asked::by(&decoded::<Handle>(&any.value)?.handle)?)
            }
            "CommandGetCatalogs" => Self::Catalogs,
            "CommandGetDbSchemas" => Self::Schemas(decoded(&any.value)?),
            "CommandGetTables" => Self::Tables(decoded(&any.value)?),
            "CommandGetTableTypes" => Self::TableTypes,
            "CommandGetPrimaryKeys" => Self::PrimaryKeys,
            "CommandGetExportedKeys" | "CommandGetImportedKeys" | "CommandGetCrossReference" => Self::ForeignKeys,
            "CommandGetSqlInfo" => Self::SqlInfo(decoded(&any.value)?),
            "CommandGetXdbcTypeInfo" => Self::TypeInfo(decoded(&any.value)?),
            "CommandStatementUpdate" | "CommandPreparedStatementUpdate" | "CommandStatementIngest" => {
                return Err(read_only());
            }
            name => return Err(Status::unimplemented(format!("{name} is no command that is served here"))),
        })
    }
}

/// What is said to whoever wants to change something.
fn read_only() -> Status {
    QueryError::Refused("only queries are allowed: nothing here can be changed".into()).into()
}

/// The statement of a request, which may be in no transaction.
pub(super) fn sql(Statement { query, transaction_id }: Statement) -> Result<String, Status> {
    if transaction_id.is_empty() { Ok(query) } else { Err(no_transactions()) }
}

/// What is said to whoever wants a transaction.
pub(super) fn no_transactions() -> Status {
    QueryError::Refused("there are no transactions: every query reads one cut of all tables".into()).into()
}

/// A message of bytes that should be one.
pub(super) fn decoded<T: Message + Default>(bytes: &Bytes) -> Result<T, Status> {
    T::decode(bytes.clone()).map_err(|_| wrong("the bytes are not the message that they should be"))
}
