//! The members of a room by the form of a message that they are sent. Each form has a topic of its own.

use crate::app::TopicId;
use crate::chat::wire::command::Omit;

/// Members who are sent the same octets.
#[derive(Debug)]
struct Audience {
    omit: Omit,
    topic: TopicId,
    members: u32,
}

/// All members of a room. A room that nobody can join has no topics.
#[derive(Debug, Default)]
pub(in crate::chat::rooms) struct Audiences {
    /// Members who are sent whole messages.
    whole: Option<Audience>,
    /// Members who omit fields. A topic is made for the first of them, and stays until the room is put away.
    lean: Vec<Audience>,
}

impl Audiences {
    /// Adds a topic.
    pub(in crate::chat::rooms) fn open(&mut self, omit: Omit, topic: TopicId) {
        debug_assert!(self.all().all(|audience| audience.omit != omit), "a form has one topic");
        let audience = Audience { omit, topic, members: 0 };
        if omit == Omit::default() {
            self.whole = Some(audience);
        } else {
            self.lean.push(audience);
        }
    }

    /// Whether members can join, and those who omit these fields have no topic yet.
    pub(in crate::chat::rooms) fn lacks(&self, omit: Omit) -> bool {
        self.whole.is_some() && !self.all().any(|audience| audience.omit == omit)
    }

    /// A member comes. Returns the topic that the member must be subscribed to.
    pub(in crate::chat::rooms) fn enter(&mut self, omit: Omit) -> Option<TopicId> {
        let audience = self.find(omit)?;
        audience.members += 1;
        Some(audience.topic)
    }

    /// A member goes. Returns the topic that the member was subscribed to.
    pub(in crate::chat::rooms) fn leave(&mut self, omit: Omit) -> Option<TopicId> {
        let audience = self.find(omit)?;
        audience.members -= 1;
        Some(audience.topic)
    }

    /// The topics that have members, and what their members omit.
    pub(in crate::chat::rooms) fn occupied(&self) -> impl Iterator<Item = (Omit, TopicId)> {
        self.all().filter(|audience| audience.members > 0).map(|audience| (audience.omit, audience.topic))
    }

    /// All topics.
    pub(in crate::chat::rooms) fn topics(&self) -> impl Iterator<Item = TopicId> {
        self.all().map(|audience| audience.topic)
    }

    /// The number of members with a topic.
    #[cfg(debug_assertions)]
    pub(in crate::chat::rooms) fn members(&self) -> usize {
        self.all().map(|audience| audience.members as usize).sum()
    }

    /// The number of members who omit these fields.
    #[cfg(debug_assertions)]
    pub(in crate::chat::rooms) fn members_without(&self, omit: Omit) -> usize {
        self.all().find(|audience| audience.omit == omit).map_or(0, |audience| audience.members as usize)
    }

    fn all(&self) -> impl Iterator<Item = &Audience> {
        self.whole.iter().chain(&self.lean)
    }

    fn find(&mut self, omit: Omit) -> Option<&mut Audience> {
        self.whole.iter_mut().chain(&mut self.lean).find(|audience| audience.omit == omit)
    }
}
