//! Calls of gRPC to the routes, by a client that keeps every byte.

use std::time::{Duration, Instant};

use arrow::{
    array::{ArrayRef, Int64Array, ListArray, RecordBatch, StringArray},
    buffer::Buffer,
    datatypes::{Int64Type, Schema},
    ipc::reader::StreamDecoder,
};
use axum::http::StatusCode;
use bytes::{BufMut as _, Bytes, BytesMut};
use schemas::policy::Tenants;
use tonic::Code;
use tower::ServiceExt as _;

use super::{
    message::{
        Action, Any, CancelFlightInfoRequest, Cancelled, Done, Empty, GetDbSchemas, GetSqlInfo, GetTables, Prepared,
        Statement,
    },
    *,
};
use crate::sql::{
    relations,
    tests::{
        alive::{ENDLESS, idle, large},
        hostile::{FORBIDDEN, NOSY, mixed, own},
        world::{World, only},
    },
};

/// A client with a token.
#[derive(Clone)]
struct Client {
    router: Router,
    authorization: String,
    timeout: Option<&'static str>,
}

impl Client {
    fn new(world: &World, token: &str) -> Self {
        let entry = Entry {
            engine: Arc::clone(&world.engine),
            cuts: Arc::clone(&world.cuts),
            access: Arc::clone(&world.access),
        };
        Self { router: router(Arc::new(entry)), authorization: format!("Bearer {token}"), timeout: None }
    }

    fn shows(&self, authorization: &str) -> Self {
        Self { authorization: authorization.into(), ..self.clone() }
    }

    /// A call; its headers, and the messages of its answer as they come.
    async fn begin<M: Message + Default + 'static>(
        &self,
        method: &str,
        messages: &[impl Message],
    ) -> Result<(HeaderMap, Streaming<M>), Status> {
        let mut body = BytesMut::new();
        for message in messages {
            body.put_u8(0);
            body.put_u32(u32::try_from(message.encoded_len()).unwrap());
            message.encode(&mut body).unwrap();
        }
        let mut request = Request::post(format!("{SERVICE}{method}")).header("content-type", "application/grpc");
        request = request.header("authorization", &self.authorization);
        if let Some(timeout) = self.timeout {
            request = request.header("grpc-timeout", timeout);
        }
        let request = request.body(Body::from(body.freeze())).unwrap();
        let (head, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        assert_eq!((head.status, head.headers["content-type"].as_bytes()), (StatusCode::OK, &b"application/grpc"[..]));
        if let Some(status) = Status::from_header_map(&head.headers) {
            return Err(status);
        }
        let decoder = ProstCodec::<M, M>::default().decoder();
        Ok((head.headers, Streaming::new_response(decoder, body, StatusCode::OK, None, None)))
    }

    async fn call<M: Message + Default + 'static>(
        &self,
        method: &str,
        messages: &[impl Message],
    ) -> Result<(HeaderMap, Vec<M>), Status> {
        let (headers, stream) = self.begin(method, messages).await?;
        Ok((headers, stream.try_collect().await?))
    }

    async fn describe(&self, command: Bytes) -> Result<FlightInfo, Status> {
        let descriptor = FlightDescriptor { kind: 2, cmd: command, path: Vec::new() };
        let (_, mut infos) = self.call("GetFlightInfo", &[descriptor]).await?;
        Ok(infos.remove(0))
    }

    async fn fetch(&self, info: &FlightInfo) -> Result<(HeaderMap, Vec<FlightData>), Status> {
        self.call("DoGet", &[ticket(info)]).await
    }

    /// What comes of a command, and how complete it is said to be.
    async fn get(&self, command: Bytes) -> Result<(HeaderMap, Vec<FlightData>), Status> {
        let info = self.describe(command).await?;
        let (headers, messages) = self.fetch(&info).await?;
        // What it was said to be is what it is.
        assert!(info.schema[8..].starts_with(&messages[0].data_header));
        Ok((headers, messages))
    }

    async fn batch(&self, command: Bytes) -> Result<RecordBatch, Status> {
        Ok(read(&self.get(command).await?.1))
    }

    async fn act(&self, kind: &str, body: Bytes) -> Result<Vec<Done>, Status> {
        Ok(self.call("DoAction", &[Action { kind: kind.into(), body }]).await?.1)
    }

    async fn prepare(&self, sql: &str) -> Result<Prepared, Status> {
        let body = Any::of("ActionCreatePreparedStatementRequest", &statement(sql));
        let done = self.act("CreatePreparedStatement", body).await?;
        let any = Any::decode(done[0].body.clone()).unwrap();
        assert_eq!(any.name(), Some("ActionCreatePreparedStatementResult"));
        Ok(Prepared::decode(any.value).unwrap())
    }

    /// The command that asks a prepared statement with values.
    async fn bind(&self, prepared: &Prepared, mut messages: Vec<FlightData>) -> Result<Bytes, Status> {
        let cmd = Any::of("CommandPreparedStatementQuery", &Handle { handle: prepared.handle.clone() });
        messages[0].descriptor = Some(FlightDescriptor { kind: 2, cmd, path: Vec::new() });
        let (_, put) = self.call::<PutResult>("DoPut", &messages).await?;
        let bound = Handle::decode(put[0].app_metadata.clone()).unwrap();
        Ok(Any::of("CommandPreparedStatementQuery", &bound))
    }
}

fn statement(sql: &str) -> Statement {
    Statement { query: sql.into(), transaction_id: Bytes::new() }
}

fn query(sql: &str) -> Bytes {
    Any::of("CommandStatementQuery", &statement(sql))
}

fn ticket(info: &FlightInfo) -> Ticket {
    info.endpoint[0].ticket.clone().unwrap()
}

/// Rows as messages.
fn written(batch: &RecordBatch) -> Vec<FlightData> {
    let mut messages = vec![ipc::head(&batch.schema())];
    messages.extend(ipc::Writer::new(batch.schema()).messages(batch).unwrap());
    messages
}

/// Messages as one batch.
fn read(messages: &[FlightData]) -> RecordBatch {
    let mut bytes = Vec::new();
    for message in messages {
        bytes.extend_from_slice(&[0xff; 4]);
        bytes.extend_from_slice(&u32::try_from(message.data_header.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(&message.data_header);
        bytes.extend_from_slice(&message.data_body);
    }
    // The end of a stream.
    bytes.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    let (mut decoder, mut buffer, mut batches) = (StreamDecoder::new(), Buffer::from_vec(bytes), Vec::new());
    while !buffer.is_empty() {
        batches.extend(decoder.decode(&mut buffer).unwrap());
    }
    arrow::compute::concat_batches(&decoder.schema().unwrap(), &batches).unwrap()
}

fn texts(batch: &RecordBatch, column: &str) -> Vec<String> {
    let column = batch.column_by_name(column).unwrap().as_any().downcast_ref::<StringArray>().unwrap().clone();
    column.iter().map(|text| text.unwrap().to_owned()).collect()
}

fn number(batch: &RecordBatch) -> i64 {
    batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap().value(0)
}

fn row(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).unwrap()
}

/// Everything that is said in answer to a command.
async fn everything(client: &Client, command: Bytes) -> Result<Vec<u8>, String> {
    let said = |status: Status| format!("{:?} {}", status.code(), status.message());
    let info = client.describe(command).await.map_err(said)?;
    let mut all = info.schema.to_vec();
    let (headers, messages) = client.fetch(&info).await.map_err(said)?;
    if let Some(as_of) = headers.get(AS_OF) {
        all.extend(as_of.as_bytes());
    }
    all.extend(messages.iter().flat_map(Message::encode_to_vec));
    Ok(all)
}

/// What is said of a statement that is prepared.
async fn told_of(client: &Client, sql: &str) -> Result<Prepared, (Code, String)> {
    client.prepare(sql).await.map_err(|status| (status.code(), status.message().to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_is_the_same_whether_or_not_others_exist() {
    let (own, mixed) = (own(), mixed());
    for shelve in [false, true] {
        let alone = World::new(&own, if shelve { own.len() - 1 } else { 0 }).await;
        let among = World::new(&mixed, if shelve { mixed.len() - 3 } else { 0 }).await;
        let (alone, among) = (Client::new(&alone, "tgq-acme"), Client::new(&among, "tgq-acme"));
        let catalog =
            |include_schema| Any::of("CommandGetTables", &GetTables { include_schema, ..GetTables::default() });
        let others = [("CommandGetTables".to_owned(), catalog(true)), ("CommandGetTables".to_owned(), catalog(false))];
        let statements = NOSY.iter().map(|sql| ((*sql).to_owned(), query(sql)));
        for (what, command) in statements.chain(others) {
            let prepared = tokio::join!(told_of(&alone, &what), told_of(&among, &what));
            assert_eq!(prepared.0, prepared.1, "{what} prepared, shelved {shelve}");
            let (alone, among) = tokio::join!(everything(&alone, command.clone()), everything(&among, command));
            assert_eq!(alone, among, "{what}, shelved {shelve}");
            let said = among.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_else(|error| error);
            for secret in ["secret", "aaaa", "987654321", "000987", "123456789"] {
                // Of keys it is told that their secret is not.
                let is_doc = what == "CommandGetTables" && secret == "secret";
                assert!(is_doc || !said.contains(secret), "{what} shows {secret}");
            }
            assert!(!said.contains("TG6005") && !said.contains("TG6011"), "{what} fails inside: {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_queries_is_asked() {
    let world = World::new(&mixed(), 4).await;
    let client = Client::new(&world, "tgq-all");
    let check = |what: &str, status: Status, code: Code, text: &str| {
        assert!(status.code() == code && status.message().contains(text), "{what}: {status:?}");
    };
    for sql in FORBIDDEN {
        let answers = [client.get(query(sql)).await.err(), client.prepare(sql).await.err()];
        for status in answers {
            let status = status.expect(sql);
            let refused = [(Code::Unimplemented, "TG6001"), (Code::InvalidArgument, "TG6002")];
            assert!(
                refused.iter().any(|(code, text)| status.code() == *code && status.message().contains(text)),
                "{sql}: {status:?}"
            );
        }
    }
    // What asks the engine without looking at the columns first.
    let asked = Asked::of(statement("DROP TABLE usage")).unwrap();
    let answer = client.call::<FlightData>("DoGet", &[asked.ticket()]).await;
    check("a ticket", answer.unwrap_err(), Code::Unimplemented, "TG6001");
    for update in ["CommandStatementUpdate", "CommandPreparedStatementUpdate", "CommandStatementIngest"] {
        let cmd = Any::of(update, &statement("DELETE FROM usage"));
        let descriptor = Some(FlightDescriptor { kind: 2, cmd, path: Vec::new() });
        let put = client.call::<PutResult>("DoPut", &[FlightData { descriptor, ..FlightData::default() }]).await;
        check(update, put.unwrap_err(), Code::Unimplemented, "TG6001");
    }
    for action in ["BeginTransaction", "EndTransaction", "BeginSavepoint", "EndSavepoint"] {
        check(action, client.act(action, Bytes::new()).await.unwrap_err(), Code::Unimplemented, "TG6001");
    }
    let within = Statement { query: "SELECT 1".into(), transaction_id: Bytes::from_static(b"t") };
    let within = client.get(Any::of("CommandStatementQuery", &within)).await;
    check("in a transaction", within.unwrap_err(), Code::Unimplemented, "transactions");
    let garbage = client.get(Bytes::from_static(&[7; 40])).await;
    check("garbage", garbage.unwrap_err(), Code::InvalidArgument, "TG6002");
    let plan = client.get(Any::of("CommandStatementSubstraitPlan", &Empty {})).await;
    check("Substrait", plan.unwrap_err(), Code::Unimplemented, "Substrait");
    let long = client.get(query(&format!("SELECT {}", "1 + ".repeat(20_000)))).await;
    check("a long statement", long.unwrap_err(), Code::Unimplemented, "65536");
    let odd = client.get(query("SELECT CAST(100 AS DECIMAL(5, -2)) AS a")).await;
    check("a type that clients do not have", odd.unwrap_err(), Code::Unimplemented, "TG6001");
    let large = client.get(query(&"?".repeat(MAX_MESSAGE))).await;
    check("a large message", large.unwrap_err(), Code::OutOfRange, "");
    let method = client.call::<Empty>("DoExchange", &[Empty {}]).await;
    check("a method", method.unwrap_err(), Code::Unimplemented, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_a_question_and_no_right_to_an_answer() {
    let world = World::new(&mixed(), 4).await;
    let (all, acme) = (Client::new(&world, "tgq-all"), Client::new(&world, "tgq-acme"));
    let info = all.describe(query("SELECT count(*) FROM usage")).await.unwrap();
    let of_all = number(&read(&all.fetch(&info).await.unwrap().1));
    let of_acme = number(&read(&acme.fetch(&info).await.unwrap().1));
    assert!(of_acme == 3 && of_all > 3, "{of_acme} of {of_all}");
    for shown in ["", "Bearer nobody", "Bearer", "Basic bm9ib2R5", "Digest tgq-all", "Basic !"] {
        let stranger = all.shows(shown);
        for method in ["Handshake", "GetFlightInfo", "GetSchema", "DoGet", "DoPut", "DoAction", "ListActions"] {
            let status = stranger.call::<Empty>(method, &[ticket(&info)]).await.unwrap_err();
            let text = status.message();
            assert!(status.code() == Code::Unauthenticated && text.contains("TG6003"), "{method} {shown}: {status:?}");
            assert!(!text.contains("nobody") && !text.contains("tgq"), "{text}");
        }
    }
    // A password, for which there is the same token to show.
    let basic = all.shows("Basic bWU6dGdxLWFjbWU");
    let (headers, _) = basic.call::<HandshakeResponse>("Handshake", &[Empty {}]).await.unwrap();
    let bearer = headers["authorization"].to_str().unwrap();
    assert_eq!(bearer, "Bearer tgq-acme");
    for client in [&basic, &all.shows("basic bWU6dGdxLWFjbWU="), &all.shows(bearer)] {
        assert_eq!(number(&read(&client.fetch(&info).await.unwrap().1)), 3);
    }
    let (headers, _) = acme.fetch(&info).await.unwrap();
    assert!(headers[AS_OF].to_str().unwrap().contains("complete_through"));
}

#[tokio::test]
async fn whoever_calls_is_told_while_the_lake_is_not_open() {
    let client =
        Client { router: closed(Readiness::opening()), authorization: "Bearer tgq-acme".into(), timeout: None };
    for method in ["Handshake", "GetFlightInfo", "DoGet"] {
        let status = client.call::<Empty>(method, &[Empty {}]).await.unwrap_err();
        assert!(status.code() == Code::Unavailable && status.message().starts_with("TG6005"), "{method}: {status:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prepared_statements_are_asked_with_values() {
    let world = World::new(&mixed(), 4).await;
    let client = Client::new(&world, "tgq-acme");
    let prepared = client.prepare("SELECT count(*) FROM usage WHERE user_id = ? AND input_tokens >= ?").await.unwrap();
    let parameters = read(&[head_of(&prepared.parameter_schema)]).schema();
    let types: Vec<String> =
        parameters.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect();
    assert_eq!(types, ["$1 Utf8", "$2 Int64"]);
    let text = |text: &str| Arc::new(StringArray::from(vec![text])) as ArrayRef;
    let int = |number: i64| Arc::new(Int64Array::from(vec![number])) as ArrayRef;
    for (user, least, wanted) in
        [("12", int(100), 1), ("12", int(101), 0), ("bob", text("300"), 1), ("' OR 1=1", int(0), 0)]
    {
        let bound = client.bind(&prepared, written(&row(vec![("0", text(user)), ("1", least)]))).await.unwrap();
        assert_eq!(number(&client.batch(bound.clone()).await.unwrap()), wanted, "{user}");
        // The same handle takes other values.
        let again = Prepared {
            handle: Handle::decode(Any::decode(bound).unwrap().value).unwrap().handle,
            ..Prepared::default()
        };
        let bound = client.bind(&again, written(&row(vec![("0", text("34")), ("1", int(1))]))).await.unwrap();
        assert_eq!(number(&client.batch(bound).await.unwrap()), 1);
    }
    let check = async |messages: Vec<FlightData>, wanted: &str| {
        let asked = match client.bind(&prepared, messages).await {
            Ok(bound) => client.get(bound).await.err(),
            Err(status) => Some(status),
        };
        let status = asked.expect(wanted);
        assert!(status.code() == Code::InvalidArgument && status.message().contains(wanted), "{wanted}: {status:?}");
    };
    let good = written(&row(vec![("0", text("12")), ("1", int(1))]));
    check(good[..1].to_vec(), "a message is missing").await;
    check([&good[..], &good[1..]].concat(), "one row").await;
    check(written(&row(vec![("0", text("12"))])), "2 parameters").await;
    check(written(&row(vec![("0", text("12")), ("1", int(1)), ("2", int(1))])), "3 values came").await;
    check(written(&row(vec![("0", text("1\0")), ("1", int(1))])), "0x00").await;
    check(written(&row(vec![("0", text("12")), ("1", text("many"))])), "$2").await;
    let two = Arc::new(StringArray::from(vec!["12", "34"])) as ArrayRef;
    check(written(&row(vec![("0", two), ("1", Arc::new(Int64Array::from(vec![1, 2])))])), "one row").await;
    let list = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1)])])) as ArrayRef;
    check(written(&row(vec![("0", text("12")), ("1", list)])), "no list").await;
    check(written(&row(vec![("0", text(&"x".repeat(300_000))), ("1", int(1))])), "bytes").await;
    check(vec![good[1].clone(), good[0].clone()], "schema").await;
    // Whatever is broken in the bytes, somebody is told that it is.
    for part in 0..2 {
        for at in (0..good[part].data_header.len()).step_by(3) {
            let mut broken = good.clone();
            let mut header = broken[part].data_header.to_vec();
            header[at] ^= 0xff;
            broken[part].data_header = header.into();
            if let Ok(bound) = client.bind(&prepared, broken).await
                && let Err(status) = client.get(bound).await
            {
                let known = matches!(status.code(), Code::InvalidArgument | Code::Unimplemented);
                assert!(known, "{part} {at}: {status:?}");
            }
        }
    }
    let all = number(&client.batch(query("SELECT count(*) FROM usage")).await.unwrap());
    for (condition, value) in [
        ("time >= ?", "epoch"),
        ("time >= ?", "2026-11-01 00:00"),
        ("time < ? OR true", "today"),
        ("extract(hour FROM time AT TIME ZONE ?) = 1", "Europe/Berlin"),
    ] {
        let prepared = client.prepare(&format!("SELECT count(*) FROM usage WHERE {condition}")).await.unwrap();
        let bound = client.bind(&prepared, written(&row(vec![("0", text(value))]))).await.unwrap();
        assert_eq!(number(&client.batch(bound).await.unwrap()), all, "{condition} {value}");
    }
    let unbound = Any::of("CommandPreparedStatementQuery", &Handle { handle: prepared.handle.clone() });
    let info = client.describe(unbound).await.unwrap();
    let status = client.fetch(&info).await.unwrap_err();
    assert!(status.code() == Code::InvalidArgument && status.message().contains("no values came"), "{status:?}");
    assert!(client.act("ClosePreparedStatement", Bytes::new()).await.unwrap().is_empty());
}

/// The message that a description carries.
fn head_of(schema: &Bytes) -> FlightData {
    FlightData { data_header: schema.slice(8..), ..FlightData::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_to_ask_is_told() {
    let world = World::new(&mixed(), 4).await;
    let client = Client::new(&world, "tgq-acme");
    let all = GetTables { include_schema: true, ..GetTables::default() };
    let tables = client.batch(Any::of("CommandGetTables", &all)).await.unwrap();
    let listed =
        client.batch(query("SELECT table_name FROM information_schema.tables ORDER BY table_name")).await.unwrap();
    assert_eq!(texts(&tables, "table_name"), texts(&listed, "table_name"));
    // What a table is said to have is what is found in it.
    let schemas = tables.column_by_name("table_schema").unwrap();
    let schemas = schemas.as_any().downcast_ref::<arrow::array::BinaryArray>().unwrap();
    for (at, one) in relations(&only(&["acme"]).tenants).iter().enumerate() {
        let told = read(&[head_of(&Bytes::copy_from_slice(schemas.value(at)))]).schema();
        let found = client.batch(query(&format!("SELECT * FROM {} LIMIT 0", one.name))).await.unwrap().schema();
        let plain = |schema: &Schema| {
            let field = |field: &Arc<arrow::datatypes::Field>| (field.name().clone(), field.data_type().clone());
            schema.fields().iter().map(field).collect::<Vec<_>>()
        };
        assert_eq!(plain(&told), plain(&found), "{}", one.name);
        let remarks = |field: &Arc<arrow::datatypes::Field>| field.metadata().contains_key("ARROW:FLIGHT:SQL:REMARKS");
        assert!(told.fields().iter().all(remarks), "{}: {told:?}", one.name);
    }
    let check = async |of: GetTables, wanted: &[&str]| {
        let tables = client.batch(Any::of("CommandGetTables", &of)).await.unwrap();
        assert_eq!(texts(&tables, "table_name"), wanted, "{of:?}");
    };
    let named = |pattern: &str| GetTables { table_pattern: Some(pattern.into()), ..GetTables::default() };
    check(named("us%"), &["usage"]).await;
    check(named("daily\\_spen_"), &["daily_spend"]).await;
    check(GetTables { table_types: vec!["TABLE".into()], ..named("%spend") }, &[]).await;
    check(GetTables { schema_pattern: Some("p%".into()), ..named("usage") }, &["usage"]).await;
    check(GetTables { schema_pattern: Some("x".into()), ..named("usage") }, &[]).await;
    check(GetTables { catalog: Some(String::new()), ..named("usage") }, &[]).await;
    check(GetTables { catalog: Some("tollgate".into()), ..named("usage") }, &["usage"]).await;
    let schemas = client.batch(Any::of("CommandGetDbSchemas", &GetDbSchemas::default())).await.unwrap();
    assert_eq!(
        (texts(&schemas, "catalog_name"), texts(&schemas, "db_schema_name")),
        (vec!["tollgate".into()], vec!["public".into()])
    );
    let catalogs = client.batch(Any::of("CommandGetCatalogs", &Empty {})).await.unwrap();
    assert_eq!(texts(&catalogs, "catalog_name"), ["tollgate"]);
    let types = client.batch(Any::of("CommandGetTableTypes", &Empty {})).await.unwrap();
    assert_eq!(texts(&types, "table_type"), ["TABLE", "VIEW"]);
    for (command, columns) in [
        ("CommandGetPrimaryKeys", 6),
        ("CommandGetExportedKeys", 13),
        ("CommandGetImportedKeys", 13),
        ("CommandGetCrossReference", 13),
    ] {
        let keys = client.batch(Any::of(command, &Empty {})).await.unwrap();
        assert_eq!((keys.num_rows(), keys.num_columns()), (0, columns), "{command}");
    }
    let types = client.batch(Any::of("CommandGetXdbcTypeInfo", &Empty {})).await.unwrap();
    assert_eq!((types.num_columns(), texts(&types, "type_name").len()), (19, 11));
    let one = client.batch(Any::of("CommandGetSqlInfo", &GetSqlInfo { info: vec![3, 0] })).await.unwrap();
    assert_eq!(one.num_rows(), 2);
    let everything = client.batch(Any::of("CommandGetSqlInfo", &GetSqlInfo::default())).await.unwrap();
    assert!(everything.num_rows() > 80);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asked_may_end_it() {
    let world = large().await;
    let client = Client::new(&world, "tgq-all");
    for sql in ENDLESS {
        let info = client.describe(query(sql)).await.unwrap();
        let asking = {
            let (client, info) = (client.clone(), info.clone());
            tokio::spawn(async move { client.fetch(&info).await })
        };
        let cancel = |client: Client| {
            let body = CancelFlightInfoRequest { info: Some(info.clone()) }.encode_to_vec();
            async move { client.act("CancelFlightInfo", body.into()).await }
        };
        let begun = Instant::now();
        let other = client.shows("Bearer tgq-acme");
        let done = loop {
            let stranger = cancel(other.clone()).await.unwrap_err();
            assert_eq!(stranger.code(), Code::NotFound);
            match cancel(client.clone()).await {
                Ok(done) => break done,
                Err(status) => assert_eq!(status.code(), Code::NotFound),
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "it does not begin");
            tokio::task::yield_now().await;
        };
        assert_eq!(Cancelled::decode(done[0].body.clone()).unwrap().status, 1);
        assert_eq!(asking.await.unwrap().unwrap_err().code(), Code::Cancelled, "{sql}");
        idle(&world).await;
        // A client that goes away, before and after the first message.
        let left = tokio::time::timeout(Duration::from_millis(300), client.fetch(&info)).await;
        assert!(left.is_err(), "{sql}");
        idle(&world).await;
        // One whose time is over.
        let hasty = Client { timeout: Some("200m"), ..client.clone() };
        let late = hasty.fetch(&info).await.unwrap_err();
        assert_eq!(late.code(), Code::DeadlineExceeded, "{late:?}");
        idle(&world).await;
    }
    assert_eq!(cancel_of(&client).await.code(), Code::NotFound);
}

/// What is said to who would end what does not run.
async fn cancel_of(client: &Client) -> Status {
    let info = client.describe(query("SELECT 1")).await.unwrap();
    let body = CancelFlightInfoRequest { info: Some(info) }.encode_to_vec();
    client.act("CancelFlightInfo", body.into()).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_is_streamed_and_waits_for_its_reader() {
    let world = large().await;
    let client = Client::new(&world, "tgq-acme");
    let info = client.describe(query("SELECT a.user_id, b.call_id FROM usage a, usage b LIMIT 2000000")).await.unwrap();
    let (_, mut stream) = client.begin::<FlightData>("DoGet", &[ticket(&info)]).await.unwrap();
    let (mut messages, mut bytes) = (0, 0);
    while messages < 8 {
        let message = stream.message().await.unwrap().unwrap();
        (messages, bytes) = (messages + 1, bytes + message.data_body.len());
    }
    assert!(bytes > 64 << 10, "{bytes}");
    drop(stream);
    idle(&world).await;
}

/// What was sent before is sent; nothing that is made after it.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_ends_with_the_access_that_it_was_asked_by() {
    let world = large().await;
    let acme = Tenants::Only(vec!["acme".into()]);
    for (token, left) in [("tgq-all", vec![]), ("tgq-acme", vec![]), ("tgq-all", vec![("tgq-all", acme.clone())])] {
        world.grants(&[("tgq-all", Tenants::All), ("tgq-acme", acme.clone())]);
        let client = Client::new(&world, token);
        let sql = "SELECT a.user_id, b.call_id FROM usage a, usage b LIMIT 2000000";
        let info = client.describe(query(sql)).await.unwrap();
        let (_, mut stream) = client.begin::<FlightData>("DoGet", &[ticket(&info)]).await.unwrap();
        for _ in 0..4 {
            stream.message().await.unwrap().unwrap();
        }
        // Another policy alone changes nothing.
        world.grants(&[("tgq-all", Tenants::All), ("tgq-acme", acme.clone()), ("new", Tenants::All)]);
        for _ in 0..4 {
            stream.message().await.unwrap().unwrap();
        }
        world.grants(&left);
        let mut more = 0;
        let status = loop {
            match stream.message().await {
                Ok(Some(_)) => more += 1,
                Ok(None) => panic!("{token} was given everything"),
                Err(status) => break status,
            }
        };
        assert!(more < 64, "{token} was given {more} messages more");
        assert!(status.code() == Code::Unauthenticated && status.message().contains("TG6003"), "{status:?}");
        idle(&world).await;
    }
}
