//! The servers of a comparison: how each is built, started and stopped.

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::link::Endpoint;
use crate::process;
use crate::serve::Mode;

/// The name of ours.
pub(crate) const OURS: &str = "switchboard";
/// Ours when it never sleeps.
pub(crate) const BUSY: &str = "switchboard --busy-poll";
/// The name of the server without a protocol.
pub(crate) const FLOOR: &str = "floor";
/// The same two over TLS.
pub(crate) const OURS_TLS: &str = "switchboard tls";
pub(crate) const FLOOR_TLS: &str = "floor tls";

const TUNGSTENITE: &str = "tokio-tungstenite";

const START_LIMIT: Duration = Duration::from_secs(20);

/// A server that can be started.
#[derive(Debug, Clone)]
pub(crate) struct Contender {
    pub(crate) name: String,
    kind: Kind,
    /// With one, it speaks TLS.
    certificate: Option<Certificate>,
}

/// A certificate and its key, in files that are there as long as one of its clones.
#[derive(Debug, Clone)]
struct Certificate(Arc<TempDir>);

impl Certificate {
    /// A self-signed one, ECDSA on P-256.
    fn make(ours: &Path) -> Result<Self, Box<dyn Error>> {
        let made = Self(Arc::new(tempfile::tempdir()?));
        let output = Command::new(ours).args(["tls", "make-cert"]).args(made.arguments("--")).output()?;
        if output.status.success() {
            return Ok(made);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("{} tls make-cert: {}", ours.display(), said.trim()).into())
    }

    fn path(&self, name: &str) -> OsString {
        self.0.path().join(name).into()
    }

    /// The two files, as options whose names begin with `prefix`.
    fn arguments(&self, prefix: &str) -> [OsString; 4] {
        let [cert, key] = self.files();
        [format!("{prefix}cert").into(), cert, format!("{prefix}key").into(), key]
    }

    fn files(&self) -> [OsString; 2] {
        [self.path("cert.pem"), self.path("key.pem")]
    }
}

#[derive(Debug, Clone)]
enum Kind {
    /// A `switchboard` binary, and options of its own.
    Switchboard(PathBuf, &'static [&'static str]),
    /// A server of this program.
    Own(&'static str),
    /// A script and what runs it.
    Script(PathBuf, PathBuf),
}

impl Contender {
    /// Whether it sends back what it got, masked as it was.
    pub(crate) fn is_raw(&self) -> bool {
        self.name == FLOOR || self.name == FLOOR_TLS
    }

    /// Whether it is no build of ours.
    pub(crate) fn is_rival(&self) -> bool {
        !matches!(self.kind, Kind::Switchboard(..))
    }

    /// Whether it takes a whole core, for nothing but latency.
    pub(crate) fn is_busy(&self) -> bool {
        self.name == BUSY
    }

    pub(crate) fn is_secure(&self) -> bool {
        self.certificate.is_some()
    }

    /// Whether its instructions can be counted: it is a program of its own, and no machine that compiles meanwhile.
    pub(crate) fn is_native(&self) -> bool {
        !matches!(self.kind, Kind::Script(..))
    }

    /// The command that serves on `address`.
    pub(crate) fn command(&self, mode: Mode, address: SocketAddr) -> io::Result<Vec<OsString>> {
        let own = std::env::current_exe()?;
        let options = self.certificate.as_ref().map(|certificate| certificate.arguments("--tls-"));
        let options = options.into_iter().flatten();
        Ok(match &self.kind {
            Kind::Switchboard(path, own_options) => {
                let listen = if self.is_secure() { "--tls-listen" } else { "--listen" };
                let mut words =
                    vec![path.into(), mode.name().into(), listen.into(), address.to_string().into()];
                words.extend(["--max-queued", MAX_QUEUED].map(Into::into));
                words.extend(own_options.iter().map(Into::into));
                words.extend(options);
                words
            }
            Kind::Own(name) => {
                let mut words: Vec<OsString> = vec![own.into(), "serve".into(), name.into()];
                words.extend([mode.name().into(), address.to_string().into()]);
                words.extend(options);
                words
            }
            Kind::Script(runtime, script) => {
                let mut words: Vec<OsString> = vec![runtime.into(), script.into(), mode.name().into()];
                words.push(address.port().to_string().into());
                words.extend(self.certificate.iter().flat_map(Certificate::files));
                words
            }
        })
    }

    /// Starts it on `core` and waits until it listens. `prefix`: what runs it, such as a profiler.
    pub(crate) fn start(&self, mode: Mode, core: usize, prefix: &[&str]) -> io::Result<Running> {
        launch(core, self.is_secure(), |address| {
            let mut words = prefix.iter().map(Into::into).collect::<Vec<OsString>>();
            words.extend(self.command(mode, address)?);
            Ok(words)
        })
    }
}

/// Starts a command on `core`, the one that serves on the address that it is given, and waits until it listens.
pub(crate) fn launch(
    core: usize,
    is_secure: bool,
    command: impl FnOnce(SocketAddr) -> io::Result<Vec<OsString>>,
) -> io::Result<Running> {
    let address = free_address()?;
    let words = command(address)?;
    let allowed = process::cores()?;
    // What is started inherits the core of this thread.
    process::pin(&[core])?;
    let child = Command::new(&words[0])
        .args(&words[1..])
        .env("RUST_LOG", "error")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    process::pin(&allowed)?;
    let child = child.map_err(|error| {
        io::Error::new(error.kind(), format!("{} could not be started: {error}", words[0].display()))
    })?;
    let mut running = Running { child, endpoint: Endpoint { address, is_secure } };
    running.wait_until_it_listens()?;
    Ok(running)
}

/// A server that runs; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    pub(crate) endpoint: Endpoint,
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it sleeps, and stops it: what arrives now is there at once when it goes on.
    pub(crate) fn stop(&self) -> io::Result<()> {
        process::stop(self.pid())
    }

    /// Lets it go on after [`Self::stop`].
    pub(crate) fn go_on(&self) -> io::Result<()> {
        process::go_on(self.pid())
    }

    /// Ends it politely, for what a profiler has to say then; its stderr.
    pub(crate) fn finish(mut self) -> io::Result<String> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let mut said = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            io::Read::read_to_string(&mut stderr, &mut said)?;
        }
        self.child.wait()?;
        Ok(said)
    }

    fn wait_until_it_listens(&mut self) -> io::Result<()> {
        let until = Instant::now() + START_LIMIT;
        while Instant::now() < until {
            if TcpStream::connect(self.endpoint.address).is_ok() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                let mut said = String::new();
                if let Some(stderr) = &mut self.child.stderr {
                    io::Read::read_to_string(stderr, &mut said)?;
                }
                return Err(io::Error::other(format!("it ended with {status}: {}", said.trim())));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Err(io::Error::new(ErrorKind::TimedOut, "it does not listen"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Bytes that may wait for all clients of ours: 10,000 connections with 256 KiB under way each are no attack here, and the others
/// know no such limit.
pub(crate) const MAX_QUEUED: &str = "8589934592";

/// This crate's directory.
pub(crate) fn home() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Ours and everyone who can be had here. `ours`: a built `switchboard`. `with`: more builds of it.
/// Returns also what is missing, in words.
pub(crate) fn all(ours: PathBuf, with: &[(String, PathBuf)]) -> (Vec<Contender>, Vec<String>) {
    let plain = |name: &str, kind| Contender { name: name.into(), kind, certificate: None };
    let mut all = vec![
        plain(OURS, Kind::Switchboard(ours.clone(), &[])),
        plain(BUSY, Kind::Switchboard(ours, &["--busy-poll"])),
    ];
    for (name, path) in with {
        all.push(plain(name, Kind::Switchboard(path.clone(), &[])));
    }
    for name in [FLOOR, "fastwebsockets", "sockudo-ws", TUNGSTENITE] {
        all.push(plain(name, Kind::Own(name)));
    }
    let mut missing = Vec::new();
    match scripts() {
        Ok(scripts) => all.extend(scripts),
        Err(why) => missing.push(format!("Bun and Node.js with ws are left out: {why}")),
    }
    (all, missing)
}

/// Those of them that speak TLS, too, with one certificate. `ours` makes it.
pub(crate) fn over_tls(ours: &Path, plain: &[Contender]) -> Result<Vec<Contender>, Box<dyn Error>> {
    let certificate = Certificate::make(ours)?;
    let speaks = |one: &&Contender| match one.kind {
        Kind::Switchboard(..) => !one.is_busy(),
        Kind::Own(name) => [FLOOR, TUNGSTENITE].contains(&name),
        Kind::Script(..) => true,
    };
    let secure = |one: &Contender| Contender {
        name: format!("{} tls", one.name),
        kind: one.kind.clone(),
        certificate: Some(certificate.clone()),
    };
    Ok(plain.iter().filter(speaks).map(secure).collect())
}

/// Builds `switchboard` with the release profile.
pub(crate) fn build_ours() -> Result<PathBuf, Box<dyn Error>> {
    let manifest = home().join("../../Cargo.toml");
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--release", "--bin", "switchboard", "--message-format", "json", "--manifest-path"])
        .arg(manifest)
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err("switchboard could not be built; cargo says why, above".into());
    }
    let messages = String::from_utf8(output.stdout)?;
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let built = messages.filter(|message| message["target"]["name"] == OURS);
    let path = built.filter_map(|message| message["executable"].as_str().map(PathBuf::from)).next_back();
    path.ok_or_else(|| "cargo names no switchboard binary".into())
}

/// What comes from npm; installs it when it is not there.
fn scripts() -> Result<Vec<Contender>, String> {
    let node = find("node").ok_or("there is no node (install Node.js 20 or newer)")?;
    let modules = home().join("node_modules");
    let architecture = match std::env::consts::ARCH {
        "aarch64" => "aarch64",
        _ => "x64",
    };
    let bun = modules.join(format!("@oven/bun-linux-{architecture}/bin/bun"));
    if !bun.is_file() || !modules.join("ws").is_dir() {
        let npm = find("npm").ok_or("there is no npm (it comes with Node.js)")?;
        let installed = Command::new(npm)
            .args([
                "install",
                "--no-save",
                "--no-package-lock",
                "--no-audit",
                "--no-fund",
                "--ignore-scripts",
            ])
            .current_dir(home())
            .output()
            .map_err(|error| error.to_string())?;
        if !installed.status.success() {
            return Err(format!("npm install: {}", String::from_utf8_lossy(&installed.stderr).trim()));
        }
    }
    let script = |name: &str, runtime: PathBuf, script: &str| Contender {
        name: name.into(),
        kind: Kind::Script(runtime, home().join("servers").join(script)),
        certificate: None,
    };
    Ok(vec![script("bun", bun, "bun.js"), script("node-ws", node, "node-ws.js")])
}

fn find(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|path| path.join(program)).find(|path| path.is_file())
}
