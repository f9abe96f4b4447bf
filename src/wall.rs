//! A wall clock that follows no leap at once. Who sets the clock of a machine wrong for a moment, or a bad source of time,
//! must not stamp messages with another year, let keys live for ever, or have a history removed.
//!
//! Pure: both clocks are arguments. The wall clock is believed as far as it agrees with the steady one, and beyond that when
//! it has told the same for [`CONFIRM_MS`].

/// A difference to the steady clock from which on it is a leap, in milliseconds. Clocks that are kept right by NTP are set
/// by less, or slowly.
pub const LEAP_MS: u64 = 10_000;
/// How long the wall clock must agree with itself after a leap until it is believed, in milliseconds.
pub const CONFIRM_MS: u64 = 60_000;

/// What a reading told besides the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leap {
    /// The wall clock has leapt by this many milliseconds and is not followed.
    Doubted(i64),
    /// It is where it was before.
    Over,
    /// It has told the same long enough: it is followed now, by this many milliseconds.
    Believed(i64),
}

/// The offset of the wall clock that is believed.
#[derive(Debug, Clone, Copy)]
pub struct Wall {
    /// Wall time less steady time.
    offset: i64,
    /// Another offset, and the steady time at which it was seen first.
    doubted: Option<(i64, u64)>,
}

impl Wall {
    /// Begins with a first reading of both clocks, in milliseconds.
    #[must_use]
    pub fn new(wall_ms: u64, steady_ms: u64) -> Self {
        Self { offset: offset(wall_ms, steady_ms), doubted: None }
    }

    /// The time, in milliseconds since 1970, by a reading of both clocks.
    pub fn read(&mut self, wall_ms: u64, steady_ms: u64) -> (u64, Option<Leap>) {
        let found = offset(wall_ms, steady_ms);
        let (leap, is_leap) = (found.saturating_sub(self.offset), is_leap(found, self.offset));
        let told = match self.doubted {
            _ if !is_leap => {
                self.offset = found;
                self.doubted.take().map(|_| Leap::Over)
            }
            Some((doubted, since)) if !self::is_leap(found, doubted) => {
                let is_confirmed = steady_ms.saturating_sub(since) >= CONFIRM_MS;
                self.doubted = Some((found, since));
                is_confirmed.then(|| {
                    (self.offset, self.doubted) = (found, None);
                    Leap::Believed(leap)
                })
            }
            _ => {
                self.doubted = Some((found, steady_ms));
                Some(Leap::Doubted(leap))
            }
        };
        let time = steady_ms.cast_signed().saturating_add(self.offset);
        (time.max(0).cast_unsigned(), told)
    }
}

fn offset(wall_ms: u64, steady_ms: u64) -> i64 {
    let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    signed(wall_ms) - signed(steady_ms)
}

fn is_leap(a: i64, b: i64) -> bool {
    a.abs_diff(b) > LEAP_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_790_000_000_000;
    const TEN_YEARS: i64 = 315_576_000_000;

    /// The time after the wall clock was off by `leap` for `ms` of the steady clock, read every half second.
    fn after(wall: &mut Wall, steady: &mut u64, leap: i64, ms: u64) -> (u64, Vec<Leap>) {
        let mut told = Vec::new();
        let mut time = 0;
        for _ in 0..ms / 500 {
            *steady += 500;
            let read = wall.read((NOW + *steady).saturating_add_signed(leap), *steady);
            time = read.0;
            told.extend(read.1);
        }
        (time, told)
    }

    #[test]
    fn a_clock_that_is_wrong_for_a_moment_is_not_followed() {
        for leap in [TEN_YEARS, -TEN_YEARS, 3_600_000, -3_600_000, 10_001, -(NOW.cast_signed())] {
            let (mut wall, mut steady) = (Wall::new(NOW, 0), 0);
            let (time, told) = after(&mut wall, &mut steady, leap, 3000);
            assert_eq!((time, told.as_slice()), (NOW + 3000, &[Leap::Doubted(leap)][..]));
            let (time, told) = after(&mut wall, &mut steady, 0, 1000);
            assert_eq!((time, told.as_slice()), (NOW + 4000, &[Leap::Over][..]));
        }
    }

    #[test]
    fn a_clock_that_was_set_is_followed_once_it_is_sure() {
        for leap in [TEN_YEARS, -TEN_YEARS, 3_600_000] {
            let (mut wall, mut steady) = (Wall::new(NOW, 0), 0);
            let (time, told) = after(&mut wall, &mut steady, leap, CONFIRM_MS);
            assert_eq!((time, told.as_slice()), (NOW + CONFIRM_MS, &[Leap::Doubted(leap)][..]));
            let (time, told) = after(&mut wall, &mut steady, leap, 1000);
            assert_eq!(
                (time, told.as_slice()),
                ((NOW + steady).saturating_add_signed(leap), &[Leap::Believed(leap)][..])
            );
            let (_, told) = after(&mut wall, &mut steady, leap, 10_000);
            assert_eq!(told, []);
        }
    }

    #[test]
    fn a_clock_that_leaps_about_is_never_followed() {
        let (mut wall, mut steady) = (Wall::new(NOW, 0), 0);
        for round in 1..100 {
            let (time, _) = after(&mut wall, &mut steady, TEN_YEARS * (round % 3 + 1), 30_000);
            assert_eq!(time, NOW + steady);
        }
    }

    #[test]
    fn small_corrections_are_followed_at_once() {
        let (mut wall, mut steady) = (Wall::new(NOW, 0), 0);
        for correction in [5, -5, 9000, 0, -9000, -10_000] {
            let (time, told) = after(&mut wall, &mut steady, correction, 500);
            assert_eq!((time, told.as_slice()), ((NOW + steady).saturating_add_signed(correction), &[][..]));
        }
    }
}
