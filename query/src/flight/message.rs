//! The messages of Arrow Flight and of Flight SQL that are read or written here, by the numbers that their fields have in `Flight.proto` and
//! `FlightSql.proto` of the Arrow format. What nobody here looks at is left out: a reader of Protobuf passes over it.

use bytes::Bytes;
use prost::Message;

/// What stands before a message's name where it says what it is.
const TYPE_URL: &str = "type.googleapis.com/arrow.flight.protocol.sql.";

/// `google.protobuf.Any`: how commands, tickets, and the bodies of actions say what they are.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Any {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) value: Bytes,
}

impl Any {
    /// A message of Flight SQL with its name.
    pub(super) fn of(name: &str, message: &impl Message) -> Bytes {
        let value = message.encode_to_vec().into();
        Self { type_url: format!("{TYPE_URL}{name}"), value }.encode_to_vec().into()
    }

    /// The name of the message; nothing if it is none of Flight SQL.
    pub(super) fn name(&self) -> Option<&str> {
        self.type_url.strip_prefix(TYPE_URL)
    }
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct HandshakeResponse {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Empty {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ActionType {
    #[prost(string, tag = "1")]
    pub(super) kind: String,
    #[prost(string, tag = "2")]
    pub(super) description: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Action {
    #[prost(string, tag = "1")]
    pub(super) kind: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) body: Bytes,
}

/// `Result` of an action.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Done {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) body: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SchemaResult {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) schema: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FlightDescriptor {
    /// 2 for a command.
    #[prost(int32, tag = "1")]
    pub(super) kind: i32,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) cmd: Bytes,
    #[prost(string, repeated, tag = "3")]
    pub(super) path: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FlightInfo {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) schema: Bytes,
    #[prost(message, optional, tag = "2")]
    pub(super) descriptor: Option<FlightDescriptor>,
    #[prost(message, repeated, tag = "3")]
    pub(super) endpoint: Vec<FlightEndpoint>,
    /// -1 where nobody knows.
    #[prost(int64, tag = "4")]
    pub(super) total_records: i64,
    #[prost(int64, tag = "5")]
    pub(super) total_bytes: i64,
    #[prost(bool, tag = "6")]
    pub(super) ordered: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FlightEndpoint {
    #[prost(message, optional, tag = "1")]
    pub(super) ticket: Option<Ticket>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Ticket {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) ticket: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FlightData {
    #[prost(message, optional, tag = "1")]
    pub(super) descriptor: Option<FlightDescriptor>,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) data_header: Bytes,
    #[prost(bytes = "bytes", tag = "1000")]
    pub(super) data_body: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PutResult {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) app_metadata: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CancelFlightInfoRequest {
    #[prost(message, optional, tag = "1")]
    pub(super) info: Option<FlightInfo>,
}

/// `ActionCancelQueryRequest`: the same of older clients, with the encoded `FlightInfo`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct CancelQueryRequest {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) info: Bytes,
}

/// `CancelFlightInfoResult` and `ActionCancelQueryResult`, which have the same numbers.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Cancelled {
    /// 1: it is over.
    #[prost(int32, tag = "1")]
    pub(super) status: i32,
}

/// `CommandStatementQuery`, `CommandStatementUpdate` and `ActionCreatePreparedStatementRequest`, which have the same fields.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Statement {
    #[prost(string, tag = "1")]
    pub(super) query: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) transaction_id: Bytes,
}

/// `TicketStatementQuery`, `CommandPreparedStatementQuery`, `ActionClosePreparedStatementRequest` and `DoPutPreparedStatementResult`, whose
/// one field is a handle.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Handle {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) handle: Bytes,
}

/// `ActionCreatePreparedStatementResult`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Prepared {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) handle: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) dataset_schema: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) parameter_schema: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetSqlInfo {
    #[prost(uint32, repeated, tag = "1")]
    pub(super) info: Vec<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetXdbcTypeInfo {
    #[prost(int32, optional, tag = "1")]
    pub(super) data_type: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetDbSchemas {
    #[prost(string, optional, tag = "1")]
    pub(super) catalog: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub(super) schema_pattern: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetTables {
    #[prost(string, optional, tag = "1")]
    pub(super) catalog: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub(super) schema_pattern: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub(super) table_pattern: Option<String>,
    #[prost(string, repeated, tag = "4")]
    pub(super) table_types: Vec<String>,
    #[prost(bool, tag = "5")]
    pub(super) include_schema: bool,
}
