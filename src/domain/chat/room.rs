//! A room: its members, its newest messages in brief, and the one function that changes it.

use super::entry::{ChatEntry, Command, FriendStep};
use super::ids::{ClientMessageId, InviteCode, MessageSequence, RoomId};
use super::message::{Message, MessageKind};
use super::reject::ChatReject;
use super::rights::{Role, RoomKind, Standing};
use super::{Action, MAX_BANS, REMEMBERED, rights};
use crate::domain::ids::{AccountId, Sequence};
use crate::domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// One member of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// What it may do.
    pub role: Role,
    /// Since when it is a member.
    pub joined_at: Timestamp,
    /// The newest message that it has read.
    pub read_to: MessageSequence,
    /// Until when it may not write.
    pub muted_until: Option<Timestamp>,
    /// When it wrote last, known while the room is slow.
    pub last_sent: Option<Timestamp>,
}

/// An invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invite {
    /// Who made it.
    pub by: AccountId,
    /// When it runs out.
    pub expires_at: Option<Timestamp>,
    /// How often it may still be used.
    pub uses: Option<u32>,
}

/// What keeps somebody from writing who is not in the room at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restraint {
    /// Until when it may not write.
    pub muted_until: Option<Timestamp>,
    /// When it wrote last, known while the room is slow.
    pub last_sent: Option<Timestamp>,
}

/// How the two users of a direct room stand to each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relation {
    /// Who has asked and waits.
    pub asked_by: Option<AccountId>,
    /// Since when they are friends.
    pub friends_since: Option<Timestamp>,
    /// Who of them blocks the other.
    pub blocked_by: BTreeSet<AccountId>,
}

/// What a room is apart from its members and messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomState {
    /// What kind of room.
    pub kind: RoomKind,
    /// Its name; empty for direct rooms.
    pub name: String,
    /// What it is about.
    pub topic: String,
    /// The same at length.
    pub description: String,
    /// When it was made; `None` as long as it was not.
    pub created_at: Option<Timestamp>,
    /// Closed for good.
    pub closed: bool,
    /// Seconds between two messages of one member.
    pub slow_mode_s: u32,
    /// Who is kept out, and since when.
    pub bans: BTreeMap<AccountId, Timestamp>,
    /// Invitations that are open.
    pub invites: BTreeMap<InviteCode, Invite>,
    /// Between the two of a direct room.
    pub relation: Relation,
    /// Reports so far.
    pub reports: u64,
    /// Reports that nobody has dealt with.
    pub open_reports: BTreeSet<u64>,
    /// Of those who left or were removed while something kept them from writing: it must not end by coming again.
    /// Rooms that older versions stored have none.
    #[serde(default)]
    pub set_aside: BTreeMap<AccountId, Restraint>,
}

/// One of the newest messages, in brief.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brief {
    /// Who wrote it.
    pub author: AccountId,
    /// The author's own id of it.
    pub client_id: Option<ClientMessageId>,
    /// Whether its content is gone.
    pub deleted: bool,
}

/// How many messages a member has not read: not its own, not deleted, after its read marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unread {
    /// Among the messages that the room remembers.
    pub counted: u64,
    /// Messages after the first and up to the second were not looked at, because they are older.
    pub before: Option<(MessageSequence, MessageSequence)>,
}

/// A room. See the module's documentation.
#[derive(Clone, Debug)]
pub struct Room {
    /// Its name.
    pub id: RoomId,
    /// What it is.
    pub state: RoomState,
    /// Who is in it.
    pub members: BTreeMap<AccountId, Member>,
    /// Its newest message.
    pub last: MessageSequence,
    /// The newest messages in brief; the last of them is `last`.
    briefs: VecDeque<Brief>,
    /// Looked up only, never walked through. Keys come from clients, so its hash is keyed.
    client_ids: HashMap<(AccountId, ClientMessageId), MessageSequence>,
}

/// What an entry did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The room was made.
    Created,
    /// Name, kind, topic, description or slow mode changed.
    Configured,
    /// Somebody is a member now.
    Joined(AccountId),
    /// A member left.
    Left(AccountId),
    /// A member was removed.
    Kicked(AccountId),
    /// Somebody is kept out.
    Banned(AccountId),
    /// Somebody may come again.
    Unbanned(AccountId),
    /// A member has another role; when it is the owner, whoever gave it is a moderator now.
    RoleSet(AccountId, Role),
    /// A member may not write until then; `None`: may again.
    Muted(AccountId, Option<Timestamp>),
    /// An invitation was made.
    Invited(InviteCode),
    /// An invitation was taken back.
    InviteRevoked(InviteCode),
    /// A message was written.
    Sent(Box<Message>),
    /// The message was written before.
    Repeated(MessageSequence),
    /// A message's text changed.
    Edited(MessageSequence),
    /// A message's content is gone.
    Deleted(MessageSequence),
    /// A reaction was added or taken away.
    Reacted(MessageSequence),
    /// A member's read marker moved.
    Read(AccountId, MessageSequence),
    /// The relation of a direct room's two changed.
    Related,
    /// A message was reported, under this number.
    Reported(u64),
    /// A report was dealt with.
    Resolved(u64),
    /// The room was closed.
    Closed,
    /// It was so already.
    Unchanged,
}

impl Room {
    /// The room of this name before it was made.
    pub fn blank(id: RoomId) -> Room {
        let kind = if id.pair().is_some() { RoomKind::Direct } else { RoomKind::Private };
        let state = RoomState {
            kind,
            name: String::new(),
            topic: String::new(),
            description: String::new(),
            created_at: None,
            closed: false,
            slow_mode_s: 0,
            bans: BTreeMap::new(),
            invites: BTreeMap::new(),
            relation: Relation::default(),
            reports: 0,
            open_reports: BTreeSet::new(),
            set_aside: BTreeMap::new(),
        };
        Room::restore(id, state, BTreeMap::new(), MessageSequence(0), [])
    }

    /// A room as it was stored. `newest` are the newest messages in brief, oldest first: all that
    /// there are, or at least [`REMEMBERED`].
    pub fn restore(
        id: RoomId,
        state: RoomState,
        members: BTreeMap<AccountId, Member>,
        last: MessageSequence,
        newest: impl IntoIterator<Item = Brief>,
    ) -> Room {
        let mut room =
            Room { id, state, members, last: MessageSequence(0), briefs: VecDeque::new(), client_ids: HashMap::new() };
        let newest: Vec<Brief> = newest.into_iter().collect();
        let before = last.0.saturating_sub(newest.len() as u64);
        for (brief, sequence) in newest.into_iter().zip(before + 1..) {
            room.last = MessageSequence(sequence);
            room.remember(brief);
        }
        room.last = last;
        room
    }

    /// Whether it was made.
    pub fn exists(&self) -> bool {
        self.state.created_at.is_some()
    }

    /// How somebody stands to the room, a warden's office left aside.
    pub fn standing(&self, who: AccountId) -> Standing {
        if who == AccountId::HOUSE {
            return Standing::Venue;
        }
        if self.state.kind == RoomKind::Direct {
            let inside = self.id.other(who).is_some();
            return if inside { Standing::Member(Role::Member) } else { Standing::Outsider };
        }
        match self.members.get(&who) {
            Some(member) => Standing::Member(member.role),
            None if self.state.bans.contains_key(&who) => Standing::Banned,
            None => Standing::Outsider,
        }
    }

    /// Whether somebody's role allows an action here.
    pub fn allows(&self, who: AccountId, warden: bool, action: Action) -> bool {
        rights::may(self.state.kind, self.standing(who), action)
            || (warden && rights::may(self.state.kind, Standing::Warden, action))
    }

    /// The rank of somebody.
    pub(super) fn rank(&self, who: AccountId, warden: bool) -> u8 {
        let rank = self.standing(who).rank();
        if warden { rank.max(Standing::Warden.rank()) } else { rank }
    }

    /// The message behind a client id, if it is among the newest.
    pub fn sent_as(&self, author: AccountId, id: ClientMessageId) -> Option<MessageSequence> {
        self.client_ids.get(&(author, id)).copied()
    }

    /// The first message that is remembered; the one after the last when none is.
    pub fn remembered_from(&self) -> MessageSequence {
        MessageSequence(self.last.0 + 1 - self.briefs.len() as u64)
    }

    /// How many messages somebody has not read; `None` for those who are no members.
    pub fn unread(&self, who: AccountId) -> Option<Unread> {
        let marker = self.members.get(&who)?.read_to;
        let first = self.remembered_from();
        let skipped = marker.0.saturating_sub(first.0 - 1);
        let newest = self.briefs.iter().skip(usize::try_from(skipped).unwrap_or(usize::MAX));
        let counted = newest.filter(|brief| !brief.deleted && brief.author != who).count() as u64;
        let before = (marker.0 + 1 < first.0).then(|| (marker, MessageSequence(first.0 - 1)));
        Some(Unread { counted, before })
    }

    /// Applies an entry that was committed as `sequence` of its stream. `subject` is the message that
    /// the entry is about, if the room has it. One that was read later than the room contains already
    /// what the entry did; then it stays as it is.
    ///
    /// # Errors
    /// [`ChatReject`] when a rule says no; nothing has changed then.
    pub fn apply(
        &mut self,
        sequence: Sequence,
        at: Timestamp,
        entry: &ChatEntry,
        mut subject: Option<&mut Message>,
    ) -> Result<Effect, ChatReject> {
        if let Some(message) = subject.as_deref().filter(|message| message.changed >= sequence) {
            return self.catch_up(sequence, at, entry, message);
        }
        if let Some(done) = self.check(at, entry, subject.as_deref())? {
            return Ok(done);
        }
        if let Some(message) = &mut subject {
            message.changed = sequence;
        }
        let by = entry.by;
        Ok(match &entry.command {
            Command::Create { kind, name, topic, description } => {
                self.make(at);
                self.state.kind = *kind;
                self.state.name = name.trim().to_owned();
                (self.state.topic, self.state.description) = (topic.clone(), description.clone());
                if by != AccountId::HOUSE {
                    self.enter(by, Role::Owner, at);
                }
                Effect::Created
            }
            Command::Configure { name, kind, topic, description, slow_mode_s } => {
                let state = &mut self.state;
                if let Some(name) = name {
                    state.name = name.trim().to_owned();
                }
                state.kind = kind.unwrap_or(state.kind);
                if let Some(topic) = topic {
                    state.topic.clone_from(topic);
                }
                if let Some(description) = description {
                    state.description.clone_from(description);
                }
                state.slow_mode_s = slow_mode_s.unwrap_or(state.slow_mode_s);
                Effect::Configured
            }
            Command::Join(join) => {
                if let super::JoinBy::Invite(code) = join {
                    self.use_invite(*code);
                }
                self.enter(by, Role::Member, at);
                Effect::Joined(by)
            }
            Command::Add(who) => {
                self.enter(*who, Role::Member, at);
                Effect::Joined(*who)
            }
            Command::Leave => {
                self.set_aside(by, at);
                Effect::Left(by)
            }
            Command::SetRole(who, role) => {
                if *role == Role::Owner {
                    self.change(by, |member| member.role = Role::Moderator);
                }
                self.change(*who, |member| member.role = *role);
                Effect::RoleSet(*who, *role)
            }
            Command::Kick(who) => {
                self.set_aside(*who, at);
                Effect::Kicked(*who)
            }
            Command::Mute(who, until) => {
                self.change(*who, |member| member.muted_until = *until);
                Effect::Muted(*who, *until)
            }
            Command::Ban(who, true) => {
                // What keeps it from writing was set aside by the kick before it, see `prelude`.
                self.members.remove(who);
                self.state.bans.insert(*who, at);
                Effect::Banned(*who)
            }
            Command::Ban(who, false) => {
                self.state.bans.remove(who);
                Effect::Unbanned(*who)
            }
            Command::Invite { code, expires_at, uses } => {
                // Those that have run out make room.
                self.state.invites.retain(|_, invite| invite.expires_at.is_none_or(|end| end > at));
                self.state.invites.insert(*code, Invite { by, expires_at: *expires_at, uses: *uses });
                Effect::Invited(*code)
            }
            Command::RevokeInvite(code) => {
                self.state.invites.remove(code);
                Effect::InviteRevoked(*code)
            }
            Command::Send { client_id, text, reply_to, mentions, attachments } => {
                self.last = self.last.next();
                self.remember(Brief { author: by, client_id: *client_id, deleted: false });
                if self.state.slow_mode_s > 0 {
                    self.change(by, |member| member.last_sent = Some(at));
                }
                let venue = by == AccountId::HOUSE;
                Effect::Sent(Box::new(Message {
                    sequence: self.last,
                    author: by,
                    client_id: *client_id,
                    kind: if venue { MessageKind::System } else { MessageKind::Text },
                    at,
                    text: text.clone(),
                    reply_to: *reply_to,
                    mentions: self.only_members(mentions),
                    attachments: attachments.clone(),
                    edited_at: None,
                    deleted: None,
                    reactions: BTreeMap::new(),
                    changed: sequence,
                }))
            }
            Command::Edit { message, text, mentions } => {
                let mentions = self.only_members(mentions);
                if let Some(subject) = subject {
                    subject.text.clone_from(text);
                    subject.mentions = mentions;
                    subject.edited_at = Some(at);
                }
                Effect::Edited(*message)
            }
            Command::Delete(message) => {
                if let Some(subject) = subject {
                    subject.delete(at, by);
                }
                self.note_deleted(*message);
                Effect::Deleted(*message)
            }
            Command::React { message, emoji, on } => {
                if let Some(subject) = subject {
                    subject.react(by, emoji, *on);
                }
                Effect::Reacted(*message)
            }
            Command::Read(message) => {
                self.change(by, |member| member.read_to = *message);
                Effect::Read(by, *message)
            }
            Command::Friend(step) => {
                self.relate(by, *step, at);
                Effect::Related
            }
            Command::Report { .. } => {
                self.state.reports += 1;
                self.state.open_reports.insert(self.state.reports);
                Effect::Reported(self.state.reports)
            }
            Command::Resolve { report, .. } => {
                self.state.open_reports.remove(report);
                Effect::Resolved(*report)
            }
            Command::Close => {
                self.state.closed = true;
                self.state.invites.clear();
                Effect::Closed
            }
        })
    }

    /// Does to the room what an entry does whose message is as the entry, or one after it, left it.
    fn catch_up(
        &mut self,
        sequence: Sequence,
        at: Timestamp,
        entry: &ChatEntry,
        subject: &Message,
    ) -> Result<Effect, ChatReject> {
        if let Command::Edit { message, .. } = &entry.command {
            return Ok(Effect::Edited(*message));
        }
        if let Command::React { message, .. } = &entry.command {
            return Ok(Effect::Reacted(*message));
        }
        if let Command::Delete(message) = &entry.command {
            if subject.is_deleted() {
                self.note_deleted(*message);
            }
            return Ok(Effect::Deleted(*message));
        }
        // A report changes the room alone. Its message may have been deleted since.
        let deleted = subject.deleted.filter(|(gone_at, _)| *gone_at <= at);
        let mut before = Message { deleted, changed: Sequence(0), ..subject.clone() };
        self.apply(sequence, at, entry, Some(&mut before))
    }

    fn note_deleted(&mut self, message: MessageSequence) {
        let first = self.remembered_from();
        let index = message.0.checked_sub(first.0).and_then(|index| usize::try_from(index).ok());
        if let Some(brief) = index.and_then(|index| self.briefs.get_mut(index)) {
            brief.deleted = true;
        }
    }

    fn make(&mut self, at: Timestamp) {
        self.state.created_at = Some(at);
        if let Some((low, high)) = self.id.pair() {
            self.enter(low, Role::Member, at);
            self.enter(high, Role::Member, at);
        }
    }

    /// What was said before somebody came counts as read.
    fn enter(&mut self, who: AccountId, role: Role, at: Timestamp) {
        let kept = self.state.set_aside.remove(&who);
        let muted_until = kept.and_then(|kept| kept.muted_until).filter(|until| *until > at);
        let last_sent = kept.and_then(|kept| kept.last_sent);
        self.members.insert(who, Member { role, joined_at: at, read_to: self.last, muted_until, last_sent });
    }

    /// Takes a member out, and keeps what keeps it from writing.
    fn set_aside(&mut self, who: AccountId, at: Timestamp) {
        let Some(Member { muted_until, last_sent, .. }) = self.members.remove(&who) else { return };
        let kept = Restraint { muted_until, last_sent };
        // What has run out makes room.
        let mut set_aside = std::mem::take(&mut self.state.set_aside);
        set_aside.retain(|_, kept| self.restrains(*kept, at));
        if set_aside.len() < MAX_BANS && self.restrains(kept, at) {
            set_aside.insert(who, kept);
        }
        self.state.set_aside = set_aside;
    }

    fn change(&mut self, who: AccountId, change: impl FnOnce(&mut Member)) {
        if let Some(member) = self.members.get_mut(&who) {
            change(member);
        }
    }

    fn use_invite(&mut self, code: InviteCode) {
        let Some(invite) = self.state.invites.get_mut(&code) else { return };
        invite.uses = invite.uses.map(|uses| uses.saturating_sub(1));
        if invite.uses == Some(0) {
            self.state.invites.remove(&code);
        }
    }

    fn only_members(&self, mentions: &[AccountId]) -> Vec<AccountId> {
        let mut members: Vec<_> = mentions.iter().filter(|who| self.members.contains_key(who)).copied().collect();
        members.sort_unstable();
        members.dedup();
        members
    }

    fn relate(&mut self, by: AccountId, step: FriendStep, at: Timestamp) {
        if !self.exists() {
            self.make(at);
        }
        let relation = &mut self.state.relation;
        match step {
            FriendStep::Ask if relation.asked_by.is_none() => relation.asked_by = Some(by),
            FriendStep::Ask | FriendStep::Accept => {
                relation.asked_by = None;
                relation.friends_since = Some(at);
            }
            FriendStep::Decline => relation.asked_by = None,
            FriendStep::Remove => relation.friends_since = None,
            FriendStep::Block => {
                // Whoever blocks ends the friendship too, so that letting in again is a new decision.
                relation.blocked_by.insert(by);
                relation.asked_by = None;
                relation.friends_since = None;
            }
            FriendStep::Unblock => drop(relation.blocked_by.remove(&by)),
        }
    }

    fn remember(&mut self, brief: Brief) {
        if let Some(id) = brief.client_id {
            self.client_ids.insert((brief.author, id), self.last);
        }
        self.briefs.push_back(brief);
        if self.briefs.len() > REMEMBERED
            && let Some(Brief { author, client_id: Some(id), .. }) = self.briefs.pop_front()
        {
            self.client_ids.remove(&(author, id));
        }
    }
}
