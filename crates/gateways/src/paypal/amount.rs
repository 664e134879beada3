//! Money as PayPal writes it: decimal text, with its currency beside it. The first
//! API calls the two `total` and `currency`, the second `value` and `currency_code`.
//! <https://developer.paypal.com/reference/currency-codes/>

use domain::{Currency, Money};

use crate::json::{Raw, tolerant};

/// Longer than any amount that fits.
const DECIMAL_CHARS_MAX: usize = 40;

tolerant! {
    Amount {
        value: Raw<'de> = "value",
        currency_code: Raw<'de> = "currency_code",
        total: Raw<'de> = "total",
        currency: Raw<'de> = "currency",
    }
}

/// Exactly, in the currency's minor unit, and without its sign: what the first API
/// gives back is negative. JPY, HUF and TWD come without decimals; of those only JPY
/// has none of its own, so `"198"` is 198 JPY, but 198.00 HUF. `None` if it is no
/// amount of money.
pub(super) fn money(raw: Raw<'_>) -> Option<Money> {
    let amount: Amount<'_> = raw.read();
    let currency = amount.currency_code.text().or_else(|| amount.currency.text())?;
    let currency = Currency::parse(&currency)?;
    let decimal = [amount.value, amount.total].into_iter().find_map(|raw| raw.scalar_text(DECIMAL_CHARS_MAX))?;
    Money::from_decimal(decimal.strip_prefix('-').unwrap_or(&decimal), currency)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_of_both_apis_are_read_exactly() {
        let cases = [
            (r#"{"value":"10.99","currency_code":"USD"}"#, Some((1099, "USD"))),
            (r#"{"total":"7.47","currency":"USD","details":{"subtotal":"7.47"}}"#, Some((747, "USD"))),
            (r#"{"total":"-0.01","currency":"usd"}"#, Some((1, "USD"))),
            (r#"{"value":"198","currency_code":"JPY"}"#, Some((198, "JPY"))),
            (r#"{"value":"198","currency_code":"HUF"}"#, Some((19800, "HUF"))),
            (r#"{"value":"198","currency_code":"TWD"}"#, Some((19800, "TWD"))),
            (r#"{"value":"0.1","currency_code":"EUR"}"#, Some((10, "EUR"))),
            (r#"{"value":12.5,"currency_code":"EUR"}"#, Some((1250, "EUR"))),
            (r#"{"value":"198.5","currency_code":"JPY"}"#, None),
            (r#"{"value":"0.001","currency_code":"EUR"}"#, None),
            (r#"{"value":"--1","currency_code":"EUR"}"#, None),
            (r#"{"value":"1e3","currency_code":"EUR"}"#, None),
            (r#"{"value":"1,000.00","currency_code":"EUR"}"#, None),
            (r#"{"value":"99999999999999999999","currency_code":"EUR"}"#, None),
            (r#"{"value":"1.00","currency_code":"EURO"}"#, None),
            (r#"{"value":"1.00"}"#, None),
            (r#"{"currency_code":"EUR"}"#, None),
            ("\"1.00\"", None),
            ("null", None),
        ];
        for (json, expected) in cases {
            let raw: Raw<'_> = serde_json::from_str(json).expect(json);
            let read = money(raw).map(|money| (money.amount.units(), money.currency.code().to_owned()));
            assert_eq!(read, expected.map(|(units, code)| (units, code.to_owned())), "{json}");
        }
    }
}
