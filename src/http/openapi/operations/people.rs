//! The routes around trading: sign-in, keys, notifications, chat, administration.

use super::{AFTER, BEFORE, LIMIT, Operation, TEXT, delete, get, list, optional, post, put, socket};

const fn patch(
    pattern: &'static str,
    summary: &'static str,
    body: &'static str,
    example: &'static str,
    answer: &'static str,
) -> Operation {
    Operation { method: "PATCH", ..post(pattern, summary, body, example, answer) }
}

/// The same with 201, for what was made.
const fn making(operation: Operation) -> Operation {
    Operation { statuses: &["201"], ..operation }
}

/// The same with another status of success.
const fn with(status: &'static [&'static str], operation: Operation) -> Operation {
    Operation { statuses: status, ..operation }
}

/// What pictures may be.
const PICTURES: &[&str] = &["image/png", "image/jpeg", "image/gif", "image/webp"];
/// What a form sends; its fields are those of the schema.
pub(in crate::http::openapi) const FORM: &str = "application/x-www-form-urlencoded";
const NUMBER: &str = r#"{"type": "integer"}"#;
const FLAG: &str = r#"{"type": "boolean"}"#;
const AROUND: (&str, &str, &str) = ("around", NUMBER, "The messages around this sequence.");
const BEFORE_MESSAGE: (&str, &str, &str) = ("before", NUMBER, "Only messages before this sequence.");
const AFTER_MESSAGE: (&str, &str, &str) = ("after", NUMBER, "Only messages after this sequence.");
const WORDS: (&str, &str, &str) = ("q", TEXT, "Words, or how they begin.");
/// Pages of chat are smaller than others.
const CHAT_LIMIT: (&str, &str, &str) = (
    "limit",
    r#"{"type": "integer", "minimum": 1, "maximum": 65535, "default": 50}"#,
    "Items at most; above 200 is 200.",
);
const ROOM: &str = r#"{"kind": "public", "name": "Lounge", "topic": "Anything"}"#;

/// Every route that is described here.
pub(in crate::http::openapi) const PEOPLE: &[Operation] = &[
    // Sign-in.
    post("/auth/sign-up", "Make an account", "Credentials", super::CREDENTIALS, "Session"),
    post("/auth/sign-in", "Sign in", "Credentials", super::CREDENTIALS, "Session"),
    optional(post(
        "/auth/refresh",
        "The next pair of tokens; each refresh token counts once. Without a body that of the cookie",
        "RefreshToken",
        r#"{"refresh_token": "…"}"#,
        "Session",
    )),
    post("/auth/sign-out", "End this session", "", "", "Empty"),
    post("/auth/sign-out-all", "End all sessions of the caller", "", "", "Empty"),
    get("/auth/sessions", "Where the caller is signed in", "SessionView[]"),
    delete("/auth/sessions/{id}", "End one of the caller's sessions", "Empty"),
    get("/auth/me", "Who the caller is, and whether the address is confirmed", "User"),
    Operation {
        takes: PICTURES,
        ..put("/auth/me/photo", "A picture of the caller: the file is the body", "", "", "User")
    },
    Operation { gives: PICTURES, ..get("/photos/{id}", "A picture of somebody", "") },
    put("/auth/me", "Change name and picture", "ProfileChange", r#"{"name": "Ada"}"#, "User"),
    post(
        "/auth/password",
        "Another password; the other sessions end",
        "PasswordChange",
        r#"{"old_password": "a good long one", "new_password": "an even longer one"}"#,
        "EndedSessions",
    ),
    post(
        "/auth/password/forgot",
        "Mail a code for a new password, if anybody has this address",
        "EmailAddress",
        r#"{"email": "ada@example.org"}"#,
        "Empty",
    ),
    post(
        "/auth/password/reset",
        "A new password with the code that was mailed; all sessions end",
        "PasswordReset",
        r#"{"email": "ada@example.org", "code": "123456789", "new_password": "an even longer one"}"#,
        "Empty",
    ),
    post(
        "/auth/email",
        "Mail a code to another address, with the password where mail reaches the present one; or to that, to confirm it",
        "NewAddress",
        r#"{"email": "ada@example.net", "password": "a good long one"}"#,
        "Empty",
    ),
    post(
        "/auth/email/confirm",
        "The address counts and is confirmed from now on, by the code that was mailed",
        "AddressCode",
        r#"{"email": "ada@example.net", "code": "123456789"}"#,
        "User",
    ),
    Operation {
        takes: &[FORM],
        ..post(
            "/auth/introspect",
            "Whether a token counts (RFC 7662)",
            "Token",
            r#"{"token": "eyJ…"}"#,
            "Introspection",
        )
    },
    get("/auth/jwks.json", "The public keys of access tokens", "KeySet"),
    get("/auth/totp", "Whether there is a second factor", "SecondFactor"),
    post("/auth/totp", "Begin a second factor: its seed", "", "", "SecondFactorSeed"),
    post("/auth/totp/confirm", "Turn it on with a first code", "Code", r#"{"code": "123456"}"#, "RecoveryCodes"),
    Operation {
        body: "SecondFactorEnd",
        example: r#"{"password": "a good long one", "code": "123456"}"#,
        ..delete("/auth/totp", "Turn the second factor off", "Empty")
    },
    get("/auth/providers", "Other places to sign in through", "Provider[]"),
    Operation {
        query: &[("back", TEXT, "Where in the web app to go afterwards.")],
        statuses: &["302"],
        ..get("/auth/oidc/{provider}/start", "Go to a provider to sign in", "")
    },
    Operation {
        query: &[("code", TEXT, "From the provider."), ("state", TEXT, "From the start.")],
        statuses: &["302"],
        ..get("/auth/oidc/{provider}/callback", "Come back from a provider", "")
    },
    post(
        "/auth/oidc/{provider}/token",
        "Sign in with an id token that an app has",
        "IdToken",
        r#"{"id_token": "eyJ…"}"#,
        "Session",
    ),
    post(
        "/auth/second-factor",
        "The second factor after a provider",
        "TicketAndCode",
        r#"{"ticket": "…", "totp": "123456"}"#,
        "Session",
    ),
    get("/auth/identities", "Identities elsewhere that the caller has linked", "Identity[]"),
    optional(post(
        "/auth/identities/{provider}",
        "Begin to link one: where to go",
        "WayBack",
        r#"{"back": "/account"}"#,
        "Departure",
    )),
    delete("/auth/identities/{provider}", "Unlink one", "Empty"),
    // Keys.
    get("/auth/keys", "The caller's API keys, without their secrets", "ApiKey[]"),
    post(
        "/auth/keys",
        "Make an API key; its secret is shown this once",
        "NewKey",
        r#"{"passphrase": "open sesame", "permissions": ["view", "trade"], "label": "bot"}"#,
        "NewApiKey",
    ),
    delete("/auth/keys/{id}", "Revoke a key, from now on", "Empty"),
    // Notifications.
    get("/notice", "What the venue tells everybody: a line, and whether it gives play money", "Notice"),
    get("/notifications/outlets", "Where the caller is told of what", "Outlet[]"),
    put(
        "/notifications/outlets/{outlet}",
        "Be told by email, line or webhook; a webhook's secret is in the answer",
        "NewOutlet",
        r#"{"events": ["fill", "security"], "url": "https://example.org/hook"}"#,
        "Outlet",
    ),
    delete("/notifications/outlets/{outlet}", "Be told there no more", "Empty"),
    get("/notifications/alerts", "Prices that the caller waits for", "Alert[]"),
    post(
        "/notifications/alerts",
        "Be told once when a trade is at or beyond a price",
        "NewAlert",
        r#"{"product_id": "BTC-USDT", "direction": "above", "price": "70000"}"#,
        "Empty",
    ),
    delete("/notifications/alerts/{id}", "Wait for it no more", "Empty"),
    get("/notifications/failed", "What could not be delivered", "Undelivered[]"),
    post("/notifications/failed/{id}/retry", "Try to deliver it once more", "", "", "Empty"),
    post("/line/webhook", "For LINE: what somebody wrote to the venue", "LineEvents", r#"{"events": []}"#, "Empty"),
    // Chat.
    socket("/chat/ws", "The WebSocket of chat"),
    get("/chat/me", "Name and visibility in chat", "ChatSelf"),
    put("/chat/me", "Change them", "ChatProfile", r#"{"nick": "ada", "visible_to": "everyone"}"#, "ChatSelf"),
    list("/chat/people", "Names and whereabouts", "Person[]", &[("*users", TEXT, "Ids, separated by commas.")]),
    get("/chat/friends", "Friends, and who asks to be one", "Friends"),
    post(
        "/chat/friends",
        "Ask, accept, decline, remove, block, unblock",
        "Friendship",
        r#"{"nick": "bob", "step": "ask"}"#,
        "Friend",
    ),
    list(
        "/chat/search",
        "Words in the caller's rooms, newest first",
        "FoundMessages",
        &[
            ("*q", TEXT, "Words, or how they begin."),
            ("room", TEXT, "Only this room."),
            ("before", TEXT, "The `next` of the page before."),
            CHAT_LIMIT,
        ],
    ),
    list(
        "/chat/messages",
        "The newest of all own rooms together",
        "FoundMessages",
        &[("before", TEXT, "Only older ones."), CHAT_LIMIT],
    ),
    get("/chat/rooms", "The caller's rooms with what is unread", "OwnRoom[]"),
    with(
        &["200", "201"],
        post("/chat/rooms", "Open a room; a repeat with the same id makes no second one", "NewRoom", ROOM, "Room"),
    ),
    list(
        "/chat/rooms/public",
        "Public rooms, the largest first",
        "ListedRoom[]",
        &[WORDS, ("offset", NUMBER, "How many to leave out."), CHAT_LIMIT],
    ),
    get("/chat/rooms/{id}", "One room", "Room"),
    patch("/chat/rooms/{id}", "Change a room", "RoomChange", r#"{"topic": "Something else"}"#, "Room"),
    delete("/chat/rooms/{id}", "Close a room for good", "Room"),
    post("/chat/rooms/{id}/join", "Join a public room", "", "", "Room"),
    post("/chat/rooms/{id}/leave", "Leave a room", "", "", "Room"),
    put("/chat/rooms/{id}/read", "Everything up to a message is read", "ReadMarker", r#"{"message": 42}"#, "Room"),
    get("/chat/rooms/{id}/invites", "A room's invitations", "Invitation[]"),
    making(optional(post(
        "/chat/rooms/{id}/invites",
        "Make an invitation",
        "Invite",
        r#"{"expires_in_s": 86400, "uses": 5}"#,
        "Invitation",
    ))),
    post("/chat/invites/{invite}", "Accept an invitation", "", "", "Room"),
    delete("/chat/invites/{invite}", "Take an invitation back", "Room"),
    list(
        "/chat/rooms/{id}/members",
        "Who is in a room",
        "RoomMember[]",
        &[("after", TEXT, "Only those after this user."), CHAT_LIMIT],
    ),
    post(
        "/chat/rooms/{id}/members",
        "Add a friend",
        "Member",
        r#"{"user": "00000000-0003-80a3-8000-000000000000"}"#,
        "Room",
    ),
    patch(
        "/chat/rooms/{id}/members/{user}",
        "Another role, or a mute",
        "MemberChange",
        r#"{"role": "moderator"}"#,
        "Room",
    ),
    delete("/chat/rooms/{id}/members/{user}", "Put somebody out of a room", "Room"),
    get("/chat/rooms/{id}/bans", "Who may not come back", "Ban[]"),
    put("/chat/rooms/{id}/bans/{user}", "Ban somebody", "", "", "Room"),
    delete("/chat/rooms/{id}/bans/{user}", "Lift a ban", "Room"),
    list(
        "/chat/rooms/{id}/messages",
        "What was said, oldest first",
        "MessagePage",
        &[BEFORE_MESSAGE, AFTER_MESSAGE, AROUND, CHAT_LIMIT],
    ),
    making(post("/chat/rooms/{id}/messages", "Say something", "ChatMessage", r#"{"text": "hello"}"#, "Sent")),
    patch(
        "/chat/rooms/{id}/messages/{sequence}",
        "Another text for an own message",
        "ChatText",
        r#"{"text": "hello!"}"#,
        "Room",
    ),
    delete("/chat/rooms/{id}/messages/{sequence}", "Delete a message", "Room"),
    post(
        "/chat/rooms/{id}/messages/{sequence}/reactions",
        "React to a message, or take that back",
        "Reaction",
        r#"{"emoji": "👍"}"#,
        "Room",
    ),
    making(post(
        "/chat/rooms/{id}/messages/{sequence}/reports",
        "Tell those who keep order",
        "ChatReport",
        r#"{"reason": "spam"}"#,
        "ReportReceipt",
    )),
    optional(post(
        "/chat/rooms/{id}/reports/{number}/resolve",
        "A report is dealt with",
        "ReportEnd",
        r#"{"note": "done"}"#,
        "Room",
    )),
    Operation {
        takes: PICTURES,
        statuses: &["201"],
        ..post("/chat/rooms/{id}/images", "Upload a picture: the file is the body", "", "", "Image")
    },
    Operation { gives: PICTURES, ..get("/chat/images/{id}", "A picture", "") },
    // Administration.
    list(
        "/admin/users",
        "Users whose address holds a text, the oldest first",
        "UserRecord[]",
        &[
            ("email", TEXT, "Part of an address."),
            LIMIT,
            ("after", TEXT, "Only users with higher numbers than this cursor: the oldest come first."),
        ],
    ),
    get("/admin/users/{id}", "A user with balances, sessions and keys", "UserDetails"),
    put(
        "/admin/users/{id}/role",
        "Another role; the user's sessions end",
        "RoleChange",
        r#"{"role": "support"}"#,
        "UserRecord",
    ),
    optional(post(
        "/admin/users/{id}/freeze",
        "No more orders and withdrawals",
        "Freeze",
        r#"{"cancel_orders": true, "reason": "asked for by the user"}"#,
        "Frozen",
    )),
    post("/admin/users/{id}/unfreeze", "As before", "", "", "Frozen"),
    post("/admin/users/{id}/sign-out", "End all sessions of a user", "", "", "EndedSessions"),
    list(
        "/admin/audit",
        "Who did what to whom, from where, before and after",
        "AuditEntry[]",
        &[("user", TEXT, "To whom."), ("actor", TEXT, "By whom."), ("action", TEXT, "What."), LIMIT, AFTER, BEFORE],
    ),
    get("/admin/config", "Settings that change at run time", "KnownSetting[]"),
    get("/admin/config/{key}", "One of them, with its history", "SettingHistory"),
    put(
        "/admin/config/{key}",
        "Set one; with a version, only over what was seen",
        "SettingChange",
        r#"{"value": {"per_second": 10, "burst": 15}, "version": 3}"#,
        "Setting",
    ),
    get("/admin/tree", "The tree of actors: states, restarts, mailboxes", "TreePlace[]"),
    Operation {
        gives: &["text/event-stream"],
        ..get("/admin/tree/events", "The same as a stream: `tree` with all of it first, `change` with each change", "")
    },
    with(
        &["202"],
        optional(post(
            "/admin/tree/{path}/crash",
            "Make an actor fail, as a drill",
            "Drill",
            r#"{"kind": "panic"}"#,
            "TreePath",
        )),
    ),
    post("/admin/tree/{path}/revive", "Let an actor that was given up start again", "", "", "TreePath"),
    put(
        "/admin/drills/clock",
        "Set this process's clock off the system's, as a drill; 0 puts it right",
        "ClockDrill",
        r#"{"ahead_ms": 0}"#,
        "ClockDrill",
    ),
    list(
        "/admin/chat/reports",
        "Reports about messages",
        "MessageReport[]",
        &[
            ("all", FLAG, "Also those that are dealt with."),
            ("before", TEXT, "Only reports before this one, the last of the page before, as ROOM.NUMBER."),
            CHAT_LIMIT,
        ],
    ),
];
