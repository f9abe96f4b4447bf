//! The figures of the chat for its operator, and whether the chat is ready.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::Api;
use crate::app::ConnId;
use crate::chat::decisions::{AskKind, TellCounts};
use crate::chat::{ASK_BUCKETS_MS, AskCounts, COMMIT_BUCKETS_MS, Code, Stats};
use crate::history::EngineFigures;
use crate::ops::metrics::{counter, counters, gauge};
use crate::ops::{Figures, NotReady, Watched};

impl Watched for Api {
    type Figures = Stats;

    fn figures(&self) -> Stats {
        self.chat().stats()
    }

    fn user(&self, conn: ConnId) -> Option<&str> {
        self.chat().user(conn)
    }

    fn client(&self, conn: ConnId) -> Option<&str> {
        self.chat().client(conn)
    }

    fn readiness(&self) -> Result<(), NotReady> {
        let stats = self.chat().stats();
        // Who hears nothing of what others say is no server to be sent to, either.
        let is_deaf = stats.engine.is_some_and(|engine| engine.fed == 0);
        if stats.store_unavailable > 0 || is_deaf {
            return Err(NotReady::HistoryUnavailable);
        }
        Ok(())
    }
}

impl Figures for Stats {
    fn encode(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        counters(
            out,
            "switchboard_chat_changes",
            "What joined the order of a room, by kind",
            "kind",
            &[("post", self.posts), ("change", self.changes)],
        )?;
        counter(out, "switchboard_chat_duplicates", "Posts whose key was known already", self.duplicates)?;
        counter(out, "switchboard_chat_acks", "Commands acknowledged", self.acks)?;
        let names = ERROR_NAMES.iter().zip(&self.refused);
        let refused: Vec<(&str, u64)> = names.map(|(name, count)| (*name, *count)).collect();
        counters(out, "switchboard_chat_errors", "Commands refused by code", "code", &refused)?;
        counter(out, "switchboard_chat_flooded", "Connections ended for flooding", self.flooded)?;
        counters(
            out,
            "switchboard_chat_resumes",
            "Joins with `since` by result",
            "result",
            &[("recovered", self.recovered), ("unrecovered", self.unrecovered)],
        )?;
        counter(out, "switchboard_chat_lagged", "Messages that members were told they missed", self.lagged)?;
        counter(
            out,
            "switchboard_chat_signs_dropped",
            "Signs of life that another loop had no place for",
            self.signs_dropped,
        )?;
        for (name, help, value) in [
            ("switchboard_chat_sessions", "Connections that speak now", self.sessions),
            ("switchboard_chat_users", "Users that are here now", self.users),
            ("switchboard_chat_rooms", "Rooms that are open now", self.rooms),
            ("switchboard_chat_members", "Memberships now", self.members),
            ("switchboard_chat_recent_bytes", "Bytes of history in memory now, about", self.recent_bytes),
            ("switchboard_chat_keys", "Keys of posts remembered now", self.keys),
            ("switchboard_store_pending", "Changes that are not durable yet", self.store_pending),
            ("switchboard_store_asks", "Questions that the store has not answered", self.store_asks),
            (
                "switchboard_store_log_bytes",
                "Bytes of the log that were committed and are not in the database",
                self.store_log_bytes,
            ),
            (
                "switchboard_store_unavailable",
                "1 while posts are refused because of the store",
                self.store_unavailable,
            ),
        ] {
            gauge(out, name, help, value)?;
        }
        counter(out, "switchboard_store_failures", "Times that the store failed", self.store_failures)?;
        if let Some(figures) = &self.engine {
            engine(out, figures)?;
        }
        hooks(out, &self.hooks)?;
        let bounds = COMMIT_BUCKETS_MS
            .iter()
            .map(|ms| Duration::from_millis(*ms).as_secs_f64())
            .chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(self.commit_ms).collect();
        let (sum, count) =
            (Duration::from_millis(self.commit_ms_sum).as_secs_f64(), self.commit_ms.iter().sum());
        out.encode_descriptor(
            "switchboard_commit_duration",
            "Time from the end of a tick until what it changed is durable",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?
        .encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn add(&mut self, other: &Self) {
        *self = Self {
            posts: self.posts + other.posts,
            changes: self.changes + other.changes,
            duplicates: self.duplicates + other.duplicates,
            acks: self.acks + other.acks,
            refused: std::array::from_fn(|at| self.refused[at] + other.refused[at]),
            flooded: self.flooded + other.flooded,
            recovered: self.recovered + other.recovered,
            unrecovered: self.unrecovered + other.unrecovered,
            lagged: self.lagged + other.lagged,
            signs_dropped: self.signs_dropped + other.signs_dropped,
            sessions: self.sessions + other.sessions,
            users: self.users + other.users,
            rooms: self.rooms + other.rooms,
            members: self.members + other.members,
            recent_bytes: self.recent_bytes + other.recent_bytes,
            keys: self.keys + other.keys,
            answer_octets: self.answer_octets + other.answer_octets,
            scanned_octets: self.scanned_octets + other.scanned_octets,
            store_pending: self.store_pending + other.store_pending,
            store_asks: self.store_asks + other.store_asks,
            // All loops have the same history, and each is told how it is.
            store_log_bytes: self.store_log_bytes.max(other.store_log_bytes),
            store_failures: self.store_failures.max(other.store_failures),
            store_unavailable: self.store_unavailable.max(other.store_unavailable),
            commit_ms: std::array::from_fn(|at| self.commit_ms[at] + other.commit_ms[at]),
            commit_ms_sum: self.commit_ms_sum + other.commit_ms_sum,
            // One loop tells of it.
            engine: self.engine.or(other.engine),
            hooks: (self.hooks.0.and(&other.hooks.0), self.hooks.1.and(&other.hooks.1)),
        };
    }
}

/// How the engine is that several processes share.
fn engine(out: &mut DescriptorEncoder<'_>, figures: &EngineFigures) -> fmt::Result {
    gauge(out, "switchboard_engine_up", "Engines that take what is posted", figures.up)?;
    gauge(out, "switchboard_engine_feed_up", "Engines that tell what happens", figures.fed)?;
    for (name, help, value) in [
        ("switchboard_engine_reconnects", "Connections to the engine that were lost", figures.reconnects),
        ("switchboard_engine_pipelines", "Pipelines that the engine answered", figures.pipelines),
        ("switchboard_engine_calls", "Calls in these pipelines", figures.calls),
        ("switchboard_engine_in_doubt", "Times that the fate of posts was not known in time", figures.doubts),
        (
            "switchboard_engine_filled",
            "Messages and changes read after a gap in what was told",
            figures.filled,
        ),
        ("switchboard_engine_forks", "Rooms that went on under another epoch", figures.forks),
        ("switchboard_engine_behind", "Rooms of which more was missed than is kept", figures.behind),
        ("switchboard_engine_damaged", "What the engine told that cannot be understood", figures.damaged),
    ] {
        counter(out, name, help, value)?;
    }
    out.encode_descriptor(
        "switchboard_engine_wait",
        "Time that pipelines waited for the engine",
        Some(&Unit::Seconds),
        MetricType::Counter,
    )?
    .encode_counter::<NoLabelSet, _, u64>(&Duration::from_micros(figures.wait_us).as_secs_f64(), None)
}

/// What the backend was asked and told.
fn hooks(out: &mut DescriptorEncoder<'_>, (asks, tells): &(AskCounts, TellCounts)) -> fmt::Result {
    let asked = AskKind::ALL.map(|kind| (kind.name(), asks.asked[kind as usize]));
    counters(out, "switchboard_hook_asked", "Questions to the backend by kind", "kind", &asked)?;
    counters(
        out,
        "switchboard_hook_answers",
        "Questions to the backend by what came of them",
        "result",
        &[("allowed", asks.allowed), ("refused", asks.refused), ("away", asks.away), ("busy", asks.busy)],
    )?;
    gauge(out, "switchboard_hook_asks_waiting", "Questions that the backend has not answered", asks.waiting)?;
    counter(out, "switchboard_hook_told", "Events that the backend has taken", tells.told)?;
    counter(
        out,
        "switchboard_hook_retries",
        "Requests with events that failed and are made again",
        tells.retried,
    )?;
    counter(out, "switchboard_hook_dead", "Events that the backend refused for good", tells.dead)?;
    let [notes, changes] = tells.dropped;
    counters(
        out,
        "switchboard_hook_dropped",
        "Events that were dropped because too many waited",
        "kind",
        &[("note", notes), ("change", changes)],
    )?;
    gauge(out, "switchboard_hook_backlog", "Events that wait for the backend", tells.backlog)?;
    out.encode_descriptor(
        "switchboard_hook_oldest_age",
        "Time since the event that waits for the longest was seen",
        Some(&Unit::Seconds),
        MetricType::Gauge,
    )?
    .encode_gauge(&Duration::from_millis(tells.oldest_age_ms).as_secs_f64())?;
    let bounds =
        ASK_BUCKETS_MS.iter().map(|ms| Duration::from_millis(*ms).as_secs_f64()).chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(asks.answered_ms).collect();
    let (sum, count) =
        (Duration::from_millis(asks.answered_ms_sum).as_secs_f64(), asks.answered_ms.iter().sum());
    out.encode_descriptor(
        "switchboard_hook_ask_duration",
        "Time from a question until its answer, or until nobody waited any longer",
        Some(&Unit::Seconds),
        MetricType::Histogram,
    )?
    .encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
}

/// The errors as clients see them, in the order of [`Code::ALL`].
const ERROR_NAMES: [&str; Code::ALL.len()] = [
    "bad_json",
    "unknown_type",
    "bad_field",
    "too_long",
    "not_joined",
    "not_found",
    "forbidden",
    "refused",
    "rate_limited",
    "room_full",
    "too_many_rooms",
    "unavailable",
    "shutting_down",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_of_loops_add_up_and_those_of_their_history_do_not() {
        let mut one = Stats { posts: 1, members: 2, store_failures: 3, ..Stats::default() };
        one.refused[4] = 5;
        one.commit_ms[10] = 6;
        let other = one.clone();
        one.add(&other);
        assert_eq!((one.posts, one.members, one.refused[4], one.commit_ms[10]), (2, 4, 10, 12));
        assert_eq!(one.store_failures, 3);
    }

    #[test]
    fn errors_are_named_as_clients_see_them() {
        for (code, name) in Code::ALL.iter().zip(ERROR_NAMES) {
            let seen: String = format!("{code:?}")
                .chars()
                .flat_map(|c| c.is_uppercase().then_some('_').into_iter().chain(c.to_lowercase()))
                .collect();
            assert_eq!(seen.trim_start_matches('_'), name);
        }
    }
}
