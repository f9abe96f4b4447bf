//! Switchboard beside other WebSocket servers: one core each, in turn, by the same generator. See README.md.

mod cell;
mod chat;
mod compare;
mod contender;
mod instructions;
mod link;
mod load;
mod metric;
mod process;
mod report;
mod serve;
mod soak;
mod target;
mod verify;
mod wire;

use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::cell::Group;
use crate::compare::Bench;
use crate::contender::Contender;
use crate::load::Span;
use crate::report::model::Report;

/// Switchboard beside other WebSocket servers: one core each, in turn, by the same generator
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run every server in turn and print what each message costs it
    Compare(Compare),
    /// Count user-space instructions per echoed message with callgrind
    Instructions(Instructions),
    /// Put the JSON of several runs together and make a page of it; of a cell that is in two, the later one counts
    Page {
        #[arg(required = true)]
        json: Vec<PathBuf>,
        /// Where the page goes
        #[arg(long)]
        html: PathBuf,
    },
    /// What the chat costs, with its history in memory and on the disk, beside the fan-out that it stands on
    Chat(Chat),
    /// Keep a server busy for long, with connections that come and go: memory must stay flat and no descriptor be lost
    Soak(Soak),
    /// Be one of the servers
    Serve {
        name: serve::Name,
        mode: serve::Mode,
        address: SocketAddr,
        #[command(flatten)]
        tls: serve::Tls,
    },
}

#[derive(Debug, Args)]
struct Compare {
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    files: Files,
    /// What is measured
    #[arg(long, value_delimiter = ',', default_value = "echo,fanout,idle,handshake,latency,flood,tls")]
    cells: Vec<Group>,
    /// Only cells whose name contains one of these
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// How often each server is measured in each cell
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Milliseconds that are measured
    #[arg(long, default_value_t = 1000)]
    measure_ms: u64,
    /// Milliseconds of load before that
    #[arg(long, default_value_t = 300)]
    warm_up_ms: u64,
    /// One short round of everything: to see that it works, not to learn figures
    #[arg(long)]
    quick: bool,
}

#[derive(Debug, Args)]
struct Instructions {
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    files: Files,
}

#[derive(Debug, Args)]
struct Chat {
    #[command(flatten)]
    ours: Ours,
    /// How often each is measured
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Milliseconds that are measured
    #[arg(long, default_value_t = 1000)]
    measure_ms: u64,
}

#[derive(Debug, Args)]
struct Soak {
    #[command(flatten)]
    who: Who,
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
}

#[derive(Debug, Args)]
struct Files {
    /// Where the figures go as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where the figures go as a page with plots
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl Files {
    fn write(&self, report: &Report) -> Result<(), Box<dyn Error>> {
        if let Some(path) = &self.json {
            write(path, &serde_json::to_string_pretty(report)?)?;
        }
        if let Some(path) = &self.html {
            write(path, &report::html::page(report))?;
        }
        Ok(())
    }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Ours, and where it runs.
#[derive(Debug, Args)]
struct Ours {
    /// A built `switchboard`; without it, it is built
    #[arg(long = "ours", value_name = "PATH")]
    path: Option<PathBuf>,
    /// The core of the server and that of the generator
    #[arg(long, value_delimiter = ',', num_args = 2, default_values_t = [0, 1])]
    cores: Vec<usize>,
}

impl Ours {
    fn binary(&self) -> Result<PathBuf, Box<dyn Error>> {
        self.path.clone().map_or_else(contender::build_ours, Ok)
    }

    /// This thread goes to the generator's core.
    fn take_place(&self) -> Result<(), Box<dyn Error>> {
        let there = process::cores()?;
        if let Some(core) = self.cores.iter().find(|core| !there.contains(core)) {
            return Err(format!(
                "there is no core {core} for this process; --cores chooses two of {there:?}"
            )
            .into());
        }
        process::pin(&self.cores[1..])?;
        Ok(())
    }
}

#[derive(Debug, Args)]
struct Who {
    #[command(flatten)]
    ours: Ours,
    /// Another build of `switchboard` to stand beside the others; may stand more than once
    #[arg(long, value_name = "NAME=PATH", value_parser = named_path)]
    with: Vec<(String, PathBuf)>,
    /// Only these servers
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    servers: Vec<String>,
}

fn named_path(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("NAME=PATH is wanted")?;
    Ok((name.into(), path.into()))
}

impl Who {
    /// The servers, and on demand those over TLS, after this thread has gone to the generator's core.
    fn contenders(&self, has_tls: bool) -> Result<Vec<Contender>, Box<dyn Error>> {
        let ours = self.ours.binary()?;
        let (mut all, missing) = contender::all(ours.clone(), &self.with);
        if has_tls {
            all.extend(contender::over_tls(&ours, &all)?);
        }
        for missing in missing {
            eprintln!("{missing}");
        }
        if let Some(unknown) = self.servers.iter().find(|name| !all.iter().any(|one| one.name == **name)) {
            let names = all.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(format!("there is no server {unknown}; there are {names}").into());
        }
        all.retain(|one| self.servers.is_empty() || self.servers.contains(&one.name));
        self.ours.take_place()?;
        Ok(all)
    }
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Compare(args) => compare(&args),
        Command::Instructions(args) => count_instructions(&args),
        Command::Chat(args) => run_chat(&args),
        Command::Soak(args) => run_soak(&args),
        Command::Page { json, html } => make_page(&json, &html),
        Command::Serve { name, mode, address, tls } => serve::serve(name, mode, address, &tls),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rivals: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(args: &Compare) -> Result<(), Box<dyn Error>> {
    let limit = process::raise_descriptor_limit()?;
    let mut cells = cell::cells(&args.cells);
    cells.retain(|cell| args.only.is_empty() || args.only.iter().any(|only| cell.name.contains(only)));
    let contenders = args.who.contenders(cells.iter().any(|cell| cell.is_secure))?;
    for cell in cells.extract_if(.., |cell| cell.descriptors() > limit) {
        eprintln!(
            "{} is left out: it needs {} descriptors, and the limit is {limit}",
            cell.name,
            cell.descriptors()
        );
    }
    let (rounds, warm_up, measured) =
        if args.quick { (1, 50, 100) } else { (args.rounds, args.warm_up_ms, args.measure_ms) };
    if args.quick {
        cells.iter_mut().for_each(cell::Cell::make_quick);
    }
    let span = Span { warm_up: Duration::from_millis(warm_up), measured: Duration::from_millis(measured) };
    let bench = Bench { server_core: args.who.ours.cores[0], rounds, span };
    compare::verify(bench, &contenders, &cells)?;
    let servers = |cell: &cell::Cell| contenders.iter().filter(|one| cell.has(one)).count();
    let bar = compare::progress(cells.iter().map(|cell| cell.rounds(rounds) * servers(cell)).sum());
    let mut tables = Vec::new();
    for cell in &cells {
        let table = compare::measure(bench, &contenders, cell, &bar);
        bar.suspend(|| print!("{}", report::text::table(&table)));
        tables.push(table);
    }
    bar.finish_and_clear();
    let report = Report::new(&tables);
    for outcome in &report.targets {
        println!("{outcome}");
    }
    args.files.write(&report)?;
    let failed = tables.iter().flat_map(|table| &table.rows).filter(|row| row.failure().is_some()).count();
    if failed > 0 {
        Err(format!("{failed} times a server failed in a cell; the tables say how").into())
    } else {
        Ok(())
    }
}

fn count_instructions(args: &Instructions) -> Result<(), Box<dyn Error>> {
    instructions::check()?;
    let mut contenders = args.who.contenders(false)?;
    contenders.retain(|one| one.is_native() && !one.is_busy());
    let mut report = Report::new(&[]);
    for case in 0..instructions::CASES.len() {
        let mut counts = Vec::new();
        for contender in &contenders {
            let count = instructions::count(contender, case, args.who.ours.cores[0])?;
            counts.push((contender.name.clone(), count));
        }
        let cell = instructions::report(case, &counts);
        println!("\n{}", cell.name);
        for (name, count) in counts {
            println!("{name:20} {count:>8}");
        }
        for outcome in &cell.targets {
            println!("  {outcome}");
        }
        report.cells.push(cell);
    }
    args.files.write(&report)
}

fn run_chat(args: &Chat) -> Result<(), Box<dyn Error>> {
    process::raise_descriptor_limit()?;
    let binary = args.ours.binary()?;
    args.ours.take_place()?;
    let span = Span { warm_up: Duration::from_millis(300), measured: Duration::from_millis(args.measure_ms) };
    chat::run(&binary, args.ours.cores[0], args.rounds, span)
}

/// Of ours, unless other servers are named.
fn run_soak(args: &Soak) -> Result<(), Box<dyn Error>> {
    process::raise_descriptor_limit()?;
    let mut contenders = args.who.contenders(false)?;
    contenders.retain(|one| {
        let is_ours = !one.is_rival() && !one.is_busy();
        is_ours || args.who.servers.contains(&one.name)
    });
    for contender in &contenders {
        soak::run(contender, args.who.ours.cores[0], args.connections, Duration::from_secs(args.seconds))?;
    }
    Ok(())
}

fn make_page(json: &[PathBuf], html: &Path) -> Result<(), Box<dyn Error>> {
    let mut report = Report::read(&json[0])?;
    for later in &json[1..] {
        report.merge(Report::read(later)?);
    }
    Ok(write(html, &report::html::page(&report))?)
}
