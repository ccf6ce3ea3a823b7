//! Which URLs of tenants the Hub may call: their webhooks' endpoints now.
//!
//! A tenant's URL makes us send a request from inside AWS, so it must not lead to what only we can reach: loopback, our
//! network, the cloud's metadata. What can be told from the URL is told here, when it is configured and again at every
//! call; where its name leads is judged when it is resolved (see [`crate::outgoing`]).

mod address;
#[cfg(test)]
mod tests;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use url::{Host, ParseError, Url};

pub use self::address::{allowed, is_public};

/// Longest URL, in bytes. Every server takes as much, and configuration stays readable.
pub const URL_BYTES_MAX: usize = 2_048;

/// What the deployment lets endpoints reach. Each one includes the ones before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// `public`: https and public addresses only.
    #[default]
    Public,
    /// `loopback`: also http, and this machine's own addresses. For `cargo local`.
    Loopback,
    /// `any`: http and every address of one host, the cloud's metadata too. For a developer's own network.
    Any,
}

/// A text that isn't a [`Reach`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be \"public\", \"loopback\" or \"any\"")]
pub struct ReachError;

impl FromStr for Reach {
    type Err = ReachError;

    fn from_str(text: &str) -> Result<Self, ReachError> {
        match text {
            "public" => Ok(Self::Public),
            "loopback" => Ok(Self::Loopback),
            "any" => Ok(Self::Any),
            _ => Err(ReachError),
        }
    }
}

/// Why a URL isn't called. The texts don't quote the URL: its path and query may hold a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// More than [`URL_BYTES_MAX`], as written or once what isn't ASCII is encoded.
    #[error("the URL is longer than 2,048 bytes; use a shorter one")]
    TooLong,
    /// White space, control characters or a backslash, which programs read in different ways.
    #[error(
        "the URL has a space, a line break, a control character or a backslash in it; leave it out or percent-encode it"
    )]
    Characters,
    /// Nothing that can be called.
    #[error("this isn't a complete URL; write it like https://example.com/path")]
    NotAUrl,
    /// Another scheme than the deployment allows.
    #[error("the URL must begin with https://")]
    Scheme,
    /// A user or a password, be they empty.
    #[error("the URL has a user or a password before an @; leave them out: whoever reads the configuration sees them")]
    Credentials,
    /// A fragment, be it empty.
    #[error("the URL has a fragment, which is never sent; leave out the # and what follows it")]
    Fragment,
    /// A host that is neither a name nor an address.
    #[error(
        "the URL's host isn't a valid name or address; use a name of letters, digits and hyphens, like example.com"
    )]
    Host,
    /// Not a number from 1 to 65535.
    #[error("the URL's port isn't a number from 1 to 65535; leave it out for 443")]
    Port,
    /// A port of `BAD_PORTS`.
    #[error("port {0} belongs to another protocol than HTTP; use 443 or another port")]
    BadPort(u16),
    /// An address that the deployment doesn't allow.
    #[error("the URL's host is an address that isn't public; use a host that can be reached from the internet")]
    Address,
    /// A name that the deployment doesn't allow.
    #[error(
        "the URL's host is a name that only a private network knows; use a name of the public DNS, like example.com"
    )]
    Name,
}

impl From<ParseError> for EndpointError {
    fn from(error: ParseError) -> Self {
        match error {
            ParseError::EmptyHost
            | ParseError::IdnaError
            | ParseError::InvalidDomainCharacter
            | ParseError::InvalidIpv4Address
            | ParseError::InvalidIpv6Address => Self::Host,
            ParseError::InvalidPort => Self::Port,
            ParseError::Overflow => Self::TooLong,
            _ => Self::NotAUrl,
        }
    }
}

/// Ports of other protocols, which could be made to believe that a request is theirs:
/// <https://fetch.spec.whatwg.org/#bad-port>.
const BAD_PORTS: [u16; 82] = [
    1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110,
    111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532,
    540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061,
    6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
];

/// Names, with all below them, that the public DNS doesn't have, and the least reach that allows them: `None` where no
/// lookup ever finds them (<https://www.iana.org/assignments/special-use-domain-names>). Refusing them here tells a
/// tenant at once what the check of addresses would tell at the first call. `test` and `example` stay usable in tests.
const NAMES: [(&str, Option<Reach>); 7] = [
    ("localhost", Some(Reach::Loopback)), // RFC 6761
    ("local", Some(Reach::Any)),          // the link's own names, RFC 6762
    ("internal", Some(Reach::Any)),       // private networks', ICANN board resolution 2024.07.29.06
    ("home.arpa", Some(Reach::Any)),      // homes', RFC 8375
    ("onion", None),                      // Tor's, RFC 7686
    ("alt", None),                        // outside of the DNS, RFC 9476
    ("invalid", None),                    // RFC 6761
];

/// A URL that was checked, in the form that the WHATWG's parser gives it: <https://url.spec.whatwg.org>.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Endpoint(Url);

impl Endpoint {
    /// Checks a URL as a tenant wrote it, for a deployment of this `reach`.
    ///
    /// # Errors
    /// [`EndpointError`] says what is wrong and what would be right.
    pub fn parse(text: &str, reach: Reach) -> Result<Self, EndpointError> {
        if text.len() > URL_BYTES_MAX {
            return Err(EndpointError::TooLong);
        }
        // The parser would drop or turn them: what a person reads would not be what is called.
        if text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') {
            return Err(EndpointError::Characters);
        }
        let endpoint = Self(Url::parse(text)?);
        endpoint.check_form(text)?;
        endpoint.check(reach)?;
        Ok(endpoint)
    }

    /// Checks what depends on the deployment: scheme, address, name. For endpoints that were stored under another
    /// reach.
    ///
    /// # Errors
    /// [`EndpointError`] of the same meaning as [`Endpoint::parse`] gives.
    pub fn check(&self, reach: Reach) -> Result<(), EndpointError> {
        if self.0.scheme() != "https" && reach == Reach::Public {
            return Err(EndpointError::Scheme);
        }
        match self.0.host() {
            Some(Host::Ipv4(ip)) if allowed(ip.into(), reach) => Ok(()),
            Some(Host::Ipv6(ip)) if allowed(ip.into(), reach) => Ok(()),
            Some(Host::Ipv4(_) | Host::Ipv6(_)) => Err(EndpointError::Address),
            Some(Host::Domain(name)) if least_reach(name).is_some_and(|least| least <= reach) => Ok(()),
            Some(Host::Domain(_)) => Err(EndpointError::Name),
            None => Err(EndpointError::Host),
        }
    }

    /// The whole URL. It may hold a secret: not for logs.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Name or address of the host, without a port, an IPv6 address in brackets. Holds no secret.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The URL for the HTTP client.
    pub(crate) fn url(&self) -> &Url {
        &self.0
    }

    /// What is right or wrong whatever the reach is. `text` is what was parsed.
    fn check_form(&self, text: &str) -> Result<(), EndpointError> {
        let scheme = self.0.scheme();
        if !matches!(scheme, "https" | "http") {
            return Err(EndpointError::Scheme);
        }
        // The parser takes `https:example.com` and `https:////example.com` too.
        let rest = text.get(scheme.len()..).and_then(|rest| rest.strip_prefix("://")).ok_or(EndpointError::NotAUrl)?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.is_empty() {
            return Err(EndpointError::NotAUrl);
        }
        if authority.contains('@') {
            return Err(EndpointError::Credentials);
        }
        if self.0.fragment().is_some() {
            return Err(EndpointError::Fragment);
        }
        match self.0.port_or_known_default() {
            None | Some(0) => return Err(EndpointError::Port),
            Some(port) if BAD_PORTS.contains(&port) => return Err(EndpointError::BadPort(port)),
            Some(_) => {}
        }
        if self.0.domain().is_some_and(|name| !is_name(name)) {
            return Err(EndpointError::Host);
        }
        // What isn't ASCII grows when it is encoded, and what is stored must be readable again.
        if self.as_str().len() > URL_BYTES_MAX {
            return Err(EndpointError::TooLong);
        }
        // The client's own parser is stricter than the WHATWG's.
        self.as_str().parse::<http::Uri>().map(drop).map_err(|_| EndpointError::NotAUrl)
    }
}

/// The least reach that allows a name; `None` where none does.
fn least_reach(name: &str) -> Option<Reach> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let covers = |top: &str| name.strip_suffix(top).is_some_and(|head| head.is_empty() || head.ends_with('.'));
    if let Some((_, least)) = NAMES.iter().find(|(top, _)| covers(top)) {
        return *least;
    }
    // A name of one label is looked up in the search domains of the machine that asks.
    Some(if name.contains('.') { Reach::Public } else { Reach::Any })
}

/// Whether a host's name has the form that the DNS asks for (RFC 1035 §2.3.4), with underscores, which some use.
fn is_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

// Paths and queries of webhooks' URLs are often their only secret.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.0.port_or_known_default().unwrap_or_default();
        write!(f, "Endpoint({}://{}:{port}/…)", self.0.scheme(), self.host())
    }
}

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Takes what any deployment allows; [`Endpoint::check`] says what this one does.
impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text, Reach::Any).map_err(de::Error::custom)
    }
}
