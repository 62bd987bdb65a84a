//! Wire in, command out: parse, one call, map. No rules and no SQL here. The whole route table is
//! on this page.

pub mod admin_tree;
pub mod assets;
pub mod chat;
pub mod cookies;
pub mod error;
pub mod exchange;
mod forwarded;
pub mod gitbitex;
pub mod ids;
pub mod links;
pub mod openapi;
pub mod ops;
pub mod permissions;
pub mod pictures;
pub mod request_id;
pub mod routing;
pub mod server;
pub mod session;
pub mod v1;
pub mod web_socket;
pub mod wire;
pub mod ws;

use crate::actors::chat::Chat;
use crate::actors::cluster::peers::Peers;
use crate::actors::links::Links;
use crate::actors::supervision::Tree;
use crate::actors::trading::{Market, Trading};
use crate::auth::{Accounts, key};
use crate::persistence::db::{Connection, Database};
use crate::persistence::redis::Redis;
use actix_web::http::{Method, header};
use actix_web::{HttpResponse, ResponseError, web};
use error::ApiError;
use std::sync::Arc;

/// What handlers work with.
#[derive(Clone)]
pub struct AppState {
    /// The exchange.
    pub trading: Trading,
    /// Chat.
    pub chat: Chat,
    /// Short links.
    pub links: Links,
    /// Users and sessions.
    pub accounts: Accounts,
    /// History.
    pub database: Database,
    /// What cancels the orders of users who are gone.
    pub switches: ws::switches::Switches,
    /// The feed's connections by address.
    pub seats: ws::seats::Seats,
    /// The supervision tree.
    pub tree: Tree,
    /// Figures for Prometheus.
    pub metrics: Arc<ops::Metrics>,
    /// Whether administrators may make actors fail on purpose.
    pub allow_drills: bool,
    /// Withdrawals and deposits.
    pub custody: crate::custody::Desk,
    /// The other nodes, if there may be any.
    pub peers: Option<Peers>,
    /// What nodes share beside the log and the database, if there is a Redis.
    pub redis: Option<Redis>,
    /// The public pictures in Redis.
    pub edge: v1::edge::Edge,
    /// Origins of other pages that may use the GitBitEx dialect with a cookie.
    pub gitbitex_origins: Arc<[String]>,
}

impl AppState {
    /// Whether play money is given away now.
    pub fn gives_demo_funds(&self) -> bool {
        self.accounts.runtime().flag(key::DEMO_FUNDS)
    }

    /// Refuses withdrawals while an administrator has closed them. What was asked for before goes on.
    ///
    /// # Errors
    /// 403 `withdrawals_closed`.
    pub fn takes_withdrawals(&self) -> Result<(), ApiError> {
        if self.accounts.runtime().flag(key::WITHDRAWALS) {
            return Ok(());
        }
        let message = "Withdrawals are closed at the moment.";
        Err(ApiError::new(actix_web::http::StatusCode::FORBIDDEN, "withdrawals_closed", message))
    }

    /// What neither memory nor the database has may exist all the same, while the database is behind what the memory of
    /// this market has dropped.
    ///
    /// # Errors
    /// 503 while that is so.
    pub fn history_is_whole(&self, market: &Market) -> Result<(), ApiError> {
        if market.berth.forgotten().0 <= self.metrics.written() {
            return Ok(());
        }
        let message = "history is being written, please retry";
        Err(ApiError::new(actix_web::http::StatusCode::SERVICE_UNAVAILABLE, "history_behind", message))
    }

    /// Waits until the database has everything that was committed before this call.
    ///
    /// # Errors
    /// 503 when it does not catch up within a moment.
    pub async fn history_catches_up(&self) -> Result<(), ApiError> {
        let committed = self.metrics.committed();
        for _ in 0..200 {
            if self.metrics.written() >= committed {
                return Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        let message = "history is being written, please retry";
        Err(ApiError::new(actix_web::http::StatusCode::SERVICE_UNAVAILABLE, "history_behind", message))
    }

    /// Runs a query where it may block.
    ///
    /// # Errors
    /// 503 when the database is out of reach.
    pub async fn query<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut Connection) -> diesel::QueryResult<T> + Send + 'static,
    ) -> Result<T, ApiError> {
        Ok(self.database.elsewhere(move |database| database.read(query)).await?)
    }
}

/// The largest body that is read.
const MAX_BODY: usize = 64 * 1024;

/// Every route of the native API.
fn v1_routes(cfg: &mut web::ServiceConfig) {
    use v1::{
        accounts, admin, admin_markets, amend, atomic, auth, batch, keys, ledger, markets, notifications, oidc, orders,
        photos, profile, profiles, runtime, summaries, totp, trace, transfers, wallets,
    };
    // Routes are tried in turn, and one with a placeholder costs a regular expression, so what has to be fast is first.
    cfg.route("/orders", web::post().to(orders::place))
        .route("/orders/batch", web::post().to(batch::place))
        .route("/orders/batch", web::delete().to(batch::cancel))
        .route("/orders/atomic", web::post().to(atomic::place))
        .route("/orders/{id}", web::patch().to(amend::amend))
        .route("/orders/{id}", web::delete().to(orders::cancel))
        .route("/orders/{id}", web::get().to(orders::get))
        .route("/orders", web::get().to(orders::list))
        .route("/orders/{id}/trace", web::get().to(trace::get))
        .route("/orders", web::delete().to(orders::cancel_all))
        .route("/time", web::get().to(markets::time))
        .route("/currencies", web::get().to(markets::currencies))
        .route("/currencies/{id}", web::get().to(markets::currency))
        .route("/products", web::get().to(markets::products))
        .route("/products/spark-lines", web::get().to(summaries::spark_lines))
        .route("/products/volume-summary", web::get().to(summaries::volumes))
        .route("/products/{id}", web::get().to(markets::product))
        .route("/products/{id}/book", web::get().to(markets::book))
        .route("/products/{id}/ticker", web::get().to(markets::ticker))
        .route("/products/{id}/trades", web::get().to(markets::trades))
        .route("/products/{id}/candles", web::get().to(markets::candles))
        .route("/products/{id}/stats", web::get().to(markets::stats))
        .route("/auth/sign-up", web::post().to(auth::sign_up))
        .route("/auth/sign-in", web::post().to(auth::sign_in))
        .route("/auth/sign-out", web::post().to(auth::sign_out))
        .route("/auth/sign-out-all", web::post().to(auth::sign_out_all))
        .route("/auth/refresh", web::post().to(auth::refresh))
        .route("/auth/introspect", web::post().to(auth::introspect))
        .route("/auth/me", web::get().to(auth::me))
        .route("/auth/me", web::put().to(profile::change))
        .route("/auth/me/photo", web::put().to(photos::put))
        .route("/photos/{id}", web::get().to(photos::get))
        .route("/auth/sessions", web::get().to(profile::sessions))
        .route("/auth/sessions/{id}", web::delete().to(profile::end_session))
        .route("/auth/providers", web::get().to(oidc::providers))
        .route("/auth/oidc/{provider}/start", web::get().to(oidc::start))
        .route("/auth/oidc/{provider}/callback", web::get().to(oidc::callback))
        .route("/auth/oidc/{provider}/token", web::post().to(oidc::token))
        .route("/auth/second-factor", web::post().to(oidc::second_factor))
        .route("/auth/identities", web::get().to(oidc::identities))
        .route("/auth/identities/{provider}", web::post().to(oidc::begin_link))
        .route("/auth/identities/{provider}", web::delete().to(oidc::unlink))
        .route("/auth/totp", web::get().to(totp::get))
        .route("/auth/totp", web::post().to(totp::begin))
        .route("/auth/totp", web::delete().to(totp::remove))
        .route("/auth/totp/confirm", web::post().to(totp::confirm))
        .route("/auth/password", web::post().to(profile::change_password))
        .route("/auth/email", web::post().to(profile::begin_address))
        .route("/auth/email/confirm", web::post().to(profile::confirm_address))
        .route("/auth/password/forgot", web::post().to(profile::forgot_password))
        .route("/auth/password/reset", web::post().to(profile::reset_password))
        .route("/auth/jwks.json", web::get().to(auth::jwks))
        .route("/auth/keys", web::get().to(keys::list))
        .route("/auth/keys", web::post().to(keys::create))
        .route("/auth/keys/{id}", web::delete().to(keys::revoke))
        .route("/users/self/verify", web::get().to(auth::verify))
        .route("/users/self/trailing-volume", web::get().to(profiles::trailing_volume))
        .route("/profiles", web::get().to(profiles::list))
        .route("/profiles/{id}", web::get().to(profiles::get))
        .route("/accounts", web::get().to(accounts::list))
        .route("/accounts/{id}", web::get().to(accounts::get))
        .route("/accounts/{id}/ledger", web::get().to(ledger::list))
        .route("/accounts/{id}/holds", web::get().to(accounts::holds))
        .route("/accounts/{id}/transfers", web::get().to(transfers::of_account))
        .route("/transfers", web::get().to(transfers::list))
        .route("/transfers/{id}", web::get().to(transfers::get))
        .route("/transfers", web::post().to(transfers::to_user))
        .route("/profiles/transfer", web::post().to(transfers::between_profiles))
        .route("/coinbase-accounts", web::get().to(wallets::list))
        .route("/coinbase-accounts/{id}/addresses", web::post().to(wallets::address))
        .route("/payment-methods", web::get().to(wallets::payment_methods))
        .route("/withdrawals/crypto", web::post().to(wallets::withdraw))
        .route("/withdrawals/coinbase-account", web::post().to(wallets::to_wallet))
        .route("/withdrawals/payment-method", web::post().to(wallets::no_payment_method))
        .route("/withdrawals/fee-estimate", web::get().to(wallets::fee_estimate))
        .route("/withdrawals/{id}", web::delete().to(wallets::recall))
        .route("/deposits/coinbase-account", web::post().to(wallets::from_wallet))
        .route("/deposits/payment-method", web::post().to(wallets::no_payment_method))
        .route("/deposits/simulated", web::post().to(wallets::simulated_deposit))
        .route("/users/{id}/exchange-limits", web::get().to(wallets::limits))
        .route("/admin/withdrawals", web::get().to(wallets::unfinished))
        .route("/admin/withdrawals/{id}/approve", web::post().to(wallets::approve))
        .route("/admin/withdrawals/{id}/reject", web::post().to(wallets::reject))
        .route("/fees", web::get().to(accounts::fees))
        .route("/deposits/demo", web::post().to(accounts::demo_deposit))
        .route("/fills", web::get().to(orders::fills))
        .route("/notifications/outlets", web::get().to(notifications::outlets))
        .route("/notifications/outlets/{outlet}", web::put().to(notifications::put_outlet))
        .route("/notifications/outlets/{outlet}", web::delete().to(notifications::remove_outlet))
        .route("/notifications/alerts", web::get().to(notifications::alerts))
        .route("/notifications/alerts", web::post().to(notifications::add_alert))
        .route("/notifications/alerts/{id}", web::delete().to(notifications::remove_alert))
        .route("/notifications/failed", web::get().to(notifications::failed))
        .route("/notifications/failed/{id}/retry", web::post().to(notifications::retry))
        .route("/line/webhook", web::post().to(notifications::from_line))
        .route("/admin/users", web::get().to(admin::users))
        .route("/admin/users/{id}", web::get().to(admin::user))
        .route("/admin/users/{id}/role", web::put().to(admin::set_role))
        .route("/admin/users/{id}/freeze", web::post().to(admin::freeze))
        .route("/admin/users/{id}/unfreeze", web::post().to(admin::unfreeze))
        .route("/admin/users/{id}/sign-out", web::post().to(admin::sign_out))
        .route("/admin/audit", web::get().to(admin::audit))
        .route("/admin/currencies", web::post().to(admin_markets::add_currency))
        .route("/admin/markets", web::get().to(admin_markets::markets))
        .route("/admin/markets", web::post().to(admin_markets::add_market))
        .route("/admin/markets/{id}", web::patch().to(admin_markets::change_market))
        .route("/admin/markets/{id}/auction", web::post().to(admin_markets::begin_auction))
        .route("/admin/kill", web::post().to(admin_markets::kill))
        .route("/admin/config", web::get().to(runtime::list))
        .route("/admin/config/{key}", web::get().to(runtime::get))
        .route("/admin/config/{key}", web::put().to(runtime::set))
        .route("/notice", web::get().to(runtime::notice))
        .route("/admin/tree", web::get().to(admin_tree::tree))
        .route("/admin/tree/events", web::get().to(admin_tree::events))
        .route("/admin/tree/{path:.*}/crash", web::post().to(admin_tree::crash))
        .route("/admin/tree/{path:.*}/revive", web::post().to(admin_tree::revive))
        .route("/admin/drills/clock", web::put().to(admin_tree::set_clock))
        .route("/openapi.json", web::get().to(openapi::document))
        .route("/feed", web::get().to(ws::socket::connect))
        .configure(chat_routes)
        .configure(link_routes)
        .default_service(web::to(unknown));
}

/// Every route of chat.
fn chat_routes(cfg: &mut web::ServiceConfig) {
    use chat::{images, rest, socket};
    cfg.route("/chat/ws", web::get().to(socket::connect))
        .route("/chat/me", web::get().to(rest::me))
        .route("/chat/me", web::put().to(rest::set_me))
        .route("/chat/people", web::get().to(rest::people))
        .route("/chat/friends", web::get().to(rest::friends))
        .route("/chat/friends", web::post().to(rest::befriend))
        .route("/chat/search", web::get().to(rest::search))
        .route("/chat/messages", web::get().to(rest::newest))
        .route("/chat/invites/{invite}", web::post().to(rest::accept_invite))
        .route("/chat/invites/{invite}", web::delete().to(rest::revoke_invite))
        .route("/chat/rooms", web::get().to(rest::mine))
        .route("/chat/rooms", web::post().to(rest::create))
        .route("/chat/rooms/public", web::get().to(rest::public))
        .route("/chat/rooms/{id}", web::get().to(rest::room))
        .route("/chat/rooms/{id}", web::patch().to(rest::configure))
        .route("/chat/rooms/{id}", web::delete().to(rest::close))
        .route("/chat/rooms/{id}/join", web::post().to(rest::join))
        .route("/chat/rooms/{id}/leave", web::post().to(rest::leave))
        .route("/chat/rooms/{id}/read", web::put().to(rest::read))
        .route("/chat/rooms/{id}/invites", web::get().to(rest::invites))
        .route("/chat/rooms/{id}/invites", web::post().to(rest::invite))
        .route("/chat/rooms/{id}/members", web::get().to(rest::members))
        .route("/chat/rooms/{id}/members", web::post().to(rest::add_member))
        .route("/chat/rooms/{id}/members/{user}", web::patch().to(rest::change_member))
        .route("/chat/rooms/{id}/members/{user}", web::delete().to(rest::kick))
        .route("/chat/rooms/{id}/bans", web::get().to(rest::bans))
        .route("/chat/rooms/{id}/bans/{user}", web::put().to(rest::ban))
        .route("/chat/rooms/{id}/bans/{user}", web::delete().to(rest::unban))
        .route("/chat/rooms/{id}/messages", web::get().to(rest::history))
        .route("/chat/rooms/{id}/messages", web::post().to(rest::send))
        .route("/chat/rooms/{id}/messages/{sequence}", web::patch().to(rest::edit))
        .route("/chat/rooms/{id}/messages/{sequence}", web::delete().to(rest::delete))
        .route("/chat/rooms/{id}/messages/{sequence}/reactions", web::post().to(rest::react))
        .route("/chat/rooms/{id}/messages/{sequence}/reports", web::post().to(rest::report))
        .route("/chat/rooms/{id}/images", web::post().to(images::upload))
        .route("/chat/images/{id}", web::get().to(images::get))
        .route("/chat/rooms/{id}/reports/{number}/resolve", web::post().to(rest::resolve))
        .route("/admin/chat/reports", web::get().to(rest::reports));
}

/// Every route of the GitBitEx dialect, for its front end; with their whole paths, since some are those of native ones.
fn gitbitex_routes(cfg: &mut web::ServiceConfig) {
    use gitbitex::{accounts, apps, files, orders, origins, products, socket, users};
    cfg.route("/api/orders", web::post().to(orders::place))
        .route("/api/orders", web::get().to(orders::list))
        .route("/api/orders", web::delete().to(orders::cancel_all))
        .route("/api/orders/{id}", web::delete().to(orders::cancel))
        .route("/api/accounts", web::get().to(accounts::list))
        .route("/api/products", web::get().to(products::list))
        .route("/api/products/{id}/trades", web::get().to(products::trades))
        .route("/api/products/{id}/candles", web::get().to(products::candles))
        .route("/api/products/{id}/svg", web::get().to(products::line))
        .route("/api/products/{id}/book", web::get().to(products::book))
        .route("/api/users", web::post().to(users::sign_up))
        .route("/api/users/accessToken", web::post().to(users::sign_in))
        .route("/api/users/accessToken", web::delete().to(users::sign_out))
        .route("/api/users/token", web::post().to(users::token))
        .route("/api/users/self", web::get().to(users::me))
        .route("/api/users/self", web::put().to(users::change_me))
        .route("/api/users/name", web::post().to(users::set_name))
        .route("/api/users/profilePhoto", web::post().to(users::set_photo))
        .route("/api/users/password", web::post().to(users::change_password))
        .route("/api/users/password/reset", web::post().to(users::reset_password))
        .route("/api/verifyCodes/restPassword", web::post().to(users::mail_code))
        .route("/api/codes", web::post().to(users::mail_code))
        .route("/api/files/url", web::get().to(files::place))
        .route("/api/files/{id}", web::put().to(files::upload))
        .route("/api/files/{id}", web::get().to(files::get))
        .route("/api/icons/{currency}", web::get().to(accounts::icon))
        .route("/api/wallets/{currency}/address", web::get().to(accounts::address))
        .route("/api/wallets/{currency}/transactions", web::get().to(accounts::transactions))
        .route("/api/wallets/{currency}/withdrawal", web::post().to(accounts::withdraw))
        .route("/api/configs", web::get().to(products::configs))
        .route("/api/apps", web::get().to(apps::list))
        .route("/api/apps", web::post().to(apps::create))
        .route("/api/apps/{id}", web::delete().to(apps::remove))
        .route("/api/health", web::get().to(products::health))
        .route("/ws", web::get().to(socket::connect))
        .service(web::scope("/api").default_service(web::to(origins::unknown)));
}

/// Every route of links but those that follow them.
fn link_routes(cfg: &mut web::ServiceConfig) {
    use links::{admin, bulk, export, live, rest, stats};
    cfg.route("/links", web::post().to(rest::create))
        .route("/links", web::get().to(rest::list))
        .route("/links/bulk", web::post().to(bulk::create))
        .route("/links/import", web::post().to(bulk::import))
        .route("/links/export", web::get().to(export::export))
        .route("/links/tags", web::get().to(rest::tags))
        .route("/links/domains", web::get().to(rest::domains))
        .route("/links/stats", web::get().to(stats::of_user))
        .route("/links/live", web::get().to(live::all))
        .route("/links/reports", web::post().to(admin::report))
        .route("/links/{id}", web::get().to(rest::get))
        .route("/links/{id}", web::patch().to(rest::change))
        .route("/links/{id}", web::delete().to(rest::delete))
        .route("/links/{id}/qr", web::get().to(rest::qr_code))
        .route("/links/{id}/history", web::get().to(rest::history))
        .route("/links/{id}/stats", web::get().to(stats::of_link))
        .route("/links/{id}/clicks", web::get().to(stats::clicks))
        .route("/links/{id}/live", web::get().to(live::one))
        .route("/admin/links", web::get().to(admin::list))
        .route("/admin/links/{id}/block", web::post().to(admin::block))
        .route("/admin/links/{id}/unblock", web::post().to(admin::unblock))
        .route("/admin/links/reports", web::get().to(admin::reports))
        .route("/admin/links/reports/{id}/resolve", web::post().to(admin::resolve))
        .route("/admin/links/hosts", web::get().to(admin::hosts))
        .route("/admin/links/hosts/{host}", web::put().to(admin::block_host))
        .route("/admin/links/hosts/{host}", web::delete().to(admin::unblock_host))
        .route("/admin/links/domains/{host}", web::put().to(admin::set_domain));
}

/// The routes of everything, and what stands around them.
pub fn configure(cfg: &mut web::ServiceConfig) {
    let bad_query = |_, _: &_| ApiError::bad_request("invalid_query", "the query cannot be read").into();
    let bad_path = |_, _: &_| ApiError::not_found().into();
    cfg.app_data(web::PayloadConfig::new(MAX_BODY))
        .app_data(web::QueryConfig::default().error_handler(bad_query))
        .app_data(web::PathConfig::default().error_handler(bad_path))
        .service(web::scope("/v1").configure(v1_routes))
        .configure(gitbitex_routes)
        .route("/health/live", web::get().to(ops::live))
        .route("/health/ready", web::get().to(ops::ready))
        .route("/metrics", web::get().to(ops::metrics))
        .route("/docs", web::get().to(openapi::page))
        .route("/docs/page.js", web::get().to(openapi::script))
        .route("/docs/page.css", web::get().to(openapi::style))
        // Last, since a single segment is a slug on short domains.
        .route("/s/{slug}", web::get().to(links::visit::follow))
        .route("/s/{slug}", web::head().to(links::visit::follow))
        .route("/s/{slug}", web::post().to(links::visit::submit))
        .route("/", web::get().guard(links::visit::on_short_domain).to(links::visit::root))
        .route("/{slug}", web::get().guard(links::visit::on_short_domain).to(links::visit::follow))
        .route("/{slug}", web::head().guard(links::visit::on_short_domain).to(links::visit::follow))
        .route("/{slug}", web::post().guard(links::visit::on_short_domain).to(links::visit::submit))
        .configure(assets::configure);
}

/// What no route takes: preflight requests of browsers, wrong methods, unknown paths.
async fn unknown(request: actix_web::HttpRequest) -> HttpResponse {
    if request.method() == Method::OPTIONS {
        return HttpResponse::Ok()
            .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PUT, PATCH, DELETE, OPTIONS"))
            .insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, "*, Authorization"))
            .insert_header((header::ACCESS_CONTROL_MAX_AGE, "86400"))
            .json(serde_json::json!({}));
    }
    ApiError::not_found().error_response()
}
