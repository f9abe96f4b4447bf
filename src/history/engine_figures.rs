//! What a process counts of the engine that it shares with others.

/// How an engine is that several processes share, as one of them sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EngineFigures {
    /// Engines to which the connection that commits works: 1 or 0 where there is one.
    pub up: u64,
    /// Engines from which the connection works that brings what happens.
    pub fed: u64,
    /// Connections that were lost and made again.
    pub reconnects: u64,
    /// Pipelines with posts and changes that were answered.
    pub pipelines: u64,
    /// Calls in them.
    pub calls: u64,
    /// Microseconds that the answers to them took.
    pub wait_us: u64,
    /// Times that posts and changes were refused because their fate was not known in time.
    pub doubts: u64,
    /// Messages and changes that were read because what told of them was missed.
    pub filled: u64,
    /// Rooms whose history went on under another name.
    pub forks: u64,
    /// Rooms of which more was missed than is kept.
    pub behind: u64,
    /// What was told or read and cannot be understood.
    pub damaged: u64,
}

impl EngineFigures {
    /// Those of two engines.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            up: self.up + other.up,
            fed: self.fed + other.fed,
            reconnects: self.reconnects + other.reconnects,
            pipelines: self.pipelines + other.pipelines,
            calls: self.calls + other.calls,
            wait_us: self.wait_us + other.wait_us,
            doubts: self.doubts + other.doubts,
            filled: self.filled + other.filled,
            forks: self.forks + other.forks,
            behind: self.behind + other.behind,
            damaged: self.damaged + other.damaged,
        }
    }
}
