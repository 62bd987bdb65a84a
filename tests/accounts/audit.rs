//! The audit log: what happens to security, and what administrators do, with what was before and after.

use crate::factors::totp;
use crate::keys::make_key;
use crate::roles::{make_admin, sign_in};
use crate::server::{Client, Server};
use crate::sessions::post;
use crate::smtp::MailServer;
use serde_json::{Value, json};

#[test]
fn every_security_event_and_every_act_of_an_administrator_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    make_admin(folder.path());
    let mails = MailServer::start();
    let more = ["--accounts-smtp-url", &mails.url(), "--allow-drills", "--custody-approval-above", "BTC=0"];
    let server = Server::start_with(folder.path(), &more);
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let id = ada.get("/auth/me")["id"].as_str().unwrap().to_owned();
    let enter = |password: &str, code: Value| {
        let body = json!({"email": "ada@example.org", "password": password, "totp": code});
        post(&mut server.client(""), "/auth/sign-in", &body).json()
    };
    let password = "correct horse battery";

    // Sessions and refresh tokens.
    let session = enter(password, Value::Null);
    for _ in 0..2 {
        post(&mut server.client(""), "/auth/refresh", &json!({"refresh_token": session["refresh_token"]}));
    }
    enter("wrong password", Value::Null);
    // Keys and outlets.
    let key = make_key(&mut ada, |body| body["label"] = json!("a bot"));
    ada.send("DELETE", &format!("/auth/keys/{}", key.id), b"").unwrap();
    ada.send("PUT", "/notifications/outlets/line", br#"{"events":["fill"]}"#).unwrap();
    ada.send("DELETE", "/notifications/outlets/line", b"").unwrap();
    // The second factor.
    let seed = post(&mut ada, "/auth/totp", &json!({})).json()["secret"].as_str().unwrap().to_owned();
    let codes =
        post(&mut ada, "/auth/totp/confirm", &json!({"code": totp(&seed, -1)})).json()["recovery_codes"].clone();
    enter(password, json!("000000"));
    enter(password, codes[0].clone());
    // Passwords.
    post(&mut ada, "/auth/password/forgot", &json!({"email": "ada@example.org"}));
    let mail = mails.next();
    let code: String = mail.split("Your code: ").nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect();
    let reset = json!({"email": "ada@example.org", "code": code, "new_password": "another good one"});
    assert_eq!(post(&mut ada, "/auth/password/reset", &reset).status, 200);

    let mut admin = sign_in(&server, "root@example.org");
    let rows = admin.get(&format!("/admin/audit?user={id}&limit=100"));
    let rows = rows.as_array().unwrap();
    let find = |rows: &[Value], action: &str| -> Value {
        let found: Vec<&Value> = rows.iter().filter(|row| row["action"] == action).collect();
        assert_eq!(found.len(), 1, "{action}: {rows:#?}");
        found[0].clone()
    };
    for action in [
        "sign_up",
        "sign_in_failed",
        "refresh_token_reused",
        "key_created",
        "key_revoked",
        "outlet_changed",
        "outlet_removed",
        "totp_enabled",
        "second_factor_failed",
        "recovery_code_used",
        "password_reset_requested",
        "password_reset",
    ] {
        let row = find(rows, action);
        assert_eq!((&row["address"], &row["user"]), (&json!("127.0.0.1"), &json!(id)), "{action}");
        assert_eq!(row["user_email"], "ada@example.org", "{action}");
    }
    assert_eq!(find(rows, "key_created")["detail"]["after"]["label"], "a bot");
    assert_eq!(find(rows, "key_revoked")["detail"]["before"]["label"], "a bot");
    let changed = find(rows, "outlet_changed")["detail"].clone();
    assert_eq!((&changed["before"], &changed["after"]["events"]), (&Value::Null, &json!(["fill"])));
    assert_eq!(find(rows, "outlet_removed")["detail"]["before"]["events"], json!(["fill"]));
    // What others do with somebody's credentials has nobody as its author.
    for action in ["sign_in_failed", "refresh_token_reused", "second_factor_failed", "password_reset_requested"] {
        assert_eq!(find(rows, action)["actor"], Value::Null, "{action}");
    }

    // Administrators.
    let mut ada = {
        let body = json!({"email": "ada@example.org", "password": "another good one", "totp": codes[1]});
        let answer = post(&mut server.client(""), "/auth/sign-in", &body).json();
        server.client(answer["access_token"].as_str().unwrap())
    };
    let wallet = ada.get("/coinbase-accounts");
    let wallet = wallet.as_array().unwrap().iter().find(|wallet| wallet["currency"] == "BTC").unwrap().clone();
    let address =
        post(&mut ada, &format!("/coinbase-accounts/{}/addresses", wallet["id"].as_str().unwrap()), &json!({}));
    let order = json!({"amount": "0.5", "currency": "BTC", "crypto_address": address.json()["address"]});
    let withdrawals = [0, 1].map(|_| {
        let made = post(&mut ada, "/withdrawals/crypto", &order);
        assert_eq!(made.status, 200, "{}", made.json());
        made.json()["id"].as_str().unwrap().to_owned()
    });
    for (withdrawal, deed) in withdrawals.iter().zip(["approve", "reject"]) {
        let answer = post(&mut admin, &format!("/admin/withdrawals/{withdrawal}/{deed}"), &json!({}));
        assert_eq!(answer.status, 200, "{}", answer.json());
    }
    post(&mut admin, &format!("/admin/users/{id}/freeze"), &json!({"reason": "a test"}));
    post(&mut admin, &format!("/admin/users/{id}/unfreeze"), &json!({}));
    post(&mut admin, &format!("/admin/users/{id}/sign-out"), &json!({}));
    admin.send("PUT", &format!("/admin/users/{id}/role"), br#"{"role":"support"}"#).unwrap();
    admin.send("PUT", "/admin/config/notice", br#"{"value":"Hello"}"#).unwrap();
    let path = "/admin/tree/agora/trading/venue/order%20book%20ETH-BTC";
    assert_eq!(post(&mut admin, &format!("{path}/crash"), &json!({})).status, 202);
    assert_eq!(post(&mut admin, &format!("{path}/revive"), &json!({})).status, 200);

    let own = admin.get("/auth/me")["id"].clone();
    let done = admin.get(&format!("/admin/audit?actor={}&limit=100", own.as_str().unwrap()));
    let done = done.as_array().unwrap();
    for (action, before, after) in [
        ("frozen", json!(false), json!(true)),
        ("unfrozen", json!(true), json!(false)),
        ("role_changed", json!("user"), json!("support")),
        ("config_changed", json!(""), json!("Hello")),
    ] {
        let row = find(done, action);
        assert_eq!((&row["detail"]["before"], &row["detail"]["after"]), (&before, &after), "{action}");
    }
    for (action, subject) in [
        ("signed_out_by_admin", json!(id)),
        ("withdrawal_approved", json!(id)),
        ("withdrawal_rejected", json!(id)),
        ("drill", own.clone()),
        ("revived", own.clone()),
    ] {
        assert_eq!(find(done, action)["user"], subject, "{action}");
    }
    assert_eq!(
        find(done, "withdrawal_approved")["detail"]["before"]["amount"],
        find(done, "withdrawal_rejected")["detail"]["before"]["amount"]
    );
    assert_eq!(admin.get("/admin/audit?action=admin_created")[0]["detail"]["by"], "command line");
}
