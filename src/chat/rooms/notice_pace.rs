//! How often a room is told of something that is collected.

use crate::app::Millis;

/// What is collected for a notice, where the notice may come now; else when it may, where a timer must be set for that.
pub(in crate::chat) type News<T> = Result<T, Option<Millis>>;

/// When the next notice of a kind may come.
#[derive(Debug, Default)]
pub(in crate::chat::rooms) struct NoticePace {
    next_at: Millis,
    is_timed: bool,
}

impl NoticePace {
    /// Whether a notice may come now, and then none for this many milliseconds. Else the time at which it may, for which a timer
    /// must be set, unless one is set already.
    pub(in crate::chat::rooms) fn take(&mut self, now: Millis, every: Millis) -> News<()> {
        if now < self.next_at {
            let is_timed = std::mem::replace(&mut self.is_timed, true);
            return Err((!is_timed).then_some(self.next_at));
        }
        self.next_at = now + every;
        self.is_timed = false;
        Ok(())
    }

    /// The timer came.
    pub(in crate::chat::rooms) fn timer_fired(&mut self) {
        self.is_timed = false;
    }
}
