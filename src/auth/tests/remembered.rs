//! What is done to an account and what is remembered of it are one: there is no moment between the two in which
//! somebody could hang up and keep the owner from hearing of it.

use super::*;
use crate::auth::audit::by_owner;
use crate::persistence::audit::Filter;
use crate::persistence::identities;
use serde_json::json;

const DENY: &str = "CREATE TRIGGER deny BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END";

fn new_key() -> NewKey {
    let (label, passphrase) = (String::new(), Secret::new("words"));
    NewKey { label, passphrase, scopes: vec![Scope::View], networks: Vec::new(), expires_at: None }
}

#[actix_rt::test]
async fn what_cannot_be_remembered_is_not_done() {
    let venue = Venue::new();
    let accounts = venue.start();
    let ada = sign_up(&accounts, "ada@example.org").await;
    let user = ada.user.id;
    let other = accounts.sign_in("ada@example.org", password(), &here()).await.unwrap();
    accounts.write(move |conn| identities::link(conn, "line", "u1", user, START)).await.unwrap();
    let entry = move |action| by_owner(action, user, None, json!({}));
    accounts.put_outlet(user, "line", "", &[], false, move |_| entry("made")).await.unwrap();
    let kept = accounts.create_key(user, new_key()).await.unwrap().key.id;
    let new = || Secret::new("another good one");

    let change = || accounts.change_password(user, ada.session, password(), new(), None);
    let make = || accounts.create_key_noted(user, new_key(), |_| Some(entry("key_created")));
    let revoke = || accounts.revoke_key_noted(user, &kept, Some(entry("key_revoked")));
    let unlink = || accounts.unlink(user, "line", None);
    let set = || accounts.set(key::NOTICE, json!("new"), None, user, None);
    let leave = || accounts.leave_everywhere(user, None);
    let promote = || accounts.set_role_noted(user, Role::Support, move |_| Some(entry("role_changed")));
    let shut_out = || accounts.sign_out_everywhere_noted(user, move |_| entry("signed_out_by_admin"));
    let hook = "https://example.org/hook";
    let put = || accounts.put_outlet(user, "webhook", hook, &[], false, move |_| entry("outlet_changed"));
    let remove = || accounts.remove_outlet(user, "line", move |_| entry("outlet_removed"));
    run(&accounts, DENY).await;
    let failed = Err(AuthError::StoreUnavailable);
    assert_eq!(change().await.map(drop), failed);
    assert_eq!(make().await.map(drop), failed);
    assert_eq!(revoke().await, failed);
    assert_eq!(unlink().await, failed);
    assert_eq!(set().await.map(drop), failed);
    assert_eq!(leave().await.map(drop), failed);
    assert_eq!(promote().await.map(drop), failed);
    assert_eq!(shut_out().await.map(drop), failed);
    assert_eq!(put().await.map(drop), failed);
    assert_eq!(remove().await, failed);
    run(&accounts, "DROP TRIGGER deny").await;

    assert!(accounts.authenticate(other.token.expose()).is_ok());
    assert_eq!(accounts.sessions(user).await.unwrap().len(), 2);
    assert_eq!(accounts.user(user).await.unwrap().role, Role::User);
    let outlets = accounts.outlets(user).await.unwrap();
    assert_eq!(outlets.iter().map(|row| row.kind.as_str()).collect::<Vec<_>>(), ["line"]);
    assert_eq!(
        accounts.keys(user).await.unwrap().into_iter().map(|key| key.id).collect::<Vec<_>>(),
        std::slice::from_ref(&kept)
    );
    assert_eq!(accounts.identities(user).await.unwrap().len(), 1);
    accounts.follow_runtime().await.unwrap();
    assert_eq!(accounts.runtime().settings()[key::NOTICE].version, 0);

    assert_eq!(change().await, Ok(vec![other.session]));
    make().await.unwrap();
    assert_eq!(revoke().await, Ok(()));
    assert_eq!(revoke().await, Err(AuthError::NoSuchKey), "which is not remembered");
    assert_eq!(unlink().await, Ok(()));
    set().await.unwrap().unwrap();
    let again = accounts.sign_in("ada@example.org", new(), &here()).await.unwrap().session;
    assert_eq!(accounts.end_session(user, again, None).await, Ok(()));
    assert_eq!(accounts.end_session(user, again, None).await, Err(AuthError::NoSuchSession));
    assert_eq!(leave().await, Ok(vec![ada.session]));
    let again = accounts.sign_in("ada@example.org", new(), &here()).await.unwrap().session;
    assert_eq!(promote().await, Ok(vec![again]));
    let again = accounts.sign_in("ada@example.org", new(), &here()).await.unwrap().session;
    assert_eq!(shut_out().await, Ok(vec![again]));
    assert!(put().await.unwrap().is_some(), "a new webhook has a new secret");
    assert_eq!(remove().await, Ok(()));
    assert_eq!(remove().await, Err(AuthError::NoSuchOutlet), "which is not remembered");
    let (rows, _) = accounts.audit(Filter { subject: Some(user), limit: 99, ..Filter::default() }).await.unwrap();
    for action in [
        "password_changed",
        "key_created",
        "key_revoked",
        "identity_unlinked",
        "config_changed",
        "session_ended",
        "sign_out_all",
        "role_changed",
        "signed_out_by_admin",
        "outlet_changed",
        "outlet_removed",
    ] {
        let found: Vec<_> = rows.iter().filter(|row| row.action == action).map(|row| row.actor).collect();
        assert_eq!(found, [Some(i64::from(user.0))], "{action}");
    }
}

/// Not even a thief learns whether a token was used before without the owner hearing of it.
#[actix_rt::test]
async fn a_token_that_is_used_twice_ends_its_session_and_is_remembered() {
    let venue = Venue::new();
    let accounts = venue.start();
    let ada = sign_up(&accounts, "ada@example.org").await;
    let token = ada.refresh.unwrap();
    let next = accounts.refresh(&token, &here()).await.unwrap();
    run(&accounts, DENY).await;
    assert_eq!(accounts.refresh(&token, &here()).await.map(drop), Err(AuthError::StoreUnavailable));
    assert!(accounts.authenticate(next.token.expose()).is_ok());
    run(&accounts, "DROP TRIGGER deny").await;
    assert_eq!(accounts.refresh(&token, &here()).await.map(drop), Err(AuthError::TokenReused));
    assert_eq!(accounts.authenticate(next.token.expose()), Err(AuthError::TokenRevoked));
    let reused = Filter { action: Some("refresh_token_reused".into()), limit: 9, ..Filter::default() };
    assert_eq!(accounts.audit(reused).await.unwrap().0.len(), 1);
}
