//! Currencies by ISO 4217.

use std::fmt;

/// The codes of currencies in use, in order (<https://www.iso.org/iso-4217-currency-codes.html>).
pub const CURRENCIES: &[&str] = &[
    "AED", "AFN", "ALL", "AMD", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM", "BBD", "BDT", "BGN", "BHD", "BIF", "BMD",
    "BND", "BOB", "BRL", "BSD", "BTN", "BWP", "BYN", "BZD", "CAD", "CDF", "CHF", "CLP", "CNY", "COP", "CRC", "CUP",
    "CVE", "CZK", "DJF", "DKK", "DOP", "DZD", "EGP", "ERN", "ETB", "EUR", "FJD", "FKP", "GBP", "GEL", "GHS", "GIP",
    "GMD", "GNF", "GTQ", "GYD", "HKD", "HNL", "HTG", "HUF", "IDR", "ILS", "INR", "IQD", "IRR", "ISK", "JMD", "JOD",
    "JPY", "KES", "KGS", "KHR", "KMF", "KPW", "KRW", "KWD", "KYD", "KZT", "LAK", "LBP", "LKR", "LRD", "LSL", "LYD",
    "MAD", "MDL", "MGA", "MKD", "MMK", "MNT", "MOP", "MRU", "MUR", "MVR", "MWK", "MXN", "MYR", "MZN", "NAD", "NGN",
    "NIO", "NOK", "NPR", "NZD", "OMR", "PAB", "PEN", "PGK", "PHP", "PKR", "PLN", "PYG", "QAR", "RON", "RSD", "RUB",
    "RWF", "SAR", "SBD", "SCR", "SDG", "SEK", "SGD", "SHP", "SLE", "SOS", "SRD", "SSP", "STN", "SVC", "SYP", "SZL",
    "THB", "TJS", "TMT", "TND", "TOP", "TRY", "TTD", "TWD", "TZS", "UAH", "UGX", "USD", "UYU", "UZS", "VED", "VES",
    "VND", "VUV", "WST", "XAF", "XCD", "XOF", "XPF", "YER", "ZAR", "ZMW", "ZWG",
];

/// A currency.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency(u8);

impl Currency {
    /// The US dollar.
    pub const USD: Self = Self(position("USD"));

    /// The currency of a code such as `USD`, without case.
    pub fn from_code(code: &str) -> Option<Self> {
        let at = CURRENCIES.iter().position(|known| known.eq_ignore_ascii_case(code))?;
        u8::try_from(at).ok().map(Self)
    }

    /// Its code.
    pub const fn code(self) -> &'static str {
        CURRENCIES[self.index()]
    }

    /// Position in [`CURRENCIES`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[expect(clippy::cast_possible_truncation, reason = "there are fewer than 256, which a test holds")]
const fn position(code: &str) -> u8 {
    let mut at = 0;
    while !is_same(CURRENCIES[at].as_bytes(), code.as_bytes()) {
        at += 1;
    }
    at as u8
}

const fn is_same(left: &[u8], right: &[u8]) -> bool {
    left[0] == right[0] && left[1] == right[1] && left[2] == right[2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_currency() {
        assert!(CURRENCIES.is_sorted() && CURRENCIES.len() < 256);
        for code in CURRENCIES {
            assert_eq!(Currency::from_code(code).map(Currency::code), Some(*code));
        }
        assert_eq!((Currency::USD.code(), Currency::from_code("usd")), ("USD", Some(Currency::USD)));
        assert_eq!(Currency::from_code("US"), None);
    }
}
