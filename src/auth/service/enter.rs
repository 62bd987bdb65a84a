//! Coming in: a session for somebody who has proved who it is.
//!
//! What counts once (a code of an authenticator, a recovery code) is used up in the transaction that begins the
//! session: one that fails leaves it as it was, and so does one that nobody waits for any more when it is to be
//! committed. Who gives up later, while the database commits, has used it up.

use super::{Accounts, SignedIn, entry};
use crate::auth::audit::note;
use crate::auth::error::AuthError;
use crate::auth::settings::Device;
use crate::auth::totp::Factor;
use crate::domain::ids::AccountId;
use crate::domain::time::Timestamp;
use crate::persistence::audit::Entry;
use crate::persistence::db::Connection;
use crate::persistence::sessions::{self, Session, SessionId};
use crate::persistence::users::{self, User};
use diesel::QueryResult;
use diesel::result::Error;
use std::net::IpAddr;

/// Live sessions of one user. Whoever signs in once more ends the least recently used one.
pub(in crate::auth) const MOST_SESSIONS: i64 = 500;

/// Somebody at the door.
struct Entering {
    user: AccountId,
    /// The stored form of the password that was proved, if one was.
    proved: Option<String>,
    factor: Factor,
    /// The session that is to begin; whose it is, is still to be said.
    begun: Session,
    address: Option<IpAddr>,
}

/// What became of it.
enum Entered {
    /// With a session, for which these were ended.
    In(Box<(User, Session)>, Vec<(SessionId, Timestamp)>),
    /// The password was changed since it was proved; nobody has looked at the factor.
    Changed,
    /// The factor does not count.
    WrongCode,
}

impl Entered {
    /// Whether the factor was right, where it was looked at.
    fn judgement(&self) -> Option<bool> {
        match self {
            Entered::In(..) => Some(true),
            Entered::WrongCode => Some(false),
            Entered::Changed => None,
        }
    }
}

impl Entering {
    fn note_factor(&self, conn: &mut Connection, action: &'static str, now: Timestamp) -> QueryResult<()> {
        let detail = serde_json::json!({"device": self.begun.user_agent});
        let subject = Some(self.user);
        note(conn, &Entry { action, actor: None, subject, address: self.address, detail }, now)
    }

    fn run(self, conn: &mut Connection, now: Timestamp) -> QueryResult<Entered> {
        // Before the factor, which would be used up for nothing.
        if let Some(proved) = self.proved.as_deref().filter(|_| self.factor.is_shown())
            && !users::has_password(conn, self.user, proved)?
        {
            return Ok(Entered::Changed);
        }
        // Both are something that the owner may want to know of.
        if !self.factor.use_up(conn, self.user)? {
            self.note_factor(conn, "second_factor_failed", now)?;
            return Ok(Entered::WrongCode);
        }
        if matches!(self.factor, Factor::RecoveryCode(_)) {
            self.note_factor(conn, "recovery_code_used", now)?;
        }
        if !users::signed_in(conn, self.user, self.proved.as_deref(), now)? {
            return Ok(Entered::Changed);
        }
        // Read now: the role may have changed while the proof was checked.
        let user = users::by_id(conn, self.user)?.ok_or(Error::NotFound)?;
        let session = Session { user: user.id, ..self.begun };
        sessions::create(conn, &session)?;
        let ended = sessions::end_beyond(conn, &session, MOST_SESSIONS, now)?;
        note(conn, &entry("sign_in", &user, &session, self.address), now)?;
        Ok(Entered::In(Box::new((user, session)), ended))
    }
}

impl Accounts {
    /// Begins a session of somebody who has proved who it is: by the password that was stored in this form then, or in
    /// another way. Whoever has another password by now has shut out all that were in with the old one.
    ///
    /// # Errors
    /// [`AuthError::WrongCredentials`] when the password was changed since it was proved, [`AuthError::WrongCode`] when
    /// the factor does not count, or a failure, which uses nothing up, unless the database fell silent while it
    /// committed.
    pub(in crate::auth) async fn enter(
        &self,
        user: AccountId,
        proved: Option<String>,
        factor: Factor,
        device: &Device,
    ) -> Result<SignedIn, AuthError> {
        let (now, factor_used) = (self.now(), factor.is_shown());
        let begun = self.begin_session(device, now);
        let entering = Entering { user, proved, factor, begun, address: device.address };
        let accounts = self.clone();
        let entered = self.awaited(move |database, is_awaited| {
            let entered = database.write_durably(|conn| {
                let entered = entering.run(conn, now)?;
                // Who gave up (the database was frozen, say) was told of no session and comes again with this factor.
                let is_lost = matches!(entered, Entered::In(..)) && !is_awaited();
                if is_lost { Err(Error::RollbackTransaction) } else { Ok(entered) }
            })?;
            if let Entered::In(_, ended) = &entered {
                accounts.tell_sessions(ended);
                accounts.forget_sessions(ended.clone(), now);
            }
            Ok(entered)
        });
        let entered = entered.await;
        if factor_used {
            self.judge_factor(user, entered.as_ref().ok().and_then(Entered::judgement));
        }
        match entered? {
            Entered::In(come, _) => {
                let (user, session) = *come;
                Ok(SignedIn { factor_used, ..self.admit(user, &session)? })
            }
            Entered::Changed => Err(AuthError::WrongCredentials),
            Entered::WrongCode => Err(AuthError::WrongCode),
        }
    }
}
