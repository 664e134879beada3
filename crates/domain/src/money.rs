//! Money: an integer in the currency's minor unit, never a float.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An ISO 4217 code in upper case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

/// Sent without decimals by the gateways, whatever ISO 4217 says of them
/// (MGA has a minor unit there). <https://docs.stripe.com/currencies#zero-decimal>
const ZERO_DECIMAL: [&str; 15] =
    ["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"];

/// <https://docs.stripe.com/currencies#three-decimal>
const THREE_DECIMAL: [&str; 5] = ["BHD", "JOD", "KWD", "OMR", "TND"];

impl Currency {
    /// `None` unless the text is three ASCII letters; case does not matter.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; 3] = text.as_bytes().try_into().ok()?;
        bytes.iter().all(u8::is_ascii_alphabetic).then(|| Self(bytes.map(|b| b.to_ascii_uppercase())))
    }

    pub fn code(&self) -> &str {
        // Only ASCII letters get in; XXX is ISO 4217's code for "no currency".
        std::str::from_utf8(&self.0).unwrap_or("XXX")
    }

    /// Decimals between the minor unit and the amount that people write. ISK and
    /// UGX have two: ISO 4217 gives them none, but gateways send them times 100.
    pub fn decimals(&self) -> u32 {
        match self.code() {
            code if ZERO_DECIMAL.contains(&code) => 0,
            code if THREE_DECIMAL.contains(&code) => 3,
            _ => 2,
        }
    }
}

impl TryFrom<String> for Currency {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("{text:?} is not an ISO 4217 currency code"))
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> String {
        currency.code().to_owned()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Minor units that are never negative; sums saturate instead of wrapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Minor(i64);

impl Minor {
    pub const ZERO: Self = Self(0);

    /// `None` for a negative number.
    pub const fn new(units: i64) -> Option<Self> {
        if units < 0 { None } else { Some(Self(units)) }
    }

    pub const fn units(self) -> i64 {
        self.0
    }

    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Zero where `other` is more.
    pub const fn less(self, other: Self) -> Self {
        if other.0 >= self.0 { Self::ZERO } else { Self(self.0 - other.0) }
    }
}

/// A stored negative number is corrupt, not a debt.
impl<'de> Deserialize<'de> for Minor {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let units = i64::deserialize(deserializer)?;
        Self::new(units).ok_or_else(|| serde::de::Error::custom(format!("{units} is negative")))
    }
}

impl std::iter::Sum for Minor {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Self::plus)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Money {
    pub amount: Minor,
    pub currency: Currency,
}

impl Money {
    /// Reads `150`, `150.00` or `0.5` exactly. `None` if it is negative, not a
    /// plain decimal, has a non-zero digit below the minor unit, or does not fit.
    pub fn from_decimal(text: &str, currency: Currency) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) || text.ends_with('.') {
            return None;
        }
        let decimals = currency.decimals() as usize;
        let (kept, below) = fraction.split_at(fraction.len().min(decimals));
        if below.bytes().any(|b| b != b'0') {
            return None;
        }
        let units: i64 = format!("{whole}{kept:0<decimals$}").parse().ok()?;
        Some(Self { amount: Minor::new(units)?, currency })
    }
}

/// An exact decimal that is not negative, in one spelling: `150`, `0.5`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Decimal(String);

impl Decimal {
    /// Beyond any amount that fits a [`Minor`], and short enough to write out.
    const DIGITS_MAX: usize = 40;

    /// Reads what JSON takes for a number: `150`, `150.00`, `1.5e2`. `None` if it is
    /// anything else, negative, or too long to be an amount.
    pub fn parse(text: &str) -> Option<Self> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (mantissa, ""),
        };
        if whole.is_empty() || !mantissa.bytes().all(|b| b.is_ascii_digit() || b == b'.') || fraction.contains('.') {
            return None;
        }
        let digits = format!("{whole}{fraction}");
        let significant = digits.trim_start_matches('0').trim_end_matches('0');
        if significant.is_empty() {
            return Some(Self("0".to_owned()));
        }
        let ending_zeros = digits.len() - digits.trim_end_matches('0').len();
        // The value is `significant` times ten to this.
        let power = i64::from(exponent) - fraction.len() as i64 + ending_zeros as i64;
        let zeros = usize::try_from(power.unsigned_abs()).ok()?;
        if significant.len() > Self::DIGITS_MAX || zeros > Self::DIGITS_MAX {
            return None;
        }
        if power >= 0 {
            return Some(Self(format!("{significant}{}", "0".repeat(zeros))));
        }
        let padded = format!("{significant:0>width$}", width = zeros + 1);
        let (whole, fraction) = padded.split_at(padded.len() - zeros);
        Some(Self(format!("{whole}.{fraction}")))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `None` if it has a digit below the minor unit or does not fit.
    pub fn in_currency(&self, currency: Currency) -> Option<Money> {
        Money::from_decimal(&self.0, currency)
    }
}

/// `150.00 USD`, `500 JPY`, `1.250 KWD`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = 10_i64.pow(self.currency.decimals());
        let (whole, fraction) = (self.amount.units() / scale, self.amount.units() % scale);
        match self.currency.decimals() as usize {
            0 => write!(f, "{whole} {}", self.currency),
            width => write!(f, "{whole}.{fraction:0width$} {}", self.currency),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn currency(code: &str) -> Currency {
        Currency::parse(code).expect(code)
    }

    #[test]
    fn decimals_follow_the_gateways_and_not_iso_alone() {
        for (code, decimals) in [("usd", 2), ("JPY", 0), ("MGA", 0), ("KWD", 3), ("ISK", 2), ("UGX", 2), ("HUF", 2)] {
            assert_eq!(currency(code).decimals(), decimals, "{code}");
        }
        for not_a_code in ["", "us", "usdt", "u$d", "€"] {
            assert_eq!(Currency::parse(not_a_code), None, "{not_a_code:?}");
        }
    }

    #[test]
    fn decimal_text_becomes_minor_units_exactly() {
        let cases = [
            ("150.00", "USD", Some(15000)),
            ("150", "USD", Some(15000)),
            ("0.5", "USD", Some(50)),
            ("0.57", "USD", Some(57)),
            ("19.99", "USD", Some(1999)),
            ("19.990", "USD", Some(1999)),
            ("19.999", "USD", None),
            ("198", "JPY", Some(198)),
            ("198.00", "JPY", Some(198)),
            ("198.5", "JPY", None),
            ("1.25", "KWD", Some(1250)),
            ("-1", "USD", None),
            ("1e3", "USD", None),
            (".5", "USD", None),
            ("5.", "USD", None),
            ("", "USD", None),
            ("99999999999999999999", "USD", None),
        ];
        for (text, code, units) in cases {
            let read = Money::from_decimal(text, currency(code)).map(|m| m.amount.units());
            assert_eq!(read, units, "{text:?} {code}");
        }
    }

    #[test]
    fn a_decimal_has_one_spelling() {
        for (one, text) in [
            ("150", "150"),
            ("150.00", "150"),
            ("1.5e2", "150"),
            ("15E1", "150"),
            ("1500e-1", "150"),
            ("0150", "150"),
            ("0.50", "0.5"),
            ("5e-1", "0.5"),
            ("0.05", "0.05"),
            ("0", "0"),
            ("0.00", "0"),
            ("0e99", "0"),
            ("00", "0"),
            ("100.01", "100.01"),
            ("12e+3", "12000"),
        ] {
            assert_eq!(Decimal::parse(one).as_ref().map(Decimal::as_str), Some(text), "{one:?}");
        }
        let long = "1".repeat(41);
        for none in [
            "",
            "-1",
            "-0",
            "+1",
            "1.",
            ".5",
            "1.2.3",
            "1e",
            "1e99999999999",
            "1e41",
            "1e-41",
            "NaN",
            "1,5",
            " 1",
            "0x1",
            &long,
            "e5",
        ] {
            assert_eq!(Decimal::parse(none), None, "{none:?}");
        }
    }

    #[test]
    fn money_reads_as_people_write_it() {
        for (units, code, text) in
            [(15000, "USD", "150.00 USD"), (500, "JPY", "500 JPY"), (1250, "KWD", "1.250 KWD"), (7, "USD", "0.07 USD")]
        {
            let money = Money { amount: Minor::new(units).expect("not negative"), currency: currency(code) };
            assert_eq!(money.to_string(), text);
        }
    }

    #[test]
    fn amounts_neither_wrap_nor_turn_negative() {
        let most = Minor::new(i64::MAX).expect("not negative");
        assert_eq!(most.plus(most), most);
        assert_eq!(Minor::ZERO.less(most), Minor::ZERO);
        assert_eq!(Minor::new(-1), None);
        assert!(serde_json::from_str::<Minor>("-1").is_err());
    }
}
