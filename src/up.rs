//! `tollgate up`: the roles, in one process.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    thread,
    time::Duration,
};

use schemas::{
    config::{Dialect, Listener, Log},
    error_code::ErrorCode,
};
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot},
};

use crate::{
    EXIT_USAGE,
    failure::Failure,
    load::{Loaded, load},
    ops::{Ops, Readiness},
    publish::SHARED,
    reload::reload,
    roles::{Ended, Left, Roles, open_road, prepare},
};

/// Events had to stay in the journal.
const EXIT_UNSHIPPED: u8 = 75;

/// How long to wait before it is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Start Tollgate: every role in this process, or those named.
///
/// Stops on SIGTERM or Ctrl-C: no new calls, open streams end or are settled at the deadline, the log is brought up to date. On
/// SIGHUP the configuration is read again, and its tenants, limits, models and prices are in force from then on.
/// Exits with 0; with 64 if the configuration is wrong; with 75 if events had to stay in the journal.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "tollgate.yaml")]
    pub(crate) config: PathBuf,
    /// The roles, separated by commas. Without Kafka it is all of them.
    #[arg(long, value_name = "ROLES", value_delimiter = ',')]
    pub(crate) roles: Vec<Role>,
}

/// A part of Tollgate that can run by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Role {
    /// Passes calls.
    Gateway,
    /// Keeps the books.
    Metering,
    /// Writes the tables.
    Lake,
    /// Answers questions.
    Query,
}

impl Role {
    const ALL: [Self; 4] = [Self::Gateway, Self::Metering, Self::Lake, Self::Query];
}

impl Default for Args {
    fn default() -> Self {
        Self { config: "tollgate.yaml".into(), roles: Vec::new() }
    }
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let loaded = match load(&args.config) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let roles: Vec<Role> =
        Role::ALL.into_iter().filter(|role| args.roles.is_empty() || args.roles.contains(role)).collect();
    if roles.len() < Role::ALL.len() && matches!(loaded.config.log, Log::Disk { .. }) {
        let code = ErrorCode::RolesNeedKafka;
        eprintln!("error: {code}: a log of kind disk has one process with every role; leave --roles out, or use kafka");
        return ExitCode::from(EXIT_USAGE);
    }
    match serve(&args.config, Arc::new(loaded), roles) {
        Ok(left) => say(&left),
        Err(error) => {
            eprintln!("error: {error}");
            if error.code() == Some(SHARED) { ExitCode::from(EXIT_USAGE) } else { ExitCode::FAILURE }
        }
    }
}

/// Runs the roles until a signal, or until one of them fails.
fn serve(file: &Path, loaded: Arc<Loaded>, roles: Vec<Role>) -> Result<Left, Failure> {
    start_tracing();
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let ops = runtime.block_on(Ops::bind(&loaded.config))?;
    let readiness = Readiness::starting();
    runtime.spawn(ops.serve(Arc::clone(&readiness)));
    let (sender, mut ended) = mpsc::unbounded_channel();
    let starting = start(Arc::clone(&loaded), roles.clone(), sender, Arc::clone(&readiness))?;
    let up = runtime.block_on(async {
        let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let mut hangup = signal(SignalKind::hangup())?;
        let mut started = tokio::select! {
            _ = term.recv() => return Ok(None),
            _ = interrupt.recv() => return Ok(None),
            started = starting => started.map_err(|_| "the roles could not be started")??,
        };
        readiness.up(std::mem::take(&mut started.checks));
        greet(&loaded, &roles);
        let failed = loop {
            tokio::select! {
                _ = term.recv() => break None,
                _ = interrupt.recv() => break None,
                failed = ended.recv() => break failed,
                // Nothing else waits on this thread, so it may take as long as the log does.
                _ = hangup.recv() => reload(file, &loaded, &started),
            }
        };
        Ok::<_, Failure>(Some((started, failed)))
    })?;
    readiness.stopping();
    let Some((started, failed)) = up else { return Ok(unshipped(&loaded, &roles)) };
    eprintln!("stopping: open calls may end, then the log and the tables are brought up to date");
    let left = started.stop();
    match failed {
        Some(Ended { role, why }) => Err(format!("{role} stopped: {why}").into()),
        None => Ok(left),
    }
}

/// What an earlier process left in the outbox, when a signal came before this one could open the log.
fn unshipped(loaded: &Loaded, roles: &[Role]) -> Left {
    let Log::Kafka(kafka) = &loaded.config.log else { return Left::default() };
    let dir = &kafka.outbox;
    if !roles.contains(&Role::Gateway) || !dir.exists() {
        return Left::default();
    }
    let options = journal::Options { lanes: kafka.lanes, ..journal::Options::default() };
    let events = journal::Journal::open(dir, &options).map_or(0, |journal| journal.unconfirmed());
    Left { unshipped: (events > 0).then(|| (events, dir.display().to_string())), cut: 0 }
}

/// Starts the roles on a thread of their own; while the log is away or the disk is full they are not ready, and it is tried again.
fn start(
    loaded: Arc<Loaded>,
    roles: Vec<Role>,
    ended: mpsc::UnboundedSender<Ended>,
    readiness: Arc<Readiness>,
) -> Result<oneshot::Receiver<Result<Roles, Failure>>, Failure> {
    let (sender, started) = oneshot::channel();
    let run = move || {
        let started = persist(&readiness, || open_road(&loaded.config)).and_then(|road| {
            // The road stays open meanwhile: on Kafka its outbox ships, which may be what makes room.
            persist(&readiness, || prepare(&*road, &loaded, &roles))?;
            Roles::start(&loaded, &roles, road, &ended)
        });
        // Nobody waits any more if a signal came first.
        let _ = sender.send(started);
    };
    thread::Builder::new().name("start".into()).spawn(run)?;
    Ok(started)
}

/// Tries until it is done or will never be, and says meanwhile what is waited for.
fn persist<T>(readiness: &Readiness, attempt: impl Fn() -> Result<T, Failure>) -> Result<T, Failure> {
    loop {
        match attempt() {
            Err(error) if error.may_pass => {
                tracing::warn!(%error, "the roles wait");
                readiness.waiting(error.to_string());
                thread::sleep(RETRY);
            }
            done => return done,
        }
    }
}

fn start_tracing() {
    use tracing_subscriber::{EnvFilter, fmt, prelude::*};
    let filter = EnvFilter::try_from_env("TOLLGATE_LOG").unwrap_or_else(|_| EnvFilter::new("warn,tollgate=info"));
    tracing_subscriber::registry().with(filter).with(fmt::layer().with_writer(std::io::stderr)).init();
}

/// Says what was left behind, and whether that is a failure.
fn say(left: &Left) -> ExitCode {
    if left.cut > 0 {
        eprintln!("{} open calls had to be cut; each is settled with what was known of it", left.cut);
    }
    match &left.unshipped {
        None => ExitCode::SUCCESS,
        Some((events, journal)) => {
            eprintln!("{events} events remain in {journal}: the log could not be reached; start again to ship them");
            ExitCode::from(EXIT_UNSHIPPED)
        }
    }
}

/// Tells a newcomer what to type next.
fn greet(loaded: &Loaded, roles: &[Role]) {
    let (listen, clear) = (&loaded.config.listen, &loaded.clear);
    let scheme =
        |listener| if loaded.config.tls.iter().any(|tls| tls.on.contains(&listener)) { "https" } else { "http" };
    if roles.contains(&Role::Gateway) {
        eprintln!("gateway   {}://{}", scheme(Listener::Gateway), listen.gateway);
        let sandbox = loaded.config.providers.iter().any(|provider| provider.dialect == Dialect::Sandbox);
        if let Some(key) = clear.keys.first().filter(|_| sandbox) {
            println!(
                "\n# a call, answered by the built-in sandbox\ncurl {}://{}/v1/chat/completions -H 'authorization: Bearer {}' \
                 -H 'content-type: application/json' \\\n  -d '{{\"model\":\"sandbox/64\",\"messages\":[{{\"role\":\"user\",\
                 \"content\":\"Hello\"}}]}}'",
                scheme(Listener::Gateway),
                listen.gateway,
                key.key.expose(),
            );
        }
    }
    if cfg!(feature = "query") && roles.contains(&Role::Query) {
        eprintln!("query     {}://{}", scheme(Listener::Query), listen.query);
        if let Some(token) = &clear.token {
            println!(
                "\n# what it cost\ncurl {}://{}/v1/sql -H 'authorization: Bearer {}' -H 'content-type: application/json' \\\n  \
                 -d '{{\"sql\":\"SELECT tenant, model, count(*) AS calls, sum(cost_usd) AS usd FROM usage GROUP BY tenant, \
                 model ORDER BY usd DESC\"}}'\n",
                scheme(Listener::Query),
                listen.query,
                token.expose(),
            );
        }
    }
    if let Some(postgres) = listen.postgres.filter(|_| cfg!(feature = "query") && roles.contains(&Role::Query)) {
        eprintln!("postgres  {postgres}: psql, drivers and BI tools, with a token as the password");
    }
    if let Some(flight) = listen.flight.filter(|_| cfg!(feature = "query") && roles.contains(&Role::Query)) {
        let scheme = if scheme(Listener::Flight) == "https" { "grpc+tls" } else { "grpc" };
        eprintln!("flight    {scheme}://{flight}: ADBC and JDBC, with a token as the password");
    }
    if let Some(admin) = listen.admin.filter(|_| roles.contains(&Role::Metering)) {
        eprintln!("admin     {}://{admin}", scheme(Listener::Admin));
    }
    eprintln!("ops       {}://{}/readyz", scheme(Listener::Ops), listen.ops);
}
