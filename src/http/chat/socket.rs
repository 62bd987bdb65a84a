//! The chat socket: one actor for each WebSocket, which hears the client, and beside it what the session hears of its
//! rooms.
//!
//! Invariants: within a room a session gets messages in the order of their sequence, each once, without
//! a hole: what it missed is read from history and comes before what follows. A session that does not
//! read, or whose token has ended, is closed with a reason that its client can tell apart.

mod catch_up;
mod hearing;
mod tracks;

use super::requests::{self, is_warden};
use super::wire::{self, ClientMessage, Request};
use crate::actors::chat::audience::Outbox;
use crate::actors::chat::presence::{Arrive, Depart, SetAway, Watch};
use crate::actors::chat::{Crowd, Done, Outcome, Posted, Refused, Session};
use crate::actors::trading::market_data::wall_clock;
use crate::auth::{Caller, bearer};
use crate::domain::chat::{ChatReject, ClientMessageId, Command, JoinBy, MessageSequence, RoomId};
use crate::domain::ids::AccountId;
use crate::http::web_socket::{self, ws};
use crate::http::{AppState, ids};
use crate::persistence::chat::friends::Friendship;
use crate::persistence::chat::messages::Page;
use crate::persistence::chat::{friends, people, rooms};
use crate::persistence::db::Connection;
use actix::prelude::*;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{HttpRequest, HttpResponse, web};
use hearing::{Heard, Hearing, Task, Tasks};
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// The largest message of a client.
const MAX_FRAME: usize = 64 * 1024;
/// Requests of one client that may wait or be under way.
const MAX_OUTSTANDING: usize = 256;
/// Sockets of one user at once.
const MAX_DEVICES: usize = 20;
/// How often the server pings and looks whether the token still counts.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long it waits for any sign of life.
const SILENCE: Duration = Duration::from_secs(45);
/// How long a client may take to say who it is.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// The least time between two signs of typing.
const TYPING_EVERY: Duration = Duration::from_secs(1);

/// Why a session is closed: a code for the client, one for the protocol, and words.
#[derive(Clone, Copy, Debug)]
struct Reason(&'static str, u16, &'static str);

const TOO_SLOW: Reason =
    Reason("too_slow", 4008, "the connection is too slow to follow its rooms; reconnect and resume");
const NO_HELLO: Reason = Reason("no_hello", 4001, "a client must first say who it is");
const SIGNED_OUT: Reason = Reason("signed_out", 4001, "the token is not valid any more");
const TOO_MANY_SOCKETS: Reason = Reason("too_many_sockets", 4009, "the user has too many connections");
const UNAVAILABLE: Reason = Reason("unavailable", 4013, "chat is not available at the moment, please reconnect");

struct ChatSocket {
    state: web::Data<AppState>,
    token: String,
    caller: Option<Caller>,
    session: Option<Arc<Session>>,
    /// The sessions of this worker.
    crowd: Rc<Crowd>,
    /// What waits to be sent.
    outbox: Rc<Outbox>,
    /// What is sent of it.
    hearing: Rc<Hearing>,
    queue: VecDeque<Request>,
    /// Whether the front of the queue waits for a look-up.
    preparing: bool,
    outstanding: usize,
    heard: Instant,
    typed: Option<Instant>,
}

/// `GET /chat/ws`: the upgrade.
///
/// # Errors
/// When the request is no WebSocket handshake.
pub async fn connect(
    state: web::Data<AppState>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, actix_web::Error> {
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = header.and_then(|header| bearer(header).ok()).unwrap_or_default().to_owned();
    let crowd = Crowd::of_worker(state.chat.audience());
    let handshake = ws::handshake(&request)?;
    let hearing = Rc::<Hearing>::default();
    let socket = ChatSocket {
        state,
        crowd,
        outbox: Rc::default(),
        hearing: hearing.clone(),
        token,
        caller: None,
        session: None,
        queue: VecDeque::new(),
        preparing: false,
        outstanding: 0,
        heard: Instant::now(),
        typed: None,
    };
    Ok(web_socket::serve(handshake, socket, Heard(hearing), payload, MAX_FRAME))
}

type Socket = ws::WebsocketContext<ChatSocket>;

/// What a session begins with.
struct Beginning {
    rooms: Vec<rooms::Mine>,
    friends: Vec<friends::Friend>,
    me: people::Person,
}

/// Whose presence somebody with these friends hears of.
fn watched(friends: &[friends::Friend]) -> Vec<AccountId> {
    let watched = friends.iter().filter(|friend| friend.status == Friendship::Friends && !friend.blocked);
    watched.map(|friend| friend.other).collect()
}

/// Whether a text names people or comes with images, which must be looked up before it is written.
fn needs_look_up(text: &str, images: &[Uuid]) -> bool {
    !images.is_empty() || requests::names(text).next().is_some()
}

/// Whether the database is asked for a message by itself. Whoever writes through a room is counted there.
fn is_looked_up(message: &ClientMessage) -> bool {
    match message {
        ClientMessage::Send { text, images, .. } => needs_look_up(text, images),
        ClientMessage::Edit { text, .. } => needs_look_up(text, &[]),
        ClientMessage::Join { .. }
        | ClientMessage::Friend { .. }
        | ClientMessage::History { .. }
        | ClientMessage::Search { .. }
        | ClientMessage::People { .. } => true,
        ClientMessage::Hello { .. }
        | ClientMessage::Auth { .. }
        | ClientMessage::Delete { .. }
        | ClientMessage::React { .. }
        | ClientMessage::Read { .. }
        | ClientMessage::Typing { .. }
        | ClientMessage::Away { .. }
        | ClientMessage::Leave { .. } => false,
    }
}

impl ChatSocket {
    fn close(ctx: &mut Socket, Reason(code, number, words): Reason) {
        ctx.text(json!({"type": "closed", "code": code, "message": words}).to_string());
        ctx.close(Some(ws::CloseReason { code: ws::CloseCode::Other(number), description: Some(code.to_owned()) }));
        ctx.stop();
    }

    fn error(ctx: &mut Socket, id: Option<u64>, client_id: Option<Uuid>, why: &Refused) {
        let retry_after = match why {
            Refused::TooFast { retry_after_s } => Some(*retry_after_s),
            _ if why.is_temporary() => Some(1),
            _ => None,
        };
        let view = json!({
            "type": "error", "id": id, "client_id": client_id,
            "code": why.code(), "message": why.to_string(), "retry_after": retry_after,
        });
        ctx.text(view.to_string());
    }

    fn hello(&mut self, token: Option<String>, resume: HashMap<String, u64>, ctx: &mut Socket) {
        if self.session.is_some() {
            return Self::error(ctx, None, None, &ChatReject::Invalid.into());
        }
        if let Some(token) = token {
            self.token = token;
        }
        let Ok(caller) = self.state.accounts.authenticate(&self.token) else { return Self::close(ctx, SIGNED_OUT) };
        let chat = self.state.chat.clone();
        if chat.audience().devices(caller.user) >= MAX_DEVICES {
            return Self::close(ctx, TOO_MANY_SOCKETS);
        }
        let (session, outbox) = self.crowd.arrive(caller.user);
        (self.caller, self.outbox, self.session) = (Some(caller), outbox, Some(session.clone()));
        let (who, crowd) = (caller.user, self.crowd.clone());
        let work = async move {
            let mine = chat.store().read(move |conn| rooms::ids_of(conn, who)).await?;
            // From here on every new message arrives as an event; what is read after this was there before.
            crowd.attend(session.id, mine);
            let read = move |conn: &mut Connection| {
                let (rooms, friends) = (rooms::of(conn, who)?, friends::of(conn, who)?);
                Ok(Beginning { rooms, friends, me: people::get(conn, who)? })
            };
            let beginning = chat.store().read(read).await?;
            // Presence that is overloaded or down costs the dot beside a name, no message. It is told before it is asked
            // for the friends: what changes after it has answered is told to a session that it knows.
            let arrival = Arrive { session, visible_to: beginning.me.visible_to, watch: watched(&beginning.friends) };
            let _ = chat.presence().try_send(arrival);
            let mut others: Vec<AccountId> = beginning.friends.iter().map(|friend| friend.other).collect();
            others.push(who);
            Ok::<_, Refused>((requests::about(&chat, who, others).await?, beginning))
        };
        ctx.wait(work.into_actor(self).map(move |begun, socket, ctx| match begun {
            Ok((about, beginning)) => socket.begin(beginning, &about, &resume, ctx),
            Err(_) => Self::close(ctx, UNAVAILABLE),
        }));
    }

    fn begin(&mut self, beginning: Beginning, about: &Value, resume: &HashMap<String, u64>, ctx: &mut Socket) {
        let Some(caller) = self.caller else { return };
        let Beginning { rooms, friends, me } = beginning;
        let blocked = friends.iter().filter(|friend| friend.blocked).map(|friend| friend.other);
        self.hearing.begin(caller.user, self.outbox.clone(), blocked.collect());
        ctx.add_stream(Tasks(self.hearing.clone()));
        let view = json!({
            "type": "hello",
            "user": ids::user(caller.user),
            "nick": me.nick,
            "visible_to": me.visible_to.name(),
            "rooms": rooms.iter().map(|mine| wire::mine(mine, caller.user)).collect::<Vec<_>>(),
            "friends": friends.iter().map(|friend| wire::friend(friend, caller.user)).collect::<Vec<_>>(),
            "people": about,
        });
        ctx.text(view.to_string());
        for mine in rooms {
            let (id, last) = (mine.room.id, mine.room.last);
            let from = resume.get(&id.to_string()).map_or(last, |sequence| MessageSequence(*sequence));
            let missing = self.hearing.tracks.borrow_mut().begin(id, from, last);
            if missing {
                self.catch_up(id, ctx);
            }
        }
    }

    fn enqueue(&mut self, text: &str, ctx: &mut Socket) {
        let request: Request = match serde_json::from_str(text) {
            Ok(request) => request,
            Err(error) => {
                let message = format!("the message cannot be read: {error}");
                return ctx.text(json!({"type": "error", "code": "invalid_message", "message": message}).to_string());
            }
        };
        match request.message {
            ClientMessage::Hello { token, resume } => return self.hello(token, resume, ctx),
            _ if self.session.is_none() => return Self::close(ctx, NO_HELLO),
            _ => {}
        }
        if self.queue.len() + self.outstanding >= MAX_OUTSTANDING {
            return Self::error(ctx, request.id, None, &Refused::Overloaded);
        }
        self.queue.push_back(request);
        self.pump(ctx);
    }

    /// Handles what waits, in order. A message that needs a look-up holds up those after it.
    fn pump(&mut self, ctx: &mut Socket) {
        while !self.preparing
            && let Some(request) = self.queue.pop_front()
        {
            self.handle_request(request, ctx);
        }
    }

    fn handle_request(&mut self, Request { id, message }: Request, ctx: &mut Socket) {
        let (Some(caller), Some(session)) = (self.caller, self.session.clone()) else { return };
        let (who, warden) = (caller.user, is_warden(caller.role));
        let chat = self.state.chat.clone();
        if is_looked_up(&message)
            && let Err(why) = chat.limits().take_read(who, wall_clock())
        {
            let client_id = if let ClientMessage::Send { client_id, .. } = message { Some(client_id) } else { None };
            return Self::error(ctx, id, client_id, &why);
        }
        match message {
            ClientMessage::Hello { .. } => {}
            ClientMessage::Auth { token } => match self.state.accounts.authenticate(&token) {
                Ok(newer) if newer.user == who => {
                    (self.token, self.caller) = (token, Some(newer));
                    ctx.text(json!({"type": "ack", "id": id}).to_string());
                }
                Ok(_) | Err(_) => Self::close(ctx, SIGNED_OUT),
            },
            ClientMessage::Send { room: wire::RoomText(room), client_id, text, reply_to, images } => {
                let reply_to = reply_to.map(MessageSequence);
                let own_id = Some(ClientMessageId(client_id.as_u128()));
                let send = move |mentions, attachments, text| Command::Send {
                    client_id: own_id,
                    text,
                    reply_to,
                    mentions,
                    attachments,
                };
                if !needs_look_up(&text, &images) {
                    return self.post(id, Some(client_id), room, send(vec![], vec![], text), ctx);
                }
                self.preparing = true;
                let work = async move {
                    let mentions = requests::mentions(&chat, &text).await?;
                    let attachments = requests::attachments(&chat, who, room, own_id, images).await?;
                    Ok::<_, Refused>(send(mentions, attachments, text))
                };
                ctx.spawn(work.into_actor(self).map(move |prepared, socket, ctx| {
                    socket.preparing = false;
                    match prepared {
                        Ok(command) => socket.post(id, Some(client_id), room, command, ctx),
                        Err(why) => Self::error(ctx, id, Some(client_id), &why),
                    }
                    socket.pump(ctx);
                }));
            }
            ClientMessage::Edit { room: wire::RoomText(room), message, text } => {
                self.preparing = true;
                let work = async move {
                    let mentions = requests::mentions(&chat, &text).await?;
                    Ok::<_, Refused>(Command::Edit { message: MessageSequence(message), text, mentions })
                };
                ctx.spawn(work.into_actor(self).map(move |prepared, socket, ctx| {
                    socket.preparing = false;
                    match prepared {
                        Ok(command) => socket.post(id, None, room, command, ctx),
                        Err(why) => Self::error(ctx, id, None, &why),
                    }
                    socket.pump(ctx);
                }));
            }
            ClientMessage::Delete { room: wire::RoomText(room), message } => {
                self.post(id, None, room, Command::Delete(MessageSequence(message)), ctx);
            }
            ClientMessage::React { room: wire::RoomText(room), message, emoji, on } => {
                self.post(id, None, room, Command::React { message: MessageSequence(message), emoji, on }, ctx);
            }
            ClientMessage::Read { room: wire::RoomText(room), message } => {
                self.post(id, None, room, Command::Read(MessageSequence(message)), ctx);
            }
            ClientMessage::Leave { room: wire::RoomText(room) } => self.post(id, None, room, Command::Leave, ctx),
            ClientMessage::Typing { room: wire::RoomText(room) } => {
                if self.typed.is_none_or(|at| at.elapsed() >= TYPING_EVERY) {
                    self.typed = Some(Instant::now());
                    if self.crowd.attends(session.id, room) {
                        chat.typing(&session, room);
                    }
                }
            }
            ClientMessage::Away { away } => drop(chat.presence().try_send(SetAway(session, away))),
            ClientMessage::Join { room, invite } => {
                let target = match (room, invite.as_deref().map(requests::parse_invite)) {
                    (_, Some(Some((room, code)))) => Some((room, JoinBy::Invite(code))),
                    (Some(wire::RoomText(room)), None) => Some((room, JoinBy::Itself)),
                    (_, _) => None,
                };
                let Some((room, by)) = target else {
                    return Self::error(ctx, id, None, &ChatReject::BadInvite.into());
                };
                let work = async move { chat.execute(who, warden, room, Command::Join(by)).await };
                self.answer(work, ctx, move |outcome, ctx| Self::acknowledge(id, None, room, outcome, ctx));
            }
            ClientMessage::Friend { user, nick, step } => {
                let accounts = self.state.accounts.clone();
                let work = async move {
                    let other = match (user, nick) {
                        (Some(wire::UserText(user)), _) => user,
                        (None, Some(nick)) => requests::by_nick(&chat, &nick).await?,
                        (None, None) => return Err(ChatReject::Invalid.into()),
                    };
                    accounts.user(other).await.map_err(|_| Refused::Reject(ChatReject::Invalid))?;
                    let (room, command) = requests::friend_step(who, other, &step)?;
                    Ok((room, chat.execute(who, false, room, command).await?))
                };
                self.answer(work, ctx, move |outcome: Result<_, Refused>, ctx| match outcome {
                    Ok((room, done)) => Self::acknowledge(id, None, room, Ok(done), ctx),
                    Err(why) => Self::error(ctx, id, None, &why),
                });
            }
            ClientMessage::History { room: wire::RoomText(room), before, after, around, limit } => {
                let page = match (around, after) {
                    (Some(middle), _) => Page::Around(MessageSequence(middle)),
                    (None, Some(after)) => Page::After(MessageSequence(after)),
                    (None, None) => Page::Before(before.map(MessageSequence)),
                };
                let count = requests::limit(limit);
                let work = async move { requests::history(&chat, who, warden, room, page, count).await };
                self.answer(work, ctx, move |view, ctx| Self::reply(id, "history", view, ctx));
            }
            ClientMessage::Search { text, room, before, limit } => {
                let (room, count) = (room.map(|room| room.0), requests::limit(limit));
                let work = async move { requests::find(&chat, who, warden, text, room, before, count).await };
                self.answer(work, ctx, move |view, ctx| Self::reply(id, "found", view, ctx));
            }
            ClientMessage::People { users } => {
                let users = users.into_iter().map(|user| user.0).collect();
                let work =
                    async move { Ok::<_, Refused>(json!({"people": requests::about(&chat, who, users).await?})) };
                self.answer(work, ctx, move |view, ctx| Self::reply(id, "people", view, ctx));
            }
        }
    }

    /// Queues a command now, so that a client's commands keep their order, and answers when it is done.
    fn post(&mut self, id: Option<u64>, client_id: Option<Uuid>, room: RoomId, command: Command, ctx: &mut Socket) {
        let Some(caller) = self.caller else { return };
        match self.state.chat.post(caller.user, is_warden(caller.role), room, command) {
            Ok(posted) => self.answer(Posted::outcome(posted), ctx, move |outcome, ctx| {
                Self::acknowledge(id, client_id, room, outcome, ctx);
            }),
            Err(why) => Self::error(ctx, id, client_id, &why),
        }
    }

    fn answer<T: 'static>(
        &mut self,
        work: impl Future<Output = T> + 'static,
        ctx: &mut Socket,
        then: impl FnOnce(T, &mut Socket) + 'static,
    ) {
        self.outstanding += 1;
        ctx.spawn(work.into_actor(self).map(move |outcome, socket, ctx| {
            socket.outstanding -= 1;
            then(outcome, ctx);
        }));
    }

    fn acknowledge(
        id: Option<u64>,
        client_id: Option<Uuid>,
        room: RoomId,
        outcome: Result<Done, Refused>,
        ctx: &mut Socket,
    ) {
        let done = match outcome {
            Ok(done) => done,
            Err(why) => return Self::error(ctx, id, client_id, &why),
        };
        let sequence = match &done.outcome {
            Outcome::Written(sequence) => Some(sequence.0),
            Outcome::Reported(_) | Outcome::Room(_) => None,
        };
        let mut view = json!({"type": "ack", "id": id, "room": room.to_string()});
        if let Some(client_id) = client_id {
            view["client_id"] = json!(client_id);
            view["sequence"] = json!(sequence);
        }
        view["at"] = crate::http::wire::time(done.at).into();
        ctx.text(view.to_string());
    }

    fn reply(id: Option<u64>, kind: &str, view: Result<Value, Refused>, ctx: &mut Socket) {
        match view {
            Ok(mut view) => {
                view["type"] = kind.into();
                view["id"] = json!(id);
                ctx.text(view.to_string());
            }
            Err(why) => Self::error(ctx, id, None, &why),
        }
    }

    fn look(&mut self, ctx: &mut Socket) {
        if self.outbox.is_slow() {
            Self::close(ctx, TOO_SLOW);
        } else if !self.crowd.listens() {
            Self::close(ctx, UNAVAILABLE);
        } else if self.session.is_some() && self.state.accounts.authenticate(&self.token).is_err() {
            Self::close(ctx, SIGNED_OUT);
        } else if self.heard.elapsed() > SILENCE {
            ctx.stop();
        } else {
            ctx.ping(b"");
        }
    }
}

impl Actor for ChatSocket {
    type Context = Socket;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(LOOK_EVERY, |socket, ctx| socket.look(ctx));
        ctx.run_later(HELLO_WITHIN, |socket, ctx| {
            if socket.session.is_none() {
                Self::close(ctx, NO_HELLO);
            }
        });
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        let Some(session) = self.session.take() else { return };
        self.crowd.depart(session.id);
        let _ = self.state.chat.presence().try_send(Depart(session));
    }
}

impl StreamHandler<Result<ws::Message, ws::ProtocolError>> for ChatSocket {
    fn handle(&mut self, message: Result<ws::Message, ws::ProtocolError>, ctx: &mut Self::Context) {
        self.heard = Instant::now();
        match message {
            Ok(ws::Message::Text(text)) => self.enqueue(&text, ctx),
            Ok(ws::Message::Ping(content)) => ctx.pong(&content),
            Ok(ws::Message::Pong(_) | ws::Message::Nop) => {}
            Ok(ws::Message::Binary(_) | ws::Message::Continuation(_)) => {
                let message = "messages must be unfragmented text";
                ctx.text(json!({"type": "error", "code": "invalid_message", "message": message}).to_string());
            }
            Ok(ws::Message::Close(reason)) => {
                ctx.close(reason);
                ctx.stop();
            }
            Err(_) => ctx.stop(),
        }
    }
}

impl StreamHandler<Task> for ChatSocket {
    fn handle(&mut self, task: Task, ctx: &mut Self::Context) {
        match task {
            Task::Read(room) => self.catch_up(room, ctx),
            Task::Watch(other, watch) => {
                if let Some(session) = self.session.clone() {
                    let _ = self.state.chat.presence().try_send(Watch(session, other, watch));
                }
            }
        }
    }

    /// There are no tasks any more only when the outbox was too full.
    fn finished(&mut self, ctx: &mut Self::Context) {
        Self::close(ctx, TOO_SLOW);
    }
}
