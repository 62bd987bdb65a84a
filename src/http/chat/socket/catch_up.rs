//! What a session has missed in a room is read from the database, a page at a time.
//!
//! The database is written after the room has handed its news out, so it may not have yet what a session is known to
//! lack. Then it is read again, until it has: waiting for the room's next news instead would keep back what was said
//! before a silence.

use super::{ChatSocket, Socket, UNAVAILABLE, wire};
use crate::domain::chat::{MessageSequence, RoomId};
use crate::persistence::chat::messages::{self, Page};
use crate::persistence::chat::rooms;
use crate::persistence::db::Connection;
use actix::prelude::*;
use std::time::Duration;

/// Messages that are read at a time.
const PAGE: i64 = 200;
/// When a database that is behind is asked again.
const AGAIN: Duration = Duration::from_millis(50);

impl ChatSocket {
    /// Sends what the session has missed in a room.
    pub(super) fn catch_up(&mut self, room: RoomId, ctx: &mut Socket) {
        let (Some(after), Some(caller)) = (self.hearing.tracks.borrow().read_after(room), self.caller) else { return };
        let (who, store) = (caller.user, self.state.chat.store().clone());
        let read = move |conn: &mut Connection| match rooms::is_member(conn, room, who)? {
            true => messages::page(conn, room, Page::After(after), PAGE).map(Some),
            false => Ok(None),
        };
        let work = async move { store.read(read).await };
        ctx.spawn(work.into_actor(self).map(move |missed, socket, ctx| {
            let missed = match missed {
                Ok(Some(missed)) => missed,
                // Whoever has only just joined is a member for the room before the database knows.
                Ok(None) if socket.session.as_ref().is_some_and(|me| socket.crowd.attends(me.id, room)) => vec![],
                Ok(None) => return socket.hearing.tracks.borrow_mut().leave(room),
                Err(_) => return Self::close(ctx, UNAVAILABLE),
            };
            let Some(last) = missed.last().map(|message| message.sequence) else {
                ctx.run_later(AGAIN, move |socket, ctx| socket.go_on(room, after, ctx));
                return;
            };
            if !socket.hearing.tracks.borrow_mut().read(room, after, last) {
                return;
            }
            for message in &missed {
                ctx.text(wire::told("message", room, message, socket.hearing.is_hidden(message.author)));
            }
            socket.go_on(room, last, ctx);
        }));
    }

    /// Looks whether anything is missing still after this message.
    fn go_on(&mut self, room: RoomId, sent: MessageSequence, ctx: &mut Socket) {
        if self.hearing.tracks.borrow_mut().go_on(room, sent) {
            self.catch_up(room, ctx);
        }
    }
}
