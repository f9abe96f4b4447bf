//! `switchboard serve`: the chat, with its history on the disk or in memory.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use switchboard::chat::{self, Chat, Limits, Mail};
use switchboard::proto::OriginPolicy;
use switchboard::store::{self, Start};

use crate::cli::ServeArgs;
use crate::{Failure, bind, finish};

/// Serves until SIGTERM or SIGINT; then everything that was handed to the store is on the disk.
pub(crate) fn serve(args: &ServeArgs) -> Result<(), Failure> {
    let options = options(args)?;
    let keyring = args.verify.keyring(Arc::default())?;
    if args.require_token && keyring.is_none() {
        return Err("--require-token needs --token-key or --token-jwks: nobody could come in".into());
    }
    let with_keyring = |chat: Chat| match keyring {
        Some(keyring) => chat.with_verifier(Box::new(keyring)),
        None => chat,
    };
    if args.ephemeral {
        let start = Start { epoch: epoch()?, ..Start::default() };
        let chat = with_keyring(Chat::new(options, None, start));
        return finish(bind(&args.addresses(), args.config(), &args.common, chat)?);
    }
    let keep = store::Options {
        window_ms: options.limits.key_window_ms,
        max_keys: options.limits.max_keys,
        ..args.retention.options()
    };
    let (client, worker, start) = store::open(&args.data, keep)?;
    let chat = with_keyring(Chat::new(options, Some(Box::new(client)), start));
    let server = bind(&args.addresses(), args.config(), &args.common, chat)?;
    let handle = server.handle();
    let store = worker.start(move |event| handle.send_blocking(Mail::Store(event)).is_ok())?;
    let served = finish(server);
    store.finish()?;
    served
}

fn options(args: &ServeArgs) -> Result<chat::Options, Failure> {
    let mut origins = OriginPolicy::default();
    for origin in &args.allow_origin {
        origins.allow(origin)?;
    }
    Ok(chat::Options {
        origins,
        hosts: args.allow_host.clone(),
        strict_subprotocol: args.strict_subprotocol,
        history: args.history,
        guests: !args.require_token,
        limits: Limits::default().with_posts_per_second(args.posts_per_second),
        heartbeat_ms: args.config().proto.timeouts.ping_ms,
        ..chat::Options::default()
    })
}

/// A name for a history that ends with the process.
fn epoch() -> Result<String, Failure> {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(format!("{:x}-{:x}", since_1970.as_nanos(), std::process::id()))
}
