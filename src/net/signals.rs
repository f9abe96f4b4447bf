//! Signals, as events of the loop: SIGTERM and SIGINT stop it, SIGHUP has it read files again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// The signals of a server. No thread waits for them: a process of one thread makes cheaper system calls.
pub(super) struct Signals(signal_hook_mio::v1_0::Signals);

impl std::fmt::Debug for Signals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signals")
    }
}

impl Signals {
    /// `rereads`: SIGHUP is one of them.
    pub(super) fn register(registry: &Registry, token: Token, rereads: bool) -> io::Result<Self> {
        let is_stopping = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // PR-02: the second one ends the process from within the handler, whatever the loop is doing.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&is_stopping))?;
            flag::register(signal, Arc::clone(&is_stopping))?;
        }
        let mut signals = signal_hook_mio::v1_0::Signals::new([SIGTERM, SIGINT])?;
        if rereads {
            signals.add_signal(SIGHUP)?;
        }
        registry.register(&mut signals, token, Interest::READABLE)?;
        Ok(Self(signals))
    }

    /// What came since the last call.
    pub(super) fn take(&mut self) -> Taken {
        let mut taken = Taken::default();
        for signal in self.0.pending() {
            *(if signal == SIGHUP { &mut taken.hangup } else { &mut taken.stop }) = true;
        }
        taken
    }
}

/// Signals that came.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Taken {
    /// SIGTERM or SIGINT.
    pub(super) stop: bool,
    /// SIGHUP.
    pub(super) hangup: bool,
}
