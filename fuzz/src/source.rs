//! Reads choices from the front of a fuzzer's octets.

/// The octets that are left. Where they have run out, every choice is 0.
#[derive(Debug)]
pub struct Source<'d> {
    rest: &'d [u8],
}

impl<'d> Source<'d> {
    pub fn new(data: &'d [u8]) -> Self {
        Self { rest: data }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn octet(&mut self) -> u8 {
        match self.rest {
            [first, rest @ ..] => {
                self.rest = rest;
                *first
            }
            [] => 0,
        }
    }

    pub fn pair(&mut self) -> u16 {
        u16::from_be_bytes([self.octet(), self.octet()])
    }

    /// The next `len` octets, or what is left of them.
    pub fn take(&mut self, len: usize) -> &'d [u8] {
        let (taken, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    pub fn take_rest(&mut self) -> &'d [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Up to seven places at which the rest is cut; the lowest ones are likely.
    pub fn cuts(&mut self) -> Vec<usize> {
        (0..self.octet() % 8).map(|_| usize::from(self.pair())).collect()
    }
}

/// `len` octets in pieces that end at `cuts`, which count modulo one more than the length.
pub fn pieces(len: usize, cuts: &[usize]) -> impl Iterator<Item = std::ops::Range<usize>> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (len + 1)).chain([len]).collect();
    ends.sort_unstable();
    let mut start = 0;
    ends.into_iter().map(move |end| std::mem::replace(&mut start, end)..end)
}
