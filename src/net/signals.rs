//! SIGTERM and SIGINT, as events of the loop.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// The signals that stop a server. No thread waits for them: a process of one thread makes cheaper system calls.
pub(super) struct Signals(signal_hook_mio::v1_0::Signals);

impl std::fmt::Debug for Signals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signals")
    }
}

impl Signals {
    pub(super) fn register(registry: &Registry, token: Token) -> io::Result<Self> {
        let is_stopping = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // PR-02: the second one ends the process from within the handler, whatever the loop is doing.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&is_stopping))?;
            flag::register(signal, Arc::clone(&is_stopping))?;
        }
        let mut signals = signal_hook_mio::v1_0::Signals::new([SIGTERM, SIGINT])?;
        registry.register(&mut signals, token, Interest::READABLE)?;
        Ok(Self(signals))
    }

    /// Whether one came since the last call.
    pub(super) fn take(&mut self) -> bool {
        self.0.pending().count() > 0
    }
}
