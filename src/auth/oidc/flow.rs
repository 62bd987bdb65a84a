//! To a provider and back.

use super::{IdClaims, Provider};
use crate::auth::address::{NO_ADDRESS, has_address};
use crate::auth::audit::{by_owner, note};
use crate::auth::credentials::Email;
use crate::auth::error::AuthError;
use crate::auth::runtime::key;
use crate::auth::secret::Secret;
use crate::auth::service::{Accounts, SignedIn};
use crate::auth::sessions::is_live;
use crate::auth::settings::Device;
use crate::auth::tokens::Caller;
use crate::auth::totp::Factor;
use crate::auth::vault::{random, same};
use crate::domain::ids::AccountId;
use crate::domain::time::{MINUTE, SECOND, Timestamp};
use crate::notify::web;
use crate::persistence::addresses;
use crate::persistence::audit::Entry;
use crate::persistence::identities;
use crate::persistence::sessions::{self, SessionId};
use crate::persistence::users::{self, NewUser, Role};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::net::IpAddr;

/// How long somebody may stay at a provider, µs.
const PATIENCE: i64 = 10 * MINUTE;
/// What the sealed states are for.
const FLOW: &str = "oidc flow";
const TICKET: &str = "oidc ticket";
/// The database's lock of the ways in which a user signs in; the account number follows.
const WAYS_IN: i64 = 0x7761_7973 << 32;

/// What is remembered while somebody is at a provider.
#[derive(Serialize, Deserialize)]
struct Flow {
    provider: String,
    state: String,
    nonce: String,
    verifier: String,
    back: String,
    /// To whom the identity is to be linked, instead of signing in.
    link: Option<Link>,
    until: i64,
}

/// Who wants an identity, and by which session: what a session began ends with it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Link {
    user: u32,
    session: SessionId,
}

/// Somebody who has to show a second factor yet.
#[derive(Serialize, Deserialize)]
struct Ticket {
    user: u32,
    until: i64,
    /// What tells the user's password of that moment from any other. Another password ends what was begun before it,
    /// as it ends sessions.
    password: String,
}

/// Where to send somebody, and what to put into a cookie meanwhile.
#[derive(Debug)]
pub struct Departure {
    /// The provider's page.
    pub url: String,
    /// The sealed state.
    pub state: Secret,
}

/// How somebody came back.
#[derive(Debug)]
pub enum Arrival {
    /// With a session; `new` when the account was made just now.
    SignedIn {
        /// The session.
        signed_in: Box<SignedIn>,
        /// Whether the account is new.
        new: bool,
        /// The page of ours where it began.
        back: String,
    },
    /// The identity is linked to this user now.
    Linked {
        /// The user.
        user: AccountId,
        /// The page of ours where it began.
        back: String,
    },
    /// The account has a second factor; the ticket and a code finish the sign-in.
    SecondFactor(Secret),
}

impl Accounts {
    fn provider(&self, id: &str) -> Result<&Provider, AuthError> {
        self.providers().iter().find(|provider| provider.id == id).ok_or(AuthError::NoSuchProvider)
    }

    fn seal_state<T: Serialize>(&self, name: &str, state: &T) -> Result<Secret, AuthError> {
        let text = serde_json::to_vec(state).map_err(|_| AuthError::Interrupted)?;
        Ok(Secret::new(URL_SAFE_NO_PAD.encode(self.vault().seal(name, &text)?)))
    }

    fn open_state<T: for<'a> Deserialize<'a>>(&self, name: &str, sealed: &Secret) -> Result<T, AuthError> {
        let opened = URL_SAFE_NO_PAD.decode(sealed.expose()).ok();
        let opened = opened.and_then(|sealed| self.vault().open_sealed(name, &sealed));
        opened.and_then(|text| serde_json::from_slice(&text).ok()).ok_or(AuthError::ProviderFlow)
    }

    /// Sends somebody to a provider: to sign in, or, with `link`, to link an identity to that caller, if its session
    /// still counts when it comes back.
    /// `home` is our own address, `back` the page of ours to end at.
    ///
    /// # Errors
    /// [`AuthError::NoSuchProvider`], [`AuthError::ProviderUnavailable`], [`AuthError::Forbidden`] for API keys.
    pub async fn depart(
        &self,
        provider: &str,
        home: &str,
        back: &str,
        link: Option<&Caller>,
    ) -> Result<Departure, AuthError> {
        let session = link.map(Caller::session).transpose()?;
        let link = link.zip(session).map(|(caller, session)| Link { user: caller.user.0, session });
        let provider = self.provider(provider)?;
        let known = provider.known(self.now()).await?;
        let text = || random::<32>().map(|bytes| URL_SAFE_NO_PAD.encode(bytes)).ok_or(AuthError::Interrupted);
        let flow = Flow {
            provider: provider.id.clone(),
            state: text()?,
            nonce: text()?,
            verifier: text()?,
            back: own_page(back),
            link,
            until: (self.now() + PATIENCE).0,
        };
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(flow.verifier.as_bytes()));
        let redirect = redirect_uri(home, &provider.id);
        let query = web::form(&[
            ("response_type", "code"),
            ("client_id", &provider.client_id),
            ("redirect_uri", &redirect),
            ("scope", &provider.scopes.join(" ")),
            ("state", &flow.state),
            ("nonce", &flow.nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ]);
        let separator = if known.authorize_url.contains('?') { '&' } else { '?' };
        let url = format!("{}{separator}{query}", known.authorize_url);
        Ok(Departure { url, state: self.seal_state(FLOW, &flow)? })
    }

    /// Takes somebody back from a provider. A number below `first`, which the ledger has to have told before, is given to
    /// nobody; while it tells none, nobody is made.
    ///
    /// # Errors
    /// [`AuthError::ProviderFlow`] when this is not the browser that left or it took too long,
    /// [`AuthError::ProviderRefused`], [`AuthError::ProviderUnavailable`],
    /// [`AuthError::TokenRevoked`] when the session that wanted a link has ended, [`AuthError::IdentityTaken`],
    /// [`AuthError::EmailTaken`], or a failure.
    pub async fn arrive(
        &self,
        provider: &str,
        home: &str,
        sealed: &Secret,
        (state, code): (&str, &str),
        device: &Device,
        first: Option<AccountId>,
    ) -> Result<Arrival, AuthError> {
        let flow: Flow = self.open_state(FLOW, sealed)?;
        let ours = same(flow.state.as_bytes(), state.as_bytes()) && flow.provider == provider;
        if !ours || self.now().0 >= flow.until {
            return Err(AuthError::ProviderFlow);
        }
        let provider = self.provider(provider)?;
        let known = provider.known(self.now()).await?;
        let redirect = redirect_uri(home, &provider.id);
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &redirect),
            ("client_id", &provider.client_id),
            ("client_secret", provider.client_secret.expose()),
            ("code_verifier", &flow.verifier),
        ];
        let (status, tokens) = web::post_form(&known.token_url, &fields).await.map_err(|error| {
            tracing::warn!(provider = provider.id, %error, "a sign-in provider cannot be reached");
            AuthError::ProviderUnavailable
        })?;
        let token = tokens["id_token"].as_str().filter(|_| status == 200).ok_or(AuthError::ProviderRefused)?;
        let claims = provider.verify(token, Some(&flow.nonce), self.now()).await?;
        match flow.link {
            Some(link) => self.link(provider, claims, link, flow.back, device.address).await,
            None => self.sign_in_as(provider, claims, flow.back, device, first).await,
        }
    }

    /// Signs in with an id token that a provider gave to an app of ours (LIFF, mobile). It does so once.
    ///
    /// # Errors
    /// As [`Accounts::arrive`]; [`AuthError::Overloaded`] when no more tokens can be remembered.
    pub async fn sign_in_with_id_token(
        &self,
        provider: &str,
        token: &Secret,
        device: &Device,
        first: Option<AccountId>,
    ) -> Result<Arrival, AuthError> {
        let provider = self.provider(provider)?;
        let now = self.now();
        let claims = provider.verify(token.expose(), None, now).await?;
        let expires_at = Timestamp(claims.exp.saturating_mul(SECOND));
        let digest = self.id_token_digest(token);
        self.id_tokens().admit(digest, expires_at, now)?;
        self.token_is_first_anywhere(digest, expires_at - now).await?;
        let arrival = self.sign_in_as(provider, claims, String::new(), device, first).await;
        if arrival.is_err() {
            self.give_back_id_token(token).await;
        }
        arrival
    }

    /// Lets an id token count once more: what was to follow the sign-in has failed, and nobody was told of the session.
    pub async fn give_back_id_token(&self, token: &Secret) {
        let digest = self.id_token_digest(token);
        self.id_tokens().forget(digest);
        self.forget_token_anywhere(digest).await;
    }

    /// What tells an id token from others.
    fn id_token_digest(&self, token: &Secret) -> u128 {
        // Without the signature: some algorithms have more than one for the same words.
        let signed = token.expose().rsplit_once('.').map_or("", |(signed, _)| signed);
        let digest = self.vault().digest("id token", &[signed.as_bytes()]);
        digest.first_chunk().map_or(0, |bytes| u128::from_le_bytes(*bytes))
    }

    async fn link(
        &self,
        provider: &Provider,
        claims: IdClaims,
        Link { user, session }: Link,
        back: String,
        from: Option<IpAddr>,
    ) -> Result<Arrival, AuthError> {
        let (id, user, now) = (provider.id.clone(), AccountId(user), self.now());
        let vouched = claims.verified_email().and_then(|email| Email::parse(email).ok());
        let linked = self.write(move |conn| {
            let live = sessions::by_id(conn, session)?.is_some_and(|known| is_live(&known, user, now));
            if live {
                identities::link(conn, &id, &claims.sub, user, now)?;
                note(conn, &by_owner("identity_linked", user, from, json!({"provider": id})), now)?;
                // The provider has verified an address; if it is the user's, that is shown to be read as well.
                if let Some(email) = vouched
                    && users::by_id(conn, user)?.is_some_and(|known| known.email == email.as_str())
                {
                    addresses::confirm(conn, user, email.as_str(), now)?;
                }
            }
            Ok(live)
        });
        match linked.await {
            Ok(true) => Ok(Arrival::Linked { user, back }),
            Ok(false) => Err(AuthError::TokenRevoked),
            Err(AuthError::EmailTaken) => Err(AuthError::IdentityTaken),
            Err(error) => Err(error),
        }
    }

    async fn sign_in_as(
        &self,
        provider: &Provider,
        claims: IdClaims,
        back: String,
        device: &Device,
        first: Option<AccountId>,
    ) -> Result<Arrival, AuthError> {
        let (id, subject) = (provider.id.clone(), claims.sub.clone());
        let known = self.read(move |conn| identities::user_of(conn, &id, &subject)).await?;
        let (user, new) = match known {
            Some(user) => (user, false),
            None => (self.make_user(provider, claims, device, first).await?, true),
        };
        if self.has_totp(user).await? {
            let until = (self.now() + PATIENCE).0;
            let password = self.password_mark(&self.password_of(user).await?);
            return Ok(Arrival::SecondFactor(self.seal_state(TICKET, &Ticket { user: user.0, until, password })?));
        }
        let signed_in = self.enter(user, None, Factor::Nothing, device).await?;
        Ok(Arrival::SignedIn { signed_in: Box::new(signed_in), new, back })
    }

    /// The stored form of a user's password.
    async fn password_of(&self, user: AccountId) -> Result<String, AuthError> {
        let known = self.read(move |conn| users::credentials(conn, user)).await?;
        known.map(|known| known.password_hash).ok_or(AuthError::UnknownUser)
    }

    fn password_mark(&self, stored: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.vault().digest(TICKET, &[stored.as_bytes()]))
    }

    /// Finishes a sign-in through a provider with a code of the second factor.
    ///
    /// # Errors
    /// [`AuthError::ProviderFlow`] for a ticket that is none, too old, or older than the user's password, and those of
    /// the code.
    pub async fn finish_with_code(&self, ticket: &Secret, device: &Device) -> Result<SignedIn, AuthError> {
        let ticket: Ticket = self.open_state(TICKET, ticket)?;
        if self.now().0 >= ticket.until {
            return Err(AuthError::ProviderFlow);
        }
        let user = AccountId(ticket.user);
        let stored = self.password_of(user).await?;
        if !same(self.password_mark(&stored).as_bytes(), ticket.password.as_bytes()) {
            return Err(AuthError::ProviderFlow);
        }
        let factor = self.shown_factor(user, device.second_factor.as_ref()).await?;
        let entered = self.enter(user, Some(stored), factor, device).await;
        entered.map_err(|error| if error == AuthError::WrongCredentials { AuthError::ProviderFlow } else { error })
    }

    async fn make_user(
        &self,
        provider: &Provider,
        claims: IdClaims,
        device: &Device,
        first: Option<AccountId>,
    ) -> Result<AccountId, AuthError> {
        if !self.runtime().sign_up() {
            return Err(AuthError::SignUpClosed);
        }
        let first = first.ok_or(AuthError::StoreUnavailable)?;
        // Those that we make ourselves are nobody's to vouch for.
        let verified = claims.verified_email().and_then(|email| Email::parse(email).ok());
        let email = match verified.filter(|email| !email.as_str().ends_with(NO_ADDRESS)) {
            Some(email) => email,
            None => {
                let digest = Sha256::digest(format!("{} {}", provider.id, claims.sub));
                let short: String = digest.iter().take(10).map(|byte| format!("{byte:02x}")).collect();
                Email::parse(&format!("{}.{short}{NO_ADDRESS}", provider.id))?
            }
        };
        // Nobody knows this password; the owner may set one by a mailed code.
        let unknown = random::<32>().map(|bytes| URL_SAFE_NO_PAD.encode(bytes)).ok_or(AuthError::Interrupted)?;
        let hash = self.passwords().hash(Secret::new(unknown)).await?;
        let (id, now, demo) = (provider.id.clone(), self.now(), self.runtime().flag(key::DEMO_FUNDS));
        let (device, address) = (device.name(), device.address);
        let made = self.write(move |conn| {
            let new = NewUser { email: email.as_str(), password_hash: &hash, role: Role::User, demo };
            let Some(user) = users::create_from(conn, &new, first, now)? else { return Ok(None) };
            identities::link(conn, &id, &claims.sub, user.id, now)?;
            if has_address(&user) {
                // The provider has verified it.
                addresses::confirm(conn, user.id, email.as_str(), now)?;
            }
            let name: String = claims.name.unwrap_or_default().chars().filter(|c| !c.is_control()).take(64).collect();
            let photo = claims.picture.filter(|url| url.starts_with("https://") && url.len() <= 1024);
            users::set_profile(conn, user.id, &name, &photo.unwrap_or_default())?;
            let me = Some(user.id);
            for (action, detail) in
                [("sign_up", json!({"provider": id, "device": device})), ("identity_linked", json!({"provider": id}))]
            {
                note(conn, &Entry { action, actor: me, subject: me, address, detail }, now)?;
            }
            Ok(Some(user.id))
        });
        match made.await? {
            Some(user) => Ok(user),
            None => Err(self.number_refused(first).await),
        }
    }

    /// Unlinks a provider. `from` is whence it is wanted.
    ///
    /// # Errors
    /// [`AuthError::NoSuchProvider`] when it is not linked, [`AuthError::LastWayIn`] when there is neither another
    /// one nor an address that a password could be set by, or a failure.
    pub async fn unlink(&self, user: AccountId, provider: &str, from: Option<IpAddr>) -> Result<(), AuthError> {
        let (provider, now) = (provider.to_owned(), self.now());
        let unlinked = self.write(move |conn| {
            // One after the other: of the last two ways in, only one goes.
            conn.lock(WAYS_IN | i64::from(user.0))?;
            let linked = identities::of_user(conn, user)?;
            let alone = linked.len() == 1 && linked.iter().any(|(own, ..)| *own == provider);
            if alone && !users::by_id(conn, user)?.is_some_and(|user| has_address(&user)) {
                return Ok(Err(AuthError::LastWayIn));
            }
            if !identities::unlink(conn, &provider, user)? {
                return Ok(Err(AuthError::NoSuchProvider));
            }
            note(conn, &by_owner("identity_unlinked", user, from, json!({"provider": provider})), now)?;
            Ok(Ok(()))
        });
        unlinked.await?
    }

    /// The user to whom this identity is linked.
    ///
    /// # Errors
    /// A failure.
    pub async fn user_of_identity(&self, provider: &str, subject: &str) -> Result<Option<AccountId>, AuthError> {
        let (provider, subject) = (provider.to_owned(), subject.to_owned());
        self.read(move |conn| identities::user_of(conn, &provider, &subject)).await
    }

    /// Provider, subject and time of linking (µs since 1970) of a user's identities.
    ///
    /// # Errors
    /// A failure.
    pub async fn identities(&self, user: AccountId) -> Result<Vec<(String, String, i64)>, AuthError> {
        self.read(move |conn| identities::of_user(conn, user)).await
    }
}

fn redirect_uri(home: &str, provider: &str) -> String {
    format!("{}/v1/auth/oidc/{provider}/callback", home.trim_end_matches('/'))
}

/// Only pages of ours: a sign-in must not be a way to send people elsewhere.
fn own_page(back: &str) -> String {
    let own = back.starts_with('/')
        && !back.starts_with("//")
        && !back.contains('\\')
        && back.len() <= 512
        && back.bytes().all(|byte| byte.is_ascii_graphic());
    if own { back.to_owned() } else { "/".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::tests::{Venue, password, sign_up};

    #[actix_rt::test]
    async fn another_password_ends_what_waits_for_a_second_factor() {
        let venue = Venue::new();
        let accounts = venue.start();
        let ada = sign_up(&accounts, "ada@example.org").await;
        let stored = accounts.password_of(ada.user.id).await.unwrap();
        let (until, mark) = ((accounts.now() + PATIENCE).0, accounts.password_mark(&stored));
        let ticket = Ticket { user: ada.user.id.0, until, password: mark };
        let ticket = accounts.seal_state(TICKET, &ticket).unwrap();
        let device = Device::default();
        // Who has no second factor is not asked for one.
        let finished = accounts.finish_with_code(&ticket, &device).await.map(|entered| entered.user.id);
        assert_eq!(finished, Ok(ada.user.id));
        let new = Secret::new("another good one");
        accounts.change_password(ada.user.id, ada.session, password(), new, None).await.unwrap();
        let finished = accounts.finish_with_code(&ticket, &device).await.map(|entered| entered.user.id);
        assert_eq!(finished, Err(AuthError::ProviderFlow));
    }

    /// Of two who unlink the last two providers at once, one keeps a way in.
    #[actix_rt::test]
    async fn somebody_without_an_address_keeps_a_provider() {
        let venue = Venue::new();
        let accounts = venue.start();
        let ada = sign_up(&accounts, "ada@example.org").await.user.id;
        let now = accounts.now();
        let linked = accounts.write(move |conn| {
            users::set_email(conn, ada, "line.0123456789@users.invalid")?;
            identities::link(conn, "line", "u1", ada, now)?;
            identities::link(conn, "corp", "u2", ada, now)
        });
        linked.await.unwrap();
        assert_eq!(accounts.unlink(ada, "another", None).await, Err(AuthError::NoSuchProvider));
        let (one, other) = tokio::join!(accounts.unlink(ada, "line", None), accounts.unlink(ada, "corp", None));
        assert!(
            [one, other].contains(&Ok(())) && [one, other].contains(&Err(AuthError::LastWayIn)),
            "{one:?} {other:?}"
        );
        assert_eq!(accounts.identities(ada).await.unwrap().len(), 1);
    }

    #[test]
    fn nobody_is_sent_elsewhere() {
        assert_eq!(own_page("/trade/BTC-USDT?x=1"), "/trade/BTC-USDT?x=1");
        for elsewhere in ["", "https://evil.example", "//evil.example", "/\\evil.example", "/a\nb", "javascript:x"] {
            assert_eq!(own_page(elsewhere), "/", "{elsewhere}");
        }
    }
}
