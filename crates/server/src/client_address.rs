//! Who is at the other end: the socket says, and a proxy that is trusted says it of
//! those behind it.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use ipnet::IpNet;

/// Where a request's connection comes from, as the socket has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// In which header the trusted proxies say for whom they ask. Only one counts, because
/// a proxy sets one and passes the other on as a stranger wrote it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`
    #[default]
    XForwardedFor,
    /// `Forwarded`, <https://www.rfc-editor.org/rfc/rfc7239>
    Forwarded,
}

impl ForwardedHeader {
    pub const ALL: [Self; 2] = [Self::XForwardedFor, Self::Forwarded];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        }
    }
}

/// Whose word is taken for where a request comes from. Nobody's unless configured.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    trusted: Vec<IpNet>,
    header: ForwardedHeader,
}

impl Proxies {
    pub const fn new(trusted: Vec<IpNet>, header: ForwardedHeader) -> Self {
        Self { trusted, header }
    }

    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted.iter().any(|net| net.contains(&address))
    }

    /// The nearest address that is none of ours: from the right, because everything to
    /// the left of it is what that one claims.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        if self.trusted.is_empty() || !self.trusts(client) {
            return client;
        }
        let values: Vec<&str> =
            headers.get_all(self.header.as_str()).iter().map(|value| value.to_str().unwrap_or_default()).collect();
        let hops = values.iter().flat_map(|value| value.split(',')).rev();
        for hop in hops {
            // What cannot be read was not written by a proxy that is trusted to write.
            let Some(address) = self.address(hop.trim()) else { return client };
            client = address;
            if !self.trusts(client) {
                return client;
            }
        }
        client
    }

    fn address(&self, hop: &str) -> Option<IpAddr> {
        let node = match self.header {
            ForwardedHeader::XForwardedFor => hop,
            ForwardedHeader::Forwarded => hop.split(';').find_map(|pair| {
                let (name, value) = pair.trim().split_once('=')?;
                name.eq_ignore_ascii_case("for").then_some(value.trim_matches('"'))
            })?,
        };
        let address = node.parse().ok().or_else(|| node.parse::<SocketAddr>().ok().map(|with_port| with_port.ip()));
        let bracketed = || node.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
        address.or_else(bracketed).map(|address: IpAddr| address.to_canonical())
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn client(proxies: &Proxies, peer: &str, sent: &[(&'static str, &str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        proxies.client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed_and_only_about_whom_they_saw() {
        let nets = || ["10.0.0.0/8", "2001:db8::/32"].map(|net| net.parse().unwrap()).to_vec();
        let by_x = Proxies::new(nets(), ForwardedHeader::XForwardedFor);
        type Case = (&'static str, &'static [(&'static str, &'static str)], &'static str);
        let cases: &[Case] = &[
            ("192.0.2.1", &[("x-forwarded-for", "198.51.100.7")], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &[("x-forwarded-for", "198.51.100.7")], "198.51.100.7"),
            ("::ffff:10.0.0.1", &[("x-forwarded-for", "198.51.100.7")], "198.51.100.7"),
            ("10.0.0.1", &[("x-forwarded-for", "203.0.113.9, 198.51.100.7, 10.1.1.1")], "198.51.100.7"),
            ("10.0.0.1", &[("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "198.51.100.7")], "198.51.100.7"),
            ("10.0.0.1", &[("x-forwarded-for", "203.0.113.9, nonsense")], "10.0.0.1"),
            ("10.0.0.1", &[("x-forwarded-for", "203.0.113.9, \u{fc}")], "10.0.0.1"),
            ("10.0.0.1", &[("x-forwarded-for", "nonsense, 198.51.100.7:4711")], "198.51.100.7"),
            ("10.0.0.1", &[("x-forwarded-for", "10.2.2.2, 10.1.1.1")], "10.2.2.2"),
            ("10.0.0.1", &[("x-forwarded-for", "")], "10.0.0.1"),
            ("2001:db8::1", &[("x-forwarded-for", "2001:db9::7")], "2001:db9::7"),
            ("10.0.0.1", &[("forwarded", "for=198.51.100.7")], "10.0.0.1"),
        ];
        for (peer, sent, expected) in cases {
            assert_eq!(client(&by_x, peer, sent), *expected, "{peer} {sent:?}");
            assert_eq!(client(&Proxies::default(), peer, sent), peer.trim_start_matches("::ffff:"), "{peer} {sent:?}");
        }
        let by_forwarded = Proxies::new(nets(), ForwardedHeader::Forwarded);
        for (value, expected) in [
            ("for=198.51.100.7", "198.51.100.7"),
            ("for=203.0.113.9, proto=https;For=\"198.51.100.7:80\";by=10.0.0.1", "198.51.100.7"),
            ("for=\"[2001:db9::7]\"", "2001:db9::7"),
            ("for=\"[2001:db9::7]:4711\"", "2001:db9::7"),
            ("for=_hidden", "10.0.0.1"),
            ("proto=https", "10.0.0.1"),
        ] {
            let sent = [("forwarded", value), ("x-forwarded-for", "203.0.113.1")];
            assert_eq!(client(&by_forwarded, "10.0.0.1", &sent), expected, "{value}");
        }
    }
}
