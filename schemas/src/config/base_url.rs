//! The address of a provider, and which addresses a gateway may call.
//!
//! Plain http goes only to loopback, and private networks are called only where the configuration says so: a gateway that can
//! be pointed at an internal address is a way into the network. Names are checked again when they are resolved, by
//! [`is_private`].

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// An http address without user, query or fragment, and without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    /// Whether it is https.
    pub https: bool,
    /// The host, in lower case; an IPv6 address stands in brackets.
    pub host: String,
    /// The port, where it is not the scheme's own.
    pub port: Option<u16>,
    /// The path, empty or with a slash at its beginning.
    pub path: String,
}

impl BaseUrl {
    /// Reads an address; the error says what is wrong with it and never quotes it, since it may hold a password.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (https, rest) = if let Some(rest) = text.strip_prefix("https://") {
            (true, rest)
        } else if let Some(rest) = text.strip_prefix("http://") {
            (false, rest)
        } else {
            return Err("it begins with neither https:// nor http://");
        };
        if rest.contains(['?', '#']) {
            return Err("it has a query or a fragment");
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err("it has a user or a password; use api_key");
        }
        if !path.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte)) {
            return Err("its path has characters that an address cannot have");
        }
        let (host, port) = host_and_port(authority).ok_or("its host or port is not valid")?;
        Ok(Self { https, host, port, path: path.trim_end_matches('/').into() })
    }

    /// The port to connect to.
    pub fn effective_port(&self) -> u16 {
        self.port.unwrap_or(if self.https { 443 } else { 80 })
    }

    /// The host as an address, if it is not a name.
    pub fn ip(&self) -> Option<IpAddr> {
        let bare = self.host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&self.host);
        bare.parse().ok()
    }

    /// Whether it is this machine.
    pub fn is_loopback(&self) -> bool {
        self.ip().map_or(self.host == "localhost", is_loopback)
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.https { "https" } else { "http" }, self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(&self.path)
    }
}

fn host_and_port(authority: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            let address: Ipv6Addr = address.parse().ok()?;
            (format!("[{address}]"), if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (name(host)?, Some(port)),
            None => (name(authority)?, None),
        },
    };
    let port = match port {
        None => None,
        Some(digits) => Some(digits.parse().ok().filter(|port| *port > 0 && !digits.starts_with('+'))?),
    };
    Some((host, port))
}

fn name(host: &str) -> Option<String> {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let valid = host.len() <= 253 && host.strip_suffix('.').unwrap_or(host).split('.').all(label);
    // What ends in a number is an address or nothing: resolvers read 2130706433 and 0x7f.1 as 127.0.0.1.
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or("");
    let numeric = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x") || last.starts_with("0X");
    let valid = valid && (!numeric || host.parse::<Ipv4Addr>().is_ok());
    valid.then(|| host.to_ascii_lowercase())
}

/// Whether an address is this machine.
pub fn is_loopback(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback(),
    }
}

/// Whether an address is inside some network rather than in the public internet; loopback is not counted.
pub fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_private_v4(ip),
        IpAddr::V6(ip) => {
            let [first, second, .., high, low] = ip.segments();
            // 64:ff9b::/96 and 2002::/16 carry an IPv4 address.
            let translated = (first, second) == (0x64, 0xff9b) && is_inside_v4(high, low);
            let tunnelled = first == 0x2002 && is_inside_v4(second, ip.segments()[2]);
            ip.is_unspecified()
                || ip.is_multicast()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
                || first & 0xffc0 == 0xfec0
                || translated
                || tunnelled
        }
    }
}

fn is_inside_v4(high: u16, low: u16) -> bool {
    let ip = Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    ip.is_loopback() || is_private_v4(ip)
}

fn is_private_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    ip.is_private()
        || ip.is_link_local()
        || ip.is_broadcast()
        || ip.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && b & 0xc0 == 64)
        || (a == 198 && b & 0xfe == 18)
        || (a == 192 && b == 0 && c == 0)
}
