//! Mail between the loops of one process.

use std::fmt;
use std::sync::Arc;

/// Mail that a mailbox did not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undelivered<M> {
    /// The mailbox is full.
    Full(M),
    /// The loop has ended.
    Ended(M),
}

impl<M> Undelivered<M> {
    /// The mail.
    pub fn into_mail(self) -> M {
        match self {
            Self::Full(mail) | Self::Ended(mail) => mail,
        }
    }

    fn map<N>(self, map: impl FnOnce(M) -> N) -> Undelivered<N> {
        match self {
            Self::Full(mail) => Undelivered::Full(map(mail)),
            Self::Ended(mail) => Undelivered::Ended(map(mail)),
        }
    }
}

/// The way into a loop, for whoever runs loops: what is behind a [`Mailbox`].
pub trait Deliver<M>: Send + Sync {
    /// Delivers mail to [`Application::on_mail`](super::Application::on_mail), in the order of each sender, without waiting.
    ///
    /// # Errors
    /// Returns the mail when the mailbox is full or the loop has ended.
    fn try_send(&self, mail: M) -> Result<(), Undelivered<M>>;

    /// As [`Self::try_send`], but waits while the mailbox is full.
    ///
    /// # Errors
    /// Returns the mail when the loop has ended.
    fn send_blocking(&self, mail: M) -> Result<(), M>;

    /// Mails that the loop has not seen.
    fn waiting(&self) -> usize;
}

/// The bounded mailbox of a loop. Clones are one.
pub struct Mailbox<M>(Arc<dyn Deliver<M>>);

impl<M: 'static> Mailbox<M> {
    /// A mailbox with this way into its loop.
    pub fn new(deliver: impl Deliver<M> + 'static) -> Self {
        Self(Arc::new(deliver))
    }

    /// Sends mail without waiting: what a loop may do. Mails of one sender arrive in their order.
    ///
    /// # Errors
    /// Returns the mail when the mailbox is full or the loop has ended.
    pub fn try_send(&self, mail: M) -> Result<(), Undelivered<M>> {
        self.0.try_send(mail)
    }

    /// Sends mail, and waits while the mailbox is full. A loop must never do that; a thread that feeds loops should: it is slowed
    /// down to the slowest of them.
    ///
    /// # Errors
    /// Returns the mail when the loop has ended.
    pub fn send_blocking(&self, mail: M) -> Result<(), M> {
        self.0.send_blocking(mail)
    }

    /// Mails that the loop has not seen.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.waiting()
    }

    /// The same mailbox for mail of another type, such as that of an application inside of a [`Layer`](super::Layer). `wrap` makes
    /// mail of the loop, and `unwrap` takes that apart again where it could not be delivered.
    #[must_use]
    pub fn map<N: 'static>(&self, wrap: fn(N) -> M, unwrap: fn(M) -> N) -> Mailbox<N> {
        Mailbox::new(Mapped { inner: self.clone(), wrap, unwrap })
    }
}

impl<M> Clone for Mailbox<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M> fmt::Debug for Mailbox<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").field("waiting", &self.0.waiting()).finish()
    }
}

struct Mapped<M, N> {
    inner: Mailbox<M>,
    wrap: fn(N) -> M,
    unwrap: fn(M) -> N,
}

impl<M: 'static, N> Deliver<N> for Mapped<M, N> {
    fn try_send(&self, mail: N) -> Result<(), Undelivered<N>> {
        self.inner.try_send((self.wrap)(mail)).map_err(|undelivered| undelivered.map(self.unwrap))
    }

    fn send_blocking(&self, mail: N) -> Result<(), N> {
        self.inner.send_blocking((self.wrap)(mail)).map_err(self.unwrap)
    }

    fn waiting(&self) -> usize {
        self.inner.waiting()
    }
}

/// The mailboxes of all loops of a process, by their numbers: from 0 to the number of loops less one. Clones are one.
pub struct Peers<M>(Arc<[Mailbox<M>]>);

#[expect(clippy::len_without_is_empty, reason = "there is one loop at least")]
impl<M: 'static> Peers<M> {
    /// The loops with these mailboxes.
    pub fn new(mailboxes: impl IntoIterator<Item = Mailbox<M>>) -> Self {
        Self(mailboxes.into_iter().collect())
    }

    /// The mailbox of a loop.
    ///
    /// # Panics
    /// There is no loop of this number.
    #[must_use]
    pub fn get(&self, at: usize) -> &Mailbox<M> {
        &self.0[at]
    }

    /// The mailboxes of all other loops with their numbers, for the loop of the number `own`.
    pub fn others(&self, own: usize) -> impl Iterator<Item = (usize, &Mailbox<M>)> {
        self.iter().enumerate().filter(move |(at, _)| *at != own)
    }

    /// All mailboxes.
    pub fn iter(&self) -> impl Iterator<Item = &Mailbox<M>> {
        self.0.iter()
    }

    /// How many loops there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The same loops for mail of another type; see [`Mailbox::map`].
    #[must_use]
    pub fn map<N: 'static>(&self, wrap: fn(N) -> M, unwrap: fn(M) -> N) -> Peers<N> {
        Peers::new(self.iter().map(|mailbox| mailbox.map(wrap, unwrap)))
    }
}

impl<M> Clone for Peers<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M> fmt::Debug for Peers<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A mailbox of two places that nobody empties.
    #[derive(Default)]
    struct Two(Mutex<Vec<Result<u8, char>>>);

    impl Deliver<Result<u8, char>> for Two {
        fn try_send(&self, mail: Result<u8, char>) -> Result<(), Undelivered<Result<u8, char>>> {
            let mut mails = self.0.lock().unwrap();
            if mails.len() == 2 {
                return Err(Undelivered::Full(mail));
            }
            mails.push(mail);
            Ok(())
        }

        fn send_blocking(&self, mail: Result<u8, char>) -> Result<(), Result<u8, char>> {
            self.try_send(mail).map_err(Undelivered::into_mail)
        }

        fn waiting(&self) -> usize {
            self.0.lock().unwrap().len()
        }
    }

    #[test]
    fn mail_of_an_application_inside_goes_the_same_way() {
        let peers = Peers::new((0..3).map(|_| Mailbox::new(Two::default())));
        let inner: Peers<char> = peers.map(Err, |mail| mail.unwrap_err());
        assert_eq!(peers.get(1).try_send(Ok(1)), Ok(()));
        assert_eq!(inner.get(1).try_send('a'), Ok(()));
        assert_eq!(inner.get(1).try_send('b'), Err(Undelivered::Full('b')));
        assert_eq!(inner.get(1).send_blocking('c'), Err('c'));
        assert_eq!((inner.get(1).waiting(), inner.get(0).waiting(), inner.len()), (2, 0, 3));
        let others: Vec<usize> = inner.others(1).map(|(at, _)| at).collect();
        assert_eq!(others, [0, 2]);
    }
}
