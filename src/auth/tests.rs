//! Accounts as a whole, on a real database, with a clock that the test moves.

mod crowded;
mod remembered;

use super::*;
use crate::domain::ids::AccountId;
use crate::domain::time::{DAY, HOUR, MINUTE, SECOND, Timestamp};
use crate::persistence::db::{Connection, Database, Options, Target};
use crate::persistence::users::Role;
use diesel::RunQueryDsl;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tempfile::TempDir;

const START: Timestamp = Timestamp(1_800_000_000 * SECOND + 123_456);
const PASSWORD: &str = "correct horse battery";

pub(super) struct Venue {
    folder: TempDir,
    time: Arc<AtomicI64>,
}

impl Venue {
    pub(super) fn new() -> Venue {
        Venue { folder: tempfile::tempdir().unwrap(), time: Arc::new(AtomicI64::new(START.0)) }
    }

    fn start_with(&self, settings: Settings) -> Accounts {
        self.start_on(Database::open(&self.folder.path().join("agora.db")).unwrap(), settings)
    }

    /// Whatever is done there is done on one connection, which a test can teach something.
    pub(super) fn start_with_one_connection(&self) -> Accounts {
        let target = Target::Sqlite(self.folder.path().join("agora.db"));
        let database = Database::connect(&Options { connections: 1, ..Options::new(target) }).unwrap();
        self.start_on(database, Settings::default())
    }

    fn start_on(&self, database: Database, settings: Settings) -> Accounts {
        let time = Arc::clone(&self.time);
        let clock: Clock = Arc::new(move || Timestamp(time.load(Ordering::SeqCst)));
        Accounts::start(self.folder.path(), database, settings, clock).unwrap()
    }

    pub(super) fn start(&self) -> Accounts {
        self.start_with(Settings::default())
    }

    pub(super) fn wait(&self, micros: i64) {
        self.time.fetch_add(micros, Ordering::SeqCst);
    }
}

fn here() -> Device {
    Device::default()
}

fn named(name: &str) -> Device {
    Device { user_agent: Some(name.into()), ..Device::default() }
}

pub(super) fn password() -> Secret {
    Secret::new(PASSWORD)
}

pub(super) async fn sign_up(accounts: &Accounts, email: &str) -> SignedIn {
    accounts.sign_up(email, password(), false, &here(), AccountId::FIRST_USER).await.unwrap()
}

/// Runs a statement on the venue's file.
pub(super) async fn run(accounts: &Accounts, sql: &'static str) {
    let done = accounts.write(move |conn| match conn {
        Connection::Sqlite(inner) => diesel::sql_query(sql).execute(inner),
        Connection::Postgres(_) => unreachable!("the venue has a file"),
    });
    done.await.unwrap();
}

#[actix_rt::test]
async fn signing_up_in_and_out() {
    let venue = Venue::new();
    let accounts = venue.start();
    let first =
        accounts.sign_up(" Ada@Example.org", password(), true, &named("curl/8"), AccountId::FIRST_USER).await.unwrap();
    assert_eq!(first.user.id, AccountId::FIRST_USER);
    assert_eq!((first.user.email.as_str(), first.user.role, first.user.demo), ("ada@example.org", Role::User, true));
    assert_eq!((first.user.created_at, first.user.last_sign_in_at), (START, None));
    assert_eq!(first.expires_at, (START + 15 * MINUTE).bucket(SECOND));
    let caller = accounts.authenticate(first.token.expose()).unwrap();
    let expected = Caller {
        user: first.user.id,
        credential: Credential::Session(first.session),
        role: Role::User,
        scopes: Scopes::ALL,
        expires_at: first.expires_at,
        ends_at: first.session_expires_at,
    };
    assert_eq!(caller, expected);

    venue.wait(MINUTE);
    let second = accounts.sign_in("ADA@example.org ", password(), &named(&"x".repeat(999))).await.unwrap();
    assert_eq!(second.user.last_sign_in_at, Some(START + MINUTE));
    assert_eq!(accounts.user(first.user.id).await.unwrap(), second.user);
    assert_eq!(accounts.user_by_email("ada@example.ORG").await.unwrap(), second.user);
    let sessions = accounts.sessions(first.user.id).await.unwrap();
    assert_eq!(sessions.iter().map(|s| s.id).collect::<Vec<_>>(), [second.session, first.session]);
    assert_eq!((sessions[0].user_agent.len(), sessions[1].user_agent.as_str()), (256, "curl/8"));

    accounts.sign_out(first.session).await.unwrap();
    assert_eq!(accounts.authenticate(first.token.expose()), Err(AuthError::TokenRevoked));
    assert!(accounts.authenticate(second.token.expose()).is_ok());
    assert_eq!(accounts.sessions(first.user.id).await.unwrap().len(), 1);
    // It is remembered no longer than its tokens would have counted, and one minute.
    for minutes in [9, 5] {
        venue.wait(minutes * MINUTE);
        accounts.tend().await.unwrap();
    }
    assert!(accounts.tokens().is_revoked(first.session));
    venue.wait(2 * MINUTE);
    accounts.tend().await.unwrap();
    assert!(!accounts.tokens().is_revoked(first.session));
}

#[actix_rt::test]
async fn an_address_has_one_account_whatever_its_case() {
    let venue = Venue::new();
    let accounts = venue.start();
    sign_up(&accounts, "ada@example.org").await;
    for again in ["ada@example.org", "ADA@EXAMPLE.ORG", " Ada@example.org "] {
        let refused = accounts.sign_up(again, password(), false, &here(), AccountId::FIRST_USER).await.unwrap_err();
        assert_eq!((refused.status(), refused.code()), (409, "email_taken"), "{again}");
    }
    // Both pass the first look before either is stored: the table decides.
    let device = here();
    let (one, other) = tokio::join!(
        accounts.sign_up("bob@example.org", password(), false, &device, AccountId::FIRST_USER),
        accounts.sign_up("Bob@example.org", password(), false, &device, AccountId::FIRST_USER)
    );
    let refused = if one.is_ok() { other.unwrap_err() } else { one.unwrap_err() };
    assert_eq!(refused, AuthError::EmailTaken);
}

#[actix_rt::test]
async fn unfit_input_is_refused_at_sign_up() {
    let venue = Venue::new();
    let accounts = venue.start();
    let refused = accounts.sign_up("ada", password(), false, &here(), AccountId::FIRST_USER).await.unwrap_err();
    assert_eq!((refused.status(), refused), (400, AuthError::InvalidEmail));
    let refused = accounts
        .sign_up("ada@example.org", Secret::new("short"), false, &here(), AccountId::FIRST_USER)
        .await
        .unwrap_err();
    assert_eq!((refused.status(), refused), (400, AuthError::WeakPassword(Weakness::TooShort)));
    assert_eq!(accounts.user_by_email("ada@example.org").await, Err(AuthError::UnknownUser));
    // An address that a user of a provider may get.
    let given = "line.0123456789abcdef0123@Users.Invalid";
    let refused = accounts.sign_up(given, password(), false, &here(), AccountId::FIRST_USER).await.map(drop);
    assert_eq!(refused, Err(AuthError::InvalidEmail));
    assert_eq!(accounts.create_admin(given, password()).await, Err(AuthError::InvalidEmail));
}

#[actix_rt::test]
async fn a_wrong_password_and_an_unknown_address_look_alike_and_are_slowed_down() {
    let venue = Venue::new();
    let accounts = venue.start();
    sign_up(&accounts, "ada@example.org").await;
    for email in ["ada@example.org", "nobody@example.org"] {
        for guess in ["wrong password", "short", &"long".repeat(99)].into_iter().cycle().take(10) {
            let refused = accounts.sign_in(email, Secret::new(guess), &here()).await.unwrap_err();
            assert_eq!((refused.status(), refused), (401, AuthError::WrongCredentials), "{email}");
        }
        let refused = accounts.sign_in(email, password(), &here()).await.unwrap_err();
        assert_eq!((refused.status(), refused.retry_after_s()), (429, Some(1)), "{email}");
    }
    venue.wait(SECOND);
    assert!(accounts.sign_in("ada@example.org", password(), &here()).await.is_ok());
}

#[actix_rt::test]
async fn a_session_ends_by_itself() {
    let venue = Venue::new();
    let accounts = venue.start_with(Settings { session_lifetime: HOUR, token_lifetime: HOUR, ..Settings::default() });
    let ada = sign_up(&accounts, "ada@example.org").await;
    venue.wait(HOUR - SECOND);
    let caller = accounts.authenticate(ada.token.expose()).unwrap();
    assert!(accounts.still_counts(&caller));
    venue.wait(SECOND);
    assert!(!accounts.still_counts(&caller), "nor do open sockets");
    assert_eq!(accounts.authenticate(ada.token.expose()), Err(AuthError::TokenExpired));
    assert_eq!(accounts.sessions(ada.user.id).await.unwrap(), []);
}

#[actix_rt::test]
async fn tokens_and_revocations_outlive_a_restart() {
    let venue = Venue::new();
    let accounts = venue.start();
    let (ada, bob) = (sign_up(&accounts, "ada@example.org").await, sign_up(&accounts, "bob@example.org").await);
    accounts.sign_out(ada.session).await.unwrap();
    let jwks = accounts.jwks().to_owned();
    drop(accounts);

    let accounts = venue.start();
    assert_eq!(accounts.jwks(), jwks);
    assert_eq!(accounts.authenticate(ada.token.expose()), Err(AuthError::TokenRevoked));
    assert_eq!(accounts.authenticate(bob.token.expose()).unwrap().user, bob.user.id);
    assert!(accounts.sign_in("ada@example.org", password(), &here()).await.is_ok());
}

#[actix_rt::test]
async fn another_process_learns_of_a_sign_out() {
    let venue = Venue::new();
    let (here, there) = (venue.start(), venue.start());
    let ada = sign_up(&here, "ada@example.org").await;
    assert!(there.authenticate(ada.token.expose()).is_ok());
    venue.wait(10 * MINUTE);
    here.sign_out(ada.session).await.unwrap();
    there.tend().await.unwrap();
    assert_eq!(there.authenticate(ada.token.expose()), Err(AuthError::TokenRevoked));
    // Tending again and again brings back nothing that was ended.
    for accounts in [&here, &there] {
        venue.wait(MINUTE);
        accounts.tend().await.unwrap();
        accounts.tend().await.unwrap();
        assert_eq!(accounts.authenticate(ada.token.expose()), Err(AuthError::TokenRevoked));
    }
}

#[actix_rt::test]
async fn a_process_that_was_cut_off_learns_of_what_was_ended_long_ago() {
    let venue = Venue::new();
    let (here, there) = (venue.start(), venue.start());
    let ada = sign_up(&here, "ada@example.org").await;
    let caller = there.authenticate(ada.token.expose()).unwrap();
    there.tend().await.unwrap();
    here.sign_out(ada.session).await.unwrap();
    // Longer than any of its tokens counts; a socket that it opened would be open still.
    venue.wait(20 * MINUTE);
    assert!(there.still_counts(&caller));
    there.tend().await.unwrap();
    assert!(!there.still_counts(&caller));
}

#[actix_rt::test]
async fn what_was_ended_stays_so_after_the_clock_was_ahead() {
    let venue = Venue::new();
    let accounts = venue.start();
    let ada = sign_up(&accounts, "ada@example.org").await;
    let week = Device { plan: Plan::OneToken(7 * DAY), ..Device::default() };
    let long = accounts.sign_in("ada@example.org", password(), &week).await.unwrap();
    for session in [ada.session, long.session] {
        accounts.sign_out(session).await.unwrap();
    }
    venue.wait(5 * MINUTE);
    accounts.tend().await.unwrap();
    // The last is so far that not even the sessions' rows would be kept.
    for ahead in [HOUR, 10 * DAY, 100 * DAY] {
        venue.wait(ahead);
        accounts.tend().await.unwrap();
        // It is not set back at once, and in two steps.
        for later in [SECOND, HOUR, -ahead / 4] {
            venue.wait(later);
            accounts.tend().await.unwrap();
        }
        venue.wait(ahead / 4 - ahead - HOUR - SECOND);
        accounts.tend().await.unwrap();
        for token in [&ada.token, &long.token] {
            assert_eq!(accounts.authenticate(token.expose()), Err(AuthError::TokenRevoked), "{ahead}");
        }
    }
    drop(accounts);
    assert_eq!(venue.start().authenticate(long.token.expose()), Err(AuthError::TokenRevoked));
}

#[actix_rt::test]
async fn the_last_use_is_stored_and_old_sessions_are_removed() {
    let venue = Venue::new();
    let accounts = venue.start();
    let ada = sign_up(&accounts, "ada@example.org").await;
    venue.wait(10 * MINUTE);
    accounts.authenticate(ada.token.expose()).unwrap();
    accounts.tend().await.unwrap();
    assert_eq!(accounts.sessions(ada.user.id).await.unwrap()[0].last_used, START + 10 * MINUTE);
    venue.wait(61 * DAY);
    accounts.tend().await.unwrap();
    // Nothing is forgotten by a clock that has leapt, before it has gone on for a day.
    venue.wait(DAY);
    accounts.tend().await.unwrap();
    venue.time.store(START.0, Ordering::SeqCst);
    assert_eq!(accounts.sessions(ada.user.id).await.unwrap(), []);
}

#[actix_rt::test]
async fn a_new_role_ends_the_old_sessions() {
    let venue = Venue::new();
    let accounts = venue.start();
    let ada = sign_up(&accounts, "ada@example.org").await;
    let caller = accounts.authenticate(ada.token.expose()).unwrap();
    assert_eq!(caller.require(Role::User), Ok(()));
    assert_eq!(caller.require(Role::Admin), Err(AuthError::RoleTooLow { needed: Role::Admin }));

    assert_eq!(accounts.set_role(ada.user.id, Role::Admin).await, Ok(vec![ada.session]));
    assert_eq!(accounts.authenticate(ada.token.expose()), Err(AuthError::TokenRevoked));
    let again = accounts.sign_in("ada@example.org", password(), &here()).await.unwrap();
    assert_eq!(accounts.authenticate(again.token.expose()).unwrap().require(Role::Admin), Ok(()));
    assert_eq!(accounts.set_role(AccountId(99), Role::Admin).await, Err(AuthError::UnknownUser));

    let admin = accounts.create_admin("root@example.org", password()).await.unwrap();
    assert_eq!((admin.role, admin.demo), (Role::Admin, false));
    assert_eq!(accounts.sessions(admin.id).await.unwrap(), []);
    assert_eq!(accounts.create_admin("ROOT@example.org", password()).await, Err(AuthError::EmailTaken));
    assert_eq!(accounts.sign_out_everywhere(again.user.id).await, Ok(vec![again.session]));
    assert_eq!(accounts.authenticate(again.token.expose()), Err(AuthError::TokenRevoked));
}

#[actix_rt::test]
async fn fifty_people_sign_up_at_once() {
    let venue = Venue::new();
    let accounts = venue.start();
    let emails: Vec<String> = (0..50).map(|n| format!("user{n}@example.org")).collect();
    let all = futures_util::future::join_all(emails.iter().map(|email| sign_up(&accounts, email))).await;
    let ids: BTreeSet<u32> = all.iter().map(|signed_in| signed_in.user.id.0).collect();
    assert_eq!(ids, (2..52).collect());
    for (signed_in, email) in all.iter().zip(&emails) {
        assert_eq!(signed_in.user.email, *email);
        assert_eq!(accounts.authenticate(signed_in.token.expose()).unwrap().user, signed_in.user.id);
    }
}

#[actix_rt::test]
async fn the_number_of_a_lost_user_becomes_nobodys() {
    let venue = Venue::new();
    let accounts = venue.start();
    let (device, first) = (here(), AccountId(9));
    let sign_up = || accounts.sign_up("ada@example.org", password(), false, &device, first);
    assert_eq!(sign_up().await.map(drop), Err(AuthError::StoreUnavailable));
    let nobody = accounts.sign_in("ada@example.org", password(), &device).await;
    assert_eq!(nobody.map(drop), Err(AuthError::WrongCredentials));
    assert_eq!(sign_up().await.map(|made| made.user.id), Ok(first));
}

/// Whoever signs in at once has opened the account before the sign-up did, and is no stranger to it.
#[actix_rt::test]
async fn only_who_has_not_signed_in_again_is_taken_back() {
    let venue = Venue::new();
    let accounts = venue.start();
    let (ada, bob) = (sign_up(&accounts, "ada@example.org").await, sign_up(&accounts, "bob@example.org").await);
    accounts.sign_in("ada@example.org", password(), &here()).await.unwrap();
    let newest = AccountId(40);
    assert_eq!(accounts.take_back(ada.user.id, newest).await, Ok(false));
    assert!(accounts.authenticate(ada.token.expose()).is_ok());
    assert_eq!(accounts.take_back(bob.user.id, newest).await, Ok(true));
    assert!(accounts.authenticate(bob.token.expose()).is_err());
    assert_eq!(sign_up(&accounts, "bob@example.org").await.user.id, AccountId(41));
}

#[actix_rt::test]
async fn a_crowd_is_served_or_told_to_come_back() {
    let venue = Venue::new();
    let accounts = venue.start_with(Settings { password_queue: 1, ..Settings::default() });
    sign_up(&accounts, "ada@example.org").await;
    let emails: Vec<String> = (0..40).map(|n| format!("crowd{n}@example.org")).collect();
    let device = here();
    let sign_ups =
        emails.iter().map(|email| accounts.sign_up(email, password(), false, &device, AccountId::FIRST_USER));
    let outcomes = futures_util::future::join_all(sign_ups).await;
    assert!(outcomes.iter().any(Result::is_ok));
    for refused in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        assert_eq!((*refused, refused.status()), (AuthError::Overloaded, 503));
        assert!(refused.retry_after_s().is_some_and(|seconds| (1..=8).contains(&seconds)));
    }
    // Being turned away for lack of room is no guess: the address is not blocked by it.
    let sign_ins = (0..9).map(|_| accounts.sign_in("ada@example.org", password(), &device));
    for outcome in futures_util::future::join_all(sign_ins).await {
        assert!(matches!(outcome, Ok(_) | Err(AuthError::Overloaded)), "{outcome:?}");
    }
    for _ in 0..20 {
        assert!(accounts.sign_in("ada@example.org", password(), &here()).await.is_ok());
    }
}

#[actix_rt::test]
async fn an_unreachable_store_is_a_failure_and_no_refusal() {
    let venue = Venue::new();
    let accounts = venue.start();
    let ada = sign_up(&accounts, "ada@example.org").await;
    let other = Database::open(&venue.folder.path().join("agora.db")).unwrap();
    other
        .write(|conn| {
            use diesel::connection::SimpleConnection;
            conn.batch_execute("ALTER TABLE sessions RENAME TO lost")
        })
        .unwrap();
    let failed = accounts.sign_in("ada@example.org", password(), &here()).await.unwrap_err();
    assert_eq!((failed.status(), failed), (503, AuthError::StoreUnavailable));
    // A sign-out that cannot be stored still counts here, and the caller is told.
    assert!(accounts.authenticate(ada.token.expose()).is_ok());
    assert_eq!(accounts.sign_out(ada.session).await, Err(AuthError::StoreUnavailable));
    assert_eq!(accounts.authenticate(ada.token.expose()), Err(AuthError::TokenRevoked));
}

#[actix_rt::test]
async fn no_debug_output_holds_a_secret() {
    let venue = Venue::new();
    let accounts = venue.start();
    let ada = sign_up(&accounts, "ada@example.org").await;
    let shown = format!("{:?} {:?} {:?} {:#?} {:?}", password(), ada, accounts, ada, Settings::default());
    assert!(!shown.contains(PASSWORD) && !shown.contains(ada.token.expose()) && !shown.contains("argon2"), "{shown}");
    assert!(ada.token.expose().split('.').all(|part| !shown.contains(part)), "{shown}");
    let read: Secret = serde_json::from_str("\"hunter2hunter2\"").unwrap();
    assert_eq!((read.expose(), format!("{read:?}").as_str()), ("hunter2hunter2", "Secret(hidden)"));
}

#[actix_rt::test]
async fn a_refresh_token_counts_once_and_a_second_use_ends_the_session() {
    let venue = Venue::new();
    let accounts = venue.start();
    let ada = sign_up(&accounts, "ada@example.org").await;
    let first = ada.refresh.clone().unwrap();
    venue.wait(14 * MINUTE);
    let second = accounts.refresh(&first, &named("phone")).await.unwrap();
    assert_eq!((second.user.id, second.session), (ada.user.id, ada.session));
    assert_eq!(second.expires_at, (START + 29 * MINUTE).bucket(SECOND));
    assert_eq!(accounts.sessions(ada.user.id).await.unwrap()[0].user_agent, "phone");
    venue.wait(2 * MINUTE);
    assert_eq!(accounts.authenticate(ada.token.expose()), Err(AuthError::TokenExpired));
    assert!(accounts.authenticate(second.token.expose()).is_ok());

    assert_eq!(accounts.refresh(&first, &here()).await.unwrap_err(), AuthError::TokenReused);
    assert_eq!(accounts.authenticate(second.token.expose()), Err(AuthError::TokenRevoked));
    let next = second.refresh.unwrap();
    assert_eq!(accounts.refresh(&next, &here()).await.unwrap_err(), AuthError::TokenRevoked);
    assert_eq!(accounts.sessions(ada.user.id).await.unwrap(), []);

    // Made-up and altered tokens end nobody's session.
    let bob = sign_up(&accounts, "bob@example.org").await;
    let good = bob.refresh.unwrap();
    for place in 0..good.expose().len() {
        let mut altered = good.expose().as_bytes().to_vec();
        altered[place] = if altered[place] == b'A' { b'B' } else { b'A' };
        let altered = Secret::new(String::from_utf8(altered).unwrap());
        assert_eq!(accounts.refresh(&altered, &here()).await.unwrap_err(), AuthError::TokenInvalid, "{place}");
    }
    let device = here();
    let (one, other) = tokio::join!(accounts.refresh(&good, &device), accounts.refresh(&good, &device));
    let refused = [&one, &other].into_iter().filter(|outcome| outcome.is_err()).count();
    assert_eq!(refused, 1, "of two at once one counts");
    venue.wait(31 * 24 * HOUR);
    let carol = sign_up(&accounts, "carol@example.org").await;
    venue.wait(30 * 24 * HOUR);
    assert_eq!(accounts.refresh(&carol.refresh.unwrap(), &here()).await.unwrap_err(), AuthError::TokenExpired);
}

#[actix_rt::test]
async fn a_refresh_for_which_nobody_waits_any_more_is_none() {
    let venue = Venue::new();
    let accounts = venue.start();
    let ada = sign_up(&accounts, "ada@example.org").await;
    let token = ada.refresh.unwrap();
    // Somebody else writes for so long that the caller gives up.
    let other = Database::open(&venue.folder.path().join("agora.db")).unwrap();
    let (release, gate) = crossbeam_channel::bounded::<()>(0);
    let (tell, writing) = crossbeam_channel::bounded::<()>(1);
    let writer = std::thread::spawn(move || {
        other.write(|_| {
            tell.send(()).unwrap();
            gate.recv().unwrap_err();
            Ok(())
        })
    });
    writing.recv().unwrap();
    let device = here();
    let mut refresh = Box::pin(accounts.refresh(&token, &device));
    assert!(futures_util::poll!(&mut refresh).is_pending());
    // Until a worker is at it.
    std::thread::sleep(std::time::Duration::from_millis(300));
    drop(refresh);
    drop(release);
    writer.join().unwrap().unwrap();
    let next = accounts.refresh(&token, &device).await.unwrap();
    assert_eq!(next.session, ada.session);
    assert_eq!(accounts.refresh(&token, &device).await.unwrap_err(), AuthError::TokenReused);
}

#[actix_rt::test]
async fn a_session_of_one_token_lives_as_long_as_it_was_made_for() {
    let venue = Venue::new();
    let accounts = venue.start();
    sign_up(&accounts, "ada@example.org").await;
    let week = Device { plan: Plan::OneToken(7 * 24 * HOUR), ..Device::default() };
    let long = accounts.sign_in("ada@example.org", password(), &week).await.unwrap();
    assert!(long.refresh.is_none() && long.expires_at == long.session_expires_at);
    venue.wait(7 * 24 * HOUR - 2 * SECOND);
    let caller = accounts.authenticate(long.token.expose()).unwrap();
    assert!(accounts.still_counts(&caller));
    accounts.sign_out(long.session).await.unwrap();
    assert!(!accounts.still_counts(&caller));
    accounts.tend().await.unwrap();
    assert!(!accounts.still_counts(&caller));
}

#[actix_rt::test]
async fn an_open_socket_outlives_its_token_but_not_its_session() {
    let venue = Venue::new();
    let accounts = venue.start();
    let ada = sign_up(&accounts, "ada@example.org").await;
    let caller = accounts.authenticate(ada.token.expose()).unwrap();
    venue.wait(HOUR);
    assert_eq!(accounts.authenticate(ada.token.expose()), Err(AuthError::TokenExpired));
    assert!(accounts.still_counts(&caller));
    venue.wait(30 * 24 * HOUR - HOUR);
    assert!(!accounts.still_counts(&caller));
}

#[actix_rt::test]
async fn another_password_ends_the_other_sessions() {
    let venue = Venue::new();
    let accounts = venue.start();
    let ada = sign_up(&accounts, "ada@example.org").await;
    let other = accounts.sign_in("ada@example.org", password(), &here()).await.unwrap();
    let new = || Secret::new("another good one");
    let change = |old: &str, new| accounts.change_password(ada.user.id, ada.session, Secret::new(old), new, None);
    assert_eq!(change("wrong password", new()).await, Err(AuthError::WrongCredentials));
    assert_eq!(change(PASSWORD, Secret::new("short")).await, Err(AuthError::WeakPassword(Weakness::TooShort)));
    assert_eq!(change(PASSWORD, new()).await, Ok(vec![other.session]));
    assert!(accounts.authenticate(ada.token.expose()).is_ok());
    assert_eq!(accounts.authenticate(other.token.expose()), Err(AuthError::TokenRevoked));
    assert!(accounts.sign_in("ada@example.org", new(), &here()).await.is_ok());
    assert_eq!(
        accounts.sign_in("ada@example.org", password(), &here()).await.unwrap_err(),
        AuthError::WrongCredentials
    );
    assert_eq!(accounts.forgot_password("ada@example.org", None), Err(AuthError::MailNotConfigured));
}

#[actix_rt::test]
async fn of_two_who_change_a_password_at_once_one_knows_the_old_one_no_more() {
    let venue = Venue::new();
    let accounts = venue.start();
    let ada = sign_up(&accounts, "ada@example.org").await;
    let other = accounts.sign_in("ada@example.org", password(), &here()).await.unwrap();
    let change = |kept, new: &str| accounts.change_password(ada.user.id, kept, password(), Secret::new(new), None);
    // Both prove the old one before either has stored another.
    let words = ["the first good one", "the second good one"];
    let (one, two) = tokio::join!(change(ada.session, words[0]), change(other.session, words[1]));
    let outcomes = [one, two];
    let refused: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    assert_eq!(refused, [&AuthError::WrongCredentials]);
    for (word, outcome) in words.into_iter().zip(&outcomes) {
        let counts = accounts.sign_in("ada@example.org", Secret::new(word), &here()).await.is_ok();
        assert_eq!(counts, outcome.is_ok(), "{word}");
    }
}
