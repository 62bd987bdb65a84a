//! One look after the other at a server, through what it shows to everybody and, signed in, to administrators.

use super::model::{Quote, Round, Seen};
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The longest answer that is read.
const MAX_BODY: usize = 16 << 20;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same for a sign-in: passwords are checked slowly, one after the other.
const SIGN_IN_PATIENCE: Duration = Duration::from_secs(20);
/// Idle connections are used no longer than this: a server keeps them for longer, a proxy before it perhaps not.
const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// With so many requests behind it a round asks for no further market, so that a venue with many of them does not meet
/// the limit of public requests (10 a second). The next round goes on where it ended.
const REQUESTS: usize = 6;
/// The price of a day ago moves slowly: it is asked for so often.
const OPEN_FOR: Duration = Duration::from_secs(30);

/// As whom the server is asked.
pub enum Access {
    /// As nobody: the tree is not asked for.
    Guest,
    /// With this access token.
    Token(String),
    /// With what this signs in to.
    Password {
        email: String,
        password: String,
        /// Of the second factor, if there is one.
        code: Option<String>,
    },
    /// As nobody any more, for this reason.
    Refused(String),
}

/// What came of signing in.
pub enum SignIn {
    Done,
    /// A code of the second factor is needed.
    SecondFactor,
    /// For good.
    Refused(String),
    /// Not now.
    Later(String),
}

/// What came of trading a refresh token.
enum Renewal {
    /// There is another session now.
    Done,
    /// The session has ended, or nothing prolongs it.
    Over,
    /// Not now, for this reason.
    Later(String),
}

/// Asks one server.
pub struct Client {
    http: awc::Client,
    base: String,
    access: Access,
    /// Of the session that a password has begun.
    token: Option<String>,
    refresh: Option<String>,
    /// The market at which the next round begins.
    next: usize,
    /// When a market's price of a day ago was asked for.
    opened: HashMap<String, Instant>,
}

impl Client {
    /// Of the server at `base` (like `http://127.0.0.1:8080`).
    pub fn new(base: &str, access: Access) -> Client {
        let connector = awc::Connector::new().conn_keep_alive(KEEP_ALIVE);
        let http = awc::Client::builder().connector(connector).timeout(PATIENCE).finish();
        let base = base.trim_end_matches('/').to_owned();
        Client { http, base, access, token: None, refresh: None, next: 0, opened: HashMap::new() }
    }

    /// Signs in, where there is a password to do it with.
    ///
    /// # Errors
    /// Why the server is out of reach.
    pub async fn sign_in(&mut self) -> Result<SignIn, String> {
        let Access::Password { email, password, code } = &self.access else { return Ok(SignIn::Done) };
        let mut body = json!({"email": email, "password": password});
        if let Some(code) = code {
            body["totp"] = code.as_str().into();
        }
        let (status, answer) = self.post("/v1/auth/sign-in", &body).await?;
        let said = || said("/v1/auth/sign-in", status, &answer);
        Ok(match (status, answer["code"].as_str()) {
            (200, _) => {
                self.begin_session(&answer);
                self.forget_code();
                SignIn::Done
            }
            (_, Some("second_factor_required")) => SignIn::SecondFactor,
            (429 | 500.., _) => SignIn::Later(said()),
            _ => SignIn::Refused(said()),
        })
    }

    /// Notes the code of the second factor for the next sign-in.
    pub fn set_code(&mut self, text: String) {
        if let Access::Password { code, .. } = &mut self.access {
            *code = Some(text);
        }
    }

    /// A code counts once: with the one that was used, the next sign-in would be refused for a wrong code.
    fn forget_code(&mut self) {
        if let Access::Password { code, .. } = &mut self.access {
            *code = None;
        }
    }

    fn begin_session(&mut self, answer: &Value) {
        let text = |name: &str| answer[name].as_str().map(str::to_owned);
        (self.token, self.refresh) = (text("access_token"), text("refresh_token"));
    }

    /// One look at everything.
    ///
    /// # Errors
    /// Why the server is out of reach.
    pub async fn round(&mut self) -> Result<Round, String> {
        let health = self.get("/health/ready").await?;
        let (status, text) = self.send(self.http.get(self.url("/metrics")), None).await?;
        let at = Instant::now();
        let metrics = match status {
            200 => Ok(String::from_utf8_lossy(&text).into_owned()),
            _ => Err(format!("/metrics answers {status}")),
        };
        let (products, quotes) = match self.get("/v1/products").await? {
            (200, products) => {
                let quotes = self.quotes(&products).await?;
                (Ok(products), quotes)
            }
            (status, refusal) => (Err(said("/v1/products", status, &refusal)), Vec::new()),
        };
        let tree = self.tree().await?;
        Ok(Round { at, health, metrics, products, quotes, tree })
    }

    /// The prices of as many markets as one round asks for.
    async fn quotes(&mut self, products: &Value) -> Result<Vec<Quote>, String> {
        let symbols: Vec<&str> =
            products.as_array().into_iter().flatten().filter_map(|product| product["id"].as_str()).collect();
        let mut quotes = Vec::new();
        let mut requests = 0;
        while quotes.len() < symbols.len() && requests < REQUESTS {
            let place = self.next % symbols.len();
            let Some(symbol) = symbols.get(place).copied() else { break };
            let ticker = self.get(&format!("/v1/products/{symbol}/ticker")).await?;
            let at = Instant::now();
            requests += 1;
            // Too many requests: the next round begins here.
            if ticker.0 == 429 {
                break;
            }
            let mut quote = Quote { symbol: symbol.to_owned(), at, ticker, book: Value::Null, stats: Value::Null };
            // A market without a trade has no ticker, but perhaps orders.
            if quote.ticker.0 == 404 {
                quote.book = self.get(&format!("/v1/products/{symbol}/book?level=1")).await?.1;
                requests += 1;
            }
            let is_due = self.opened.get(symbol).is_none_or(|at| at.elapsed() >= OPEN_FOR);
            if quote.ticker.0 == 200 && is_due {
                let (status, stats) = self.get(&format!("/v1/products/{symbol}/stats")).await?;
                requests += 1;
                if status == 200 {
                    self.opened.insert(symbol.to_owned(), Instant::now());
                    quote.stats = stats;
                }
            }
            quotes.push(quote);
            self.next = place + 1;
        }
        Ok(quotes)
    }

    /// The tree, for whom it is shown.
    async fn tree(&mut self) -> Result<Seen, String> {
        match &self.access {
            Access::Guest => return Ok(Seen::Guest),
            Access::Refused(reason) => return Ok(Seen::Refused(reason.clone())),
            Access::Token(token) => self.token = Some(token.clone()),
            Access::Password { .. } => {}
        }
        if self.token.is_none() {
            match self.sign_in().await? {
                SignIn::Done => {}
                SignIn::Later(reason) => return Ok(Seen::Refused(reason)),
                // A wrong password is not tried again and again, and a code counts once.
                SignIn::SecondFactor => return Ok(self.give_up("the session has ended; a new one needs another code")),
                SignIn::Refused(reason) => return Ok(self.give_up(&reason)),
            }
        }
        let (mut status, mut places) = self.get("/v1/admin/tree").await?;
        if status == 401 {
            match self.renew().await? {
                Renewal::Done => (status, places) = self.get("/v1/admin/tree").await?,
                Renewal::Over => {}
                Renewal::Later(reason) => return Ok(Seen::Refused(reason)),
            }
        }
        match status {
            200 => {
                let now = self.get("/v1/time").await?.1["epoch"].as_f64();
                Ok(Seen::Places { places, now })
            }
            401 => {
                // Where there is a password, the next round signs in anew.
                (self.token, self.refresh) = (None, None);
                Ok(Seen::Refused(said("/v1/admin/tree", status, &places)))
            }
            _ => Ok(Seen::Refused(said("/v1/admin/tree", status, &places))),
        }
    }

    fn give_up(&mut self, reason: &str) -> Seen {
        self.access = Access::Refused(reason.to_owned());
        Seen::Refused(reason.to_owned())
    }

    /// Trades the refresh token for the next pair. It is kept while nobody has said that it counts no more: the next round
    /// tries it again.
    async fn renew(&mut self) -> Result<Renewal, String> {
        let Some(refresh) = &self.refresh else { return Ok(Renewal::Over) };
        let (status, answer) = self.post("/v1/auth/refresh", &json!({"refresh_token": refresh})).await?;
        Ok(match status {
            200 => {
                self.begin_session(&answer);
                Renewal::Done
            }
            401 => {
                self.refresh = None;
                Renewal::Over
            }
            _ => Renewal::Later(said("/v1/auth/refresh", status, &answer)),
        })
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    async fn get(&self, path: &str) -> Result<(u16, Value), String> {
        let mut request = self.http.get(self.url(path));
        if let Some(token) = self.token.as_ref().filter(|_| path.starts_with("/v1/admin/")) {
            request = request.bearer_auth(token);
        }
        let (status, body) = self.send(request, None).await?;
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    }

    async fn post(&self, path: &str, body: &Value) -> Result<(u16, Value), String> {
        let request = self.http.post(self.url(path)).timeout(SIGN_IN_PATIENCE);
        let (status, body) = self.send(request, Some(body)).await?;
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    }

    /// One request. The error says why there is no whole answer.
    async fn send(&self, request: awc::ClientRequest, body: Option<&Value>) -> Result<(u16, Bytes), String> {
        let sent = match body {
            Some(body) => request.send_json(body),
            None => request.send(),
        };
        let mut answer = sent.await.map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        let body = answer.body().limit(MAX_BODY).await.map_err(|error| error.to_string())?;
        Ok((status, body))
    }
}

/// What the server said, or at least with which status.
fn said(path: &str, status: u16, answer: &Value) -> String {
    answer["message"].as_str().map_or_else(|| format!("{path} answers {status}"), str::to_owned)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place and a reason")]
mod tests {
    use super::*;
    use actix_web::http::StatusCode;
    use actix_web::http::header::AUTHORIZATION;
    use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
    use parking_lot::Mutex;
    use std::sync::Arc;

    /// With which status a refresh token is answered.
    type Renews = Arc<Mutex<u16>>;

    /// A server that shows its tree for the access token `second` alone.
    async fn answer(renews: web::Data<Renews>, request: HttpRequest) -> HttpResponse {
        let shown = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let (status, body) = match request.path() {
            "/v1/auth/sign-in" => (200, json!({"access_token": "first", "refresh_token": "one"})),
            "/v1/auth/refresh" => match *renews.lock() {
                200 => (200, json!({"access_token": "second", "refresh_token": "two"})),
                status => (status, json!({"message": "no renewal"})),
            },
            "/v1/admin/tree" if shown == Some("Bearer second") => (200, json!([])),
            "/v1/admin/tree" => (401, json!({"message": "the token has expired"})),
            _ => (200, json!({"epoch": 1.0})),
        };
        HttpResponse::build(StatusCode::from_u16(status).unwrap()).json(body)
    }

    #[actix_web::test]
    async fn a_refresh_token_is_kept_until_it_was_traded_or_counts_no_more() {
        let renews: Renews = Arc::new(Mutex::new(503));
        let shared = renews.clone();
        let server = HttpServer::new(move || {
            App::new().app_data(web::Data::new(shared.clone())).default_service(web::to(answer))
        });
        let server = server.workers(1).disable_signals().bind(("127.0.0.1", 0)).unwrap();
        let base = format!("http://{}", server.addrs().first().unwrap());
        let server = server.run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        let (email, password) = ("root@example.org".to_owned(), "x".to_owned());
        let mut client = Client::new(&base, Access::Password { email, password, code: Some("123456".into()) });

        for _ in 0..2 {
            let seen = client.tree().await.unwrap();
            assert!(matches!(seen, Seen::Refused(reason) if reason == "no renewal"));
            assert_eq!((client.token.as_deref(), client.refresh.as_deref()), (Some("first"), Some("one")));
        }
        assert!(matches!(client.access, Access::Password { code: None, .. }), "a code counts once");
        *renews.lock() = 200;
        assert!(matches!(client.tree().await.unwrap(), Seen::Places { .. }));
        assert_eq!(client.refresh.as_deref(), Some("two"));
        client.token = Some("first".into());
        *renews.lock() = 401;
        let seen = client.tree().await.unwrap();
        assert!(matches!(seen, Seen::Refused(reason) if reason == "the token has expired"));
        assert_eq!((&client.token, &client.refresh), (&None, &None));
        handle.stop(false).await;
    }
}
