//! The figures of a run.

/// How a figure is written for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    PerSecond,
    Microseconds,
    Bytes,
    /// A part of the whole.
    Share,
    /// A small one.
    SmallShare,
}

/// A figure of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Metric {
    /// Its name in JSON.
    pub(crate) key: &'static str,
    pub(crate) title: &'static str,
    pub(crate) unit: Unit,
}

const fn metric(key: &'static str, title: &'static str, unit: Unit) -> Metric {
    Metric { key, title, unit }
}

/// Messages that came back, deliveries of a fan-out, or handshakes.
pub(crate) const RATE: Metric = metric("messages_per_second", "messages/s", Unit::PerSecond);
/// Microseconds of the server on its core for each message, which is seconds for each million.
pub(crate) const CPU: Metric = metric("server_cpu_us_per_message", "CPU us/message", Unit::Microseconds);
/// Part of the time that the server was on its core.
pub(crate) const SERVER_LOAD: Metric = metric("server_load", "server load", Unit::Share);
/// Part of the time that the generator was on its core: near 1, it is the generator that limits the rate.
pub(crate) const GENERATOR_LOAD: Metric = metric("generator_load", "generator load", Unit::Share);
/// Resident user-space memory while the load is on.
pub(crate) const MEMORY: Metric = metric("memory_bytes", "memory", Unit::Bytes);
/// Resident user-space memory of a connection that is open and idle.
pub(crate) const IDLE_MEMORY: Metric = metric("memory_bytes_per_idle_connection", "idle, each", Unit::Bytes);
/// Part of the time that the server is on its core while they are silent, pings included.
pub(crate) const IDLE_LOAD: Metric = metric("idle_load", "load while idle", Unit::SmallShare);
/// The same after each connection had an echo of 1 MiB.
pub(crate) const BURST_MEMORY: Metric =
    metric("memory_bytes_per_connection_after_burst", "after burst, each", Unit::Bytes);
/// What handshakes came to.
pub(crate) const HANDSHAKES: Metric = metric("handshakes_per_second", "handshakes/s", Unit::PerSecond);
/// Microseconds of the server on its core for each handshake and the end of its connection.
pub(crate) const HANDSHAKE_CPU: Metric =
    metric("server_cpu_us_per_handshake", "CPU us/handshake", Unit::Microseconds);
/// The same for connections that also have an echo.
pub(crate) const CONNECTIONS: Metric = metric("connections_per_second", "connections/s", Unit::PerSecond);
pub(crate) const CONNECTION_CPU: Metric =
    metric("server_cpu_us_per_connection", "CPU us/connection", Unit::Microseconds);
/// Round trips, from the planned instant.
pub(crate) const P50: Metric = metric("p50_us", "p50 us", Unit::Microseconds);
pub(crate) const P99: Metric = metric("p99_us", "p99 us", Unit::Microseconds);
pub(crate) const P999: Metric = metric("p99_9_us", "p99.9 us", Unit::Microseconds);
/// A healthy client's 99th percentile while nothing else happens, and how much more it is while something does.
pub(crate) const IDLE_P99: Metric = metric("idle_p99_us", "idle p99 us", Unit::Microseconds);
pub(crate) const P99_ABOVE_IDLE: Metric =
    metric("p99_above_idle_us", "p99 above idle us", Unit::Microseconds);

/// One run of one server in one cell.
pub(crate) type Sample = Vec<(Metric, f64)>;

impl Metric {
    /// A figure as a person reads it.
    pub(crate) fn show(self, value: f64) -> String {
        match self.unit {
            Unit::PerSecond if value >= 1e6 => format!("{:.2} M", value / 1e6),
            Unit::PerSecond => format!("{:.1} k", value / 1e3),
            Unit::Microseconds if value.abs() >= 100.0 => format!("{value:.0}"),
            Unit::Microseconds if value.abs() >= 10.0 => format!("{value:.1}"),
            Unit::Microseconds => format!("{value:.4}"),
            Unit::Bytes if value.abs() >= f64::from(1 << 20) => {
                format!("{:.1} MiB", value / f64::from(1 << 20))
            }
            Unit::Bytes if value.abs() >= 10_240.0 => format!("{:.1} KiB", value / 1024.0),
            Unit::Bytes => format!("{value:.0} B"),
            Unit::SmallShare => format!("{:.2} %", value * 100.0),
            Unit::Share => format!("{value:.2}"),
        }
    }
}
