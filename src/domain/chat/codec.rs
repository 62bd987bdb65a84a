//! Chat entries as bytes, in the same frames as all entries (see [`crate::domain::codec`]).

use super::entry::{ChatEntry, Command, FriendStep, JoinBy};
use super::ids::{ClientMessageId, InviteCode, MessageSequence, RoomId};
use super::message::Attachment;
use super::rights::{Role, RoomKind};
use crate::domain::codec::{CodecError, Coded, Reader, Writer, frame};
use crate::domain::ids::AccountId;

mod kind {
    pub(super) const CREATE: u8 = 64;
    pub(super) const CONFIGURE: u8 = 65;
    pub(super) const JOIN: u8 = 66;
    pub(super) const LEAVE: u8 = 67;
    pub(super) const ADD: u8 = 68;
    pub(super) const SET_ROLE: u8 = 69;
    pub(super) const KICK: u8 = 70;
    pub(super) const MUTE: u8 = 71;
    pub(super) const BAN: u8 = 72;
    pub(super) const INVITE: u8 = 73;
    pub(super) const REVOKE_INVITE: u8 = 74;
    pub(super) const SEND: u8 = 75;
    pub(super) const EDIT: u8 = 76;
    pub(super) const DELETE: u8 = 77;
    pub(super) const REACT: u8 = 78;
    pub(super) const READ: u8 = 79;
    pub(super) const FRIEND: u8 = 80;
    pub(super) const REPORT: u8 = 81;
    pub(super) const RESOLVE: u8 = 82;
    pub(super) const CLOSE: u8 = 83;
    pub(super) const KICK_AFTER_CLOSE: u8 = 84;
    pub(super) const BAN_AFTER_CLOSE: u8 = 85;
    pub(super) const DELETE_AFTER_CLOSE: u8 = 86;
}

fn code(entry: &ChatEntry) -> u8 {
    match &entry.command {
        Command::Kick(_) if entry.after_close => kind::KICK_AFTER_CLOSE,
        Command::Ban(..) if entry.after_close => kind::BAN_AFTER_CLOSE,
        Command::Delete(_) if entry.after_close => kind::DELETE_AFTER_CLOSE,
        Command::Create { .. } => kind::CREATE,
        Command::Configure { .. } => kind::CONFIGURE,
        Command::Join(_) => kind::JOIN,
        Command::Leave => kind::LEAVE,
        Command::Add(_) => kind::ADD,
        Command::SetRole(..) => kind::SET_ROLE,
        Command::Kick(_) => kind::KICK,
        Command::Mute(..) => kind::MUTE,
        Command::Ban(..) => kind::BAN,
        Command::Invite { .. } => kind::INVITE,
        Command::RevokeInvite(_) => kind::REVOKE_INVITE,
        Command::Send { .. } => kind::SEND,
        Command::Edit { .. } => kind::EDIT,
        Command::Delete(_) => kind::DELETE,
        Command::React { .. } => kind::REACT,
        Command::Read(_) => kind::READ,
        Command::Friend(_) => kind::FRIEND,
        Command::Report { .. } => kind::REPORT,
        Command::Resolve { .. } => kind::RESOLVE,
        Command::Close => kind::CLOSE,
    }
}

impl Coded for ChatEntry {
    fn encode(&self, out: &mut Vec<u8>) {
        frame(out, code(self), |w| {
            w.uint(self.ticket.0);
            w.uint(self.room.0);
            w.uint(u64::from(self.by.0));
            w.bool(self.warden);
            write_command(w, &self.command);
        });
    }

    fn decode_fields(kind: u8, r: &mut Reader<'_>) -> Result<Self, CodecError> {
        let (kind, after_close) = match kind {
            kind::KICK_AFTER_CLOSE => (kind::KICK, true),
            kind::BAN_AFTER_CLOSE => (kind::BAN, true),
            kind::DELETE_AFTER_CLOSE => (kind::DELETE, true),
            kind => (kind, false),
        };
        Ok(ChatEntry {
            ticket: r.ticket()?,
            room: RoomId::from_number(r.uint()?).ok_or(CodecError::BadField("room"))?,
            by: r.account()?,
            warden: r.bool()?,
            after_close,
            command: read_command(kind, r)?,
        })
    }
}

fn write_command(w: &mut Writer<'_>, command: &Command) {
    match command {
        Command::Create { kind, name, topic, description } => {
            w.byte(kind_code(*kind));
            w.text(name);
            w.text(topic);
            w.text(description);
        }
        Command::Configure { name, kind, topic, description, slow_mode_s } => {
            w.option(name.as_deref(), Writer::text);
            w.option(*kind, |w, kind| w.byte(kind_code(kind)));
            w.option(topic.as_deref(), Writer::text);
            w.option(description.as_deref(), Writer::text);
            w.option(*slow_mode_s, |w, s| w.uint(u64::from(s)));
        }
        Command::Join(JoinBy::Itself) => w.bool(false),
        Command::Join(JoinBy::Invite(code)) => {
            w.bool(true);
            w.wide(code.0);
        }
        Command::Leave | Command::Close => {}
        Command::Add(who) | Command::Kick(who) => w.uint(u64::from(who.0)),
        Command::SetRole(who, role) => {
            w.uint(u64::from(who.0));
            w.byte(role_code(*role));
        }
        Command::Mute(who, until) => {
            w.uint(u64::from(who.0));
            w.option(*until, Writer::time);
        }
        Command::Ban(who, on) => {
            w.uint(u64::from(who.0));
            w.bool(*on);
        }
        Command::Invite { code, expires_at, uses } => {
            w.wide(code.0);
            w.option(*expires_at, Writer::time);
            w.option(*uses, |w, uses| w.uint(u64::from(uses)));
        }
        Command::RevokeInvite(code) => w.wide(code.0),
        Command::Send { client_id, text, reply_to, mentions, attachments } => {
            w.option(*client_id, |w, id| w.wide(id.0));
            w.text(text);
            w.option(*reply_to, |w, to| w.uint(to.0));
            write_accounts(w, mentions);
            w.uint(attachments.len() as u64);
            for attachment in attachments {
                w.wide(attachment.upload);
                w.text(&attachment.media_type);
                w.uint(u64::from(attachment.bytes));
            }
        }
        Command::Edit { message, text, mentions } => {
            w.uint(message.0);
            w.text(text);
            write_accounts(w, mentions);
        }
        Command::Delete(message) | Command::Read(message) => w.uint(message.0),
        Command::React { message, emoji, on } => {
            w.uint(message.0);
            w.text(emoji);
            w.bool(*on);
        }
        Command::Friend(step) => w.byte(step_code(*step)),
        Command::Report { message, reason } => {
            w.uint(message.0);
            w.text(reason);
        }
        Command::Resolve { report, note } => {
            w.uint(*report);
            w.text(note);
        }
    }
}

fn read_command(code: u8, r: &mut Reader<'_>) -> Result<Command, CodecError> {
    Ok(match code {
        kind::CREATE => {
            Command::Create { kind: read_kind(r)?, name: r.text()?, topic: r.text()?, description: r.text()? }
        }
        kind::CONFIGURE => Command::Configure {
            name: r.option(Reader::text)?,
            kind: r.option(read_kind)?,
            topic: r.option(Reader::text)?,
            description: r.option(Reader::text)?,
            slow_mode_s: r.option(|r| r.small("slow mode"))?,
        },
        kind::JOIN if r.bool()? => Command::Join(JoinBy::Invite(InviteCode(r.wide()?))),
        kind::JOIN => Command::Join(JoinBy::Itself),
        kind::LEAVE => Command::Leave,
        kind::ADD => Command::Add(r.account()?),
        kind::SET_ROLE => Command::SetRole(r.account()?, read_role(r)?),
        kind::KICK => Command::Kick(r.account()?),
        kind::MUTE => Command::Mute(r.account()?, r.option(Reader::time)?),
        kind::BAN => Command::Ban(r.account()?, r.bool()?),
        kind::INVITE => Command::Invite {
            code: InviteCode(r.wide()?),
            expires_at: r.option(Reader::time)?,
            uses: r.option(|r| r.small("uses"))?,
        },
        kind::REVOKE_INVITE => Command::RevokeInvite(InviteCode(r.wide()?)),
        kind::SEND => Command::Send {
            client_id: r.option(|r| r.wide().map(ClientMessageId))?,
            text: r.text()?,
            reply_to: r.option(read_message)?,
            mentions: read_accounts(r)?,
            attachments: read_attachments(r)?,
        },
        kind::EDIT => Command::Edit { message: read_message(r)?, text: r.text()?, mentions: read_accounts(r)? },
        kind::DELETE => Command::Delete(read_message(r)?),
        kind::REACT => Command::React { message: read_message(r)?, emoji: r.text()?, on: r.bool()? },
        kind::READ => Command::Read(read_message(r)?),
        kind::FRIEND => Command::Friend(read_step(r)?),
        kind::REPORT => Command::Report { message: read_message(r)?, reason: r.text()? },
        kind::RESOLVE => Command::Resolve { report: r.uint()?, note: r.text()? },
        kind::CLOSE => Command::Close,
        other => return Err(CodecError::UnknownKind(other)),
    })
}

fn write_accounts(w: &mut Writer<'_>, accounts: &[AccountId]) {
    w.uint(accounts.len() as u64);
    for account in accounts {
        w.uint(u64::from(account.0));
    }
}

fn read_accounts(r: &mut Reader<'_>) -> Result<Vec<AccountId>, CodecError> {
    let count: u16 = r.small("count")?;
    (0..count).map(|_| r.account()).collect()
}

fn read_attachments(r: &mut Reader<'_>) -> Result<Vec<Attachment>, CodecError> {
    let count: u16 = r.small("count")?;
    let mut attachments = Vec::new();
    for _ in 0..count {
        attachments.push(Attachment { upload: r.wide()?, media_type: r.text()?, bytes: r.small("size")? });
    }
    Ok(attachments)
}

fn read_message(r: &mut Reader<'_>) -> Result<MessageSequence, CodecError> {
    r.uint().map(MessageSequence)
}

fn kind_code(kind: RoomKind) -> u8 {
    match kind {
        RoomKind::Public => 0,
        RoomKind::Private => 1,
        RoomKind::Direct => 2,
    }
}

fn read_kind(r: &mut Reader<'_>) -> Result<RoomKind, CodecError> {
    let code = r.byte()?;
    RoomKind::ALL.into_iter().find(|kind| kind_code(*kind) == code).ok_or(CodecError::BadField("room kind"))
}

fn role_code(role: Role) -> u8 {
    match role {
        Role::Member => 0,
        Role::Moderator => 1,
        Role::Owner => 2,
    }
}

fn read_role(r: &mut Reader<'_>) -> Result<Role, CodecError> {
    let code = r.byte()?;
    Role::ALL.into_iter().find(|role| role_code(*role) == code).ok_or(CodecError::BadField("role"))
}

const STEPS: [FriendStep; 6] = [
    FriendStep::Ask,
    FriendStep::Accept,
    FriendStep::Decline,
    FriendStep::Remove,
    FriendStep::Block,
    FriendStep::Unblock,
];

fn step_code(step: FriendStep) -> u8 {
    match step {
        FriendStep::Ask => 0,
        FriendStep::Accept => 1,
        FriendStep::Decline => 2,
        FriendStep::Remove => 3,
        FriendStep::Block => 4,
        FriendStep::Unblock => 5,
    }
}

fn read_step(r: &mut Reader<'_>) -> Result<FriendStep, CodecError> {
    let code = r.byte()?;
    STEPS.get(usize::from(code)).copied().ok_or(CodecError::BadField("friend step"))
}
