//! Argon2id, off the threads that move messages.
//!
//! Parameters follow the OWASP password storage cheat sheet: 19 MiB, two passes, one lane. The hash
//! is kept as a PHC string, which carries its own parameters, so that they may grow later.
//!
//! The workers give way to every other thread, and take no more than half of the processors, so that a flood of sign-ins
//! costs sign-ins alone.
//!
//! Memory: 19 MiB for each worker, kept from one hash to the next (mapping and unmapping it each time makes every thread of
//! the process wait) and freed by a worker that has had nothing to do for a second. What is freed of that size goes back to
//! the system at once: the program's allocator, jemalloc, keeps nothing of 8 MiB or more for later (its
//! `oversize_threshold`).

use super::error::AuthError;
use super::secret::Secret;
use super::workers::{WorkError, Workers};
use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use std::cell::RefCell;
use std::sync::Arc;
use std::thread::available_parallelism;
use subtle::ConstantTimeEq;

/// The most threads that hash; each holds the memory of one hash.
const MOST_WORKERS: usize = 2;

/// Memory of one hash in blocks of 1 KiB.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// The most that a stored hash may ask for.
const MOST_MEMORY_KIB: u32 = 64 * 1024;
const MOST_PASSES: u32 = 4;

thread_local! {
    /// The memory of this thread's next hash.
    static MEMORY: RefCell<Vec<Block>> = const { RefCell::new(Vec::new()) };
}

fn forget_memory() {
    MEMORY.take();
}

/// How many threads hash: half of the processors, one at least, [`MOST_WORKERS`] at most.
pub(super) fn workers() -> usize {
    (available_parallelism().map_or(1, usize::from) / 2).clamp(1, MOST_WORKERS)
}

/// Hashes and checks passwords.
pub(super) struct Passwords {
    workers: Workers,
    /// The hash of a random password: an unknown e-mail is checked against it, for the same work.
    nobody: Arc<str>,
}

impl Passwords {
    /// Starts the workers, with room for `queue` waiting requests.
    ///
    /// # Errors
    /// When no thread can be started or the first hash fails.
    pub(super) fn start(queue: usize) -> std::io::Result<Passwords> {
        let nobody = hash_now(&Secret::new(uuid::Uuid::new_v4().to_string())).map_err(std::io::Error::other)?;
        forget_memory();
        let workers = Workers::start_behind("passwords", workers(), queue, forget_memory)?;
        Ok(Passwords { workers, nobody: nobody.into() })
    }

    /// The PHC string of a new password, with a salt of its own.
    ///
    /// # Errors
    /// [`AuthError::Overloaded`] when the queue is full, [`AuthError::Interrupted`] when hashing broke off.
    pub(super) async fn hash(&self, password: Secret) -> Result<String, AuthError> {
        let hashed = self.workers.run(move || hash_now(&password)).await.map_err(refusal)?;
        hashed.map_err(|error| {
            tracing::error!(%error, "a password could not be hashed");
            AuthError::Interrupted
        })
    }

    /// Refuses at once what the queue would refuse: a flood should not even cost look-ups.
    ///
    /// # Errors
    /// [`AuthError::Overloaded`].
    pub(super) fn check_room(&self) -> Result<(), AuthError> {
        if self.workers.is_full() { Err(AuthError::Overloaded) } else { Ok(()) }
    }

    /// Whether the password fits the stored hash. Without a hash (nobody has that e-mail) the
    /// answer is no, after the same work.
    ///
    /// # Errors
    /// As [`Passwords::hash`].
    pub(super) async fn fits(&self, password: Secret, stored: Option<String>) -> Result<bool, AuthError> {
        let known = stored.is_some();
        let stored = stored.map_or_else(|| Arc::clone(&self.nobody), Arc::from);
        let fits = self.workers.run(move || fits_now(&password, &stored)).await.map_err(refusal)?;
        let fits = fits.map_err(|error| {
            tracing::error!(%error, "a stored password hash could not be checked");
            AuthError::Interrupted
        })?;
        Ok(fits && known)
    }
}

fn refusal(error: WorkError) -> AuthError {
    match error {
        WorkError::Full => AuthError::Overloaded,
        WorkError::BrokeOff => AuthError::Interrupted,
    }
}

fn hash_now(password: &Secret) -> Result<String, argon2::password_hash::Error> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(Params::DEFAULT_OUTPUT_LEN))?;
    let salt = Salt::generate();
    let output = digest(password, &salt, &params, Params::DEFAULT_OUTPUT_LEN)?;
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params)?,
        salt: Some(salt),
        hash: Some(output),
    };
    Ok(hash.to_string())
}

/// Whether a text is a hash that passwords can be checked against here.
pub(super) fn is_hash(text: &str) -> bool {
    parse(text).is_ok()
}

/// A hash taken apart. What it costs to check is in the text, and the text may come from a user (an import): what costs
/// more than a few of our own is none.
fn parse(stored: &str) -> Result<(Salt, Output, Params), argon2::password_hash::Error> {
    use argon2::password_hash::Error;
    let stored = PasswordHash::new(stored)?;
    if stored.algorithm != Algorithm::Argon2id.ident() || stored.version != Some(Version::V0x13.into()) {
        return Err(Error::Algorithm);
    }
    let (Some(salt), Some(expected)) = (stored.salt, stored.hash) else { return Err(Error::EncodingInvalid) };
    let params = Params::try_from(&stored)?;
    if params.m_cost() > MOST_MEMORY_KIB || params.t_cost() > MOST_PASSES || params.p_cost() > LANES {
        return Err(Error::Algorithm);
    }
    Ok((salt, expected, params))
}

fn fits_now(password: &Secret, stored: &str) -> Result<bool, argon2::password_hash::Error> {
    let (salt, expected, params) = parse(stored)?;
    let found = digest(password, &salt, &params, expected.as_bytes().len())?;
    Ok(found.as_bytes().ct_eq(expected.as_bytes()).into())
}

fn digest(
    password: &Secret,
    salt: &Salt,
    params: &Params,
    length: usize,
) -> Result<Output, argon2::password_hash::Error> {
    let mut out = [0_u8; Output::MAX_LENGTH];
    let out = out.get_mut(..length).ok_or(argon2::password_hash::Error::OutputSize)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    let blocks = params.block_count();
    MEMORY.with_borrow_mut(|memory| {
        if memory.len() < blocks {
            *memory = vec![Block::new(); blocks];
        }
        argon2.hash_password_into_with_memory(password.expose().as_bytes(), salt, out, memory)
    })?;
    Ok(Output::new(out)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use argon2::PasswordVerifier;

    #[actix_rt::test]
    async fn a_password_fits_its_own_hash_alone() {
        let passwords = Passwords::start(8).unwrap();
        let hash = passwords.hash(Secret::new("correct horse")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(passwords.hash(Secret::new("correct horse")).await.unwrap(), hash, "each hash has its own salt");
        assert_eq!(passwords.fits(Secret::new("correct horse"), Some(hash.clone())).await, Ok(true));
        assert_eq!(passwords.fits(Secret::new("correct horsf"), Some(hash.clone())).await, Ok(false));
        assert_eq!(passwords.fits(Secret::new("correct horse"), None).await, Ok(false));
        // The crate's own verifier agrees, so the hash is a plain PHC string.
        assert!(Argon2::default().verify_password(b"correct horse", hash.as_str()).is_ok());
    }

    #[actix_rt::test]
    async fn a_full_queue_is_overload_and_a_panic_is_not_the_end() {
        let passwords = Passwords::start(1).unwrap();
        let (release, gate) = crossbeam_channel::bounded::<()>(0);
        let (started, running) = crossbeam_channel::bounded::<()>(workers());
        let mut busy = Vec::new();
        for _ in 0..workers() {
            let (started, gate) = (started.clone(), gate.clone());
            let mut job = Box::pin(passwords.workers.run(move || {
                started.send(()).unwrap();
                gate.recv().unwrap();
            }));
            assert!(futures_util::poll!(&mut job).is_pending());
            running.recv().unwrap();
            busy.push(job);
        }
        let mut waiting = Box::pin(passwords.hash(Secret::new("in the queue")));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        assert_eq!(passwords.hash(Secret::new("one too many")).await, Err(AuthError::Overloaded));
        assert_eq!(passwords.fits(Secret::new("one too many"), None).await, Err(AuthError::Overloaded));
        // Their gate falls away, so both jobs panic; the threads go on with what waits.
        drop(release);
        for job in busy {
            assert_eq!(job.await, Err(WorkError::BrokeOff));
        }
        assert!(waiting.await.is_ok());
    }

    #[actix_rt::test]
    async fn hashes_of_other_makers_and_parameters_are_read() {
        // From the Argon2 reference implementation: password, somesalt, t=2, m=65536, p=1.
        let reference = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert!(is_hash(reference));
        // What would take all memory, or for ever.
        for costs in ["m=4294967295,t=2,p=1", "m=65536,t=4294967295,p=1", "m=65536,t=2,p=255", "m=65537,t=2,p=1"] {
            let costly = reference.replace("m=65536,t=2,p=1", costs);
            assert!(!is_hash(&costly), "{costly}");
            assert!(fits_now(&Secret::new("password"), &costly).is_err(), "{costly}");
        }
        assert_eq!(fits_now(&Secret::new("password"), reference), Ok(true));
        assert_eq!(fits_now(&Secret::new("passwore"), reference), Ok(false));
        for broken in
            ["", "plain", "$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"]
        {
            assert!(fits_now(&Secret::new("password"), broken).is_err(), "{broken}");
        }
    }
}
