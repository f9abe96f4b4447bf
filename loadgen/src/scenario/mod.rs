//! What connections can do: one file for each scenario. They know neither sockets nor clocks.

pub(crate) mod chat;
pub(crate) mod churn;
pub(crate) mod echo;
pub(crate) mod fanout;
mod flights;
pub(crate) mod idle;
mod sequence;
pub(crate) mod storm;

use switchboard::proto::MaskingKeys;

use crate::cli::Mask;
use crate::plan::Plan;
use crate::record::Record;
use crate::schedule::{Cursor, OpenLoop};

/// The masking-key of `--mask fixed`.
const FIXED_KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// The masking-keys of a thread's frames.
fn masking_keys(plan: &Plan, thread: u32) -> MaskingKeys {
    match plan.mask {
        Mask::Fixed | Mask::None => MaskingKeys::Fixed(FIXED_KEY),
        Mask::Random => MaskingKeys::Seeded(plan.seed.wrapping_add(u64::from(thread) << 32)),
    }
}

/// Messages planned in the window. All threads have one plan: the first one counts it.
fn planned_in_window(plan: &OpenLoop, record: &Record, cursor: &Cursor) -> u64 {
    if cursor.is_first() { plan.planned_within(&record.window) } else { 0 }
}
