//! Who hears of what was done in a room.

use super::RoomActor;
use crate::actors::chat::events::{Delivered, Event, Fate};
use crate::domain::chat::{ChatEntry, Command, Effect, Message, MessageSequence, Role, RoomKind};
use crate::domain::ids::AccountId;
use crate::persistence::chat::friends::Friendship;
use crate::persistence::chat::messages;
use actix::prelude::*;
use std::sync::Arc;

impl RoomActor {
    /// Tells whoever it concerns what an entry did. `message` is the one that it is about, as it is now.
    pub(super) fn publish(&mut self, entry: &ChatEntry, effect: &Effect, message: Option<&Arc<Message>>) {
        let kicked = self.kicked.take();
        if let Effect::Kicked(who) = effect {
            self.kicked = Some(*who);
        }
        self.tell_effect(entry, effect, message, kicked);
    }

    /// `kicked`: who was, right before.
    fn tell_effect(
        &self,
        entry: &ChatEntry,
        effect: &Effect,
        message: Option<&Arc<Message>>,
        kicked: Option<AccountId>,
    ) {
        let (id, by) = (self.room.id, entry.by);
        let audience = &self.parts.audience;
        let member = |who: AccountId, fate| self.tell(None, Event::Member(who, fate));
        match effect {
            Effect::Created if by == AccountId::HOUSE => {}
            Effect::Created => {
                // Not to the listeners: nobody else is there, and whoever made it does not count as one yet.
                audience.join(id, by);
                audience.tell_user(by, &Delivered::of(id, None, Event::Room(self.summary())));
            }
            Effect::Configured | Effect::Closed => self.tell(None, Event::Room(self.summary())),
            Effect::Joined(who) => {
                member(*who, Fate::Joined);
                audience.join(id, *who);
                audience.tell_user(*who, &Delivered::of(id, None, Event::Room(self.summary())));
            }
            Effect::Left(who) => {
                member(*who, Fate::Left);
                audience.leave(id, *who);
            }
            Effect::Kicked(who) => {
                member(*who, Fate::Kicked);
                audience.leave(id, *who);
            }
            Effect::Banned(who) => {
                member(*who, Fate::Banned);
                if kicked == Some(*who) {
                    // Does not hear of the room any more, see `Room::prelude`.
                    audience.tell_user(*who, &Delivered::of(id, None, Event::Member(*who, Fate::Banned)));
                }
                audience.leave(id, *who);
            }
            Effect::RoleSet(who, role) => {
                member(*who, Fate::Role(*role));
                if *role == Role::Owner {
                    member(by, Fate::Role(Role::Moderator));
                }
            }
            Effect::Muted(who, until) => member(*who, Fate::Muted(*until)),
            Effect::Sent(_) => {
                if let Some(message) = message {
                    self.tell(Some(by), Event::Message(message.clone()));
                }
            }
            Effect::Edited(_) | Effect::Deleted(_) | Effect::Reacted(_) => {
                if let Some(message) = message {
                    self.tell(Some(message.author), Event::Changed(message.clone()));
                }
            }
            Effect::Read(who, to) => {
                let unread = self.room.unread(*who).filter(|unread| unread.before.is_none());
                let event = Event::Read(*who, *to, unread.map(|unread| unread.counted));
                if self.room.state.kind == RoomKind::Direct {
                    self.tell(Some(by), event);
                } else {
                    audience.tell_user(*who, &Delivered::of(id, None, event));
                }
            }
            Effect::Related => self.publish_relation(),
            Effect::Reported(number) => {
                let Some(message) = message else { return };
                let moderators = self.room.members.iter().filter(|(_, member)| member.role >= Role::Moderator);
                let event = Delivered::of(id, None, Event::Reported(*number, message.sequence));
                moderators.for_each(|(who, _)| audience.tell_user(*who, &event));
            }
            Effect::Unbanned(_)
            | Effect::Invited(_)
            | Effect::InviteRevoked(_)
            | Effect::Resolved(_)
            | Effect::Repeated(_)
            | Effect::Unchanged => {}
        }
    }

    /// Tells of an entry that the room contained already when it was read, as far as what it did is still so: whoever
    /// listens has not heard of it. That there are new messages was told when the room was read.
    pub(super) fn tell_late(&mut self, entry: &ChatEntry, ctx: &mut Context<Self>) {
        let member = |who: &AccountId| self.room.members.get(who);
        let gone = |who: &AccountId, effect: Effect| member(who).is_none().then_some(effect);
        let by = entry.by;
        let effect = match &entry.command {
            Command::Read(_) => member(&by).map(|member| Effect::Read(by, member.read_to)),
            Command::Join(_) => member(&by).map(|_| Effect::Joined(by)),
            Command::Add(who) => member(who).map(|_| Effect::Joined(*who)),
            Command::SetRole(who, _) => member(who).map(|member| Effect::RoleSet(*who, member.role)),
            Command::Mute(who, _) => member(who).map(|member| Effect::Muted(*who, member.muted_until)),
            Command::Leave => gone(&by, Effect::Left(by)),
            Command::Kick(who) => gone(who, Effect::Kicked(*who)),
            Command::Ban(who, true) => gone(who, Effect::Banned(*who)),
            Command::Friend(_) => Some(Effect::Related),
            // The venue makes rooms without being in them.
            Command::Create { .. } if member(&by).is_some() => Some(Effect::Joined(by)),
            Command::Create { .. } | Command::Configure { .. } | Command::Close => Some(Effect::Configured),
            Command::Edit { message, .. } | Command::Delete(message) | Command::React { message, .. } => {
                if self.memory.has(*message) {
                    self.tell_changed(*message);
                } else {
                    self.tell_older(*message, ctx);
                }
                None
            }
            Command::Send { .. }
            | Command::Ban(_, false)
            | Command::Invite { .. }
            | Command::RevokeInvite(_)
            | Command::Report { .. }
            | Command::Resolve { .. } => None,
        };
        if let Some(effect) = effect {
            self.publish(entry, &effect, None);
        }
    }

    /// Tells what a message is now, if it is in memory.
    fn tell_changed(&self, message: MessageSequence) {
        if let Some(message) = self.memory.get(message) {
            self.tell(Some(message.author), Event::Changed(Arc::new(message.clone())));
        }
    }

    /// The same of one that must be read first. It may be here when that is done, with what came meanwhile.
    fn tell_older(&self, message: MessageSequence, ctx: &mut Context<Self>) {
        let (store, room) = (self.parts.store.clone(), self.room.id);
        let work = async move { store.read(move |conn| messages::get(conn, room, message)).await };
        ctx.spawn(work.into_actor(self).map(move |found, actor, _| {
            // Without history nobody sees the older message either.
            if let Ok(Some(found)) = found {
                actor.memory.add_older(found);
                actor.tell_changed(message);
            }
        }));
    }

    /// Tells both of a direct room how they stand, each from its side.
    fn publish_relation(&self) {
        let Some((low, high)) = self.room.id.pair() else { return };
        for (own, other) in [(low, high), (high, low)] {
            self.parts.audience.join(self.room.id, own);
            let blocks = self.room.state.relation.blocked_by.contains(&own);
            let event = Event::Friend(other, Friendship::seen_by(&self.room, own), blocks);
            self.parts.audience.tell_user(own, &Delivered::of(self.room.id, None, event));
        }
    }

    pub(super) fn tell(&self, by: Option<AccountId>, event: Event) {
        self.parts.audience.tell(self.room.id, &Delivered::of(self.room.id, by, event), None);
    }
}
