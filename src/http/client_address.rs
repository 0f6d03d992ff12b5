//! Where a request comes from, through the proxies that the operator trusts.
//!
//! Each proxy appends the address that it was asked from to `X-Forwarded-For`, so the list is read
//! from its end, as far as proxies are trusted: whatever stands before the first address that is
//! none of theirs may have been written by anybody. `Forwarded` and the rest are not read: a proxy
//! that keeps one of these headers passes the others on as the client wrote them.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client's address, or that of the last hop that is known for certain: where the list ends or
/// cannot be read, the trusted proxy itself.
pub(super) fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut address = peer.to_canonical();
    // A header that comes more than once is one list, in this order.
    let values: Vec<_> = headers.get_all(X_FORWARDED_FOR).iter().collect();
    let mut hops = values
        .into_iter()
        .rev()
        .flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
    while is_trusted(&address) {
        match hops.next().and_then(hop) {
            Some(hop) => address = hop,
            None => break,
        }
    }
    address
}

/// An address, which some proxies write with its port.
fn hop(written: &[u8]) -> Option<IpAddr> {
    let written = str::from_utf8(written).ok()?.trim();
    let bare = written
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(written);
    bare.parse()
        .ok()
        .or_else(|| Some(written.parse::<SocketAddr>().ok()?.ip()))
        .map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const TRUSTED: [&str; 3] = ["10.0.0.0/8", "192.0.2.1/32", "fd00::/8"];

    fn seen(peer: &str, forwarded: &[&[u8]]) -> String {
        let trusted = TRUSTED.map(|network| network.parse().expect("a network"));
        let mut headers = HeaderMap::new();
        for value in forwarded {
            let value = HeaderValue::from_bytes(value).expect("a value");
            headers.append(X_FORWARDED_FOR, value);
        }
        // None of these counts.
        for name in ["forwarded", "x-real-ip", "cf-connecting-ip", "x-client-ip"] {
            headers.insert(name, HeaderValue::from_static("6.6.6.6"));
        }
        client_address(peer.parse().expect("an address"), &headers, &trusted).to_string()
    }

    #[test]
    fn a_stranger_s_word_for_it_does_not_count() {
        assert_eq!(seen("203.0.113.7", &[b"198.51.100.9"]), "203.0.113.7");
        assert_eq!(seen("192.0.2.2", &[b"198.51.100.9"]), "192.0.2.2");
        assert_eq!(seen("::1", &[b"198.51.100.9"]), "::1");
    }

    #[test]
    fn the_last_address_that_is_no_trusted_proxy_counts() {
        for (forwarded, expected) in [
            (&[b"198.51.100.9".as_slice()][..], "198.51.100.9"),
            (&[b"6.6.6.6, 198.51.100.9"], "198.51.100.9"),
            (&[b"6.6.6.6,198.51.100.9 , 10.1.2.3"], "198.51.100.9"),
            (
                &[b"6.6.6.6", b"198.51.100.9", b"10.1.2.3,fd00::1"],
                "198.51.100.9",
            ),
            (&[b"10.6.6.6, 198.51.100.9"], "198.51.100.9"),
            (&[b"2001:db8::9"], "2001:db8::9"),
            (&[b"[2001:db8::9]"], "2001:db8::9"),
            (&[b"[2001:db8::9]:4711"], "2001:db8::9"),
            (&[b"198.51.100.9:4711"], "198.51.100.9"),
            (&[b"::ffff:198.51.100.9"], "198.51.100.9"),
            (&[b"198.51.100.9, ::ffff:10.1.2.3"], "198.51.100.9"),
            // Somebody behind the proxies themselves.
            (&[b"10.9.9.9, 10.1.2.3"], "10.9.9.9"),
        ] {
            assert_eq!(seen("10.0.0.1", forwarded), expected, "{forwarded:?}");
            assert_eq!(seen("::ffff:10.0.0.1", forwarded), expected);
        }
    }

    #[test]
    fn what_cannot_be_read_ends_the_list_at_the_last_hop_that_is_known() {
        for (forwarded, expected) in [
            (&[][..], "10.0.0.1"),
            (&[b"".as_slice()], "10.0.0.1"),
            (&[b"198.51.100.9,"], "10.0.0.1"),
            (&[b"unknown"], "10.0.0.1"),
            (&[b"198.51.100.9, _hidden"], "10.0.0.1"),
            (&[b"198.51.100.9, unknown, 10.1.2.3"], "10.1.2.3"),
            (&[b"198.51.100.9 10.1.2.3"], "10.0.0.1"),
            (&[b"198.51.100.9;10.1.2.3"], "10.0.0.1"),
            (&[b"for=198.51.100.9"], "10.0.0.1"),
            (&[b"\"198.51.100.9\""], "10.0.0.1"),
            (&[b"999.1.1.1"], "10.0.0.1"),
            (&[b"0x0a.1.1.1"], "10.0.0.1"),
            (&[b"fe80::1%eth0"], "10.0.0.1"),
            (&[b"198.51.100.9\xff"], "10.0.0.1"),
            (&[b"198.51.100.9", b"nonsense"], "10.0.0.1"),
            (&[b"198.51.100.9:99999"], "10.0.0.1"),
        ] {
            assert_eq!(seen("10.0.0.1", forwarded), expected, "{forwarded:?}");
        }
    }
}
