//! Which users have not received every acknowledged message of their room: a message that is acknowledged to one user must
//! reach all of them.

use std::collections::BTreeMap;

/// The rooms of a run, as far as the users of one thread know them.
#[derive(Debug, Default)]
pub(super) struct DeliveryTracker {
    rooms: Vec<Room>,
    /// Users who have not received every acknowledged message of their room.
    behind: u64,
}

#[derive(Debug, Default)]
struct Room {
    /// The highest acknowledged number.
    acked: u64,
    /// Number of users by the newest number that they have received.
    seen: BTreeMap<u64, u64>,
}

impl DeliveryTracker {
    pub(super) fn new(rooms: u32) -> Self {
        Self { rooms: (0..rooms).map(|_| Room::default()).collect(), behind: 0 }
    }

    /// Users who have not received every acknowledged message of their room.
    pub(super) fn behind(&self) -> u64 {
        self.behind
    }

    /// Acknowledged messages after `seen`.
    pub(super) fn lag(&self, room: usize, seen: u64) -> u64 {
        self.rooms[room].acked.saturating_sub(seen)
    }

    /// A user joined a room whose newest message is `seen`.
    pub(super) fn joined(&mut self, room: usize, seen: u64) {
        let room = &mut self.rooms[room];
        if room.seen.is_empty() {
            // The room was empty. Its history may have begun again.
            room.acked = 0;
        }
        self.behind += u64::from(room.add(seen));
    }

    /// A user who had received messages up to `seen` left.
    pub(super) fn left(&mut self, room: usize, seen: u64) {
        self.behind -= u64::from(self.rooms[room].remove(seen));
    }

    /// A user who had received messages up to `before` has received `now`.
    pub(super) fn saw(&mut self, room: usize, before: u64, now: u64) {
        let room = &mut self.rooms[room];
        self.behind -= u64::from(room.remove(before));
        self.behind += u64::from(room.add(now));
    }

    /// The server acknowledged a message with this number.
    pub(super) fn acked(&mut self, room: usize, seq: u64) {
        let room = &mut self.rooms[room];
        if seq > room.acked {
            self.behind += room.seen.range(room.acked..seq).map(|(_, users)| users).sum::<u64>();
            room.acked = seq;
        }
    }
}

impl Room {
    /// Returns whether the user is behind.
    fn add(&mut self, seen: u64) -> bool {
        *self.seen.entry(seen).or_default() += 1;
        seen < self.acked
    }

    /// Returns whether the user was behind.
    fn remove(&mut self, seen: u64) -> bool {
        if let Some(users) = self.seen.get_mut(&seen) {
            *users -= 1;
            if *users == 0 {
                self.seen.remove(&seen);
            }
        }
        seen < self.acked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_without_an_acknowledged_message_is_behind() {
        let mut tracker = DeliveryTracker::new(2);
        for _ in 0..3 {
            tracker.joined(0, 10);
        }
        tracker.joined(1, 0);
        assert_eq!(tracker.behind(), 0);
        tracker.acked(0, 12);
        assert_eq!((tracker.behind(), tracker.lag(0, 10), tracker.lag(0, 12)), (3, 2, 0));
        tracker.saw(0, 10, 11);
        tracker.saw(0, 11, 12);
        tracker.saw(0, 10, 15);
        assert_eq!(tracker.behind(), 1, "a user who is ahead does not make up for one who is behind");
        tracker.acked(0, 11);
        assert_eq!(tracker.behind(), 1);
        tracker.left(0, 10);
        assert_eq!(tracker.behind(), 0);
        tracker.left(0, 12);
        tracker.left(0, 15);
        tracker.joined(0, 1);
        assert_eq!(tracker.behind(), 0, "a history that begins again");
    }
}
