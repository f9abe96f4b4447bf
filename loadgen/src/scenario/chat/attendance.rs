//! How far the people of a thread are behind in their rooms: what was acknowledged to one of them, each of them must get.

use std::collections::BTreeMap;

/// The rooms of a run, as the people of one thread know them.
#[derive(Debug, Default)]
pub(super) struct Attendance {
    rooms: Vec<Room>,
    /// People who have not seen all that was acknowledged in their room.
    behind: u64,
}

#[derive(Debug, Default)]
struct Room {
    /// The highest number that was acknowledged.
    acked: u64,
    /// By the newest number that they have seen: how many people.
    seen: BTreeMap<u64, u64>,
}

impl Attendance {
    pub(super) fn new(rooms: u32) -> Self {
        Self { rooms: (0..rooms).map(|_| Room::default()).collect(), behind: 0 }
    }

    /// People who have not seen all that was acknowledged in their room.
    pub(super) fn behind(&self) -> u64 {
        self.behind
    }

    /// Messages that somebody who has seen `seen` is behind in a room.
    pub(super) fn lag(&self, room: usize, seen: u64) -> u64 {
        self.rooms[room].acked.saturating_sub(seen)
    }

    /// Somebody came into a room whose newest message is `seen`.
    pub(super) fn came(&mut self, room: usize, seen: u64) {
        let room = &mut self.rooms[room];
        if room.seen.is_empty() {
            // Nobody is left who could know more, such as of a history that is gone.
            room.acked = 0;
        }
        self.behind += u64::from(room.add(seen));
    }

    /// Somebody who had seen `seen` left.
    pub(super) fn left(&mut self, room: usize, seen: u64) {
        self.behind -= u64::from(self.rooms[room].remove(seen));
    }

    /// Somebody who had seen `before` has seen `now`.
    pub(super) fn saw(&mut self, room: usize, before: u64, now: u64) {
        let room = &mut self.rooms[room];
        self.behind -= u64::from(room.remove(before));
        self.behind += u64::from(room.add(now));
    }

    /// A message was acknowledged under this number.
    pub(super) fn acked(&mut self, room: usize, seq: u64) {
        let room = &mut self.rooms[room];
        if seq > room.acked {
            self.behind += room.seen.range(room.acked..seq).map(|(_, people)| people).sum::<u64>();
            room.acked = seq;
        }
    }
}

impl Room {
    /// Returns whether the person is behind.
    fn add(&mut self, seen: u64) -> bool {
        *self.seen.entry(seen).or_default() += 1;
        seen < self.acked
    }

    /// Returns whether the person was behind.
    fn remove(&mut self, seen: u64) -> bool {
        if let Some(people) = self.seen.get_mut(&seen) {
            *people -= 1;
            if *people == 0 {
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
    fn whoever_has_not_seen_what_was_acknowledged_is_behind() {
        let mut attendance = Attendance::new(2);
        for _ in 0..3 {
            attendance.came(0, 10);
        }
        attendance.came(1, 0);
        assert_eq!(attendance.behind(), 0);
        attendance.acked(0, 12);
        assert_eq!((attendance.behind(), attendance.lag(0, 10), attendance.lag(0, 12)), (3, 2, 0));
        attendance.saw(0, 10, 11);
        attendance.saw(0, 11, 12);
        attendance.saw(0, 10, 15);
        assert_eq!(attendance.behind(), 1, "who is ahead does not make up for who is behind");
        attendance.acked(0, 11);
        assert_eq!(attendance.behind(), 1);
        attendance.left(0, 10);
        assert_eq!(attendance.behind(), 0);
        attendance.left(0, 12);
        attendance.left(0, 15);
        attendance.came(0, 1);
        assert_eq!(attendance.behind(), 0, "a history that begins again");
    }
}
