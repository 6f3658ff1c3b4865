//! A real Kafka for tests: the one at `TOLLGATE_KAFKA_BROKERS`; else one started here from Apache Kafka's published Java
//! artifacts (Java 17 and Maven, fetched once into a cache of the user); else one in Docker; else none.
//!
//! [`shared`] gives all tests of all test binaries the same broker: it stays for as long as one of them runs, and some
//! seconds more. Tests keep out of each other's way by the prefix of their topics. [`Own`] is a broker that its test may stop
//! and start. Where there is none, tests say loudly that they are skipped; with `TOLLGATE_REQUIRE_KAFKA=1` they fail.

use std::{
    env, fs,
    io::Write as _,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

const VERSION: &str = "4.1.1";

/// Names a data directory; any will do, as long as it is 22 characters of base 64.
const CLUSTER: &str = "VG9sbGdhdGUgdGVzdHMuLg";

/// How long a broker may take to listen. A busy machine takes most of a minute.
const START: Duration = Duration::from_secs(180);

/// Ends the broker when nobody has used it for 20 seconds, which is between two test binaries of one run.
const SHARED: &str = r#"
    "$@" & child=$!
    idle=0
    while kill -0 $child 2>/dev/null; do
        sleep 5
        if flock -n users true; then idle=$((idle + 1)); else idle=0; fi
        if [ $idle -ge 4 ]; then flock -n users sh -c "rm -f address; kill $child" && wait $child; fi
    done
    rm -rf data address"#;

/// Ends the broker as it is told to, or when whoever started it is gone.
const OWN: &str = r#"
    "$@" & child=$!
    read -r how
    kill ${how:--KILL} $child
    wait $child"#;

/// The address of a broker that many use; nothing if there is none, which has been said then.
pub(crate) fn shared() -> Option<&'static str> {
    static SHARED: OnceLock<Option<String>> = OnceLock::new();
    SHARED.get_or_init(|| given().map(Ok).unwrap_or_else(join).map_err(|why| skip(&why)).ok()).as_deref()
}

fn given() -> Option<String> {
    env::var("TOLLGATE_KAFKA_BROKERS").ok().filter(|brokers| !brokers.is_empty())
}

/// Fails if Kafka is required; else says so where no test harness swallows it.
fn skip(why: &str) {
    assert!(env::var("TOLLGATE_REQUIRE_KAFKA").as_deref() != Ok("1"), "there is no Kafka, and it is required: {why}");
    let name = thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(std::io::stderr(), "\n*** SKIPPED {name} and all tests on Kafka of this run: {why}\n");
}

/// Uses the broker that another test binary started, or starts one.
fn join() -> Result<String, String> {
    let dir = env::temp_dir().join(format!("tollgate-kafka-{VERSION}-{}", env::var("USER").unwrap_or_default()));
    fs::create_dir_all(&dir).map_err(|error| said(&dir, error))?;
    let users = fs::File::create(dir.join("users")).map_err(|error| said(&dir, error))?;
    users.lock_shared().map_err(|error| said(&dir, error))?;
    // Held until this process ends.
    std::mem::forget(users);
    let starting = fs::File::create(dir.join("starting")).map_err(|error| said(&dir, error))?;
    starting.lock().map_err(|error| said(&dir, error))?;
    if let Ok(address) = fs::read_to_string(dir.join("address"))
        && listens(&address)
    {
        return Ok(address);
    }
    let _ = fs::remove_dir_all(dir.join("data"));
    let place = Place::new(&dir)?;
    let mut child = place.run(SHARED, Stdio::null())?;
    wait_for(&place.address, &mut child, &dir)?;
    fs::write(dir.join("address"), &place.address).map_err(|error| said(&dir, error))?;
    Ok(place.address)
}

/// A broker of one test.
pub(crate) struct Own {
    place: Place,
    child: Option<Child>,
}

impl Own {
    /// Starts one; nothing if there cannot be one here, which has been said then.
    pub(crate) fn start(dir: &Path) -> Option<Self> {
        let started = Place::new(dir).and_then(|place| {
            let mut own = Self { place, child: None };
            own.restart().map(|()| own)
        });
        started.map_err(|why| skip(&why)).ok()
    }

    /// Its address, the same after every restart.
    pub(crate) fn address(&self) -> &str {
        &self.place.address
    }

    /// Starts it again, with what it had.
    pub(crate) fn restart(&mut self) -> Result<(), String> {
        let mut child = self.place.run(OWN, Stdio::piped())?;
        wait_for(&self.place.address, &mut child, &self.place.dir)?;
        self.child = Some(child);
        Ok(())
    }

    /// Stops it in an orderly way.
    pub(crate) fn stop(&mut self) {
        self.end("-TERM\n");
    }

    /// Sends it a signal, as `kill` names it: it may have to stand still for a while.
    pub(crate) fn signal(&self, signal: &str) {
        let group = self.child.as_ref().map(|child| format!("-{}", child.id())).unwrap_or_default();
        assert!(Command::new("kill").args([signal, "--", &group]).status().is_ok_and(|status| status.success()));
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        self.end("-KILL\n");
    }

    fn end(&mut self, how: &str) {
        if let Some(mut child) = self.child.take() {
            if let Some(mut stdin) = child.stdin.take() {
                let _ = stdin.write_all(how.as_bytes());
            }
            let _ = child.wait();
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Where a broker is to run.
struct Place {
    dir: PathBuf,
    address: String,
    command: Vec<String>,
}

impl Place {
    fn new(dir: &Path) -> Result<Self, String> {
        let (port, controller) = (free_port()?, free_port()?);
        let command = java(dir, port, controller).or_else(|why| docker(port, controller).ok_or(why))?;
        Ok(Self { dir: dir.to_owned(), address: format!("127.0.0.1:{port}"), command })
    }

    /// Runs the broker under a script that will end it.
    fn run(&self, script: &str, stdin: Stdio) -> Result<Child, String> {
        let log = fs::File::create(self.dir.join("log")).map_err(|error| said(&self.dir, error))?;
        let again = log.try_clone().map_err(|error| said(&self.dir, error))?;
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).args(&self.command).current_dir(&self.dir);
        command.stdin(stdin).stdout(log).stderr(again).process_group(0);
        command.spawn().map_err(|error| format!("sh: {error}"))
    }
}

/// The command of a broker from Java artifacts, with its data directory made.
fn java(dir: &Path, port: u16, controller: u16) -> Result<Vec<String>, String> {
    let home = distribution()?;
    let data = dir.join("data");
    fs::create_dir_all(&data).map_err(|error| said(&data, error))?;
    for name in ["meta.properties", "bootstrap.checkpoint"] {
        fs::copy(home.join("formatted").join(name), data.join(name)).map_err(|error| said(&home, error))?;
    }
    let properties = dir.join("server.properties");
    fs::write(&properties, server_properties(port, controller, &data)).map_err(|error| said(dir, error))?;
    let mut command: Vec<String> =
        ["java", "-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"].map(String::from).to_vec();
    command.push(format!("-Dlog4j2.configurationFile=file:{}", home.join("log4j2.properties").display()));
    command.extend(["-cp".into(), class_path(&home), "kafka.Kafka".into(), properties.display().to_string()]);
    Ok(command)
}

/// The command of a broker in Docker, if Docker runs here.
fn docker(port: u16, controller: u16) -> Option<Vec<String>> {
    Command::new("docker").args(["info"]).output().ok().filter(|output| output.status.success())?;
    let mut command: Vec<String> = ["docker", "run", "--rm", "--init", "--network", "host"].map(String::from).to_vec();
    let properties = server_properties(port, controller, Path::new("/tmp/kafka"));
    for line in properties.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.split_once('=')?;
        let name = name.to_uppercase().replace('.', "_");
        command.extend(["-e".into(), format!("KAFKA_{name}={value}")]);
    }
    command.extend(["-e".into(), format!("CLUSTER_ID={CLUSTER}"), format!("apache/kafka:{VERSION}")]);
    Some(command)
}

/// The artifacts and a formatted data directory, in a cache of the user.
fn distribution() -> Result<PathBuf, String> {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")));
    let parent = cache.unwrap_or_else(env::temp_dir).join("tollgate");
    let home = parent.join(format!("kafka-{VERSION}"));
    fs::create_dir_all(&parent).map_err(|error| said(&parent, error))?;
    let fetching = fs::File::create(parent.join("fetching")).map_err(|error| said(&parent, error))?;
    fetching.lock().map_err(|error| said(&parent, error))?;
    if home.exists() {
        return Ok(home);
    }
    let part = parent.join(format!("kafka-{VERSION}.part"));
    let _ = fs::remove_dir_all(&part);
    fetch(&part)?;
    fs::rename(&part, &home).map_err(|error| said(&home, error))?;
    Ok(home)
}

fn fetch(part: &Path) -> Result<(), String> {
    fs::create_dir_all(part).map_err(|error| said(part, error))?;
    let files =
        [("pom.xml", include_str!("kafka/pom.xml")), ("log4j2.properties", include_str!("kafka/log4j2.properties"))];
    for (name, text) in files {
        fs::write(part.join(name), text).map_err(|error| said(part, error))?;
    }
    run(Command::new("java").arg("-version"))?;
    let libs = format!("-DoutputDirectory={}", part.join("libs").display());
    let mut mvn = Command::new("mvn");
    run(mvn.args(["-q", "-B", "-f"]).arg(part.join("pom.xml")).args([
        "dependency:copy-dependencies",
        "-DincludeScope=runtime",
        &libs,
    ]))?;
    let properties = part.join("format.properties");
    let text = server_properties(1, 2, &part.join("formatted"));
    fs::write(&properties, text).map_err(|error| said(part, error))?;
    let mut format = Command::new("java");
    format.args(["-cp", &class_path(part), "kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c"]).arg(&properties);
    run(&mut format)
}

fn class_path(home: &Path) -> String {
    format!("{}/*", home.join("libs").display())
}

fn server_properties(port: u16, controller: u16, data: &Path) -> String {
    include_str!("kafka/server.properties")
        .replace("127.0.0.1:CONTROLLER", &format!("127.0.0.1:{controller}"))
        .replace("127.0.0.1:PORT", &format!("127.0.0.1:{port}"))
        .replace("log.dirs=DATA", &format!("log.dirs={}", data.display()))
}

fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    Err(format!("{name} failed: {} {}", text(&output.stdout), text(&output.stderr)))
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    Ok(listener.local_addr().map_err(|error| error.to_string())?.port())
}

fn listens(address: &str) -> bool {
    let address: Option<SocketAddr> = address.parse().ok();
    address.is_some_and(|address| TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok())
}

fn wait_for(address: &str, child: &mut Child, dir: &Path) -> Result<(), String> {
    let deadline = Instant::now() + START;
    while !listens(address) {
        let ended = child.try_wait().is_ok_and(|status| status.is_some());
        if ended || Instant::now() > deadline {
            let log = fs::read_to_string(dir.join("log")).unwrap_or_default();
            return Err(format!("the broker does not listen at {address}: {}", log.trim()));
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn said(path: &Path, error: std::io::Error) -> String {
    format!("{}: {error}", path.display())
}
