//! Who gives up is told of nothing, so nothing is done that would be missed.

use super::tests::begin;
use super::*;
use crate::auth::settings::Device;
use crate::auth::tests::{Venue, password, run, sign_up};
use crossbeam_channel::{Receiver, Sender, bounded};

mod sql {
    use diesel::sql_types::Text;

    diesel::define_sql_function! {
        /// Gives back what it is given, when it may.
        #[allow(dead_code, reason = "it is called by a trigger")]
        fn held(action: Text) -> Text;
    }
}

/// Lets whoever notes one of these actions wait in the middle of its transaction: what comes first of the two tells
/// that it has got there, and it waits until the other is dropped.
async fn hold(accounts: &Accounts) -> (Receiver<()>, Sender<()>) {
    let (tell, reached) = bounded(1);
    let (release, gate) = bounded::<()>(0);
    let taught = accounts.write(move |conn| match conn {
        Connection::Sqlite(inner) => sql::held_utils::register_impl(inner, move |action: String| {
            // Later ones find nobody at the other ends, and go on.
            let _ = tell.try_send(());
            let _ = gate.recv();
            action
        }),
        Connection::Postgres(_) => unreachable!("the venue has a file"),
    });
    taught.await.unwrap();
    let trigger = "CREATE TRIGGER hold AFTER INSERT ON audit WHEN NEW.action IN ('sign_in', 'totp_enabled') \
                   BEGIN SELECT held(NEW.action); END";
    run(accounts, trigger).await;
    (reached, release)
}

/// Waits until the transaction has got there, and no longer.
async fn give_up<T>(answer: impl Future<Output = T>, reached: Receiver<()>) {
    let reached = tokio::task::spawn_blocking(move || reached.recv());
    tokio::select! {
        reached = reached => reached.unwrap().unwrap(),
        _ = answer => panic!("nothing has held it"),
    }
}

#[actix_rt::test]
async fn a_sign_in_for_which_nobody_waits_any_more_uses_no_code_up() {
    let venue = Venue::new();
    let accounts = venue.start_with_one_connection();
    let ada = sign_up(&accounts, "ada@example.org").await.user.id;
    let seed = begin(&accounts, ada).await;
    let code = |steps| Secret::new(code_at(&seed, accounts.now().0 / SECOND / STEP_S + steps));
    let recovery = accounts.confirm_totp(ada, code(-1).expose(), None).await.unwrap().swap_remove(0);
    let sign_in = |code: Secret| {
        let device = Device { second_factor: Some(code), ..Device::default() };
        let accounts = &accounts;
        async move { accounts.sign_in("ada@example.org", password(), &device).await.map(|entered| entered.factor_used) }
    };
    for shown in [recovery, code(0)] {
        let before = accounts.count_sessions(ada).await.unwrap();
        let (reached, release) = hold(&accounts).await;
        give_up(sign_in(shown.clone()), reached).await;
        drop(release);
        run(&accounts, "DROP TRIGGER hold").await;
        assert_eq!(accounts.count_sessions(ada).await, Ok(before));
        assert_eq!(sign_in(shown.clone()).await, Ok(true));
        assert_eq!(sign_in(shown).await, Err(AuthError::WrongCode));
    }
}

#[actix_rt::test]
async fn no_second_factor_is_turned_on_whose_recovery_codes_nobody_has_seen() {
    let venue = Venue::new();
    let accounts = venue.start_with_one_connection();
    let ada = sign_up(&accounts, "ada@example.org").await.user.id;
    let seed = begin(&accounts, ada).await;
    let code = code_at(&seed, accounts.now().0 / SECOND / STEP_S);
    let (reached, release) = hold(&accounts).await;
    give_up(accounts.confirm_totp(ada, &code, None), reached).await;
    drop(release);
    assert_eq!(accounts.has_totp(ada).await, Ok(false));
    assert_eq!(accounts.confirm_totp(ada, &code, None).await.map(|codes| codes.len()), Ok(RECOVERY_CODES));
    assert_eq!(accounts.has_totp(ada).await, Ok(true));
}
