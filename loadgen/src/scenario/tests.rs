//! The plans of command lines: what is refused, and the defaults.

use clap::Parser;

use super::Scenario;
use crate::clock::SECOND;
use crate::input::destination::Destination;
use crate::input::error::PlanError;
use crate::input::plan::{Load, MAX_IN_FLIGHT, Plan};
use crate::input::target::Target;

const HERE: &str = "127.0.0.1:9001";

/// A command line without the other subcommands.
#[derive(Debug, Parser)]
struct Line {
    #[command(subcommand)]
    scenario: Scenario,
}

/// The plan of a command line, against `ws://localhost:9001`, which resolves to `address`.
pub(crate) fn plan_of(words: &str, address: &str) -> Result<Plan, PlanError> {
    let mut all = vec!["loadgen"];
    let (scenario, options) = words.split_once(' ').unwrap_or((words, ""));
    all.extend([scenario, "ws://localhost:9001/x?y=1"]);
    all.extend(options.split_whitespace());
    let line = Line::try_parse_from(all).unwrap();
    let args = line.scenario.args();
    let connect = args.connect();
    let addresses = [address.parse().unwrap()];
    let destinations = connect
        .urls()
        .map(|url| Destination::check(Target::parse(url)?, &addresses, connect))
        .collect::<Result<_, _>>()?;
    Plan::check(args.outline()?, connect, destinations, 7)
}

#[test]
fn what_has_no_bound_is_refused() {
    for bad in [
        "echo --connections 0",
        "echo --connections 2000000",
        "echo --threads 0",
        "echo --size 99999999",
        "echo --pipeline 0",
        "echo --messages 0",
        "echo --messages 5 --warmup 1s",
        "echo --duration 0s",
        "echo --duration 9000m",
        "echo --warmup 9000m",
        "echo --rate 0",
        "echo --rate NaN",
        "echo --rate inf",
        "echo --connect-rate 0",
        "echo --connect-burst 0",
        "echo --connections 60000 --pipeline 60000 --size 1000",
        "echo --subprotocol a,b",
        "echo --header nothing",
        "echo --header Host:x",
        "echo --source-ip ::1",
        "echo --url http://localhost:9002/",
        "echo --url ws://localhost:9001/x?y=1",
        "echo --rate 5 --stages 1s@5",
        "echo --messages 5 --stages 1s@5",
        "echo --arrivals poisson",
        "echo --arrivals poisson --rate 10000000 --duration 23h",
        "fanout --publishers 0",
        "fanout --publishers 101",
        "fanout --size 7",
        "fanout --size 8 --text",
        "fanout --connections 10000 --publishers 10000",
        "chat --rooms 0",
        "chat --size 10",
        "slow --slow-share 1.5",
        "slow --slow-bytes 0",
        "slow --fanout 100",
        "storm --rounds 0",
        "idle --duration 25h",
    ] {
        assert!(plan_of(bad, HERE).is_err(), "{bad}");
    }
    for good in ["echo --rate 10 --pipeline 2", "idle", "churn", "slow --fanout 5", "storm", "chat", "fanout"]
    {
        assert!(plan_of(good, HERE).is_ok(), "{good}");
    }
}

#[test]
fn only_this_machine_is_flooded_unless_it_is_owned() {
    let error = plan_of("echo", "192.0.2.1:80").unwrap_err().to_string();
    assert!(error.contains("--i-own-this-server"), "{error}");
    assert!(plan_of("echo --i-own-this-server", "192.0.2.1:80").is_ok());
    for here in ["127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        assert!(plan_of("echo", here).is_ok(), "{here}");
    }
}

#[test]
fn a_number_of_messages_needs_no_warm_up_and_gets_a_longer_bound() {
    let timed = plan_of("echo", HERE).unwrap();
    assert_eq!((timed.warmup, timed.duration), (SECOND, 10 * SECOND));
    let counted = plan_of("echo --messages 5", HERE).unwrap();
    assert_eq!((counted.warmup, counted.duration), (0, 60 * SECOND));
}

#[test]
fn an_open_loop_has_no_bound_on_what_is_unanswered_unless_it_is_given_one() {
    let pacing = |words| plan_of(words, HERE).map(|plan| (plan.pacing.load, plan.pacing.pipeline)).unwrap();
    assert_eq!(pacing("echo"), (Load::Closed, 1));
    assert_eq!(pacing("echo --rate 5"), (Load::Rate(5.0), MAX_IN_FLIGHT));
    assert_eq!(pacing("echo --rate 5 --pipeline 2"), (Load::Rate(5.0), 2));
}

#[test]
fn threads_share_the_connections() {
    let plan = plan_of("echo --connections 10 --threads 4", HERE).unwrap();
    assert_eq!([0, 1, 2, 3].map(|thread| plan.share(thread)), [3, 3, 2, 2]);
    assert_eq!(plan_of("echo --connections 2 --threads 4", HERE).unwrap().threads, 2);
}

#[test]
fn stages_are_as_long_as_the_run_unless_it_has_a_duration() {
    let plan = plan_of("echo --stages 2s@5/s,3s@10..0/s", HERE).unwrap();
    assert_eq!((plan.warmup, plan.duration, plan.pacing.warmup), (SECOND, 5 * SECOND, SECOND));
    assert_eq!(
        (plan.pacing.rate(), plan.pacing.is_open(), plan.pacing.pipeline),
        (None, true, MAX_IN_FLIGHT)
    );
    let plan = plan_of("churn --stages 2s@5/s --duration 1s --warmup 0s --arrivals bursts:3", HERE).unwrap();
    assert_eq!((plan.duration, plan.pacing.arrivals.to_string()), (SECOND, "bursts:3".to_owned()));
}
