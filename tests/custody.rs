//! Money that comes and goes through the custodian, and between users.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]

mod server;
#[path = "accounts/smtp.rs"]
#[allow(dead_code, reason = "other tests need more of it")]
mod smtp;

use agora::domain::ids::{AccountId, CurrencyId, Sequence};
use agora::domain::money::Amount;
use agora::domain::time::Timestamp;
use agora::http::ids;
use agora::http::v1::accounts::transfer_id;
use agora::persistence::db::Database;
use agora::persistence::transfers::{self, TransferKind, TransferRow};
use agora::persistence::users;
use serde_json::{Value, json};
use server::{Answer, Client, Server};
use smtp::MailServer;
use std::time::{Duration, Instant};
use uuid::Uuid;

fn post(client: &mut Client, path: &str, body: &Value) -> Answer {
    client.send("POST", path, body.to_string().as_bytes()).unwrap()
}

fn done(client: &mut Client, path: &str, body: &Value) -> Value {
    let answer = post(client, path, body);
    assert_eq!(answer.status, 200, "{path} {body}: {}", answer.json());
    answer.json()
}

/// Status and code of a refusal.
fn refused(client: &mut Client, path: &str, body: &Value) -> (u16, String) {
    let answer = post(client, path, body);
    (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned())
}

fn own_number(client: &mut Client) -> AccountId {
    let id = client.get("/auth/me")["id"].as_str().unwrap().parse().unwrap();
    ids::parse_user(id).unwrap()
}

/// Available and hold of one currency.
fn balance(client: &mut Client, currency: &str) -> (f64, f64) {
    let accounts = client.get("/accounts");
    let account = accounts.as_array().unwrap().iter().find(|account| account["currency"] == currency).unwrap();
    let number = |key: &str| account[key].as_str().unwrap().parse().unwrap();
    (number("available"), number("hold"))
}

fn account_id(client: &mut Client, currency: &str) -> String {
    let accounts = client.get("/accounts");
    let account = accounts.as_array().unwrap().iter().find(|account| account["currency"] == currency).unwrap();
    account["id"].as_str().unwrap().to_owned()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} does not come");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn withdrawals_hold_money_until_it_has_arrived() {
    let folder = tempfile::tempdir().unwrap();
    Client::create_admin(folder.path());
    let more = ["--custody-block-time-ms", "100", "--custody-approval-above", "BTC=1"];
    let server = Server::start_with(folder.path(), &more);
    let mut admin = Client::admin(&server);
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let mut bob = Client::sign_up(&server, "bob@example.org");

    // An address is the same whenever it is asked for, and needs no body.
    let wallets = bob.get("/coinbase-accounts");
    let wallet = wallets.as_array().unwrap().iter().find(|wallet| wallet["currency"] == "BTC").unwrap();
    let path = format!("/coinbase-accounts/{}/addresses", wallet["id"].as_str().unwrap());
    let answer = bob.send("POST", &path, b"").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.json());
    let address = answer.json()["address"].as_str().unwrap().to_owned();
    assert_eq!(done(&mut bob, &path, &json!({"network": "bitcoin"}))["address"], address);
    assert_eq!(post(&mut ada, &path, &json!({})).status, 404, "another's wallet");

    // From Ada to Bob over the network: held, then gone there and come here, less the fee.
    let fee: f64 = ada.get("/withdrawals/fee-estimate?currency=BTC")["fee"].as_str().unwrap().parse().unwrap();
    let order = json!({"amount": 0.5, "currency": "BTC", "crypto_address": address,
        "id": "6b7e0c0e-8f0e-4a39-9b40-6a5d0b9f3a01"});
    let withdrawal = done(&mut ada, "/withdrawals/crypto", &order);
    assert_eq!(done(&mut ada, "/withdrawals/crypto", &order)["id"], withdrawal["id"], "a repeat is the same one");
    for key in ["amount", "fee", "subtotal"] {
        assert!(withdrawal[key].is_string(), "{withdrawal}");
    }
    let (available, hold) = balance(&mut ada, "BTC");
    assert!((available - 9.5).abs() < 1e-9 && (hold == 0.5 || hold == 0.0), "{available} {hold}");
    until("the money", || balance(&mut bob, "BTC").0 > 10.0);
    assert!((balance(&mut bob, "BTC").0 - (10.5 - fee)).abs() < 1e-9);
    until("the end of the hold", || balance(&mut ada, "BTC") == (9.5, 0.0));

    // Above the limit an administrator decides; until then it is held, and may be called back.
    let large = json!({"amount": "2", "currency": "BTC", "crypto_address": address});
    let first = done(&mut ada, "/withdrawals/crypto", &large)["id"].as_str().unwrap().to_owned();
    let second = done(&mut ada, "/withdrawals/crypto", &large)["id"].as_str().unwrap().to_owned();
    let mut named = large.clone();
    named["id"] = json!("6b7e0c0e-8f0e-4a39-9b40-6a5d0b9f3a03");
    named["destination_tag"] = json!("a memo");
    let third = done(&mut ada, "/withdrawals/crypto", &named)["id"].as_str().unwrap().to_owned();
    assert_eq!(done(&mut ada, "/withdrawals/crypto", &named)["id"], json!(third));
    std::thread::sleep(Duration::from_millis(800));
    assert_eq!(balance(&mut ada, "BTC"), (3.5, 6.0));
    let holds = {
        let id = account_id(&mut ada, "BTC");
        ada.get(&format!("/accounts/{id}/holds"))
    };
    assert_eq!(holds.as_array().unwrap().len(), 3);
    assert!(holds.as_array().unwrap().iter().all(|hold| hold["type"] == "transfer"));
    assert_eq!(bob.send("GET", "/admin/withdrawals", b"").unwrap().status, 403);
    assert_eq!(post(&mut bob, &format!("/admin/withdrawals/{first}/approve"), &json!({})).status, 403);
    assert_eq!(bob.send("DELETE", &format!("/withdrawals/{third}"), b"").unwrap().status, 404, "not his");
    let listed = admin.get("/admin/withdrawals");
    assert_eq!(listed.as_array().unwrap().len(), 3);
    assert!(listed.as_array().unwrap().iter().all(|row| row["needs_approval"] == true));
    let page = admin.send("GET", "/admin/withdrawals?limit=2", b"").unwrap();
    let rest = admin.get(&format!("/admin/withdrawals?limit=2&after={}", page.header("cb-after").unwrap()));
    let page_start = page.header("cb-before").map(str::to_owned);
    let paged: Vec<Value> = [page.json(), rest].iter().flat_map(|page| page.as_array().unwrap().clone()).collect();
    assert_eq!(Value::from(paged), listed);
    let back = admin.send("GET", "/admin/withdrawals?before=1_6b7e0c0e-8f0e-4a39-9b40-6a5d0b9f3a01", b"").unwrap();
    assert_eq!((back.status, page_start), (400, None), "there is no way back");
    // Whoever decides sees where the money goes.
    for row in listed.as_array().unwrap() {
        let tag = if row["id"] == json!(third) { json!("a memo") } else { Value::Null };
        assert_eq!((&row["crypto_address"], &row["destination_tag"]), (&json!(address), &tag), "{row}");
        assert_eq!(row.get("crypto_transaction_hash"), Some(&Value::Null), "{row}");
    }
    done(&mut admin, &format!("/admin/withdrawals/{first}/approve"), &json!({}));
    for _ in 0..2 {
        // Whoever did not hear the answer asks again.
        done(&mut admin, &format!("/admin/withdrawals/{second}/reject"), &json!({}));
    }
    assert_eq!(ada.send("DELETE", &format!("/withdrawals/{third}"), b"").unwrap().status, 200);
    // Of what is called back already nothing is rejected, and the audit log says so.
    done(&mut admin, &format!("/admin/withdrawals/{third}/reject"), &json!({}));
    let rejected = admin.get("/admin/audit?action=withdrawal_rejected");
    let rejected = rejected.as_array().unwrap();
    let told: Vec<Value> =
        rejected.iter().map(|row| json!([row["detail"]["withdrawal"], row["detail"].get("already")])).collect();
    assert_eq!(told, [json!([third, true]), json!([second, true]), json!([second, null])]);
    let owner = ada.get("/auth/me")["id"].clone();
    assert!(rejected.iter().all(|row| row["user"] == owner), "{rejected:?}");
    let stages: Vec<&Value> = rejected.iter().map(|row| &row["detail"]["before"]["stage"]).collect();
    assert_eq!(stages, ["canceled", "canceled", "pending"]);
    let again = post(&mut ada, "/withdrawals/crypto", &named);
    assert_eq!((again.status, again.json()["code"].as_str()), (400, Some("withdrawal_over")), "it was called back");
    until("the approved one", || balance(&mut ada, "BTC") == (7.5, 0.0));
    assert_eq!(ada.send("DELETE", &format!("/withdrawals/{first}"), b"").unwrap().status, 400, "it has left");

    for (order, status) in [
        (json!({"amount": "1000", "currency": "BTC", "crypto_address": address}), 400),
        (json!({"amount": "0.00000001", "currency": "BTC", "crypto_address": address}), 400),
        (json!({"amount": "1", "currency": "BTC", "crypto_address": "nowhere"}), 400),
        (json!({"amount": "1", "currency": "NO", "crypto_address": address}), 400),
        (json!({"amount": "-1", "currency": "BTC", "crypto_address": address}), 400),
        (json!({"amount": "1", "currency": "BTC", "crypto_address": address, "network": "moon"}), 400),
        (json!({"amount": "1", "currency": "BTC", "crypto_address": address, "profile_id": "x"}), 403),
        (json!({"currency": "BTC", "crypto_address": address}), 400),
    ] {
        assert_eq!(post(&mut ada, "/withdrawals/crypto", &order).status, status, "{order}");
    }
    let broke =
        post(&mut ada, "/withdrawals/crypto", &json!({"amount": "100", "currency": "BTC", "crypto_address": address}));
    assert_eq!((broke.status, broke.json()["message"].as_str()), (400, Some("Insufficient funds")));
    // A repeat of one that was refused is no withdrawal, whatever it asks for.
    let id = "6b7e0c0e-8f0e-4a39-9b40-6a5d0b9f3a04";
    for (amount, code) in [("100", "insufficient_funds"), ("100", "withdrawal_over"), ("1", "withdrawal_over")] {
        let order = json!({"amount": amount, "currency": "BTC", "crypto_address": address, "id": id});
        let answer = post(&mut ada, "/withdrawals/crypto", &order);
        assert_eq!((answer.status, answer.json()["code"].as_str()), (400, Some(code)), "{order}");
    }
    assert_eq!(balance(&mut ada, "BTC"), (7.5, 0.0));

    // The history knows every state; nothing is said to be processed before it is complete.
    let history = ada.get("/transfers?type=withdraw");
    let ended = |key: &str| history.as_array().unwrap().iter().filter(|row| row[key].is_string()).count();
    assert_eq!((history.as_array().unwrap().len(), ended("completed_at"), ended("canceled_at")), (4, 2, 2));
    for row in history.as_array().unwrap() {
        for key in ["id", "account_id", "user_id", "amount", "created_at", "type", "currency"] {
            assert!(row[key].is_string(), "{key} of {row}");
        }
        assert_eq!(row["processed_at"].is_string(), row["completed_at"].is_string(), "{row}");
        assert!(row["details"].as_object().unwrap().values().all(|value| value.is_string() || value.is_null()));
        assert_eq!(&ada.get(&format!("/transfers/{}", row["id"].as_str().unwrap())), row);
    }
    assert_eq!(bob.send("GET", &format!("/transfers/{first}"), b"").unwrap().status, 404, "not his");
    let mut paged = Vec::new();
    let mut after = String::new();
    loop {
        let answer = ada.send("GET", &format!("/transfers?limit=1{after}"), b"").unwrap();
        let Some(cursor) = answer.header("cb-after").map(str::to_owned) else { break };
        paged.extend(answer.json().as_array().unwrap().clone());
        after = format!("&after={cursor}");
    }
    assert_eq!(Value::from(paged), ada.get("/transfers"));
    let ledger = {
        let id = account_id(&mut ada, "BTC");
        ada.get(&format!("/accounts/{id}/ledger"))
    };
    let ledger = ledger.as_array().unwrap();
    let number = |value: &Value| value.as_str().unwrap().parse::<f64>().unwrap();
    for pair in ledger.windows(2) {
        assert!((number(&pair[0]["balance"]) - number(&pair[0]["amount"]) - number(&pair[1]["balance"])).abs() < 1e-9);
    }
    assert_eq!((ledger.len(), number(&ledger[0]["balance"])), (3, 7.5));
    assert_eq!(ledger[0]["details"]["transfer_id"], json!(first));

    // Money from outside arrives once it is confirmed. What no database could look for is no address.
    let mut bob = server.client(&bob.token);
    for (path, body, code) in [
        ("/deposits/simulated", json!({"address": "x\0", "currency": "BTC", "amount": "1"}), "address_required"),
        ("/deposits/simulated", json!({"address": address, "currency": "ETH", "amount": "1"}), "invalid_address"),
        (
            "/withdrawals/crypto",
            json!({"amount": "1", "currency": "BTC", "crypto_address": address, "destination_tag": "x".repeat(201)}),
            "invalid_destination_tag",
        ),
    ] {
        let refused = bob.send("POST", path, body.to_string().as_bytes()).unwrap();
        assert_eq!((refused.status, refused.json()["code"].as_str()), (400, Some(code)), "{}", refused.json());
    }
    done(&mut bob, "/deposits/simulated", &json!({"address": address, "currency": "BTC", "amount": "3"}));
    let before = balance(&mut bob, "BTC").0;
    until("the deposit", || balance(&mut bob, "BTC").0 > before + 2.9);

    // An address takes whatever moves on its network, and nothing is left over that nobody could be credited with.
    let path = format!("/coinbase-accounts/{}/addresses", account_id(&mut bob, "ETH"));
    let ethereum = done(&mut bob, &path, &json!({}))["address"].clone();
    let before = balance(&mut bob, "USDT").0;
    done(&mut bob, "/deposits/simulated", &json!({"address": ethereum, "currency": "USDT", "amount": "25"}));
    until("the other currency", || balance(&mut bob, "USDT").0 > before + 24.9);
    let figures = bob.metrics();
    for name in ["agora_custody_withdrawals_unexplained 0", "agora_custody_arrivals_unclaimed 0"] {
        assert!(figures.lines().any(|line| line == name), "{name} in {figures}");
    }
}

#[test]
fn a_withdrawal_survives_a_crash_and_happens_once() {
    let folder = tempfile::tempdir().unwrap();
    let more = ["--custody-block-time-ms", "200", "--custody-approval-above", ""];
    let server = Server::start_with(folder.path(), &more);
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let id = account_id(&mut ada, "ETH");
    let address = done(&mut ada, &format!("/coinbase-accounts/{id}/addresses"), &json!({}))["address"].clone();
    let order = json!({"amount": "4", "currency": "ETH", "crypto_address": address});
    done(&mut ada, "/withdrawals/crypto", &order);
    let token = ada.token.clone();
    // Killed while it is under way.
    drop(server);
    let server = Server::start_with(folder.path(), &more);
    let mut ada = server.client(&token);
    // Sent to herself: the hold ends, and the money comes back less the fee, once.
    until("the arrival", || balance(&mut ada, "ETH").0 > 9.0);
    std::thread::sleep(Duration::from_millis(900));
    assert_eq!(balance(&mut ada, "ETH"), (9.999, 0.0));
}

#[test]
fn users_pay_each_other_and_wallets_hold_play_money() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let mut bob = Client::sign_up(&server, "bob@example.org");
    let id = "6b7e0c0e-8f0e-4a39-9b40-6a5d0b9f3a02";
    let order = json!({"to": "bob@example.org", "currency": "BTC", "amount": "1.5", "id": id});
    let first = done(&mut ada, "/transfers", &order);
    assert_eq!(done(&mut ada, "/transfers", &order)["id"], first["id"], "a repeat changes nothing");
    assert_eq!((balance(&mut ada, "BTC").0, balance(&mut bob, "BTC").0), (8.5, 11.5));
    // Something else with the same id did not happen.
    Client::sign_up(&server, "eve@example.org");
    for (key, value) in [("amount", "1.25"), ("currency", "ETH"), ("to", "eve@example.org")] {
        let mut other = order.clone();
        other[key] = value.into();
        assert_eq!(refused(&mut ada, "/transfers", &other), (400, "id_taken".into()), "{other}");
    }
    let gift = json!({"currency": "ETH", "amount": "2", "id": id});
    for _ in 0..2 {
        assert_eq!(done(&mut bob, "/deposits/demo", &gift)["amount"], "2");
        assert_eq!(balance(&mut bob, "ETH").0, 12.0);
    }
    let other = json!({"currency": "ETH", "amount": "3", "id": id});
    assert_eq!(refused(&mut bob, "/deposits/demo", &other), (400, "id_taken".into()));
    // Nobody learns who is here without the money to pay.
    for to in ["nobody@example.org", "bob@example.org"] {
        let order = json!({"to": to, "currency": "BTC", "amount": "100"});
        assert_eq!(refused(&mut ada, "/transfers", &order), (400, "insufficient_funds".into()), "{to}");
        let order = json!({"to": to, "currency": "NO", "amount": "1"});
        assert_eq!(refused(&mut ada, "/transfers", &order), (400, "unknown_currency".into()), "{to}");
    }
    let profile = |client: &mut Client| client.get("/profiles")[0]["id"].clone();
    let back = json!({"from": profile(&mut bob), "to": profile(&mut ada), "currency": "BTC", "amount": 0.5});
    assert_eq!(done(&mut bob, "/profiles/transfer", &back), json!({}));
    assert_eq!((balance(&mut ada, "BTC").0, balance(&mut bob, "BTC").0), (9.0, 11.0));
    for (order, status) in [
        (json!({"to": "nobody@example.org", "currency": "BTC", "amount": "1"}), 400),
        (json!({"to": "bob@example.org", "currency": "BTC", "amount": "100"}), 400),
        (json!({"to": "ada@example.org", "currency": "BTC", "amount": "1"}), 400),
        (json!({"to": "00000000-0000-0000-0000-000000000000", "currency": "BTC", "amount": "1"}), 400),
        (json!({"currency": "BTC", "amount": "1"}), 400),
    ] {
        assert_eq!(post(&mut ada, "/transfers", &order).status, status, "{order}");
    }
    // The outside world and the house have numbers too, and so names of users and of profiles.
    for venue in 0..2 {
        let mut order = json!({"from": profile(&mut ada), "currency": "BTC", "amount": "1"});
        for (path, kind) in [("/transfers", "80a3"), ("/transfers", "80a4"), ("/profiles/transfer", "80a4")] {
            order["to"] = format!("00000000-000{venue}-{kind}-8000-000000000000").into();
            let answer = post(&mut ada, path, &order);
            assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("unknown_receiver")), "{path} {order}");
        }
    }
    assert_eq!(balance(&mut ada, "BTC").0, 9.0);
    assert_eq!(post(&mut ada, "/profiles/transfer", &back).status, 403, "from another's profile");
    let wallet = ada.get("/coinbase-accounts")[0]["id"].clone();
    let order = json!({"amount": 2, "currency": "BTC", "coinbase_account_id": wallet});
    let deposit = done(&mut ada, "/deposits/coinbase-account", &order);
    assert!(deposit["id"].is_string() && deposit["amount"].is_string());
    assert_eq!(balance(&mut ada, "BTC").0, 11.0);
    done(&mut ada, "/withdrawals/coinbase-account", &order);
    assert_eq!(balance(&mut ada, "BTC").0, 9.0);
    assert_eq!(post(&mut bob, "/deposits/coinbase-account", &order).status, 400, "another's wallet");
    assert_eq!(ada.get("/payment-methods"), json!([]));
    assert!(ada.get("/users/self/exchange-limits").is_object());
}

/// The ledger remembers so many movements, the history all of them.
#[test]
fn a_payment_that_the_ledger_has_forgotten_is_not_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let mut bob = Client::sign_up(&server, "bob@example.org");
    let (payer, payee, key) = (own_number(&mut ada), own_number(&mut bob), Uuid::new_v4());
    let row = |id, kind, counterpart| TransferRow {
        account: payer,
        sequence: Sequence(1 << 40),
        id,
        kind,
        currency: CurrencyId(0),
        amount: Amount(100_000_000),
        counterpart,
        at: Timestamp(1),
    };
    let paid = row(transfer_id("transfer", payer, key.as_bytes()), TransferKind::InternalWithdraw, Some(payee));
    let given = row(transfer_id("demo deposit", payer, key.as_bytes()), TransferKind::Deposit, None);
    let rows = [paid, TransferRow { sequence: Sequence(1 << 41), ..given }];
    Database::open(&folder.path().join("agora.db")).unwrap().write(|c| transfers::insert(c, &rows)).unwrap();

    let mut order = json!({"to": "bob@example.org", "currency": "BTC", "amount": "1", "id": key});
    assert_eq!(done(&mut ada, "/transfers", &order)["to"], bob.get("/auth/me")["id"]);
    let gift = json!({"currency": "BTC", "amount": "1", "id": key});
    done(&mut ada, "/deposits/demo", &gift);
    order["amount"] = json!("2");
    assert_eq!(refused(&mut ada, "/transfers", &order), (400, "id_taken".into()));
    assert_eq!((balance(&mut ada, "BTC").0, balance(&mut bob, "BTC").0), (10.0, 10.0));
}

/// An account of somebody who has never signed in is frozen before it is used, not only in the list of users.
#[test]
fn who_has_not_signed_in_yet_can_be_frozen() {
    let folder = tempfile::tempdir().unwrap();
    Client::create_admin(folder.path());
    let mut command = server::agora(&["admin", "create", "eve@example.org"], folder.path());
    assert!(command.env("AGORA_ADMIN_PASSWORD", "correct horse battery").output().unwrap().status.success());
    let server = Server::start(folder.path());
    let mut admin = Client::admin(&server);
    let id = admin.get("/admin/users?email=eve")[0]["id"].as_str().unwrap().to_owned();
    done(&mut admin, &format!("/admin/users/{id}/freeze"), &json!({}));
    let mut eve = Client::sign_in(&server, "eve@example.org");
    for to in ["admin@example.org", "nobody@example.org"] {
        let order = json!({"to": to, "currency": "BTC", "amount": "1"});
        assert_eq!(refused(&mut eve, "/transfers", &order), (403, "account_frozen".into()), "{to}");
    }
    done(&mut admin, &format!("/admin/users/{id}/unfreeze"), &json!({}));
    done(&mut eve, "/transfers", &json!({"to": "admin@example.org", "currency": "BTC", "amount": "1"}));
}

/// A freeze that broke off once it was noted: before the account was opened, and after it.
#[test]
fn who_is_noted_as_frozen_is_frozen_at_the_next_sign_in() {
    let folder = tempfile::tempdir().unwrap();
    Client::create_admin(folder.path());
    for email in ["eve@example.org", "dan@example.org"] {
        let mut command = server::agora(&["admin", "create", email], folder.path());
        assert!(command.env("AGORA_ADMIN_PASSWORD", "correct horse battery").output().unwrap().status.success());
    }
    let server = Server::start(folder.path());
    let mut admin = Client::admin(&server);
    let note = |id: &Value| {
        let user = ids::parse_user(id.as_str().unwrap().parse().unwrap()).unwrap();
        let database = Database::open(&folder.path().join("agora.db")).unwrap();
        database.write(|c| users::set_frozen(c, user, true)).unwrap();
    };
    note(&admin.get("/admin/users?email=eve")[0]["id"]);
    let mut eve = Client::sign_in(&server, "eve@example.org");
    assert_eq!(balance(&mut eve, "BTC"), (10.0, 0.0));

    let closed = admin.send("PUT", "/admin/config/accounts.demo_funds", br#"{"value": false}"#).unwrap();
    assert_eq!(closed.status, 200, "{}", closed.json());
    let mut dan = Client::sign_in(&server, "dan@example.org");
    let order = json!({"to": "admin@example.org", "currency": "BTC", "amount": "1"});
    assert_ne!(refused(&mut dan, "/transfers", &order).1, "account_frozen");
    note(&dan.get("/auth/me")["id"]);
    let mut dan = Client::sign_in(&server, "dan@example.org");
    for client in [&mut eve, &mut dan] {
        let by_id = json!({"to": admin.get("/auth/me")["id"], "currency": "BTC", "amount": "1"});
        assert_eq!(refused(client, "/transfers", &by_id), (403, "account_frozen".into()));
    }
}

/// Anybody can sign up with somebody else's address.
#[test]
fn an_address_is_paid_once_it_has_shown_to_read_its_mail() {
    let folder = tempfile::tempdir().unwrap();
    Client::create_admin(folder.path());
    let mails = MailServer::start();
    let server = Server::start_with(folder.path(), &["--accounts-smtp-url", &mails.url()]);
    let mut admin = Client::admin(&server);
    let mut ada = Client::sign_up(&server, "ada@example.org");
    let mut bob = Client::sign_up(&server, "bob@example.org");
    let order = json!({"to": "bob@example.org", "currency": "BTC", "amount": "1"});
    // Play money goes to anybody.
    done(&mut ada, "/transfers", &order);
    let closed = admin.send("PUT", "/admin/config/accounts.demo_funds", br#"{"value": false}"#).unwrap();
    assert_eq!(closed.status, 200, "{}", closed.json());
    assert_eq!(refused(&mut ada, "/transfers", &order), (400, "unknown_receiver".into()));
    // By id it is clear who is meant.
    let by_id = json!({"to": bob.get("/auth/me")["id"], "currency": "BTC", "amount": "1"});
    done(&mut ada, "/transfers", &by_id);

    done(&mut bob, "/auth/email", &json!({"email": "bob@example.org"}));
    let mail = mails.next();
    let code: String = mail.split("Your code: ").nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect();
    done(&mut bob, "/auth/email/confirm", &json!({"email": "bob@example.org", "code": code}));
    done(&mut ada, "/transfers", &order);
    assert_eq!(balance(&mut bob, "BTC").0, 13.0);
}
