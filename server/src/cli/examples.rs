//! What stands under the help of a command: examples, and what is true of all commands.

macro_rules! examples {
    ($($line:literal)*) => { concat!("Examples:", $("\n  ", $line),*) };
}

pub(super) const SHORT: &str = examples! {
    "switchboard                                  the chat on http://localhost:8080"
    "switchboard --listen :8080 --data /srv/chat  on all addresses, kept in /srv/chat"
    "switchboard config generate                  a sample of the configuration file"
    "switchboard --help                           every flag in full, and exit codes"
};

pub(super) const LONG: &str = concat!(
    examples! {
        "switchboard"
        "switchboard --listen :8080 --data /srv/chat --keep-for 365d"
        "switchboard --tls-listen :443 --redirect-listen :80 --tls-cert chain.pem --tls-key key.pem"
        "switchboard --config /etc/switchboard/switchboard.toml"
        "switchboard echo --listen 127.0.0.1:9001 --threads 0"
    },
    "\n\n\
Settings:
  Each flag is also a variable (--max-queued is SWITCHBOARD_MAX_QUEUED) and a key of the file of --config
  (max-queued = 67108864). Precedence: flags, then variables, then the file. RUST_LOG chooses what is in the log.

Exit codes:
  0    the command has done its work; a server has stopped as it was told to
  1    `doctor` has found something that keeps a server from working; the server that `probe` asks is not well
  2    the command line, a variable, a file or a token is wrong, or the work failed; stderr says why
  134  a fault in the program (SIGABRT); the log says where"
);

pub(super) const SERVE: &str = examples! {
    "switchboard serve --listen :8080 --data /srv/chat"
    "switchboard serve --ephemeral --history 200"
    "switchboard serve --token-key secret --require-token"
    "switchboard serve --listen unix:/run/switchboard/chat.sock --internal-listen 127.0.0.1:9100"
};

pub(super) const ECHO: &str = examples! {
    "switchboard echo --deflate"
    "switchboard echo --listen :9001 --threads 0"
};

pub(super) const FANOUT: &str = examples! {
    "switchboard fanout --listen :9001 --max-queued 1073741824"
};

pub(super) const EXPORT: &str = examples! {
    "switchboard export --data /srv/chat --all > chat.jsonl"
    "switchboard export --data /srv/chat --room general"
};

pub(super) const IMPORT: &str = examples! {
    "switchboard import --data /srv/chat < chat.jsonl"
};

pub(super) const BACKUP: &str = examples! {
    "switchboard backup --data /srv/chat /srv/chat-copy"
};

pub(super) const TOKEN: &str = examples! {
    "switchboard token mint --key secret --user Ada --expires 1h"
    "switchboard token check --token-key secret < token"
    "switchboard token api-create --file api-tokens --name bot --scope read,post"
};

pub(super) const TLS: &str = examples! {
    "switchboard tls make-cert chat.example 192.0.2.7"
};

pub(super) const ENGINE: &str = examples! {
    "switchboard engine check redis://10.0.0.5:6379/0"
};

pub(super) const CONFIG: &str = examples! {
    "switchboard config generate > switchboard.toml"
    "switchboard config check switchboard.toml"
    "switchboard config check --for echo echo.toml"
    "switchboard config show --config switchboard.toml --port 9000"
};

pub(super) const DOCTOR: &str = examples! {
    "switchboard doctor --listen :8080 --data /srv/chat"
    "switchboard doctor --config /etc/switchboard/switchboard.toml --json"
};

pub(super) const PROBE: &str = examples! {
    "switchboard probe"
    "switchboard probe http://127.0.0.1:9100/readyz"
};

pub(super) const COMPLETIONS: &str = examples! {
    "switchboard completions bash > /etc/bash_completion.d/switchboard"
    "switchboard completions zsh > ~/.zfunc/_switchboard"
    "switchboard completions fish > ~/.config/fish/completions/switchboard.fish"
};

pub(super) const MAN: &str = examples! {
    "switchboard man"
    "switchboard man token mint"
    "switchboard man --dir man"
};
