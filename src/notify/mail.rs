//! The e-mail outlet: an SMTP server, or the log of a demo server, or nothing.

use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::Semaphore;

/// Mails that may be on their way at a time.
const MOST_AT_ONCE: usize = 64;
/// How long an SMTP server may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why a mail was not sent.
#[derive(Debug, Error)]
pub enum MailError {
    /// The settings name no server.
    #[error("this server sends no mail: set --accounts-smtp-url")]
    NotConfigured,
    /// Too many are on their way already.
    #[error("too many mails are waiting")]
    Overloaded,
    /// The settings cannot be used.
    #[error("the mail settings cannot be used: {0}")]
    Settings(String),
    /// The server did not take it.
    #[error("the mail was not taken: {0}")]
    Refused(String),
}

#[derive(Clone)]
enum Outlet {
    Smtp { transport: Box<AsyncSmtpTransport<Tokio1Executor>>, from: Mailbox },
    Log,
    Nothing,
}

/// Sends mail. Clones share the outlet.
#[derive(Clone)]
pub struct Mailer {
    outlet: Outlet,
    under_way: Arc<Semaphore>,
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outlet = match self.outlet {
            Outlet::Smtp { .. } => "smtp",
            Outlet::Log => "log",
            Outlet::Nothing => "nothing",
        };
        f.debug_tuple("Mailer").field(&outlet).finish()
    }
}

impl Mailer {
    /// A mailer for these settings. Without a server, mail goes to the log where `demo`, else nowhere.
    ///
    /// # Errors
    /// [`MailError::Settings`].
    pub fn new(smtp_url: Option<&str>, from: &str, demo: bool) -> Result<Mailer, MailError> {
        let outlet = match smtp_url {
            Some(url) => {
                let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url)
                    .map_err(|error| MailError::Settings(error.to_string()))?;
                let from = from.parse().map_err(|_| MailError::Settings(format!("{from} is no sender")))?;
                Outlet::Smtp { transport: Box::new(transport.timeout(Some(PATIENCE)).build()), from }
            }
            None if demo => Outlet::Log,
            None => Outlet::Nothing,
        };
        Ok(Mailer { outlet, under_way: Arc::new(Semaphore::new(MOST_AT_ONCE)) })
    }

    /// A mailer that sends nothing.
    pub fn none() -> Mailer {
        Mailer { outlet: Outlet::Nothing, under_way: Arc::new(Semaphore::new(MOST_AT_ONCE)) }
    }

    /// Whether mail can be sent at all.
    pub fn works(&self) -> bool {
        !matches!(self.outlet, Outlet::Nothing)
    }

    /// Sends a mail of plain text. In a demo the log shows it, codes and all: it is what a newcomer
    /// without a mail server reads them from.
    ///
    /// # Errors
    /// [`MailError`].
    pub async fn send(&self, to: &str, subject: &str, text: String) -> Result<(), MailError> {
        let _one = self.under_way.try_acquire().map_err(|_| MailError::Overloaded)?;
        match &self.outlet {
            Outlet::Nothing => Err(MailError::NotConfigured),
            Outlet::Log => {
                tracing::warn!(to, subject, text, "a mail, shown here because this is a demo without a mail server");
                Ok(())
            }
            Outlet::Smtp { transport, from } => {
                let to = to.parse().map_err(|_| MailError::Refused("the address cannot be written to".into()))?;
                let message = Message::builder()
                    .from(from.clone())
                    .to(to)
                    .subject(subject)
                    .header(ContentType::TEXT_PLAIN)
                    .body(text)
                    .map_err(|error| MailError::Refused(error.to_string()))?;
                transport.send(message).await.map(drop).map_err(|error| MailError::Refused(error.to_string()))
            }
        }
    }
}
