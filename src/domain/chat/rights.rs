//! Who may do what in a room: one table.

use serde::{Deserialize, Serialize};

/// What kind of room it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoomKind {
    /// Anybody may find and join it.
    Public,
    /// Joined by invitation only.
    Private,
    /// Two users.
    Direct,
}

/// What a member is in a room; each may all that those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads and writes.
    Member,
    /// Keeps order.
    Moderator,
    /// Decides about the room.
    Owner,
}

impl Role {
    /// All of them, in order.
    pub const ALL: [Role; 3] = [Role::Member, Role::Moderator, Role::Owner];

    /// The role's name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Role::Member => "member",
            Role::Moderator => "moderator",
            Role::Owner => "owner",
        }
    }

    /// The role of this name.
    pub fn from_name(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.name() == name)
    }
}

impl RoomKind {
    /// All of them.
    pub const ALL: [RoomKind; 3] = [RoomKind::Public, RoomKind::Private, RoomKind::Direct];

    /// The kind's name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            RoomKind::Public => "public",
            RoomKind::Private => "private",
            RoomKind::Direct => "direct",
        }
    }

    /// The kind of this name.
    pub fn from_name(name: &str) -> Option<RoomKind> {
        RoomKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// How somebody stands to a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// Not a member, and must not become one.
    Banned,
    /// Not a member.
    Outsider,
    /// A member.
    Member(Role),
    /// Keeps order on the whole platform and is not a member.
    Warden,
    /// The venue itself: system messages and the rooms of markets.
    Venue,
}

impl Standing {
    /// All of them.
    pub const ALL: [Standing; 7] = [
        Standing::Banned,
        Standing::Outsider,
        Standing::Member(Role::Member),
        Standing::Member(Role::Moderator),
        Standing::Member(Role::Owner),
        Standing::Warden,
        Standing::Venue,
    ];

    /// Who is above whom: only those of a lower rank can be muted, kicked or banned.
    pub fn rank(self) -> u8 {
        match self {
            Standing::Banned | Standing::Outsider => 0,
            Standing::Member(Role::Member) => 1,
            Standing::Member(Role::Moderator) => 2,
            Standing::Member(Role::Owner) => 3,
            Standing::Warden => 4,
            Standing::Venue => 5,
        }
    }
}

/// What somebody wants to do in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Read messages, members and topic; search; mark as read.
    Read,
    /// Send messages and show that one types.
    Send,
    /// React to a message.
    React,
    /// Edit an own message.
    EditOwn,
    /// Delete an own message.
    DeleteOwn,
    /// Delete somebody else's message.
    DeleteOther,
    /// Report a message.
    Report,
    /// Become a member without an invitation.
    Join,
    /// Become a member with an invitation.
    JoinInvited,
    /// Stop to be a member.
    Leave,
    /// Make invitations, take them back, add members.
    Invite,
    /// Set topic and description.
    SetTopic,
    /// Set name, kind and slow mode.
    Configure,
    /// Change roles.
    SetRole,
    /// Remove a member; it may come back.
    Kick,
    /// Keep a member from writing for a while.
    Mute,
    /// Keep somebody out.
    Ban,
    /// Close the room for good.
    Close,
    /// Deal with reports.
    Resolve,
    /// Write as the venue.
    Announce,
}

impl Action {
    /// All of them.
    pub const ALL: [Action; 20] = [
        Action::Read,
        Action::Send,
        Action::React,
        Action::EditOwn,
        Action::DeleteOwn,
        Action::DeleteOther,
        Action::Report,
        Action::Join,
        Action::JoinInvited,
        Action::Leave,
        Action::Invite,
        Action::SetTopic,
        Action::Configure,
        Action::SetRole,
        Action::Kick,
        Action::Mute,
        Action::Ban,
        Action::Close,
        Action::Resolve,
        Action::Announce,
    ];
}

/// Whether somebody of this standing may do this in a room of this kind. Mutes, slow mode, ranks and
/// blocks come on top of it.
pub fn may(kind: RoomKind, standing: Standing, action: Action) -> bool {
    use Action as A;
    match (kind, standing) {
        (_, Standing::Banned) => false,
        // Direct rooms belong to two people; whoever is not one of them has no business there.
        (RoomKind::Direct, Standing::Member(_)) => {
            matches!(action, A::Read | A::Send | A::React | A::EditOwn | A::DeleteOwn | A::Report)
        }
        // A report of a direct message is dealt with by those who keep order, as is the message.
        (RoomKind::Direct, Standing::Warden) => matches!(action, A::Resolve | A::DeleteOther),
        (RoomKind::Direct, Standing::Outsider | Standing::Venue) => false,
        (RoomKind::Public, Standing::Outsider) => matches!(action, A::Join | A::JoinInvited),
        (RoomKind::Private, Standing::Outsider) => matches!(action, A::JoinInvited),
        (_, Standing::Member(role)) => match action {
            A::Read | A::Send | A::React | A::EditOwn | A::DeleteOwn | A::Report | A::Leave => true,
            A::Invite => kind == RoomKind::Public || role >= Role::Moderator,
            A::DeleteOther | A::SetTopic | A::Kick | A::Mute | A::Ban | A::Resolve => role >= Role::Moderator,
            A::Configure | A::SetRole | A::Close => role == Role::Owner,
            A::Join | A::JoinInvited | A::Announce => false,
        },
        (RoomKind::Public, Standing::Warden) => matches!(
            action,
            A::Join
                | A::JoinInvited
                | A::Read
                | A::DeleteOther
                | A::SetTopic
                | A::Configure
                | A::Kick
                | A::Mute
                | A::Ban
                | A::Close
                | A::Resolve
        ),
        (RoomKind::Private, Standing::Warden) => {
            matches!(action, A::JoinInvited | A::DeleteOther | A::Kick | A::Mute | A::Ban | A::Close | A::Resolve)
        }
        (RoomKind::Public | RoomKind::Private, Standing::Venue) => {
            matches!(action, A::Announce | A::SetTopic | A::Configure)
        }
    }
}
