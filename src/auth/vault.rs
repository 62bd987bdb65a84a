//! What keeps secrets that must be read again (API secrets, TOTP seeds) unreadable in the database.
//!
//! One master key of 32 bytes, from the settings or from `DATA/keys/secrets.key`, which is made on
//! the first start. Every use has a key of its own, derived by BLAKE3, so that nothing sealed for one
//! purpose can be passed off as another. A copy of the database without this key gives away nothing.

use super::error::AuthError;
use super::keys::{KeyError, private_file};
use super::secret::Secret;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt;
use std::path::Path;
use subtle::ConstantTimeEq;

/// The layout of what is sealed: this byte, the nonce, the ciphertext with its tag.
const VERSION: u8 = 1;

/// The master key's derivations.
pub(super) struct Vault {
    seal: RandomizedNonceKey,
    digest: [u8; 32],
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault(hidden)")
    }
}

impl Vault {
    /// Takes the configured key, or that of the data folder, which is made when it is not there.
    ///
    /// # Errors
    /// [`KeyError`].
    pub(super) fn open(data: &Path, configured: Option<&Secret>) -> Result<Vault, KeyError> {
        let (text, source) = match configured {
            Some(key) => (key.expose().to_owned(), "the settings".to_owned()),
            None => {
                let file = data.join("keys").join("secrets.key");
                let text =
                    private_file(&file, || Ok(STANDARD.encode(random::<32>().ok_or(KeyError::Generation)?) + "\n"))?;
                (text, file.display().to_string())
            }
        };
        let master: Option<[u8; 32]> = STANDARD.decode(text.trim()).ok().and_then(|bytes| bytes.try_into().ok());
        let master = master.ok_or(KeyError::NotThirtyTwoBytes(source))?;
        let seal = blake3::derive_key("agora 2026 secrets at rest", &master);
        Ok(Vault {
            seal: RandomizedNonceKey::new(&AES_256_GCM, &seal).map_err(|_| KeyError::Generation)?,
            digest: blake3::derive_key("agora 2026 keyed digests", &master),
        })
    }

    /// Encrypts `secret`; it opens again only under the same name.
    ///
    /// # Errors
    /// [`AuthError::Interrupted`] when the random source fails.
    pub(super) fn seal(&self, name: &str, secret: &[u8]) -> Result<Vec<u8>, AuthError> {
        let mut sealed = secret.to_vec();
        let nonce = self.seal.seal_in_place_append_tag(Aad::from(name), &mut sealed);
        let nonce = nonce.map_err(|_| AuthError::Interrupted)?;
        Ok([&[VERSION], nonce.as_ref().as_slice(), &sealed].concat())
    }

    /// What was sealed under this name; `None` when the key or the name is another, or a bit has changed.
    pub(super) fn open_sealed(&self, name: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (version, rest) = sealed.split_first()?;
        let (nonce, text) = rest.split_at_checked(NONCE_LEN)?;
        if *version != VERSION {
            return None;
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = text.to_vec();
        let opened = self.seal.open_in_place(nonce, Aad::from(name), &mut text).ok()?;
        Some(opened.to_vec())
    }

    /// A hash that nobody without the key can compute. `name` says what for, `parts` may be anything.
    pub(super) fn digest(&self, name: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.digest);
        for part in [name.as_bytes()].iter().chain(parts) {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        *hasher.finalize().as_bytes()
    }
}

/// Whether two secrets are the same, in constant time for equally long ones.
pub(super) fn same(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

/// Random bytes; `None` when the system has none.
pub(super) fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_under_its_name_and_key_alone() {
        let data = tempfile::tempdir().unwrap();
        let vault = Vault::open(data.path(), None).unwrap();
        let sealed = vault.seal("api key 1", b"a secret").unwrap();
        assert!(!sealed.windows(8).any(|part| part == b"a secret"));
        assert_ne!(vault.seal("api key 1", b"a secret").unwrap(), sealed, "each has its own nonce");
        let again = Vault::open(data.path(), None).unwrap();
        assert_eq!(again.open_sealed("api key 1", &sealed).unwrap(), b"a secret");
        assert_eq!(again.open_sealed("api key 2", &sealed), None);
        for place in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[place] ^= 1;
            assert_eq!(again.open_sealed("api key 1", &altered), None, "byte {place}");
            assert_eq!(again.open_sealed("api key 1", &sealed[..place]), None, "length {place}");
        }
        let other = Vault::open(tempfile::tempdir().unwrap().path(), None).unwrap();
        assert_eq!(other.open_sealed("api key 1", &sealed), None);
        assert_ne!(other.digest("x", &[b"y"]), vault.digest("x", &[b"y"]));
        assert_eq!(again.digest("x", &[b"y"]), vault.digest("x", &[b"y"]));
        assert_ne!(again.digest("x", &[b"y"]), vault.digest("x", &[b"", b"y"]));
    }

    #[test]
    fn a_configured_key_counts_and_a_bad_one_is_refused() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let key = Secret::new(STANDARD.encode([7; 32]));
        let sealed = Vault::open(one.path(), Some(&key)).unwrap().seal("n", b"s").unwrap();
        assert_eq!(Vault::open(two.path(), Some(&key)).unwrap().open_sealed("n", &sealed).unwrap(), b"s");
        assert!(!one.path().join("keys").exists(), "a configured key needs no file");
        for bad in ["", "short", &STANDARD.encode([7; 31])] {
            assert!(Vault::open(one.path(), Some(&Secret::new(bad))).is_err(), "{bad:?}");
        }
    }
}
