//! A small client of the public API.

use anyhow::{Context, anyhow};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::time::Duration;

/// The longest that a server is believed which says when to come again.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What lets somebody into an account beside its password, or tells somebody of it: where it is listed, and the field
/// that names one.
const WAYS_IN: [(&str, &str); 3] =
    [("/auth/keys", "key"), ("/auth/identities", "provider"), ("/notifications/outlets", "outlet")];

/// A signed-in client.
pub struct Client {
    http: awc::Client,
    base: String,
    session: RefCell<Session>,
}

/// What proves who the client is, and what gets the next proof.
#[derive(Default)]
struct Session {
    token: String,
    refresh: String,
}

impl Session {
    fn of(answer: &Value) -> anyhow::Result<Session> {
        let text = |name: &str| answer[name].as_str().map(str::to_owned);
        let token = text("access_token").ok_or_else(|| anyhow!("sign-in failed: {}", answer["message"]))?;
        Ok(Session { token, refresh: text("refresh_token").unwrap_or_default() })
    }
}

impl Client {
    /// Signs in, or up when the address is unknown.
    ///
    /// # Errors
    /// When the server refuses both or cannot be reached.
    pub async fn sign_in(url: &str, email: &str, password: &str) -> anyhow::Result<Client> {
        Client::enter(url, email, password, true).await
    }

    /// Signs in where there is an account of this address.
    ///
    /// # Errors
    /// When the server refuses or cannot be reached.
    pub async fn of_account(url: &str, email: &str, password: &str) -> anyhow::Result<Client> {
        Client::enter(url, email, password, false).await
    }

    async fn enter(url: &str, email: &str, password: &str, sign_up: bool) -> anyhow::Result<Client> {
        let http = awc::Client::builder().timeout(Duration::from_secs(10)).finish();
        let client = Client { http, base: format!("{}/v1", url.trim_end_matches('/')), session: RefCell::default() };
        let body = json!({"email": email, "password": password});
        let (status, mut answer) = client.send("POST", "/auth/sign-in", Some(&body)).await?;
        if status == 401 && sign_up {
            (_, answer) = client.send("POST", "/auth/sign-up", Some(&body)).await?;
        }
        client.session.replace(Session::of(&answer)?);
        Ok(client)
    }

    /// Locks everybody else out: keys, linked identities and outlets go, and with another password the other sessions
    /// end. The password comes last, so that what did not get that far can be done anew with the old one.
    ///
    /// # Errors
    /// When the server refuses or cannot be reached.
    pub async fn take_over(&self, old: &str, new: &str) -> anyhow::Result<()> {
        for (list, name) in WAYS_IN {
            for way in self.get(list).await?.as_array().into_iter().flatten() {
                let name = way[name].as_str().with_context(|| format!("{list} lists what has no name"))?;
                match self.send("DELETE", &format!("{list}/{name}"), None).await? {
                    (200 | 204 | 404, _) => {}
                    (status, answer) => return Err(anyhow!("{list}/{name} stays: {status} {}", answer["message"])),
                }
            }
        }
        let body = json!({"old_password": old, "new_password": new});
        match self.send("POST", "/auth/password", Some(&body)).await? {
            (200, _) => Ok(()),
            (status, answer) => Err(anyhow!("the password was not changed: {status} {}", answer["message"])),
        }
    }

    /// One request; an access token that has run out is replaced by the next one. A server that says when to come again
    /// is given that time before this answers.
    async fn send(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<(u16, Value)> {
        let (status, answer) = self.send_once(method, path, body).await?;
        let refresh = std::mem::take(&mut self.session.borrow_mut().refresh);
        if status != 401 || answer["code"] != "token_expired" || refresh.is_empty() {
            self.session.borrow_mut().refresh = refresh;
            return Ok((status, answer));
        }
        self.session.borrow_mut().token.clear();
        let (_, next) = self.send_once("POST", "/auth/refresh", Some(&json!({"refresh_token": refresh}))).await?;
        self.session.replace(Session::of(&next)?);
        self.send_once(method, path, body).await
    }

    async fn send_once(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<(u16, Value)> {
        let method = awc::http::Method::from_bytes(method.as_bytes())?;
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        let token = self.session.borrow().token.clone();
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        let sent = match body {
            Some(body) => request.send_json(body),
            None => request.send(),
        };
        let mut response = sent.await.map_err(|error| anyhow!("{path}: {error}"))?;
        let status = response.status().as_u16();
        let wait = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let bytes = response.body().limit(4 << 20).await.map_err(|error| anyhow!("{path}: {error}"))?;
        if let Some(wait) = wait.filter(|_| matches!(status, 429 | 503)) {
            tokio::time::sleep(Duration::from_secs(wait).min(LONGEST_WAIT)).await;
        }
        if status == 204 {
            return Ok((status, Value::Null));
        }
        let value = serde_json::from_slice(&bytes).with_context(|| format!("{path} answered no JSON"))?;
        Ok((status, value))
    }

    /// A GET whose answer must be a success.
    ///
    /// # Errors
    /// When it is none.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        match self.send("GET", path, None).await? {
            (200, value) => Ok(value),
            (status, value) => Err(anyhow!("{path} answered {status}: {}", value["message"])),
        }
    }

    /// Places an order; the answer is the order, or the server's refusal as text.
    ///
    /// # Errors
    /// When the session is over or the server cannot be reached.
    pub async fn place(&self, order: &Value) -> anyhow::Result<Result<Value, String>> {
        match self.send("POST", "/orders", Some(order)).await? {
            (200, value) => Ok(Ok(value)),
            (401, value) => Err(anyhow!("the session is over: {}", value["message"])),
            (_, value) => Ok(Err(value["message"].as_str().unwrap_or_default().to_owned())),
        }
    }

    /// Cancels an order; false when it may rest still, and has to be canceled later. One that is done already is fine.
    ///
    /// # Errors
    /// When the session is over or the server cannot be reached.
    pub async fn cancel(&self, id: &str) -> anyhow::Result<bool> {
        match self.send("DELETE", &format!("/orders/{id}"), None).await? {
            (200 | 404, _) => Ok(true),
            (400, refusal) if refusal["code"] == "order_done" => Ok(true),
            (401, refusal) => Err(anyhow!("the session is over: {}", refusal["message"])),
            (status, refusal) => {
                tracing::debug!(order = id, status, reason = %refusal["message"], "a quote was not canceled");
                Ok(false)
            }
        }
    }

    /// Cancels everything.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn cancel_all(&self) -> anyhow::Result<()> {
        self.send("DELETE", "/orders", None).await.map(drop)
    }

    /// Tops up play money, where the server gives it.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn top_up(&self, currency: &str, amount: &str) -> anyhow::Result<()> {
        let body = json!({"currency": currency, "amount": amount});
        self.send("POST", "/deposits/demo", Some(&body)).await.map(drop)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]
mod tests {
    use super::*;
    use crate::bots::{BotCommand, BotOptions, run};
    use actix_web::dev::ServerHandle;
    use actix_web::http::StatusCode;
    use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
    use parking_lot::Mutex;
    use std::sync::Arc;

    /// A server with one account: what was asked of it, and the paths that it fails at for now.
    #[derive(Clone, Default)]
    struct Venue {
        asked: Arc<Mutex<Vec<String>>>,
        fails: Arc<Mutex<Vec<&'static str>>>,
    }

    async fn answer(venue: web::Data<Venue>, request: HttpRequest) -> HttpResponse {
        let asked = format!("{} {}", request.method(), request.path().trim_start_matches("/v1"));
        venue.asked.lock().push(asked.clone());
        if venue.fails.lock().iter().any(|part| *part == asked) {
            return HttpResponse::build(StatusCode::INTERNAL_SERVER_ERROR).json(json!({"message": "not now"}));
        }
        HttpResponse::Ok().json(match asked.as_str() {
            "POST /auth/sign-in" => json!({"access_token": "a", "refresh_token": "r"}),
            "GET /auth/keys" => json!([{"key": "k1"}, {"key": "k2"}]),
            "GET /auth/identities" => json!([{"provider": "line"}]),
            "GET /notifications/outlets" => json!([{"outlet": "webhook"}]),
            "DELETE /auth/keys/k1" => return HttpResponse::NotFound().json(json!({"message": "NotFound"})),
            "DELETE /auth/keys/k2" => return HttpResponse::NoContent().finish(),
            _ => json!({}),
        })
    }

    /// Opens it on a free port; its address, and what closes it.
    fn serve(venue: &Venue) -> (String, ServerHandle) {
        let shown = venue.clone();
        let server = HttpServer::new(move || {
            App::new().app_data(web::Data::new(shown.clone())).default_service(web::to(answer))
        });
        let server = server.workers(1).disable_signals().bind(("127.0.0.1", 0)).unwrap();
        let address = *server.addrs().first().unwrap();
        let server = server.run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        (format!("http://{address}"), handle)
    }

    #[actix_web::test]
    async fn an_account_is_taken_over_whole_and_a_part_of_it_can_be_done_anew() {
        let venue = Venue::default();
        let (url, handle) = serve(&venue);
        let client = Client::of_account(&url, "maker@demo", "old").await.unwrap();
        let password = "POST /auth/password";
        for part in ["DELETE /auth/keys/k2", "GET /auth/identities", "DELETE /notifications/outlets/webhook", password]
        {
            venue.asked.lock().clear();
            *venue.fails.lock() = vec![part];
            let error = client.take_over("old", "new").await.unwrap_err().to_string();
            assert!(error.contains("500") && error.contains("not now"), "{part}: {error}");
            let asked = venue.asked.lock().clone();
            assert_eq!(asked.last().map(String::as_str), Some(part), "nothing more was done");
        }
        venue.asked.lock().clear();
        venue.fails.lock().clear();
        client.take_over("old", "new").await.unwrap();
        let done: Vec<String> = venue.asked.lock().iter().filter(|asked| !asked.starts_with("GET")).cloned().collect();
        let expected = [
            "DELETE /auth/keys/k1",
            "DELETE /auth/keys/k2",
            "DELETE /auth/identities/line",
            "DELETE /notifications/outlets/webhook",
            password,
        ];
        assert_eq!(done, expected);
        handle.stop(false).await;
    }

    /// A server that does not answer as it should for a while ends no bot.
    #[actix_web::test]
    async fn a_bot_goes_on_when_the_trouble_is_over() {
        let venue = Venue::default();
        *venue.fails.lock() = vec!["GET /products"];
        let (url, handle) = serve(&venue);
        let options = BotOptions { url, email: "taker@example.org".into(), password: "secret".into() };
        let asked = |what: &str| venue.asked.lock().iter().filter(|asked| *asked == what).count();
        let until = async |happened: &dyn Fn() -> bool| {
            while !happened() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let trouble = async {
            // It has met the error by then.
            until(&|| asked("POST /auth/sign-in") >= 2).await;
            venue.fails.lock().clear();
            until(&|| asked("POST /orders") >= 1).await;
        };
        tokio::select! {
            ended = run(BotCommand::Taker(options)) => panic!("it ended: {ended:?}"),
            done = tokio::time::timeout(Duration::from_secs(60), trouble) => done.expect("it places no order"),
        }
        handle.stop(false).await;
    }
}
