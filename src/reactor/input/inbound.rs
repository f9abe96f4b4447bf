//! What the input keeps of one connection.

const PARKED: u8 = 1;
const FIN: u8 = 2;
const BULK: u8 = 4;
const RESUMED: u8 = 8;

/// The marks of a connection that matter when it is read, and what is kept of its unfinished message.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Inbound {
    /// Bytes kept of an unfinished message (4 GiB at most), as counted in the loop's total.
    unfinished: u32,
    marks: u8,
}

impl Inbound {
    /// Whether a read of the connection is like any other: no input of it waits, no FIN is known of, and it is not in the
    /// middle of a long message.
    #[inline]
    pub(crate) fn is_ordinary(self) -> bool {
        self.marks & (PARKED | FIN | BULK) == 0
    }

    /// Input of it waits for the next tick.
    pub(crate) fn is_parked(self) -> bool {
        self.marks & PARKED != 0
    }

    pub(super) fn set_parked(&mut self, is_parked: bool) {
        self.set(PARKED, is_parked);
    }

    /// The peer's FIN is known to be in the receive queue.
    pub(crate) fn has_fin(self) -> bool {
        self.marks & FIN != 0
    }

    pub(super) fn note_fin(&mut self, has_fin: bool) {
        self.set(FIN, has_fin || self.has_fin());
    }

    /// In the middle of a message that is no small one: the next read may bring more than others.
    pub(super) fn is_bulk(self) -> bool {
        self.marks & BULK != 0
    }

    pub(super) fn set_bulk(&mut self, is_bulk: bool) {
        self.set(BULK, is_bulk);
    }

    /// In the list of connections to be read again without a new event.
    pub(crate) fn is_resumed(self) -> bool {
        self.marks & RESUMED != 0
    }

    /// `true`: the mark was another one before.
    pub(crate) fn set_resumed(&mut self, is_resumed: bool) -> bool {
        let has_changed = self.is_resumed() != is_resumed;
        self.set(RESUMED, is_resumed);
        has_changed
    }

    /// Bytes kept of an unfinished message.
    #[inline]
    pub(super) fn unfinished(self) -> usize {
        self.unfinished as usize
    }

    pub(super) fn set_unfinished(&mut self, len: usize) {
        self.unfinished = u32::try_from(len).unwrap_or(u32::MAX);
    }

    fn set(&mut self, mark: u8, is_set: bool) {
        self.marks = if is_set { self.marks | mark } else { self.marks & !mark };
    }
}
