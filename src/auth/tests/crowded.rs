//! Sessions that come at the same time, and too many of them.

use super::*;
use crate::auth::service::MOST_SESSIONS;
use crate::persistence::sessions::{self as store, Session, SessionId};

/// Begins so many sessions of a user, whether or not they are too many.
async fn begin(accounts: &Accounts, user: AccountId, count: i64) {
    let made = accounts.write(move |conn| {
        for _ in 0..count {
            let session = Session {
                id: SessionId::random(),
                user,
                created_at: START,
                expires_at: START + HOUR,
                revoked_at: None,
                last_used: START + SECOND,
                user_agent: "a bot".into(),
                token_expires_at: START + HOUR,
                refresh_number: None,
                address: String::new(),
            };
            store::create(conn, &session)?;
        }
        Ok(())
    });
    made.await.unwrap();
}

#[actix_rt::test]
async fn a_user_has_so_many_sessions_and_no_more() {
    let venue = Venue::new();
    let accounts = venue.start();
    let ada = sign_up(&accounts, "ada@example.org").await;
    venue.wait(SECOND);
    let user = ada.user.id;
    begin(&accounts, user, MOST_SESSIONS - 1).await;
    assert!(accounts.authenticate(ada.token.expose()).is_ok());
    let next = accounts.sign_in("ada@example.org", password(), &here()).await.unwrap();
    assert_eq!(accounts.authenticate(ada.token.expose()), Err(AuthError::TokenRevoked));
    assert!(accounts.authenticate(next.token.expose()).is_ok());
    let live = accounts.sessions(user).await.unwrap();
    assert_eq!(i64::try_from(live.len()), Ok(MOST_SESSIONS));
    assert!(live.iter().any(|session| session.id == next.session));
}

#[actix_rt::test]
async fn those_that_were_begun_before_there_was_a_bound_are_counted_too() {
    let venue = Venue::new();
    let accounts = venue.start();
    let user = sign_up(&accounts, "ada@example.org").await.user.id;
    begin(&accounts, user, MOST_SESSIONS + 1).await;
    assert_eq!(accounts.count_sessions(user).await, Ok(MOST_SESSIONS + 2));
    accounts.sign_in("ada@example.org", password(), &here()).await.unwrap();
    assert_eq!(accounts.count_sessions(user).await, Ok(MOST_SESSIONS));
    venue.wait(HOUR);
    assert_eq!(accounts.count_sessions(user).await, Ok(1), "the others have expired");
}

/// Who gives up while a refresh is committed comes again with the same token, before anybody has taken the first back.
#[actix_rt::test]
async fn a_refresh_waits_for_the_one_that_was_given_up() {
    let venue = Venue::new();
    let accounts = venue.start();
    let ada = sign_up(&accounts, "ada@example.org").await;
    let (token, session) = (ada.refresh.unwrap(), ada.session);
    let (release, gate) = crossbeam_channel::bounded::<()>(0);
    let (tell, begun) = crossbeam_channel::bounded::<()>(1);
    let first = {
        let accounts = accounts.clone();
        std::thread::spawn(move || {
            let _turn = accounts.refreshing().of(session);
            tell.send(()).unwrap();
            gate.recv().unwrap_err();
        })
    };
    begun.recv().unwrap();
    let committed = accounts.write(move |conn| {
        let known = store::by_id(conn, session)?.ok_or(diesel::result::Error::NotFound)?;
        store::refreshed(conn, &known, 0, known.token_expires_at, known.last_used)
    });
    assert_eq!(committed.await, Ok(true));
    let device = here();
    let mut again = Box::pin(accounts.refresh(&token, &device));
    assert!(futures_util::poll!(&mut again).is_pending());
    accounts.write(move |conn| store::take_back(conn, session, 0)).await.unwrap();
    drop(release);
    first.join().unwrap();
    assert_eq!(again.await.map(|next| next.session), Ok(session));
}
