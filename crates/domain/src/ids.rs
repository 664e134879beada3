//! Names of things, and who they belong to.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A merchant account; every row and every query names one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccountId(String);

impl AccountId {
    pub const DEFAULT: &str = "default";
    const LEN_MAX: usize = 64;

    /// `None` unless it is 1 to 64 letters, digits, `-`, `_` or `.`.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=Self::LEN_MAX).contains(&text.len());
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        (fits && plain).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for AccountId {
    fn default() -> Self {
        Self(Self::DEFAULT.to_owned())
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a gateway moved real money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Test,
    Live,
}

impl Mode {
    pub const fn from_livemode(livemode: bool) -> Self {
        if livemode { Self::Live } else { Self::Test }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Live => "live",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Test, Self::Live].into_iter().find(|mode| mode.as_str() == text)
    }
}

/// Within which a gateway's object ids are unique. Facts never cross a scope.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    pub account: AccountId,
    /// `stripe`, `paypal`, …
    pub gateway: String,
    pub mode: Mode,
}

impl Scope {
    /// The id of what a gateway's object makes here: the same whenever, wherever
    /// and in whatever order it is derived. `prefix` is `pay`, `rfd` or `dsp`.
    pub fn derived_id(&self, prefix: &str, object_id: &str) -> String {
        self.hashed_id(prefix, &[object_id])
    }

    /// As [`Self::derived_id`], of an object that one id alone may not tell apart.
    pub(crate) fn hashed_id(&self, prefix: &str, object: &[&str]) -> String {
        const HASH_BYTES: usize = 16;
        const LEAD_LEN: usize = 6;
        const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hash = Sha256::new();
        for part in [self.account.as_str(), &self.gateway, self.mode.as_str()].iter().chain(object) {
            hash.update((part.len() as u64).to_be_bytes()); // Lengths keep ("ab","c") from ("a","bc").
            hash.update(part);
        }
        let digest = hash.finalize();
        // Gateways put the time first in their ids. Keeping its beginning keeps what
        // happened together together on disk.
        let lead = object.last().and_then(|id| id.rsplit('_').next()).unwrap_or_default();
        let mut id = format!("{prefix}_");
        id.extend(lead.chars().filter(char::is_ascii_alphanumeric).take(LEAD_LEN));
        for byte in &digest[..HASH_BYTES] {
            id.extend([byte >> 4, byte & 15].map(|digit| char::from(HEX_DIGITS[usize::from(digit)])));
        }
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_ids_depend_on_every_part_of_the_scope() {
        let scope = |account: &str, gateway: &str, mode| Scope {
            account: AccountId::parse(account).expect(account),
            gateway: gateway.to_owned(),
            mode,
        };
        let base = scope("default", "stripe", Mode::Live);
        let id = base.derived_id("pay", "pi_1");
        assert_eq!(id, base.derived_id("pay", "pi_1"));
        assert_eq!(id.len(), "pay_1".len() + 32, "{id}");
        assert!(base.derived_id("pay", "pi_3SVCroQ8iJWBZFaM").starts_with("pay_3SVCro"));
        let others = [
            base.derived_id("pay", "pi_2"),
            scope("other", "stripe", Mode::Live).derived_id("pay", "pi_1"),
            scope("default", "paypal", Mode::Live).derived_id("pay", "pi_1"),
            scope("default", "stripe", Mode::Test).derived_id("pay", "pi_1"),
            scope("defaults", "tripe", Mode::Live).derived_id("pay", "pi_1"),
        ];
        assert!(others.iter().all(|other| *other != id), "{others:?}");
    }

    #[test]
    fn account_names_are_plain() {
        assert!(AccountId::parse("shop-2.eu_west").is_some());
        for name in ["", "a b", "a/b", "ä", &"x".repeat(65)] {
            assert_eq!(AccountId::parse(name), None, "{name:?}");
        }
    }
}
