//! A program that a profile names, which writes credentials as JSON (`credential_process`).
//!
//! It is run as the gateway's user by `sh`, as Amazon's own libraries do, and gets nothing to read. It has to have written all within some
//! seconds, and not much. What it says beside goes nowhere, since a secret may be in it.

use std::{
    io::Read as _,
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde_json::Value;

use super::{Got, ends, json, keys, text};

const WHO: &str = "the profile's credential_process";
/// How long it may take: less than a question as a whole, of which the rest is for roles.
const WITHIN: Duration = Duration::from_secs(20);
/// The most that it writes: a session token has some thousand bytes.
const MOST: u64 = 64 << 10;

/// Runs it and reads what it gives.
pub(super) async fn fetch(region: &str, command: &str) -> Result<Got, String> {
    let command = command.to_owned();
    let ran = tokio::task::spawn_blocking(move || run(&command, WITHIN)).await;
    let answer = json(WHO, &ran.map_err(|_| format!("{WHO} could not be waited for"))??)?;
    if answer.get("Version").and_then(Value::as_u64) != Some(1) {
        return Err(format!("{WHO} does not write its answer in version 1"));
    }
    let part = |name| text(WHO, &answer, name);
    // Keys that last have no session and no end.
    let said = |name: &str| answer.get(name).and_then(Value::as_str);
    let until = said("Expiration").map(|stated| ends(WHO, stated)).transpose()?;
    Ok(keys(region, (part("AccessKeyId")?, part("SecretAccessKey")?, said("SessionToken").unwrap_or_default()), until))
}

/// What a command writes, if it ends well and in time.
fn run(command: &str, within: Duration) -> Result<String, String> {
    let mut shell = Command::new("sh");
    // A group of its own, so that what it starts can be ended with it.
    shell.arg("-c").arg(command).process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = shell.spawn().map_err(|error| format!("{WHO} cannot be run: {}", error.kind()))?;
    let (tell, told) = mpsc::channel();
    if let Some(out) = child.stdout.take() {
        // It ends when the program has closed its output, at the latest when that is killed.
        thread::spawn(move || {
            let mut written = Vec::new();
            let read = out.take(MOST).read_to_end(&mut written);
            drop(tell.send(read.map(|_| written)));
        });
    }
    let written = told.recv_timeout(within);
    // A program that has closed its output has said all; one that ends keeps the code that it ends with.
    end(&child);
    let ended = child.wait().map_err(|error| format!("{WHO} cannot be waited for: {}", error.kind()))?;
    let written = match written {
        Ok(Ok(written)) => written,
        Ok(Err(error)) => return Err(format!("{WHO} cannot be read: {}", error.kind())),
        Err(_) => return Err(format!("{WHO} has not written all within {} s", within.as_secs())),
    };
    match ended.code() {
        _ if written.len() as u64 >= MOST => Err(format!("{WHO} writes more than {MOST} bytes")),
        Some(0) => String::from_utf8(written).map_err(|_| format!("{WHO} writes what is no text")),
        Some(code) => Err(format!("{WHO} ends with {code}")),
        None => Err(format!("{WHO} was ended by a signal")),
    }
}

/// Ends a program and all that it has started and that is still there: one of these would keep the output open.
fn end(child: &Child) {
    let mut kill = Command::new("sh");
    kill.arg("-c").arg("kill -KILL -\"$0\"").arg(child.id().to_string());
    // Who is gone already needs no end.
    drop(kill.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_has_to_end_well_in_time_and_with_few_words() {
        assert_eq!(run("printf '%s' \"a b\"", WITHIN), Ok("a b".into()));
        for (command, within, says) in [
            ("echo very-secret; exit 3", WITHIN, "ends with 3"),
            ("exec sleep 600", Duration::from_millis(50), "not written all"),
            ("sleep 600; true", Duration::from_millis(50), "not written all"),
            ("yes very-secret", WITHIN, "more than 65536"),
            ("kill -9 $$", WITHIN, "by a signal"),
            ("printf '\\377'", WITHIN, "no text"),
        ] {
            let why = run(command, within).unwrap_err();
            assert!(why.contains(says) && !why.contains("very"), "{command}: {why}");
        }
    }
}
