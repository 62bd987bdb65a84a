//! The audit log: what happens to security, and what administrators do, with what was before and after.

use crate::factors::totp;
use crate::keys::make_key;
use crate::roles::{make_admin, sign_in};
use crate::server::{Answer, Client, Server};
use crate::sessions::post;
use crate::smtp::MailServer;
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse battery";

/// The only row of this action.
fn find(rows: &[Value], action: &str) -> Value {
    let found: Vec<&Value> = rows.iter().filter(|row| row["action"] == action).collect();
    assert_eq!(found.len(), 1, "{action}: {rows:#?}");
    found[0].clone()
}

fn done(answer: &Answer) -> Value {
    assert!(matches!(answer.status, 200 | 201), "{} {}", answer.status, answer.json());
    answer.json()
}

fn own_id(client: &mut Client) -> String {
    client.get("/auth/me")["id"].as_str().unwrap().to_owned()
}

fn mailed_code(mails: &MailServer) -> String {
    mails.next().split("Your code: ").nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect()
}

#[test]
fn what_people_do_with_sessions_passwords_and_addresses_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    make_admin(folder.path());
    let mails = MailServer::start();
    let server = Server::start_with(folder.path(), &["--accounts-smtp-url", &mails.url()]);
    // A user's own address.
    let mut bob = Client::sign_up(&server, "bob@example.org");
    done(&post(&mut bob, "/auth/email", &json!({"email": "bob@example.org"})));
    let code = mailed_code(&mails);
    done(&post(&mut bob, "/auth/email/confirm", &json!({"email": "bob@example.org", "code": code})));

    let mut ada = Client::sign_up(&server, "ada@example.org");
    let id = own_id(&mut ada);
    // Sessions.
    let mut phone = sign_in(&server, "ada@example.org");
    done(&post(&mut phone, "/auth/sign-out", &json!({})));
    sign_in(&server, "ada@example.org");
    let sessions = ada.get("/auth/sessions");
    let other = sessions.as_array().unwrap().iter().find(|session| session["current"] == false).unwrap();
    done(&ada.send("DELETE", &format!("/auth/sessions/{}", other["id"].as_str().unwrap()), b"").unwrap());
    // The second factor.
    let seed = done(&post(&mut ada, "/auth/totp", &json!({})))["secret"].as_str().unwrap().to_owned();
    let codes =
        done(&post(&mut ada, "/auth/totp/confirm", &json!({"code": totp(&seed, -1)})))["recovery_codes"].clone();
    let remove = json!({"password": PASSWORD, "code": codes[0]}).to_string();
    done(&ada.send("DELETE", "/auth/totp", remove.as_bytes()).unwrap());
    // Passwords.
    let reset = json!({"email": "ada@example.org", "code": "000000000", "new_password": "a good one"});
    assert_eq!(post(&mut server.client(""), "/auth/password/reset", &reset).status, 400);
    let change = json!({"old_password": PASSWORD, "new_password": "another good one"});
    done(&post(&mut ada, "/auth/password", &change));
    // Another address.
    let wish = json!({"email": "ada@example.net", "password": "another good one"});
    done(&post(&mut ada, "/auth/email", &wish));
    let code = mailed_code(&mails);
    done(&post(&mut ada, "/auth/email/confirm", &json!({"email": "ada@example.net", "code": code})));
    done(&post(&mut ada, "/auth/sign-out-all", &json!({})));

    let mut admin = sign_in(&server, "root@example.org");
    let rows = admin.get(&format!("/admin/audit?user={id}&limit=100"));
    let rows = rows.as_array().unwrap();
    for action in [
        "sign_up",
        "sign_out",
        "session_ended",
        "totp_enabled",
        "totp_disabled",
        "password_changed",
        "email_changed",
        "sign_out_all",
    ] {
        let row = find(rows, action);
        assert_eq!((&row["actor"], &row["address"]), (&json!(id), &json!("127.0.0.1")), "{action}");
    }
    assert_eq!(find(rows, "session_ended")["detail"]["session"], other["id"]);
    let changed = find(rows, "email_changed")["detail"].clone();
    assert_eq!((&changed["before"], &changed["after"]), (&json!("ada@example.org"), &json!("ada@example.net")));
    // Nobody knows who it was that had a wrong code.
    let failed = find(rows, "password_reset_failed");
    assert_eq!((&failed["actor"], &failed["detail"]["email"]), (&Value::Null, &json!("ada@example.org")));
    let confirmed = admin.get(&format!("/admin/audit?user={}&action=email_confirmed", own_id(&mut bob)));
    assert_eq!(confirmed.as_array().map(Vec::len), Some(1));
}

#[test]
fn what_administrators_do_with_markets_and_links_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    make_admin(folder.path());
    let server = Server::start_with(folder.path(), &["--links-domains", "s.example"]);
    let mut admin = sign_in(&server, "root@example.org");
    // Markets.
    done(&post(&mut admin, "/admin/currencies", &json!({"id": "SOL", "name": "Solana", "decimals": 9})));
    let market = json!({
        "base_currency": "SOL", "quote_currency": "USDT", "base_increment": "0.001", "quote_increment": "0.01",
    });
    done(&post(&mut admin, "/admin/markets", &market));
    done(&admin.send("PATCH", "/admin/markets/SOL-USDT", br#"{"max_open_orders": 7}"#).unwrap());
    done(&post(&mut admin, "/admin/markets/SOL-USDT/auction", &json!({"seconds": 1})));
    let kill = json!({"scope": "market", "product_id": "BTC-USDT", "engaged": true, "reason": "a test"});
    done(&post(&mut admin, "/admin/kill", &kill));
    // Links.
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let owner = own_id(&mut ada);
    let link = done(&post(&mut ada, "/links", &json!({"target": "https://example.org/", "slug": "found"})));
    done(&post(&mut server.client(""), "/links/reports", &json!({"link": "found", "reason": "spam"})));
    let report = admin.get("/admin/links/reports")[0]["id"].as_str().unwrap().to_owned();
    let dismiss = json!({"action": "dismiss", "note": "no harm"});
    done(&post(&mut admin, &format!("/admin/links/reports/{report}/resolve"), &dismiss));
    for deed in ["block", "unblock"] {
        done(&post(&mut admin, &format!("/admin/links/{}/{deed}", link["id"].as_str().unwrap()), &json!({})));
    }
    done(&admin.send("PUT", "/admin/links/hosts/bad.example", br#"{"note": "malware"}"#).unwrap());
    done(&admin.send("DELETE", "/admin/links/hosts/bad.example", b"").unwrap());
    done(&admin.send("PUT", "/admin/links/domains/s.example", br#"{"slug_length": 6}"#).unwrap());

    let own = own_id(&mut admin);
    let rows = admin.get(&format!("/admin/audit?actor={own}&limit=100"));
    let rows = rows.as_array().unwrap();
    for (action, field, value) in [
        ("currency_listed", "currency", json!("SOL")),
        ("market_listed", "product_id", json!("SOL-USDT")),
        ("auction_begun", "product_id", json!("SOL-USDT")),
        ("kill_switch", "product_id", json!("BTC-USDT")),
        ("link_report_dismissed", "note", json!("no harm")),
        ("link_host_blocked", "host", json!("bad.example")),
        ("link_host_unblocked", "host", json!("bad.example")),
        ("link_domain_set", "after", json!({"slug_length": 6})),
    ] {
        let row = find(rows, action);
        assert_eq!((&row["user"], &row["detail"][field]), (&json!(own), &value), "{action}");
    }
    let changed = find(rows, "market_changed")["detail"].clone();
    assert_ne!(changed["before"]["max_open_orders"], changed["after"]["max_open_orders"]);
    for action in ["link_blocked", "link_unblocked"] {
        assert_eq!(find(rows, action)["user"], json!(owner), "{action}");
    }
}

#[test]
fn what_happens_to_accounts_and_what_administrators_do_to_them_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    make_admin(folder.path());
    let mails = MailServer::start();
    let more = ["--accounts-smtp-url", &mails.url(), "--allow-drills", "--custody-approval-above", "BTC=0"];
    let server = Server::start_with(folder.path(), &more);
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let id = own_id(&mut ada);
    let enter = |password: &str, code: Value| {
        let body = json!({"email": "ada@example.org", "password": password, "totp": code});
        post(&mut server.client(""), "/auth/sign-in", &body).json()
    };

    // Sessions and refresh tokens.
    let session = enter(PASSWORD, Value::Null);
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
    enter(PASSWORD, json!("000000"));
    enter(PASSWORD, codes[0].clone());
    // Passwords.
    post(&mut ada, "/auth/password/forgot", &json!({"email": "ada@example.org"}));
    let code = mailed_code(&mails);
    let reset = json!({"email": "ada@example.org", "code": code, "new_password": "another good one"});
    assert_eq!(post(&mut ada, "/auth/password/reset", &reset).status, 200);

    let mut admin = sign_in(&server, "root@example.org");
    let rows = admin.get(&format!("/admin/audit?user={id}&limit=100"));
    let rows = rows.as_array().unwrap();
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
