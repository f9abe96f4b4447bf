//! A disk that is full, fails, or is slow: what was acked is there, what was refused is not, and nobody waits for it.

use std::process::Command;

use crate::child::{Keeper, Ledger, as_words, faults};
use crate::support::Dir;

/// Runs under faults until it has recovered `times` times, then ends in order, and checks everything.
fn fail_and_recover(name: &str, injected: &[&str], times: usize) -> Ledger {
    let dir = Dir::new(name);
    let wrapper = faults(injected);
    let keeper = Keeper::start(&dir.data(), 1, &as_words(&wrapper), &[]);
    keeper.wait_for("recovered", times);
    let acked = keeper.count("acked");
    keeper.wait_for("acked", acked + 50);
    let lines = keeper.stop();
    assert_eq!(lines.iter().filter(|line| *line == "closed").count(), 1, "{lines:?}");
    let mut ledger = Ledger::default();
    ledger.enter(&lines);
    ledger.check_dir(&dir.data(), true);
    assert!(lines.iter().any(|line| line.starts_with("refused")), "nothing was refused");
    ledger
}

#[test]
fn st_05_after_a_failed_fsync_nothing_goes_on_as_if_nothing_had_happened() {
    for when in [7, 12, 20] {
        fail_and_recover("eio", &[&format!("fsync,fdatasync:error=EIO:when={when}")], 1);
    }
}

#[test]
fn st_05_fsyncs_that_fail_again_and_again() {
    fail_and_recover("eio-often", &["fsync,fdatasync:error=EIO:when=15+13"], 5);
}

#[test]
fn st_01_a_disk_that_is_full_for_a_while() {
    fail_and_recover("enospc", &["pwrite64:error=ENOSPC:when=60..66"], 1);
    fail_and_recover("write-eio", &["pwrite64:error=EIO:when=100+150"], 3);
}

#[test]
fn st_01_files_that_may_not_grow() {
    let dir = Dir::new("fsize");
    // Files of up to 1 MiB; growing beyond it fails as on a full disk. The signal that tells of it is ignored.
    let wrapper = ["sh", "-c", "trap '' XFSZ; ulimit -S -f 2048; exec \"$@\"", "sh"];
    let keeper = Keeper::start(&dir.data(), 1, &wrapper, &[]);
    keeper.wait_for("failed", 1);
    // The history can be read meanwhile. (The log may be full and give way once; the database grows no more.)
    keeper.wait_for("read", 40);
    let (acked, recovered) = (keeper.count("acked"), keeper.count("recovered"));
    assert!(acked > 0);
    let id = keeper.id().to_string();
    assert!(Command::new("prlimit").args(["--pid", &id, "--fsize=unlimited"]).status().unwrap().success());
    keeper.wait_for("recovered", recovered + 1);
    keeper.wait_for("acked", acked + 100);
    let lines = keeper.stop();
    let mut ledger = Ledger::default();
    ledger.enter(&lines);
    ledger.check_dir(&dir.data(), true);
}

#[test]
fn st_01_killed_while_the_disk_is_full() {
    let dir = Dir::new("fsize-kill");
    let wrapper = ["sh", "-c", "trap '' XFSZ; ulimit -S -f 1024; exec \"$@\"", "sh"];
    let keeper = Keeper::start(&dir.data(), 1, &wrapper, &[]);
    keeper.wait_for("failed", 1);
    let mut ledger = Ledger::default();
    ledger.enter(&keeper.kill());
    ledger.check_dir(&dir.data(), false);
}
