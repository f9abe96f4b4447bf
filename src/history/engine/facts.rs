//! What an engine says of itself.

use super::error::EngineError;

/// What an ack promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The engine has it.
    Engine,
    /// The engine's disk has it.
    Disk,
    /// Replicas of the engine have it.
    Replicas,
}

impl Level {
    /// The word of the protocol.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::Disk => "engine-disk",
            Self::Replicas => "engine-replicas",
        }
    }
}

/// What an engine says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a line of INFO")]
pub struct Facts {
    /// Its name and version, such as `Redis 7.0.15`.
    pub version: String,
    /// Whose numbers it gives: another one after each restart, and after each change of the primary.
    pub run: String,
    /// What it does where memory is short.
    pub policy: String,
    /// Octets that it may use; 0: as many as there are.
    pub max_memory: u64,
    /// Octets that it uses.
    pub used_memory: u64,
    /// It writes what it is told to a file.
    pub has_file: bool,
    /// When that file is brought to the disk; empty where it does not say.
    pub fsync: String,
    /// Snapshots since it began were written.
    pub has_snapshots: bool,
    /// Engines that follow it.
    pub replicas: u64,
    is_old: bool,
    is_cluster: bool,
    is_replica: bool,
}

impl Facts {
    /// Reads the answer to INFO, and to CONFIG GET appendfsync where that is allowed.
    ///
    /// # Errors
    /// Where it is no such answer.
    pub(super) fn read(info: &str, fsync: &str) -> Result<Self, EngineError> {
        let field = |name: &str| {
            info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
        };
        let needed = |name: &str| {
            field(name).ok_or_else(|| EngineError::Answer(format!("INFO says nothing of {name}")))
        };
        let number = |name: &str| field(name).and_then(|text| text.parse().ok()).unwrap_or(0);
        let (name, version, least) = match field("valkey_version") {
            Some(version) => ("Valkey", version, (7, 2)),
            None => ("Redis", needed("redis_version")?, (7, 0)),
        };
        Ok(Self {
            version: format!("{name} {version}"),
            run: format!("{}.{}", needed("run_id")?, needed("master_replid")?),
            policy: field("maxmemory_policy").unwrap_or("unknown").to_owned(),
            max_memory: number("maxmemory"),
            used_memory: number("used_memory"),
            has_file: field("aof_enabled") == Some("1"),
            fsync: fsync.to_owned(),
            has_snapshots: number("rdb_last_save_time") > 0 && number("rdb_saves") > 0,
            replicas: number("connected_slaves"),
            is_old: first_two(version) < least,
            is_cluster: field("redis_mode").or(field("server_mode")) == Some("cluster"),
            is_replica: field("role") == Some("slave"),
        })
    }

    /// Whether it can be used.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn check(&self) -> Result<(), EngineError> {
        if self.is_old {
            Err(EngineError::Version(self.version.clone()))
        } else if self.is_cluster {
            Err(EngineError::Cluster)
        } else if self.is_replica {
            Err(EngineError::Replica)
        } else if self.policy != "noeviction" {
            Err(EngineError::Evicts(self.policy.clone()))
        } else {
            Ok(())
        }
    }

    /// What an ack promises that waits for this many replicas.
    #[must_use]
    pub fn level(&self, replicas: usize) -> Level {
        if replicas > 0 {
            Level::Replicas
        } else if self.has_file && self.fsync == "always" {
            Level::Disk
        } else {
            Level::Engine
        }
    }
}

fn first_two(version: &str) -> (u32, u32) {
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(changes: &[(&str, &str)], fsync: &str) -> Result<Facts, EngineError> {
        let mut fields = vec![
            ("redis_version", "7.0.15"),
            ("run_id", "a1"),
            ("master_replid", "b2"),
            ("maxmemory_policy", "noeviction"),
            ("redis_mode", "standalone"),
            ("role", "master"),
            ("aof_enabled", "1"),
        ];
        for change in changes {
            fields.retain(|(name, _)| *name != change.0);
            fields.push(*change);
        }
        let lines: Vec<String> = fields.iter().map(|(name, value)| format!("{name}:{value}")).collect();
        Facts::read(&format!("# Server\r\n{}\r\n", lines.join("\r\n")), fsync)
    }

    #[test]
    fn an_engine_that_would_lose_or_cannot_do_what_it_is_told_is_refused() {
        assert!(facts(&[], "").unwrap().check().is_ok());
        assert!(
            facts(&[("valkey_version", "7.2.0"), ("redis_version", "7.2.4")], "").unwrap().check().is_ok()
        );
        for (name, value, words) in [
            ("redis_version", "6.2.14", "Redis 6.2.14"),
            ("valkey_version", "7.1.9", "Valkey 7.1.9"),
            ("maxmemory_policy", "allkeys-lru", "noeviction"),
            ("redis_mode", "cluster", "Cluster"),
            ("role", "slave", "primary"),
        ] {
            let why = facts(&[(name, value)], "").unwrap().check().unwrap_err().to_string();
            assert!(why.contains(words), "{why}");
        }
        assert!(Facts::read("HTTP/1.1 400 Bad Request", "").is_err());
    }

    #[test]
    fn an_ack_promises_the_disk_only_where_each_write_is_synced() {
        assert_eq!(facts(&[], "always").unwrap().level(0), Level::Disk);
        assert_eq!(facts(&[], "everysec").unwrap().level(0), Level::Engine);
        assert_eq!(facts(&[], "").unwrap().level(0), Level::Engine);
        assert_eq!(facts(&[("aof_enabled", "0")], "always").unwrap().level(0), Level::Engine);
        assert_eq!(facts(&[], "always").unwrap().level(1), Level::Replicas);
    }

    #[test]
    fn another_run_and_another_primary_are_other_givers_of_numbers() {
        let run = |changes: &[_]| facts(changes, "").unwrap().run;
        assert_eq!(run(&[]), run(&[("aof_enabled", "0")]));
        assert_ne!(run(&[]), run(&[("run_id", "c3")]));
        assert_ne!(run(&[]), run(&[("master_replid", "c3")]));
    }
}
