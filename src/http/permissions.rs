//! Who may use which route: the one table. The guard in `session` enforces it before a handler runs.
//!
//! A private handler takes the caller from the guard, so a route that is missing here is closed to API
//! keys and knows no role; a test compares the table with the routes, both ways.

use crate::auth::{AuthError, Caller, Class, Scope};
use crate::persistence::users::Role;

/// What a route asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing: credentials are not looked at, whatever they hold.
    Public,
    /// Nothing; but whoever shows credentials must show valid ones, and a key must have this scope. Handlers
    /// decide what goes without any.
    Maybe(Scope),
    /// Any valid session or API key.
    Caller,
    /// A session, or an API key with this scope. Handlers show only what is the caller's own.
    Own(Scope),
    /// A session: no API key may do this.
    Session,
    /// A session of this role or a higher one.
    Role(Role),
}

impl Access {
    /// Passes callers who may.
    ///
    /// # Errors
    /// [`AuthError::Forbidden`], [`AuthError::RoleTooLow`].
    pub fn check(self, caller: &Caller) -> Result<(), AuthError> {
        match self {
            Access::Public | Access::Caller => Ok(()),
            Access::Own(scope) | Access::Maybe(scope) => caller.may(scope),
            Access::Session => caller.session().map(drop),
            Access::Role(role) => caller.session().and_then(|_| caller.require(role)),
        }
    }

    /// Whether API keys are of use here.
    pub fn takes_keys(self) -> bool {
        matches!(self, Access::Caller | Access::Own(_) | Access::Maybe(_))
    }
}

/// One row: a route and what it asks for.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// In capitals.
    pub method: &'static str,
    /// As it is registered; routes of the native API without `/v1`, those of the GitBitEx dialect with `/api`.
    pub pattern: &'static str,
    /// What it asks for.
    pub access: Access,
}

impl Rule {
    /// The limit that its requests are counted against.
    pub fn class(&self) -> Option<Class> {
        match self.pattern {
            "/health/live" | "/health/ready" | "/metrics" | "/api/health" => None,
            // Following links is what they are for; guessing their passwords is not.
            "/s/{slug}" | "/{slug}" if self.method == "POST" => Some(Class::SignIn),
            "/s/{slug}" | "/{slug}" | "/" => None,
            "/feed" | "/ws" | "/links/live" | "/links/{id}/live" => Some(Class::Feed),
            "/fills" => Some(Class::Fills),
            "/auth/introspect" => Some(Class::Introspect),
            "/auth/sign-up" | "/auth/sign-in" | "/auth/refresh" | "/auth/password/forgot" | "/auth/password/reset" => {
                Some(Class::SignIn)
            }
            "/auth/email"
            | "/auth/email/confirm"
            | "/api/users"
            | "/api/users/token"
            | "/api/users/password/reset"
            | "/api/verifyCodes/restPassword"
            | "/api/codes" => Some(Class::SignIn),
            "/api/users/accessToken" if self.method == "POST" => Some(Class::SignIn),
            pattern if pattern.starts_with("/auth/oidc/") || pattern == "/auth/second-factor" => Some(Class::SignIn),
            _ if matches!(self.access, Access::Public | Access::Maybe(_)) => Some(Class::Public),
            _ => Some(Class::Private),
        }
    }
}

const fn rule(method: &'static str, pattern: &'static str, access: Access) -> Rule {
    Rule { method, pattern, access }
}

const PUBLIC: Access = Access::Public;
const SESSION: Access = Access::Session;
const VIEW: Access = Access::Own(Scope::View);
const TRADE: Access = Access::Own(Scope::Trade);
const TRANSFER: Access = Access::Own(Scope::Transfer);
const LINKS: Access = Access::Own(Scope::Links);
const SUPPORT: Access = Access::Role(Role::Support);
const MODERATOR: Access = Access::Role(Role::Moderator);
const ADMIN: Access = Access::Role(Role::Admin);

/// Every route.
pub const TABLE: &[Rule] = &[
    rule("POST", "/orders", TRADE),
    rule("POST", "/orders/batch", TRADE),
    rule("DELETE", "/orders/batch", TRADE),
    rule("POST", "/orders/atomic", TRADE),
    rule("PATCH", "/orders/{id}", TRADE),
    rule("DELETE", "/orders/{id}", TRADE),
    rule("GET", "/orders/{id}", VIEW),
    rule("GET", "/orders", VIEW),
    rule("GET", "/orders/{id}/trace", VIEW),
    rule("DELETE", "/orders", TRADE),
    rule("GET", "/time", PUBLIC),
    rule("GET", "/currencies", PUBLIC),
    rule("GET", "/currencies/{id}", PUBLIC),
    rule("GET", "/products", PUBLIC),
    rule("GET", "/products/spark-lines", PUBLIC),
    rule("GET", "/products/volume-summary", PUBLIC),
    rule("GET", "/products/{id}", PUBLIC),
    rule("GET", "/products/{id}/book", PUBLIC),
    rule("GET", "/products/{id}/ticker", PUBLIC),
    rule("GET", "/products/{id}/trades", PUBLIC),
    rule("GET", "/products/{id}/candles", PUBLIC),
    rule("GET", "/products/{id}/stats", PUBLIC),
    rule("POST", "/auth/sign-up", PUBLIC),
    rule("POST", "/auth/sign-in", PUBLIC),
    rule("POST", "/auth/sign-out", SESSION),
    rule("POST", "/auth/sign-out-all", SESSION),
    // A refresh token is a credential of its own.
    rule("POST", "/auth/refresh", PUBLIC),
    rule("POST", "/auth/introspect", PUBLIC),
    rule("GET", "/auth/me", Access::Caller),
    rule("PUT", "/auth/me", SESSION),
    rule("PUT", "/auth/me/photo", SESSION),
    rule("GET", "/photos/{id}", PUBLIC),
    rule("GET", "/auth/sessions", SESSION),
    rule("DELETE", "/auth/sessions/{id}", SESSION),
    rule("GET", "/auth/providers", PUBLIC),
    rule("GET", "/auth/oidc/{provider}/start", PUBLIC),
    rule("GET", "/auth/oidc/{provider}/callback", PUBLIC),
    rule("POST", "/auth/oidc/{provider}/token", PUBLIC),
    rule("POST", "/auth/second-factor", PUBLIC),
    rule("GET", "/auth/identities", SESSION),
    rule("POST", "/auth/identities/{provider}", SESSION),
    rule("DELETE", "/auth/identities/{provider}", SESSION),
    rule("GET", "/auth/totp", SESSION),
    rule("POST", "/auth/totp", SESSION),
    rule("DELETE", "/auth/totp", SESSION),
    rule("POST", "/auth/totp/confirm", SESSION),
    rule("POST", "/auth/password", SESSION),
    rule("POST", "/auth/email", SESSION),
    rule("POST", "/auth/email/confirm", SESSION),
    rule("POST", "/auth/password/forgot", PUBLIC),
    rule("POST", "/auth/password/reset", PUBLIC),
    rule("GET", "/auth/jwks.json", PUBLIC),
    rule("GET", "/auth/keys", SESSION),
    rule("POST", "/auth/keys", SESSION),
    rule("DELETE", "/auth/keys/{id}", SESSION),
    rule("GET", "/users/self/verify", Access::Caller),
    rule("GET", "/users/self/trailing-volume", VIEW),
    rule("GET", "/profiles", VIEW),
    rule("GET", "/profiles/{id}", VIEW),
    rule("GET", "/accounts", VIEW),
    rule("GET", "/accounts/{id}", VIEW),
    rule("GET", "/accounts/{id}/ledger", VIEW),
    rule("GET", "/accounts/{id}/holds", VIEW),
    rule("GET", "/accounts/{id}/transfers", VIEW),
    rule("GET", "/transfers", VIEW),
    rule("GET", "/transfers/{id}", VIEW),
    rule("POST", "/transfers", TRANSFER),
    rule("POST", "/profiles/transfer", TRANSFER),
    rule("GET", "/coinbase-accounts", VIEW),
    rule("POST", "/coinbase-accounts/{id}/addresses", TRANSFER),
    rule("GET", "/payment-methods", VIEW),
    rule("POST", "/withdrawals/crypto", TRANSFER),
    rule("POST", "/withdrawals/coinbase-account", TRANSFER),
    rule("POST", "/withdrawals/payment-method", TRANSFER),
    rule("GET", "/withdrawals/fee-estimate", VIEW),
    rule("DELETE", "/withdrawals/{id}", TRANSFER),
    rule("POST", "/deposits/coinbase-account", TRANSFER),
    rule("POST", "/deposits/payment-method", TRANSFER),
    rule("POST", "/deposits/simulated", TRANSFER),
    rule("GET", "/users/{id}/exchange-limits", VIEW),
    rule("GET", "/admin/withdrawals", ADMIN),
    rule("POST", "/admin/withdrawals/{id}/approve", ADMIN),
    rule("POST", "/admin/withdrawals/{id}/reject", ADMIN),
    rule("GET", "/fees", VIEW),
    rule("POST", "/deposits/demo", TRANSFER),
    rule("GET", "/fills", VIEW),
    rule("GET", "/notifications/outlets", SESSION),
    rule("PUT", "/notifications/outlets/{outlet}", SESSION),
    rule("DELETE", "/notifications/outlets/{outlet}", SESSION),
    rule("GET", "/notifications/alerts", VIEW),
    rule("POST", "/notifications/alerts", TRADE),
    rule("DELETE", "/notifications/alerts/{id}", TRADE),
    rule("GET", "/notifications/failed", SESSION),
    rule("POST", "/notifications/failed/{id}/retry", SESSION),
    // LINE signs what it sends.
    rule("POST", "/line/webhook", PUBLIC),
    rule("GET", "/admin/users", SUPPORT),
    rule("GET", "/admin/users/{id}", SUPPORT),
    rule("PUT", "/admin/users/{id}/role", ADMIN),
    rule("POST", "/admin/users/{id}/freeze", ADMIN),
    rule("POST", "/admin/users/{id}/unfreeze", ADMIN),
    rule("POST", "/admin/users/{id}/sign-out", ADMIN),
    rule("GET", "/admin/audit", ADMIN),
    rule("POST", "/admin/currencies", ADMIN),
    rule("GET", "/admin/markets", ADMIN),
    rule("POST", "/admin/markets", ADMIN),
    rule("PATCH", "/admin/markets/{id}", ADMIN),
    rule("POST", "/admin/markets/{id}/auction", ADMIN),
    rule("POST", "/admin/kill", ADMIN),
    rule("GET", "/admin/config", ADMIN),
    rule("GET", "/admin/config/{key}", ADMIN),
    rule("PUT", "/admin/config/{key}", ADMIN),
    rule("GET", "/notice", PUBLIC),
    rule("GET", "/admin/tree", ADMIN),
    rule("GET", "/admin/tree/events", ADMIN),
    rule("POST", "/admin/tree/{path:.*}/crash", ADMIN),
    rule("POST", "/admin/tree/{path:.*}/revive", ADMIN),
    rule("PUT", "/admin/drills/clock", ADMIN),
    // Sockets prove who they are with messages.
    rule("GET", "/feed", PUBLIC),
    rule("GET", "/chat/ws", PUBLIC),
    rule("GET", "/chat/me", SESSION),
    rule("PUT", "/chat/me", SESSION),
    rule("GET", "/chat/people", SESSION),
    rule("GET", "/chat/friends", SESSION),
    rule("POST", "/chat/friends", SESSION),
    rule("GET", "/chat/search", SESSION),
    rule("GET", "/chat/messages", SESSION),
    rule("POST", "/chat/invites/{invite}", SESSION),
    rule("DELETE", "/chat/invites/{invite}", SESSION),
    rule("GET", "/chat/rooms", SESSION),
    rule("POST", "/chat/rooms", SESSION),
    rule("GET", "/chat/rooms/public", SESSION),
    rule("GET", "/chat/rooms/{id}", SESSION),
    rule("PATCH", "/chat/rooms/{id}", SESSION),
    rule("DELETE", "/chat/rooms/{id}", SESSION),
    rule("POST", "/chat/rooms/{id}/join", SESSION),
    rule("POST", "/chat/rooms/{id}/leave", SESSION),
    rule("PUT", "/chat/rooms/{id}/read", SESSION),
    rule("GET", "/chat/rooms/{id}/invites", SESSION),
    rule("POST", "/chat/rooms/{id}/invites", SESSION),
    rule("GET", "/chat/rooms/{id}/members", SESSION),
    rule("POST", "/chat/rooms/{id}/members", SESSION),
    rule("PATCH", "/chat/rooms/{id}/members/{user}", SESSION),
    rule("DELETE", "/chat/rooms/{id}/members/{user}", SESSION),
    rule("GET", "/chat/rooms/{id}/bans", SESSION),
    rule("PUT", "/chat/rooms/{id}/bans/{user}", SESSION),
    rule("DELETE", "/chat/rooms/{id}/bans/{user}", SESSION),
    rule("GET", "/chat/rooms/{id}/messages", SESSION),
    rule("POST", "/chat/rooms/{id}/messages", SESSION),
    rule("PATCH", "/chat/rooms/{id}/messages/{sequence}", SESSION),
    rule("DELETE", "/chat/rooms/{id}/messages/{sequence}", SESSION),
    rule("POST", "/chat/rooms/{id}/messages/{sequence}/reactions", SESSION),
    rule("POST", "/chat/rooms/{id}/messages/{sequence}/reports", SESSION),
    rule("POST", "/chat/rooms/{id}/images", SESSION),
    rule("GET", "/chat/images/{id}", SESSION),
    rule("POST", "/chat/rooms/{id}/reports/{number}/resolve", SESSION),
    rule("GET", "/admin/chat/reports", MODERATOR),
    rule("POST", "/api/orders", TRADE),
    rule("GET", "/api/orders", VIEW),
    rule("DELETE", "/api/orders", TRADE),
    rule("DELETE", "/api/orders/{id}", TRADE),
    rule("GET", "/api/accounts", VIEW),
    rule("GET", "/api/products", PUBLIC),
    rule("GET", "/api/products/{id}/trades", PUBLIC),
    rule("GET", "/api/products/{id}/candles", PUBLIC),
    rule("GET", "/api/products/{id}/svg", PUBLIC),
    rule("GET", "/api/products/{id}/book", PUBLIC),
    rule("POST", "/api/users", PUBLIC),
    rule("POST", "/api/users/accessToken", PUBLIC),
    // Also for those whose session is over already; the handler looks at the token.
    rule("DELETE", "/api/users/accessToken", PUBLIC),
    rule("POST", "/api/users/token", PUBLIC),
    rule("GET", "/api/users/self", Access::Caller),
    rule("PUT", "/api/users/self", SESSION),
    rule("POST", "/api/users/name", SESSION),
    rule("POST", "/api/users/profilePhoto", SESSION),
    rule("POST", "/api/users/password", SESSION),
    rule("POST", "/api/users/password/reset", PUBLIC),
    rule("POST", "/api/verifyCodes/restPassword", PUBLIC),
    rule("POST", "/api/codes", PUBLIC),
    rule("GET", "/api/files/url", SESSION),
    rule("PUT", "/api/files/{id}", SESSION),
    // Pictures of profiles are for everybody.
    rule("GET", "/api/files/{id}", PUBLIC),
    rule("GET", "/api/icons/{currency}", PUBLIC),
    rule("GET", "/api/wallets/{currency}/address", TRANSFER),
    rule("GET", "/api/wallets/{currency}/transactions", VIEW),
    rule("POST", "/api/wallets/{currency}/withdrawal", TRANSFER),
    rule("GET", "/api/configs", PUBLIC),
    rule("GET", "/api/apps", SESSION),
    rule("POST", "/api/apps", SESSION),
    rule("DELETE", "/api/apps/{id}", SESSION),
    rule("GET", "/api/health", PUBLIC),
    rule("GET", "/ws", PUBLIC),
    rule("POST", "/links", Access::Maybe(Scope::Links)),
    rule("GET", "/links", LINKS),
    rule("POST", "/links/bulk", LINKS),
    rule("POST", "/links/import", LINKS),
    rule("GET", "/links/export", LINKS),
    rule("GET", "/links/tags", LINKS),
    rule("GET", "/links/domains", PUBLIC),
    rule("GET", "/links/stats", LINKS),
    rule("GET", "/links/live", LINKS),
    rule("POST", "/links/reports", Access::Maybe(Scope::Links)),
    rule("GET", "/links/{id}", LINKS),
    rule("PATCH", "/links/{id}", LINKS),
    rule("DELETE", "/links/{id}", LINKS),
    rule("GET", "/links/{id}/qr", LINKS),
    rule("GET", "/links/{id}/history", LINKS),
    rule("GET", "/links/{id}/stats", LINKS),
    rule("GET", "/links/{id}/clicks", LINKS),
    rule("GET", "/links/{id}/live", LINKS),
    rule("GET", "/admin/links", MODERATOR),
    rule("POST", "/admin/links/{id}/block", MODERATOR),
    rule("POST", "/admin/links/{id}/unblock", MODERATOR),
    rule("GET", "/admin/links/reports", MODERATOR),
    rule("POST", "/admin/links/reports/{id}/resolve", MODERATOR),
    rule("GET", "/admin/links/hosts", MODERATOR),
    rule("PUT", "/admin/links/hosts/{host}", MODERATOR),
    rule("DELETE", "/admin/links/hosts/{host}", MODERATOR),
    rule("PUT", "/admin/links/domains/{host}", ADMIN),
    rule("GET", "/s/{slug}", PUBLIC),
    rule("HEAD", "/s/{slug}", PUBLIC),
    rule("POST", "/s/{slug}", PUBLIC),
    // On short domains only.
    rule("GET", "/", PUBLIC),
    rule("GET", "/{slug}", PUBLIC),
    rule("HEAD", "/{slug}", PUBLIC),
    rule("POST", "/{slug}", PUBLIC),
    rule("GET", "/health/live", PUBLIC),
    rule("GET", "/health/ready", PUBLIC),
    rule("GET", "/metrics", PUBLIC),
    rule("GET", "/openapi.json", PUBLIC),
    rule("GET", "/docs", PUBLIC),
    rule("GET", "/docs/page.js", PUBLIC),
    rule("GET", "/docs/page.css", PUBLIC),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The routes as they are written on the page of all routes.
    fn registered() -> BTreeSet<(String, String)> {
        let page = include_str!("mod.rs");
        let routes = page.split(".route(\"").skip(1).filter_map(|rest| {
            let (pattern, rest) = rest.split_once("\",")?;
            let method = rest.trim_start().strip_prefix("web::")?.split_once('(')?.0;
            Some((method.to_uppercase(), pattern.to_owned()))
        });
        routes.collect()
    }

    #[test]
    fn every_route_has_a_row_and_every_row_a_route() {
        let rows: Vec<_> = TABLE.iter().map(|rule| (rule.method.to_owned(), rule.pattern.to_owned())).collect();
        let unique: BTreeSet<_> = rows.iter().cloned().collect();
        assert_eq!(unique.len(), rows.len(), "a route has two rows");
        let routes = registered();
        assert!(routes.len() > 30);
        assert_eq!(routes.difference(&unique).collect::<Vec<_>>(), Vec::<&(String, String)>::new(), "without a row");
        assert_eq!(unique.difference(&routes).collect::<Vec<_>>(), Vec::<&(String, String)>::new(), "without a route");
    }
}
