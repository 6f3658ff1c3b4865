//! TLS on every listener of the real binary: certificates that change while it runs, and clients that need one of their own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

#[expect(dead_code, reason = "each test of the real binary uses a part of it")]
#[path = "support/house.rs"]
mod house;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use house::{Process, free_address};
use reqwest::{Certificate, Identity, blocking::Client};
use serde_json::{Value, json};

/// A directory of keys and certificates, made by OpenSSL.
struct Authority<'d> {
    dir: &'d Path,
    name: &'static str,
}

impl<'d> Authority<'d> {
    fn new(dir: &'d Path, name: &'static str) -> Self {
        let (key, cert) = (format!("{name}.key"), format!("{name}.pem"));
        let subject = format!("/CN={name}");
        let made = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
        openssl(dir, "req", &[&made[..], &["-subj", &subject, "-keyout", &key, "-out", &cert]].concat());
        Self { dir, name }
    }

    /// Makes a certificate for this machine, and puts it and its key where `name` says, each at once.
    fn signs(&self, name: &str) {
        let (ca, ca_key) = (format!("{}.pem", self.name), format!("{}.key", self.name));
        let file = |end: &str| format!("{name}.new.{end}");
        let (key, request, cert) = (file("key"), file("csr"), file("pem"));
        fs::write(self.dir.join("leaf.ext"), "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
            .unwrap();
        let made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=leaf"];
        openssl(self.dir, "req", &[&made[..], &["-keyout", &key, "-out", &request]].concat());
        let signed = ["-req", "-days", "2", "-CAcreateserial", "-extfile", "leaf.ext"];
        let files = ["-in", &request, "-CA", &ca, "-CAkey", &ca_key, "-out", &cert];
        openssl(self.dir, "x509", &[&signed[..], &files].concat());
        for end in ["key", "pem"] {
            fs::rename(self.dir.join(file(end)), self.dir.join(format!("{name}.{end}"))).unwrap();
        }
    }

    /// A client that trusts this authority and no other, and shows a certificate if it has one.
    fn client(&self, own: Option<&str>) -> Client {
        let root = Certificate::from_pem(&fs::read(self.dir.join(format!("{}.pem", self.name))).unwrap()).unwrap();
        let builder = Client::builder().timeout(Duration::from_secs(20)).tls_certs_only([root]);
        let builder = match own {
            Some(name) => {
                let pem = ["pem", "key"].map(|end| fs::read(self.dir.join(format!("{name}.{end}"))).unwrap()).concat();
                builder.identity(Identity::from_pem(&pem).unwrap())
            }
            None => builder,
        };
        builder.build().unwrap()
    }
}

fn openssl(dir: &Path, command: &str, args: &[&str]) {
    let output = Command::new("openssl").arg(command).args(args).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "openssl {command} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn get(client: &Client, address: &str, path: &str) -> Option<u16> {
    client
        .get(format!("https://{address}{path}"))
        .bearer_auth("tga-ops")
        .send()
        .ok()
        .map(|answer| answer.status().as_u16())
}

/// What a process says that has nothing to start with.
fn start_fails(config: &PathBuf) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tollgate")).args(["up", "--config"]).arg(config).output().unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn every_listener_speaks_tls_and_follows_its_files() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let (first, second, people) =
        (Authority::new(path, "first"), Authority::new(path, "second"), Authority::new(path, "people"));
    first.signs("server");
    people.signs("alice");
    second.signs("mallory");
    let mut house = Process::house(path, "[]");
    let admin = free_address();
    let files = format!("cert: {0}/server.pem, key: {0}/server.key, reload: 50ms", path.display());
    let tls = format!("tls: [ {{ on: [admin], {files}, client_ca: {}/people.pem }}, {{ {files} }} ]", path.display());
    house.edit("listen: {", &format!("listen: {{ admin: {admin}, {tls},"));
    let admins = "admins: [ { name: ops, token: tga-ops, role: write, tenants: [\"*\"] } ]\n";
    house.edit("lake: {", &format!("{admins}lake: {{"));
    house.spawn();
    let trusting = first.client(None);
    house.wait_for("readiness over TLS", || get(&trusting, &house.ops, "/readyz") == Some(200));

    // Calls and questions pass; what speaks no TLS, or trusts another authority, gets nowhere.
    let call = |client: &Client| {
        let body = json!({ "model": "sandbox/1", "messages": [{ "role": "user", "content": "hello" }] });
        let url = format!("https://{}/v1/chat/completions", house.gateway);
        client.post(url).bearer_auth("tg-acme").json(&body).send().ok().map(|answer| answer.status().as_u16())
    };
    assert_eq!((call(&trusting), call(&second.client(None)), house.chat("tg-acme", 1)), (Some(200), None, None));
    if cfg!(feature = "query") {
        let sql = trusting.post(format!("https://{}/v1/sql", house.query)).bearer_auth("tgq-all");
        let answer: Value = sql.json(&json!({ "sql": "SELECT 1 AS one" })).send().unwrap().json().unwrap();
        assert_eq!(answer["rows"][0]["one"], 1, "{answer}");
    }
    // The admin API wants a certificate of its clients, and one of the right authority.
    assert_eq!(get(&trusting, &admin, "/v1/tenants"), None);
    assert_eq!(get(&first.client(Some("mallory")), &admin, "/v1/tenants"), None);
    assert_eq!(get(&first.client(Some("alice")), &admin, "/v1/tenants"), Some(200));

    // Another certificate is in use as soon as its file is seen; one that cannot be used changes nothing.
    second.signs("server");
    let later = second.client(None);
    house.wait_for("the new certificate", || call(&later) == Some(200));
    house.wait_for("it on the other listeners", || {
        get(&later, &house.ops, "/readyz") == Some(200)
            && get(&second.client(Some("alice")), &admin, "/v1/tenants") == Some(200)
    });
    assert_eq!(call(&first.client(None)), None);
    fs::write(path.join("half"), "-----BEGIN").unwrap();
    fs::rename(path.join("half"), path.join("server.pem")).unwrap();
    let said = || fs::read_to_string(house.said()).unwrap();
    house.wait_for("word of the bad file", || said().contains("TG1020") && said().contains("stays so"));
    assert_eq!(call(&second.client(None)), Some(200));
    assert_eq!(house.stop(), 0);
    assert!(start_fails(&path.join("tollgate.yaml")).contains("TG1020"));
}
