//! How often connections, users and addresses may do something.

use super::People;
use super::session::Session;
use super::shared_bucket::SharedBucket;
use super::user::Identity;
use crate::app::{AddressPrefix, ConnId, Rate};
use crate::chat::Limits;
use crate::chat::ids::SessionId;

impl People {
    /// A token for a command, or the milliseconds until there is one.
    pub(in crate::chat) fn take_token(
        &mut self,
        conn: ConnId,
        is_post: bool,
        limits: &Limits,
        now_ms: u64,
    ) -> Result<(), u64> {
        let id = SessionId::of(conn);
        let Some(session) = self.session(conn) else { return Err(0) };
        if !is_post {
            return session.commands.try_take(limits.commands, now_ms);
        }
        self.take_shared_rates(id);
        let Self { sessions, users, addresses, rates, .. } = self;
        let Some(session) = sessions[id.slot()].as_deref_mut() else { return Err(0) };
        let posts = session.user.and_then(|user| rates.get(&user)).copied().unwrap_or(limits.posts);
        let shared = session.user.and_then(|user| users[user.slot()].shared.as_ref());
        let share = shared.map_or(posts, |shared| shared.share(posts));
        let mut buckets = [
            (session.user.map(|user| &mut users[user.slot()].posts), share),
            (addresses.get_mut(&session.address()).map(|state| &mut state.posts), limits.address_posts),
            (Some(&mut session.posts), posts),
        ];
        let waits = buckets
            .iter()
            .map(|(bucket, rate)| bucket.as_ref().map_or(0, |bucket| bucket.wait_ms(*rate, now_ms)));
        let wait = waits.max().unwrap_or(0);
        if wait > 0 {
            return Err(wait);
        }
        for (bucket, rate) in &mut buckets {
            if let Some(bucket) = bucket {
                bucket.take(*rate, now_ms);
            }
        }
        self.share_rates(id);
        Ok(())
    }

    /// What other loops took from the rates of somebody counts.
    fn take_shared_rates(&mut self, id: SessionId) {
        let Self { sessions, users, addresses, .. } = self;
        let Some(session) = sessions[id.slot()].as_deref() else { return };
        if let Some(user) = session.user.map(|user| &mut users[user.slot()])
            && let Some(shared) = &user.shared
        {
            user.posts = shared.load();
        }
        if let Some(state) = addresses.get_mut(&session.address())
            && let Some(shared) = &state.shared
        {
            state.posts = shared.load();
        }
    }

    /// What somebody took from their rates counts on other loops.
    fn share_rates(&self, id: SessionId) {
        let Some(session) = self.look(id) else { return };
        if let Some(user) = session.user.map(|user| &self.users[user.slot()])
            && let Some(shared) = &user.shared
        {
            shared.store(user.posts);
        }
        if let Some(state) = self.addresses.get(&session.address())
            && let Some(shared) = &state.shared
        {
            shared.store(state.posts);
        }
    }

    /// The rate of an address is that of all loops.
    pub(in crate::chat) fn share_address(
        &mut self,
        address: AddressPrefix,
        shared: impl FnOnce() -> SharedBucket,
    ) {
        if let Some(state) = self.addresses.get_mut(&address) {
            state.shared.get_or_insert_with(shared);
        }
    }

    /// The rate of a session's user is that of all loops.
    pub(in crate::chat) fn share_user(
        &mut self,
        session: SessionId,
        shared: impl FnOnce(&Identity) -> SharedBucket,
    ) {
        let Some(user) = self.look(session).and_then(Session::user) else { return };
        let user = &mut self.users[user.slot()];
        if user.shared.is_none() {
            user.shared = Some(shared(&user.identity()));
        }
    }

    /// Somebody posts at a rate of their own from now on.
    pub(in crate::chat) fn set_rate(&mut self, conn: ConnId, rate: Option<Rate>) {
        if let Some(user) = self.look(SessionId::of(conn)).and_then(Session::user) {
            match rate {
                Some(rate) => drop(self.rates.insert(user, rate)),
                None => drop(self.rates.remove(&user)),
            }
        }
    }

    /// Whether a connection may be told once more that it is too fast.
    pub(in crate::chat) fn may_refuse(&mut self, conn: ConnId, limits: &Limits, now_ms: u64) -> bool {
        let session = self.session(conn);
        session.is_some_and(|session| session.refusals.try_take(limits.refusals, now_ms).is_ok())
    }
}
