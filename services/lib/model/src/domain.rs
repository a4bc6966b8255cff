//! The name that somebody had to register to have a host: below it names cost nothing, and one
//! person can make as many as they like.

use std::net::Ipv4Addr;

/// Top-level names that nobody can register (RFC 2606): below them every name stands for itself,
/// as hosts of tests and of the load test do.
const RESERVED: [&str; 4] = ["test", "example", "invalid", "localhost"];

/// The registrable domain of a canonical host, by the public suffix list; a suffix that is not
/// on it is its last label. `None` for an address, a bare suffix and a reserved name.
pub fn registrable_domain(host: &str) -> Option<&str> {
    let is_address = host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok();
    let top = host.rsplit('.').next().unwrap_or(host);
    if is_address || RESERVED.contains(&top) {
        return None;
    }
    psl::domain_str(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_registered_is_found_below_every_kind_of_suffix() {
        for (host, domain) in [
            ("mastodon.social", Some("mastodon.social")),
            ("a.b.mastodon.social", Some("mastodon.social")),
            ("x.flood.co.uk", Some("flood.co.uk")),
            // Whoever runs a suffix of this kind gives each name to somebody else.
            ("somebody.github.io", Some("somebody.github.io")),
            ("a.somebody.github.io", Some("somebody.github.io")),
            (
                "a.xn--85x722f.xn--55qx5d.cn",
                Some("xn--85x722f.xn--55qx5d.cn"),
            ),
            ("a.b.no-such-suffix", Some("b.no-such-suffix")),
            ("co.uk", None),
            ("github.io", None),
            ("192.0.2.7", None),
            ("[2001:db8::1]", None),
            ("h7.sim.test", None),
            ("localhost", None),
        ] {
            assert_eq!(registrable_domain(host), domain, "{host}");
        }
    }
}
