//! `switchboard serve`: the chat, with its history on the disk or in memory.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use switchboard::api::{self, Access, Api};
use switchboard::app::{Peers, Rate};
use switchboard::auth::Keyring;
use switchboard::chat::decisions::{AskKind, EventOptions};
use switchboard::chat::nodes::{Nodes, To};
use switchboard::chat::{self, Chat, Exchange, Limits, Mail, Page};
use switchboard::history::engine::{self, EngineError, Signs, Target};
use switchboard::history::outbox::Outbox;
use switchboard::history::{self, Event, History, Start, memory, sqlite};
use switchboard::hooks;
use switchboard::net::MAX_LOOPS;
use switchboard::ops::OpsMail;
use switchboard::proto::{HostPolicy, OriginPolicy};

use crate::banner::{self, Data, Speakers};
use crate::cli::engine::START_WITHIN;
use crate::cli::listen::Listeners;
use crate::cli::{self, ServeArgs};
use crate::{Failure, Named, Plan, bind, finish, random, service};

const _: () = assert!(MAX_LOOPS <= history::MAX_LOOPS, "a history is shared by all loops");

/// What the settings and the files that they name say, read and checked.
struct Prepared {
    options: chat::Options,
    hosts: HostPolicy,
    page: Page,
    keyring: Option<Keyring>,
    access: Option<Access>,
    hooks: Option<hooks::Options>,
}

fn prepare(args: &ServeArgs) -> Result<Prepared, Failure> {
    let prepared = Prepared {
        options: options(args)?,
        hosts: hosts(args)?,
        page: page(args)?,
        keyring: args.verify.keyring(reread_on_hangup()?)?,
        access: access(args)?,
        hooks: args.hooks.options()?,
    };
    let has_asker = has_asker(prepared.hooks.as_ref().map(|hooks| &hooks.events));
    if args.require_token && prepared.keyring.is_none() && !has_asker {
        return Err(
            "--require-token needs --token-key, --token-jwks or --hook-ask connect: nobody could come in"
                .into(),
        );
    }
    Ok(prepared)
}

/// Whether the backend says who comes in.
fn has_asker(events: Option<&EventOptions>) -> bool {
    events.is_some_and(|events| events.asks.has(AskKind::Connect))
}

/// What the banner says.
fn about(args: &ServeArgs, has_keys: bool, has_asker: bool) -> banner::Chat {
    banner::Chat {
        has_page: !args.no_page,
        has_api: args.api.token_file.is_some(),
        data: match args.engine.targets() {
            Ok(engines) if !engines.is_empty() => Data::Engine(addresses(&engines)),
            _ if args.ephemeral => Data::Memory,
            _ => Data::Directory(args.data.clone()),
        },
        speakers: match (has_asker, args.require_token, has_keys) {
            (true, ..) => Speakers::Backend,
            (_, true, _) => Speakers::Tokens,
            (_, _, true) => Speakers::AnybodyAndTokens,
            _ => Speakers::Anybody,
        },
    }
}

/// Reads and checks what a server would, without serving.
pub(crate) fn check(args: &ServeArgs) -> Result<(), Failure> {
    prepare(args)?;
    args.engine.targets()?;
    args.common.check(&args.listen, &args.default_place())
}

/// Serves until SIGTERM or SIGINT; then everything that was handed to the store is on the disk.
pub(crate) fn serve(args: &ServeArgs) -> Result<(), Failure> {
    let Prepared { options, hosts, page, keyring, access, hooks } = prepare(args)?;
    let listeners = listeners(args)?;
    let (page, keyring) = (Arc::new(page), keyring.map(Arc::new));
    let loops = args.threads.loops();
    let events = hooks.as_ref().map(|hooks| hooks.events.clone());
    let outbox = hooks.as_ref().and_then(cli::hooks::outbox);
    let (links, hooks) = hooks.map(|hooks| hooks::new(hooks, loops)).transpose()?.unzip();
    let mut links = links.into_iter().flatten();
    let mut with_doors = |chat: Chat| {
        let chat = match links.next().zip(events.clone()) {
            Some((link, events)) => chat.with_events(Box::new(link), events),
            None => chat,
        };
        let chat = chat.with_page(Arc::clone(&page));
        let chat = match &keyring {
            Some(keyring) => chat.with_verifier(Box::new(Arc::clone(keyring))),
            None => chat,
        };
        Api::new(chat, access.clone())
    };
    let options = options.with(|it| it.limits = it.limits.clone().of_each(loops));
    let chat = Some(about(args, keyring.is_some(), has_asker(events.as_ref())));
    let plan = Plan { listeners, config: args.config(), hosts: Some(hosts), loops, chat };
    let engines = args.engine.targets()?;
    if !engines.is_empty() {
        return serve_on_engine(args, &options, plan, (engines, with_doors, hooks.zip(events.clone())));
    }
    if args.ephemeral {
        return serve_in_memory(args, &options, plan, (with_doors, hooks.zip(events.clone())));
    }
    let keep = args.retention.options().with(|it| {
        it.window_ms = options.limits.key_window_ms;
        it.max_keys = options.limits.max_keys;
        it.outbox = outbox;
    });
    let (clients, mut worker, start) = sqlite::open_for(&args.data, keep, loops)?;
    let exchange = Exchange::new(&start.holders);
    let mut clients = clients.into_iter();
    let server = bind(plan, &args.common, |own, peers| {
        let chat = Chat::new(options.clone(), boxed(clients.next()), start.clone());
        with_doors(chat.beside(own, exchange.clone(), peers.clone()))
    })?;
    let peers = server.peers();
    let outbox = worker.outbox().map(|outbox| Box::new(outbox) as Box<dyn Outbox>);
    let hooks = start_hooks(hooks, outbox, &peers)?;
    let store = worker.start(move |number, event| tell(&peers, number, event))?;
    let ended = finish(server);
    if let Some(hooks) = hooks {
        hooks.finish();
    }
    let stored =
        store.finish().inspect_err(|error| tracing::error!(%error, "the history was not closed in order"));
    ended.and(stored.map_err(Into::into))
}

/// The same without a disk: a chat of one loop keeps its history itself, several share one.
fn serve_in_memory(
    args: &ServeArgs,
    options: &chat::Options,
    plan: Plan,
    (mut with_doors, hooks): (impl FnMut(Chat) -> Api, Option<(hooks::Worker, EventOptions)>),
) -> Result<(), Failure> {
    let start = Start { epoch: format!("{:016x}", random()?), ..Start::default() };
    if plan.loops == 1 {
        let make = |_: usize, _: &Peers<Mail>| with_doors(Chat::new(options.clone(), None, start.clone()));
        let server = bind(plan, &args.common, make)?;
        let hooks = start_hooks(hooks.map(|(hooks, _)| hooks), None, &server.peers())?;
        let ended = finish(server);
        if let Some(hooks) = hooks {
            hooks.finish();
        }
        return ended;
    }
    let limits = &options.limits;
    let keep = memory::Options::default().with(|it| {
        it.window_ms = limits.key_window_ms;
        it.max_keys = limits.max_keys;
        it.messages = limits.recent_messages;
        it.bytes = limits.recent_bytes;
        it.all_bytes = limits.all_recent_bytes * plan.loops;
    });
    let (clients, worker) = memory::new(&start.epoch, keep, plan.loops);
    let worker = match &hooks {
        Some((hooks, events)) => worker.with_teller(hooks.recorder(events)),
        None => worker,
    };
    let exchange = Exchange::new(&[]);
    let mut clients = clients.into_iter();
    let server = bind(plan, &args.common, |own, peers| {
        let chat = Chat::new(options.clone(), boxed(clients.next()), start.clone());
        with_doors(chat.beside(own, exchange.clone(), peers.clone()))
    })?;
    let peers = server.peers();
    let hooks = start_hooks(hooks.map(|(hooks, _)| hooks), None, &peers)?;
    let order = worker.start(move |number, event| tell(&peers, number, event))?;
    let ended = finish(server);
    order.finish();
    if let Some(hooks) = hooks {
        hooks.finish();
    }
    ended
}

fn addresses(engines: &[Target]) -> String {
    let all: Vec<String> = engines.iter().map(Target::address).collect();
    all.join(" ")
}

/// The same with engines that several servers share.
fn serve_on_engine(
    args: &ServeArgs,
    options: &chat::Options,
    plan: Plan,
    (engines, mut with_doors, hooks): (
        Vec<Target>,
        impl FnMut(Chat) -> Api,
        Option<(hooks::Worker, EventOptions)>,
    ),
) -> Result<(), Failure> {
    let keep = args.retention.engine_options().with(|it| {
        it.window_ms = options.limits.key_window_ms;
        it.replicas = args.engine.replicas();
    });
    let address = addresses(&engines);
    let (clients, worker, start) = open_engines(&engines, &keep, plan.loops)?;
    tracing::info!(address, "the history is in the engine");
    let worker = match &hooks {
        Some((hooks, events)) => worker.with_teller(hooks.recorder(events)),
        None => worker,
    };
    let nodes = Nodes::new(&start.holders, plan.loops).with_name(&worker.name());
    let mut clients = clients.into_iter();
    let server = bind(plan, &args.common, |own, peers| {
        let chat = Chat::new(options.clone(), clients.next(), start.clone());
        with_doors(chat.among(own, &nodes, peers.clone()))
    })?;
    let peers = server.peers();
    let hooks = start_hooks(hooks.map(|(hooks, _)| hooks), None, &peers)?;
    let signs: Arc<dyn Signs> = Arc::new(OtherServers { nodes, peers: peers.clone() });
    let worker = worker.with_signs(&signs);
    let engine = worker.start(move |number, event| tell(&peers, number, event))?;
    let ended = finish(server);
    engine.finish();
    if let Some(hooks) = hooks {
        hooks.finish();
    }
    ended
}

/// What this server tells others of the same chat, and what it hears of them.
struct OtherServers<F> {
    nodes: Nodes,
    peers: Peers<OpsMail<Mail, F>>,
}

impl<F> OtherServers<F>
where
    OpsMail<Mail, F>: 'static,
{
    fn pass_on(&self, mails: Vec<(usize, Mail)>) {
        for (number, mail) in mails {
            // A loop that has ended needs to know nothing.
            let _ = self.peers.get(number).send_blocking(OpsMail::App(mail));
        }
    }
}

impl<F: Send + Sync> Signs for OtherServers<F>
where
    OpsMail<Mail, F>: Send + 'static,
{
    fn take(&self, now_ms: u64) -> Vec<(Option<Arc<str>>, String)> {
        self.pass_on(self.nodes.sweep_silent(now_ms));
        let to = |to| if let To::Node(node) = to { Some(node) } else { None };
        self.nodes.take(now_ms).into_iter().map(|(whom, word)| (to(whom), word)).collect()
    }

    fn hear(&self, from: &str, word: &str, now_ms: u64) {
        self.pass_on(self.nodes.hear(from, word, now_ms));
    }

    fn last_word(&self) -> String {
        self.nodes.last_word()
    }
}

/// Connects to the engines; those that begin as well are waited for.
#[expect(clippy::disallowed_methods, reason = "no loop runs yet")]
fn open_engines(
    engines: &[Target],
    keep: &engine::Options,
    loops: usize,
) -> Result<(Vec<engine::Loop>, engine::Workers, Start), EngineError> {
    let begin = Instant::now();
    loop {
        match engine::open_all(engines.to_vec(), keep, loops) {
            Err(error) if begin.elapsed() < START_WITHIN && is_passing(&error, engines) => {
                tracing::warn!(%error, address = addresses(engines), "the engine is not there yet");
                std::thread::sleep(Duration::from_millis(500));
            }
            result => return result,
        }
    }
}

/// Whether an engine may be there in a moment.
fn is_passing(error: &EngineError, engines: &[Target]) -> bool {
    let is_watched = engines.iter().any(Target::is_watched);
    let is_elsewhere = matches!(error, EngineError::Replica | EngineError::Moved) && is_watched;
    is_elsewhere || matches!(error, EngineError::Unreachable(_))
}

/// Starts the threads of the hooks, if there is a backend.
fn start_hooks<F>(
    hooks: Option<hooks::Worker>,
    outbox: Option<Box<dyn Outbox>>,
    peers: &Peers<OpsMail<Mail, F>>,
) -> io::Result<Option<hooks::Running>>
where
    OpsMail<Mail, F>: Send + 'static,
    F: Send + 'static,
{
    let peers = peers.clone();
    let notify = move |number, ask, answer| {
        // A loop that has ended waits for nothing.
        let _ = peers.get(number).send_blocking(OpsMail::App(Mail::Decision(ask, answer)));
    };
    hooks.map(|hooks| hooks.start(outbox, notify)).transpose()
}

fn boxed(client: Option<impl History + Send + 'static>) -> Option<Box<dyn History + Send>> {
    client.map(|client| Box::new(client) as _)
}

/// Tells a loop what its history reports, and waits where it does not keep up.
fn tell<F>(peers: &Peers<OpsMail<Mail, F>>, number: usize, event: Event) -> bool
where
    OpsMail<Mail, F>: 'static,
{
    peers.get(number).send_blocking(OpsMail::App(Mail::History(event))).is_ok()
}

/// What a browser gets.
fn page(args: &ServeArgs) -> Result<Page, String> {
    let page = match &args.page {
        _ if args.no_page => Page::none(),
        None => Page::built_in(),
        Some(path) => Page::directory(path).map_err(|error| format!("--page {}: {error}", path.display()))?,
    };
    Ok(page.with_sign_in_url(args.sign_in_url.as_deref()))
}

fn listeners(args: &ServeArgs) -> Result<Listeners, Failure> {
    let default = args.default_place();
    let listeners = args.common.listeners.listeners(&args.listen, &default, service::inherited()?)?;
    if args.is_port_of_platform {
        let port = args.port;
        if listeners.is_default {
            tracing::info!(
                "the variable PORT is set: listening on port {port} of all addresses; --listen takes precedence"
            );
        } else {
            tracing::debug!("the variable PORT is ignored: --listen takes precedence");
        }
    }
    Ok(listeners)
}

fn hosts(args: &ServeArgs) -> Result<HostPolicy, Failure> {
    let mut hosts = HostPolicy::default();
    for host in &args.allow_host {
        hosts.allow(host).map_err(|error| format!("--allow-host: {error}"))?;
    }
    Ok(hosts)
}

fn options(args: &ServeArgs) -> Result<chat::Options, Failure> {
    let mut origins = OriginPolicy::default();
    for origin in &args.allow_origin {
        origins.allow(origin).map_err(|error| format!("--allow-origin: {error}"))?;
    }
    let keep = if args.engine.is_set() {
        let keep = args.retention.engine_options();
        (keep.keep_posts, keep.keep_ms)
    } else {
        let keep = args.retention.options();
        (keep.keep_posts, keep.keep_ms)
    };
    Ok(chat::Options::default().with(|it| {
        it.origins = origins;
        it.strict_subprotocol = args.strict_subprotocol;
        it.history = args.history;
        it.guests = !args.require_token;
        it.list_rooms = !args.no_room_list;
        (it.keep_posts, it.keep_ms) = keep;
        it.limits = Limits::default()
            .with_posts_per_second(args.posts_per_second)
            .with(|limits| limits.max_data = usize::from(args.max_data));
        it.heartbeat_ms = args.config().proto.timeouts.ping_ms;
    }))
}

/// Becomes true with each SIGHUP, which does nothing else.
fn reread_on_hangup() -> io::Result<Arc<AtomicBool>> {
    let is_stale = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::clone(&is_stale))?;
    Ok(is_stale)
}

/// Who may use the API; `None`: there is none.
fn access(args: &ServeArgs) -> Result<Option<Access>, Failure> {
    let Some(path) = &args.api.token_file else { return Ok(None) };
    let mut checked = OriginPolicy::default();
    for origin in &args.api.cors_origins {
        checked.allow(origin).map_err(|error| format!("--api-cors-origin: {error}"))?;
    }
    let per_second = args.api.requests_per_second;
    let limits = api::Limits::default()
        .with(|it| it.requests = Rate { per_second, burst: per_second.saturating_mul(2) });
    let access = Access::read(path.clone(), reread_on_hangup()?).map_err(Named::by("--api-token-file"))?;
    Ok(Some(access.with(limits, args.api.cors_origins.clone())))
}
