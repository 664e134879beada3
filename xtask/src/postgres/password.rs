//! What the server keeps of the superuser's password.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

/// SHA-256 reads blocks of so many bytes.
const BLOCK: usize = 64;

/// 128 bits that nobody guesses.
///
/// # Errors
/// When the system has no randomness to give.
pub(super) fn random_bytes() -> anyhow::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// A password that stands in a URL as it is.
///
/// # Errors
/// When the system has no randomness to give.
pub(super) fn random() -> anyhow::Result<String> {
    Ok(random_bytes()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// `SCRAM-SHA-256$1:<salt>$<StoredKey>:<ServerKey>` (PostgreSQL's documentation of `pg_authid`; RFC 5802,
/// section 3). PostgreSQL takes it where it takes a password.
///
/// One round, not 4096: rounds slow down who guesses, and 128 random bits are not guessed. They would slow down
/// each connection of each test by more than everything else in it, most of all in a debug build.
pub(super) fn verifier(password: &str, salt: &[u8]) -> String {
    let salted_password = hmac(password.as_bytes(), &[salt, &1_u32.to_be_bytes()].concat());
    let stored_key: [u8; 32] = Sha256::digest(hmac(&salted_password, b"Client Key")).into();
    let server_key = hmac(&salted_password, b"Server Key");
    let [salt, stored_key, server_key] = [salt, &stored_key, &server_key].map(|bytes| BASE64_STANDARD.encode(bytes));
    format!("SCRAM-SHA-256$1:{salt}${stored_key}:{server_key}")
}

/// RFC 2104, for keys of a block at most.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let padded = |pad: u8| {
        let mut block = [pad; BLOCK];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2. The verifier as a whole is tried by every connection.
    #[test]
    fn hmac_is_that_of_the_rfc() {
        let code = hmac(b"Jefe", b"what do ya want for nothing?");
        let hex: String = code.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
