//! What a room allows, in order of precedence. The same check admits a command and guards its entry.

use super::entry::{ChatEntry, Command, FriendStep, JoinBy};
use super::ids::{InviteCode, MessageSequence};
use super::message::{Attachment, Message};
use super::rights::{Action, Role, RoomKind, Standing};
use super::room::{Effect, Member, Restraint, Room};
use super::{ChatReject, MAX_ATTACHMENTS, MAX_BANS, MAX_DESCRIPTION, MAX_EMOJI, MAX_INVITES, MAX_MEMBERS};
use super::{MAX_MENTIONS, MAX_NAME, MAX_OPEN_REPORTS, MAX_REASON, MAX_SLOW_MODE_S, MAX_TEXT, MAX_TOPIC};
use crate::domain::ids::{AccountId, Ticket};
use crate::domain::time::{SECOND, Timestamp};

type Check = Result<Option<Effect>, ChatReject>;

impl Room {
    /// A command as the entry that it becomes when it is admitted now.
    pub fn entry(&self, ticket: Ticket, by: AccountId, warden: bool, command: Command) -> ChatEntry {
        let after_close = self.state.closed && command.keeps_order();
        ChatEntry { ticket, room: self.id, by, warden, after_close, command }
    }

    /// What is to be done right before a command, by the same person. A ban alone forgets what keeps a member from
    /// writing, and must go on doing so for the sake of older logs; whoever is kicked first is as muted after the ban.
    /// Every member is: what keeps it from writing may be on its way still.
    pub fn prelude(&self, command: &Command) -> Option<Command> {
        let Command::Ban(who, true) = command else { return None };
        self.members.contains_key(who).then_some(Command::Kick(*who))
    }

    /// The message that a command is judged by. None when it comes to nothing before that: nobody has messages looked
    /// up who may not do anything with them.
    pub fn subject_of(&self, by: AccountId, warden: bool, command: &Command) -> Option<MessageSequence> {
        let allowed = |action| self.allows(by, warden, action);
        let judged = match command {
            Command::Edit { .. } => !self.state.closed && allowed(Action::EditOwn),
            Command::React { .. } => !self.state.closed && allowed(Action::React),
            Command::Report { .. } => !self.state.closed && allowed(Action::Report),
            // Whose it is, is known only when it is there.
            Command::Delete(_) => allowed(Action::DeleteOwn) || allowed(Action::DeleteOther),
            Command::Create { .. }
            | Command::Configure { .. }
            | Command::Join(_)
            | Command::Leave
            | Command::Add(_)
            | Command::SetRole(..)
            | Command::Kick(_)
            | Command::Mute(..)
            | Command::Ban(..)
            | Command::Invite { .. }
            | Command::RevokeInvite(_)
            | Command::Send { .. }
            | Command::Read(_)
            | Command::Friend(_)
            | Command::Resolve { .. }
            | Command::Close => false,
        };
        command.subject().filter(|message| judged && self.has(*message))
    }

    /// Whether an entry would be applied at this time: `None` when it would, an effect when there is
    /// nothing to do because it was done before.
    ///
    /// # Errors
    /// [`ChatReject`] when a rule says no.
    pub fn check(&self, at: Timestamp, entry: &ChatEntry, subject: Option<&Message>) -> Check {
        if let Command::Send { client_id: Some(id), .. } = &entry.command
            && let Some(before) = self.sent_as(entry.by, *id)
        {
            return Ok(Some(Effect::Repeated(before)));
        }
        match (&entry.command, self.exists()) {
            (Command::Create { kind, name, topic, description }, false) => {
                self.check_create(entry.by, *kind, name, topic, description)?;
                return Ok(None);
            }
            (Command::Create { .. }, true) => return Err(ChatReject::RoomExists),
            // A direct room is made by the first step towards each other, or away.
            (Command::Friend(step), _) => return self.check_friend(entry.by, *step),
            (_, false) => return Err(ChatReject::UnknownRoom),
            (_, true) => {}
        }
        let goes_on = matches!(entry.command, Command::Read(_) | Command::Leave | Command::Resolve { .. })
            || (entry.after_close && entry.command.keeps_order());
        if self.state.closed && !goes_on {
            return Err(ChatReject::RoomClosed);
        }
        let allow = |action| self.demand(entry, action);
        let nothing = Ok(Some(Effect::Unchanged));
        match &entry.command {
            Command::Create { .. } | Command::Friend(_) => {}
            Command::Configure { name, kind, topic, description, slow_mode_s } => {
                if name.is_some() || kind.is_some() || slow_mode_s.is_some() {
                    allow(Action::Configure)?;
                }
                allow(Action::SetTopic)?;
                if let Some(name) = name {
                    check_name(name)?;
                }
                check_length(topic.as_deref(), MAX_TOPIC)?;
                check_length(description.as_deref(), MAX_DESCRIPTION)?;
                if *kind == Some(RoomKind::Direct) || slow_mode_s.is_some_and(|s| s > MAX_SLOW_MODE_S) {
                    return Err(ChatReject::Invalid);
                }
            }
            Command::Join(by) => {
                if matches!(self.standing(entry.by), Standing::Member(_)) {
                    return nothing;
                }
                match by {
                    JoinBy::Itself => allow(Action::Join)?,
                    JoinBy::Invite(code) => {
                        allow(Action::JoinInvited)?;
                        self.check_invite(*code, at)?;
                    }
                }
                self.check_space()?;
            }
            Command::Add(who) => {
                allow(Action::Invite)?;
                match self.standing(*who) {
                    Standing::Member(_) => return Err(ChatReject::AlreadyMember),
                    Standing::Banned => return Err(ChatReject::Banned),
                    Standing::Venue => return Err(ChatReject::Invalid),
                    Standing::Outsider | Standing::Warden => self.check_space()?,
                }
            }
            Command::Leave => {
                allow(Action::Leave)?;
                if self.standing(entry.by) == Standing::Member(Role::Owner) && !self.state.closed {
                    return Err(ChatReject::OwnerStays);
                }
            }
            Command::SetRole(who, role) => {
                allow(Action::SetRole)?;
                let member = self.member(*who)?;
                if *who == entry.by {
                    return Err(ChatReject::RankTooHigh);
                }
                if member.role == *role {
                    return nothing;
                }
            }
            Command::Kick(who) => {
                allow(Action::Kick)?;
                self.member(*who)?;
                self.outranks(entry, *who)?;
            }
            Command::Mute(who, until) => {
                allow(Action::Mute)?;
                let member = self.member(*who)?;
                self.outranks(entry, *who)?;
                if member.muted_until == *until {
                    return nothing;
                }
            }
            Command::Ban(who, on) => {
                allow(Action::Ban)?;
                if self.state.bans.contains_key(who) == *on {
                    return nothing;
                }
                self.outranks(entry, *who)?;
                if *on && self.state.bans.len() >= MAX_BANS {
                    return Err(ChatReject::TooManyBans);
                }
            }
            Command::Invite { expires_at, uses, .. } => {
                allow(Action::Invite)?;
                if *uses == Some(0) || expires_at.is_some_and(|end| end <= at) {
                    return Err(ChatReject::Invalid);
                }
                let open = self.state.invites.values().filter(|invite| invite.expires_at.is_none_or(|end| end > at));
                if open.count() >= MAX_INVITES {
                    return Err(ChatReject::TooManyInvites);
                }
            }
            Command::RevokeInvite(code) => {
                allow(Action::Invite)?;
                let invite = self.state.invites.get(code).ok_or(ChatReject::BadInvite)?;
                // Who made it may always take it back; for others' it takes a moderator.
                if invite.by != entry.by && self.rank(entry.by, entry.warden) < 2 {
                    return Err(ChatReject::NotAllowed);
                }
            }
            Command::Send { text, reply_to, mentions, attachments, .. } => {
                let venue = entry.by == AccountId::HOUSE;
                allow(if venue { Action::Announce } else { Action::Send })?;
                self.may_write(entry.by, at)?;
                self.check_pace(entry.by, at)?;
                check_content(text, mentions, attachments)?;
                if reply_to.is_some_and(|to| to.0 == 0 || to > self.last) {
                    return Err(ChatReject::UnknownMessage);
                }
            }
            Command::Edit { text, mentions, .. } => {
                allow(Action::EditOwn)?;
                self.may_write(entry.by, at)?;
                let message = present(subject)?;
                if message.author != entry.by {
                    return Err(ChatReject::NotYours);
                }
                check_content(text, mentions, &message.attachments)?;
                if message.text == *text {
                    return nothing;
                }
            }
            Command::Delete(_) => {
                let own = subject.is_some_and(|message| message.author == entry.by);
                allow(if own { Action::DeleteOwn } else { Action::DeleteOther })?;
                let message = present(subject)?;
                if !own {
                    self.outranks(entry, message.author)?;
                }
            }
            Command::React { emoji, on, .. } => {
                allow(Action::React)?;
                self.may_write(entry.by, at)?;
                let message = present(subject)?;
                if !is_emoji(emoji) {
                    return Err(ChatReject::Invalid);
                }
                if !message.can_react(entry.by, emoji, *on)? {
                    return nothing;
                }
            }
            Command::Read(to) => {
                allow(Action::Read)?;
                let member = self.member(entry.by)?;
                if *to > self.last {
                    return Err(ChatReject::UnknownMessage);
                }
                if *to <= member.read_to {
                    return nothing;
                }
            }
            Command::Report { reason, .. } => {
                allow(Action::Report)?;
                present(subject)?;
                check_length(Some(reason), MAX_REASON)?;
                if self.state.open_reports.len() >= MAX_OPEN_REPORTS {
                    return Err(ChatReject::TooMany);
                }
            }
            Command::Resolve { report, note } => {
                allow(Action::Resolve)?;
                check_length(Some(note), MAX_REASON)?;
                if !self.state.open_reports.contains(report) {
                    return Err(ChatReject::NoRequest);
                }
            }
            Command::Close => allow(Action::Close)?,
        }
        Ok(None)
    }

    /// What a role does not allow; whoever must not know of the room hears that there is none.
    fn demand(&self, entry: &ChatEntry, action: Action) -> Result<(), ChatReject> {
        if self.allows(entry.by, entry.warden, action) {
            return Ok(());
        }
        Err(match self.standing(entry.by) {
            Standing::Banned => ChatReject::Banned,
            Standing::Outsider if self.state.kind != RoomKind::Public => ChatReject::UnknownRoom,
            Standing::Outsider | Standing::Member(_) | Standing::Warden | Standing::Venue => ChatReject::NotAllowed,
        })
    }

    fn member(&self, who: AccountId) -> Result<&Member, ChatReject> {
        self.members.get(&who).ok_or(ChatReject::NotAMember)
    }

    fn outranks(&self, entry: &ChatEntry, other: AccountId) -> Result<(), ChatReject> {
        let above = self.rank(entry.by, entry.warden) > self.rank(other, false);
        if above { Ok(()) } else { Err(ChatReject::RankTooHigh) }
    }

    fn check_space(&self) -> Result<(), ChatReject> {
        if self.members.len() < MAX_MEMBERS { Ok(()) } else { Err(ChatReject::RoomFull) }
    }

    fn check_create(
        &self,
        by: AccountId,
        kind: RoomKind,
        name: &str,
        topic: &str,
        description: &str,
    ) -> Result<(), ChatReject> {
        let direct = kind == RoomKind::Direct || self.id.pair().is_some();
        // The rooms of markets are the venue's.
        let foreign = (self.id.beside().is_some()) != (by == AccountId::HOUSE);
        if direct || foreign {
            return Err(ChatReject::Invalid);
        }
        check_name(name)?;
        check_length(Some(topic), MAX_TOPIC)?;
        check_length(Some(description), MAX_DESCRIPTION)
    }

    fn check_invite(&self, code: InviteCode, at: Timestamp) -> Result<(), ChatReject> {
        let invite = self.state.invites.get(&code).ok_or(ChatReject::BadInvite)?;
        if invite.expires_at.is_some_and(|end| end <= at) { Err(ChatReject::BadInvite) } else { Ok(()) }
    }

    fn check_friend(&self, by: AccountId, step: FriendStep) -> Check {
        let other = self.id.other(by).ok_or(ChatReject::UnknownRoom)?;
        if other < AccountId::FIRST_USER {
            return Err(ChatReject::Invalid);
        }
        let relation = &self.state.relation;
        let friends = relation.friends_since.is_some();
        let blocks = |who| relation.blocked_by.contains(&who);
        match step {
            FriendStep::Ask | FriendStep::Accept if blocks(by) || blocks(other) => Err(ChatReject::Blocked),
            FriendStep::Ask if friends || relation.asked_by == Some(by) => Err(ChatReject::AlreadyFriends),
            FriendStep::Accept if relation.asked_by != Some(other) => Err(ChatReject::NoRequest),
            FriendStep::Decline if relation.asked_by.is_none() => Err(ChatReject::NoRequest),
            FriendStep::Remove if !friends => Err(ChatReject::NotFriends),
            FriendStep::Block if blocks(by) => Ok(Some(Effect::Unchanged)),
            FriendStep::Unblock if !blocks(by) => Ok(Some(Effect::Unchanged)),
            FriendStep::Ask
            | FriendStep::Accept
            | FriendStep::Decline
            | FriendStep::Remove
            | FriendStep::Block
            | FriendStep::Unblock => Ok(None),
        }
    }

    /// Whether somebody may write at all now.
    fn may_write(&self, by: AccountId, at: Timestamp) -> Result<(), ChatReject> {
        if self.state.kind == RoomKind::Direct {
            let relation = &self.state.relation;
            if !relation.blocked_by.is_empty() {
                return Err(ChatReject::Blocked);
            }
            if relation.friends_since.is_none() {
                return Err(ChatReject::NotFriends);
            }
        }
        let muted = self.members.get(&by).and_then(|member| member.muted_until).is_some_and(|until| until > at);
        if muted { Err(ChatReject::Muted) } else { Ok(()) }
    }

    fn check_pace(&self, by: AccountId, at: Timestamp) -> Result<(), ChatReject> {
        let Some(member) = self.members.get(&by).filter(|member| member.role == Role::Member) else { return Ok(()) };
        let early = self.is_early(member.last_sent, at);
        if early { Err(ChatReject::SlowMode) } else { Ok(()) }
    }

    /// Whether whoever wrote last at that time has to wait in slow mode.
    fn is_early(&self, last_sent: Option<Timestamp>, at: Timestamp) -> bool {
        let pause = i64::from(self.state.slow_mode_s) * SECOND;
        pause > 0 && last_sent.is_some_and(|last| at - last < pause)
    }

    /// Whether somebody who comes back is kept from writing.
    pub(super) fn restrains(&self, kept: Restraint, at: Timestamp) -> bool {
        kept.muted_until.is_some_and(|until| until > at) || self.is_early(kept.last_sent, at)
    }

    /// Whether a message can be in the room.
    pub fn has(&self, message: MessageSequence) -> bool {
        message.0 > 0 && message <= self.last
    }
}

fn present(subject: Option<&Message>) -> Result<&Message, ChatReject> {
    subject.filter(|message| !message.is_deleted()).ok_or(ChatReject::UnknownMessage)
}

fn check_length(text: Option<&str>, most: usize) -> Result<(), ChatReject> {
    if text.is_some_and(|text| text.len() > most) { Err(ChatReject::TooLong) } else { Ok(()) }
}

fn check_name(name: &str) -> Result<(), ChatReject> {
    let name = name.trim();
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(ChatReject::Invalid);
    }
    check_length(Some(name), MAX_NAME)
}

fn check_content(text: &str, mentions: &[AccountId], attachments: &[Attachment]) -> Result<(), ChatReject> {
    if text.trim().is_empty() && attachments.is_empty() {
        return Err(ChatReject::Empty);
    }
    check_length(Some(text), MAX_TEXT)?;
    let many = mentions.len() > MAX_MENTIONS || attachments.len() > MAX_ATTACHMENTS;
    if many { Err(ChatReject::TooMany) } else { Ok(()) }
}

/// A reaction is short and has no letters, spaces or control characters; what looks like a face is up
/// to the viewer's fonts.
fn is_emoji(text: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() && !c.is_ascii_digit() || c.is_whitespace() || c.is_control();
    !text.is_empty() && text.len() <= MAX_EMOJI && !text.is_ascii() && !text.chars().any(plain)
}
