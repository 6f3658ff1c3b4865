//! Actions: statements are prepared, queries ended. There is nothing to close, and there are no transactions.

use arrow::datatypes::{DataType, Field, Schema};
use axum::http::HeaderMap;
use tonic::{Status, codec::Streaming};

use super::{
    Flight,
    asked::Asked,
    command::{Command, decoded, no_transactions},
    error::wrong,
    ipc,
    message::{
        Action, ActionType, Any, CancelFlightInfoRequest, CancelQueryRequest, Cancelled, Done, FlightInfo, Prepared,
    },
    one, within,
};
use crate::sql::Caller;

const PREPARE: &str = "CreatePreparedStatement";
const CLOSE: &str = "ClosePreparedStatement";
const CANCEL: &str = "CancelFlightInfo";
const CANCEL_QUERY: &str = "CancelQuery";

/// What there is.
pub(super) fn list() -> Vec<ActionType> {
    let all = [
        (PREPARE, "Describes a statement and gives a handle to ask it with."),
        (CLOSE, "Does nothing: no statement is kept."),
        (CANCEL, "Ends the queries that run for a ticket."),
        (CANCEL_QUERY, "The same, as it was said before."),
    ];
    all.map(|(kind, description)| ActionType { kind: kind.into(), description: description.into() }).to_vec()
}

impl Flight {
    /// Does what is asked for.
    pub(super) async fn act(&self, headers: &HeaderMap, mut said: Streaming<Action>) -> Result<Vec<Done>, Status> {
        let caller = self.caller(headers)?;
        let Action { kind, body } = one(&mut said).await?;
        let inner = || decoded::<Any>(&body).map(|any| any.value);
        let body = match kind.as_str() {
            PREPARE => {
                let asked = Asked::of(decoded(&inner()?)?)?;
                let described = self.entry.engine.describe(&caller, asked.question(within(headers))).await?;
                let prepared = Prepared {
                    handle: asked.handle(),
                    dataset_schema: ipc::schema(ipc::shown(&described.schema)?.as_ref())?,
                    parameter_schema: ipc::schema(&parameters(&described.parameters))?,
                };
                Any::of("ActionCreatePreparedStatementResult", &prepared)
            }
            CLOSE => return Ok(Vec::new()),
            CANCEL => {
                let request: CancelFlightInfoRequest = decoded(&body)?;
                let ended = self.end(&request.info.unwrap_or_default(), &caller)?;
                prost::Message::encode_to_vec(&ended).into()
            }
            CANCEL_QUERY => {
                let request: CancelQueryRequest = decoded(&inner()?)?;
                Any::of("ActionCancelQueryResult", &self.end(&decoded::<FlightInfo>(&request.info)?, &caller)?)
            }
            "BeginTransaction" | "EndTransaction" | "BeginSavepoint" | "EndSavepoint" => return Err(no_transactions()),
            _ => return Err(Status::unimplemented(format!("there is no action {kind:?} here"))),
        };
        Ok(vec![Done { body }])
    }

    fn end(&self, info: &FlightInfo, caller: &Caller) -> Result<Cancelled, Status> {
        let mut ended = false;
        for ticket in info.endpoint.iter().filter_map(|endpoint| endpoint.ticket.as_ref()) {
            match Command::of(&ticket.ticket)? {
                Command::Ask(asked) => ended |= self.running.end(&asked.id, caller),
                _ => return Err(wrong("what is asked for is no query, and is answered at once")),
            }
        }
        if ended { Ok(Cancelled { status: 1 }) } else { Err(Status::not_found("no query runs for this ticket")) }
    }
}

/// Parameters by their numbers. Those of which nothing is known take a text, which is read as what turns out to be wanted.
fn parameters(types: &[Option<DataType>]) -> Schema {
    let field = |(at, kind): (usize, &Option<DataType>)| {
        let kind = kind.as_ref().map_or(DataType::Utf8, ipc::plain);
        Field::new(format!("${}", at + 1), kind, true)
    };
    Schema::new(types.iter().enumerate().map(field).collect::<Vec<_>>())
}
