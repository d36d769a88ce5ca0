//! Nothing outlives a parent that is killed with SIGKILL.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Set in the process that plays the parent: this test binary, started again.
const PLAY_PARENT: &str = "TESTBED_PLAY_PARENT";

/// Not a test by itself: the process that [`children_die_with_a_killed_parent`] kills.
#[tokio::test]
async fn parent() {
    let Some(directory) = std::env::var_os(PLAY_PARENT) else { return };
    let directory = Path::new(&directory);
    // With a child process, which has to end as well.
    let mut sleeper = Command::new("sh");
    sleeper.args(["-c", "sleep 1000 & echo $!; exec sleep 1000"]);
    let running = testbed::Process::spawn("running", &sleeper, &directory.join("running")).await.unwrap();
    let paused = testbed::Process::spawn("paused", &sleeper, &directory.join("paused")).await.unwrap();
    paused.pause().unwrap();
    let scratch = testbed::Scratch::new("killed").await.unwrap();
    let child = testbed::eventually("the child", Duration::from_secs(10), || async {
        Ok(running.log().trim().parse::<u32>().map_err(|why| why.to_string()))
    });
    let child = child.await.unwrap();
    println!("\nready {} {} {child} {}", running.pid(), paused.pid(), scratch.path().display());
    std::future::pending::<()>().await;
}

#[test]
fn children_die_with_a_killed_parent() {
    let directory = tempfile::tempdir().unwrap();
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "parent", "--nocapture"])
        .env(PLAY_PARENT, directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    let ready =
        lines.map(Result::unwrap).find_map(|line| line.strip_prefix("ready ").map(str::to_owned)).unwrap();
    let mut words = ready.split(' ');
    let pids: Vec<u32> = words.by_ref().take(3).map(|pid| pid.parse().unwrap()).collect();
    let scratch = words.next().unwrap();
    assert!(pids.iter().all(|pid| alive(*pid)), "{pids:?}");
    assert!(Path::new(scratch).is_dir());

    // SIGKILL: the parent runs no destructor.
    parent.kill().unwrap();
    parent.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while pids.iter().any(|pid| alive(*pid)) || Path::new(scratch).exists() {
        assert!(Instant::now() < deadline, "left behind: one of {pids:?} or {scratch}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether the process exists and is more than an entry that nobody has collected yet.
fn alive(pid: u32) -> bool {
    let output = Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output().unwrap();
    let state = String::from_utf8_lossy(&output.stdout);
    !state.trim().is_empty() && !state.trim().starts_with('Z')
}
