//! The routes around trading: sign-in, keys, notifications, chat, administration.

use super::{AFTER, BEFORE, LIMIT, Operation, TEXT, delete, get, list, post};

const fn put(
    pattern: &'static str,
    summary: &'static str,
    body: &'static str,
    example: &'static str,
    answer: &'static str,
) -> Operation {
    Operation { method: "PUT", ..post(pattern, summary, body, example, answer) }
}

const fn patch(pattern: &'static str, summary: &'static str, body: &'static str, example: &'static str) -> Operation {
    Operation { method: "PATCH", ..post(pattern, summary, body, example, "") }
}

/// The same with 201 for what was made.
const fn making(operation: Operation) -> Operation {
    Operation { also: &["201"], ..operation }
}

const NUMBER: &str = r#"{"type": "integer"}"#;
const FLAG: &str = r#"{"type": "boolean"}"#;
const AROUND: (&str, &str, &str) = ("around", NUMBER, "The messages around this sequence.");
const BEFORE_MESSAGE: (&str, &str, &str) = ("before", NUMBER, "Only messages before this sequence.");
const AFTER_MESSAGE: (&str, &str, &str) = ("after", NUMBER, "Only messages after this sequence.");
const WORDS: (&str, &str, &str) = ("q", TEXT, "Words, or how they begin.");
const ROOM: &str = r#"{"kind": "public", "name": "Lounge", "topic": "Anything"}"#;

/// Every route that is described here.
pub(in crate::http::openapi) const PEOPLE: &[Operation] = &[
    // Sign-in.
    post("/auth/sign-up", "Make an account", "Credentials", super::CREDENTIALS, "Session"),
    post("/auth/sign-in", "Sign in", "Credentials", super::CREDENTIALS, "Session"),
    post(
        "/auth/refresh",
        "The next pair of tokens; each refresh token counts once",
        "RefreshToken",
        r#"{"refresh_token": "…"}"#,
        "Session",
    ),
    post("/auth/sign-out", "End this session", "", "", "Empty"),
    post("/auth/sign-out-all", "End all sessions of the caller", "", "", "Empty"),
    get("/auth/sessions", "Where the caller is signed in", ""),
    delete("/auth/sessions/{id}", "End one of the caller's sessions", ""),
    get("/auth/me", "Who the caller is", "Object"),
    put("/auth/me/photo", "A picture of the caller: the file is the body", "", "", ""),
    get("/photos/{id}", "A picture of somebody", ""),
    put("/auth/me", "Change name and picture", "ProfileChange", r#"{"name": "Ada"}"#, "Object"),
    post(
        "/auth/password",
        "Another password; the other sessions end",
        "PasswordChange",
        r#"{"old_password": "a good long one", "new_password": "an even longer one"}"#,
        "Object",
    ),
    post(
        "/auth/password/forgot",
        "Mail a code for a new password, if anybody has this address",
        "EmailAddress",
        r#"{"email": "ada@example.org"}"#,
        "Object",
    ),
    post(
        "/auth/password/reset",
        "A new password with the code that was mailed; all sessions end",
        "PasswordReset",
        r#"{"email": "ada@example.org", "code": "123456", "new_password": "an even longer one"}"#,
        "Object",
    ),
    post(
        "/auth/email",
        "Mail a code to another address; the password where mail reaches the one there is",
        "NewAddress",
        r#"{"email": "ada@example.net", "password": "a good long one"}"#,
        "Object",
    ),
    post(
        "/auth/email/confirm",
        "The address counts from now on, by the code that was mailed",
        "AddressCode",
        r#"{"email": "ada@example.net", "code": "123456789"}"#,
        "Object",
    ),
    post("/auth/introspect", "Whether a token counts (RFC 7662)", "Token", r#"{"token": "eyJ…"}"#, "Object"),
    get("/auth/jwks.json", "The public keys of access tokens", "Object"),
    get("/auth/totp", "Whether there is a second factor", "Object"),
    post("/auth/totp", "Begin a second factor: its seed", "", "", "Object"),
    post("/auth/totp/confirm", "Turn it on with a first code", "Code", r#"{"code": "123456"}"#, "Object"),
    Operation {
        body: "SecondFactorEnd",
        example: r#"{"password": "a good long one", "code": "123456"}"#,
        ..delete("/auth/totp", "Turn the second factor off", "Object")
    },
    get("/auth/providers", "Other places to sign in through", ""),
    Operation {
        query: &[("back", TEXT, "Where in the web app to go afterwards.")],
        also: &["302"],
        ..get("/auth/oidc/{provider}/start", "Go to a provider to sign in", "")
    },
    Operation {
        query: &[("code", TEXT, "From the provider."), ("state", TEXT, "From the start.")],
        also: &["302"],
        ..get("/auth/oidc/{provider}/callback", "Come back from a provider", "")
    },
    post(
        "/auth/oidc/{provider}/token",
        "Sign in with an id token that an app has",
        "IdToken",
        r#"{"id_token": "eyJ…"}"#,
        "Object",
    ),
    post(
        "/auth/second-factor",
        "The second factor after a provider",
        "TicketAndCode",
        r#"{"ticket": "…", "totp": "123456"}"#,
        "Object",
    ),
    get("/auth/identities", "Identities elsewhere that the caller has linked", ""),
    post("/auth/identities/{provider}", "Begin to link one: where to go", "", "", "Object"),
    delete("/auth/identities/{provider}", "Unlink one", "Object"),
    // Keys.
    get("/auth/keys", "The caller's API keys, without their secrets", ""),
    post(
        "/auth/keys",
        "Make an API key; its secret is shown this once",
        "NewKey",
        r#"{"passphrase": "open sesame", "permissions": ["view", "trade"], "label": "bot"}"#,
        "Object",
    ),
    delete("/auth/keys/{id}", "Revoke a key, from now on", "Object"),
    // Notifications.
    get("/notice", "A line from the venue for everybody", "Object"),
    get("/notifications/outlets", "Where the caller is told of what", ""),
    put(
        "/notifications/outlets/{outlet}",
        "Be told by email, line or webhook; a webhook's secret is in the answer",
        "Outlet",
        r#"{"events": ["fill", "security"], "url": "https://example.org/hook"}"#,
        "Object",
    ),
    delete("/notifications/outlets/{outlet}", "Be told there no more", "Object"),
    get("/notifications/alerts", "Prices that the caller waits for", ""),
    post(
        "/notifications/alerts",
        "Be told once when a trade is at or beyond a price",
        "Alert",
        r#"{"product_id": "BTC-USDT", "direction": "above", "price": "70000"}"#,
        "Object",
    ),
    delete("/notifications/alerts/{id}", "Wait for it no more", "Object"),
    get("/notifications/failed", "What could not be delivered", ""),
    post("/notifications/failed/{id}/retry", "Try to deliver it once more", "", "", "Object"),
    post("/line/webhook", "For LINE: what somebody wrote to the venue", "Object", r#"{"events": []}"#, ""),
    // Chat.
    get("/chat/ws", "The WebSocket of chat", ""),
    get("/chat/me", "Name and visibility in chat", "Object"),
    put("/chat/me", "Change them", "ChatProfile", r#"{"nick": "ada", "visible_to": "everyone"}"#, "Object"),
    list("/chat/people", "Names and whereabouts", "", &[("users", TEXT, "Ids, separated by commas.")]),
    get("/chat/friends", "Friends, and who asks to be one", ""),
    post(
        "/chat/friends",
        "Ask, accept, decline, remove, block, unblock",
        "Friendship",
        r#"{"nick": "bob", "step": "ask"}"#,
        "",
    ),
    list(
        "/chat/search",
        "Words in the caller's rooms, newest first",
        "",
        &[WORDS, ("room", TEXT, "Only this room."), ("before", TEXT, "The `next` of the page before."), LIMIT],
    ),
    list("/chat/messages", "The newest of all own rooms together", "", &[("before", TEXT, "Only older ones."), LIMIT]),
    get("/chat/rooms", "The caller's rooms with what is unread", ""),
    making(post("/chat/rooms", "Open a room; a repeat with the same id makes no second one", "Room", ROOM, "")),
    list(
        "/chat/rooms/public",
        "Public rooms, the largest first",
        "",
        &[WORDS, ("offset", NUMBER, "How many to leave out."), LIMIT],
    ),
    get("/chat/rooms/{id}", "One room", ""),
    patch("/chat/rooms/{id}", "Change a room", "RoomChange", r#"{"topic": "Something else"}"#),
    delete("/chat/rooms/{id}", "Close a room for good", ""),
    post("/chat/rooms/{id}/join", "Join a public room", "", "", ""),
    post("/chat/rooms/{id}/leave", "Leave a room", "", "", ""),
    put("/chat/rooms/{id}/read", "Everything up to a message is read", "ReadMarker", r#"{"message": 42}"#, ""),
    get("/chat/rooms/{id}/invites", "A room's invitations", ""),
    making(post(
        "/chat/rooms/{id}/invites",
        "Make an invitation",
        "Invite",
        r#"{"expires_in_s": 86400, "uses": 5}"#,
        "",
    )),
    post("/chat/invites/{invite}", "Accept an invitation", "", "", ""),
    delete("/chat/invites/{invite}", "Take an invitation back", ""),
    list("/chat/rooms/{id}/members", "Who is in a room", "", &[("after", TEXT, "Only those after this user."), LIMIT]),
    making(post(
        "/chat/rooms/{id}/members",
        "Add a friend",
        "Member",
        r#"{"user": "00000000-0003-80a3-8000-000000000000"}"#,
        "",
    )),
    patch("/chat/rooms/{id}/members/{user}", "Another role, or a mute", "MemberChange", r#"{"role": "moderator"}"#),
    delete("/chat/rooms/{id}/members/{user}", "Put somebody out of a room", ""),
    get("/chat/rooms/{id}/bans", "Who may not come back", ""),
    put("/chat/rooms/{id}/bans/{user}", "Ban somebody", "", "", ""),
    delete("/chat/rooms/{id}/bans/{user}", "Lift a ban", ""),
    list(
        "/chat/rooms/{id}/messages",
        "What was said, oldest first",
        "",
        &[BEFORE_MESSAGE, AFTER_MESSAGE, AROUND, LIMIT],
    ),
    making(post("/chat/rooms/{id}/messages", "Say something", "ChatMessage", r#"{"text": "hello"}"#, "")),
    patch(
        "/chat/rooms/{id}/messages/{sequence}",
        "Another text for an own message",
        "ChatText",
        r#"{"text": "hello!"}"#,
    ),
    delete("/chat/rooms/{id}/messages/{sequence}", "Delete a message", ""),
    post(
        "/chat/rooms/{id}/messages/{sequence}/reactions",
        "React to a message, or take that back",
        "Reaction",
        r#"{"emoji": "👍"}"#,
        "",
    ),
    making(post(
        "/chat/rooms/{id}/messages/{sequence}/reports",
        "Tell those who keep order",
        "ChatReport",
        r#"{"reason": "spam"}"#,
        "",
    )),
    post("/chat/rooms/{id}/reports/{number}/resolve", "A report is dealt with", "ReportEnd", r#"{"note": "done"}"#, ""),
    Operation {
        also: &["201"],
        ..post("/chat/rooms/{id}/images", "Upload a picture: the file is the body", "", "", "")
    },
    get("/chat/images/{id}", "A picture", ""),
    // Administration.
    list(
        "/admin/users",
        "Users whose address holds a text",
        "",
        &[("email", TEXT, "Part of an address."), LIMIT, AFTER, BEFORE],
    ),
    get("/admin/users/{id}", "A user with balances, sessions and keys", "Object"),
    put(
        "/admin/users/{id}/role",
        "Another role; the user's sessions end",
        "RoleChange",
        r#"{"role": "support"}"#,
        "Object",
    ),
    post(
        "/admin/users/{id}/freeze",
        "No more orders and withdrawals",
        "Freeze",
        r#"{"cancel_orders": true, "reason": "asked for by the user"}"#,
        "Object",
    ),
    post("/admin/users/{id}/unfreeze", "As before", "Freeze", "{}", "Object"),
    post("/admin/users/{id}/sign-out", "End all sessions of a user", "", "", "Object"),
    list(
        "/admin/audit",
        "Who did what to whom, from where, before and after",
        "",
        &[("user", TEXT, "To whom."), ("actor", TEXT, "By whom."), ("action", TEXT, "What."), LIMIT, AFTER, BEFORE],
    ),
    get("/admin/config", "Settings that change at run time", ""),
    get("/admin/config/{key}", "One of them, with its history", "Object"),
    put(
        "/admin/config/{key}",
        "Set one; with a version, only over what was seen",
        "Setting",
        r#"{"value": {"per_second": 10, "burst": 15}, "version": 3}"#,
        "Object",
    ),
    get("/admin/tree", "The tree of actors: states, restarts, mailboxes", "Object"),
    get("/admin/tree/events", "The same as a stream of what changes (text/event-stream)", ""),
    Operation {
        also: &["202"],
        ..post("/admin/tree/{path}/crash", "Make an actor fail, as a drill", "Drill", r#"{"kind": "panic"}"#, "")
    },
    Operation {
        also: &["202"],
        ..post("/admin/tree/{path}/revive", "Let an actor that was given up start again", "", "", "")
    },
    list(
        "/admin/chat/reports",
        "Reports about messages",
        "",
        &[("all", FLAG, "Also those that are dealt with."), LIMIT],
    ),
];
