//! Why there is no answer. Told by the errors' types and never by their texts, which aren't kept: they name addresses.

use std::{error::Error, io, iter, time::Duration};

use super::resolve::Unresolved;
use crate::endpoint::EndpointError;

/// A request without an answer. Another try can help with each of them: networks, names, certificates and settings are
/// mended, and a tenant's URL then works again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// No status within the request's time.
    #[error("there was no answer within {0:?}; the endpoint must answer first and do its work afterwards")]
    TimedOut(Duration),
    /// The deployment doesn't allow this URL, any more.
    #[error(transparent)]
    EndpointRefused(#[from] EndpointError),
    /// The name has addresses, and the deployment allows none of them.
    #[error("the host's name leads only to addresses that aren't public; let it lead to a public one")]
    AddressRefused,
    /// The name has no address.
    #[error("the host's name has no address; check its spelling and its DNS records")]
    NameNotFound,
    /// Refused, unreachable or no answer within 10 s.
    #[error(
        "no connection could be made; check that the host listens on this port and that its firewall lets us through"
    )]
    ConnectionFailed,
    /// The certificate isn't valid, or there is no TLS.
    #[error(
        "no secure connection could be made; check that the host's certificate is valid, is made out to its name and \
         comes with its intermediate certificates"
    )]
    TlsFailed,
    /// Closed before the headers were complete, or the body, where all of it is wanted.
    #[error("the connection was closed before there was an answer; check the endpoint's log for why")]
    ConnectionClosed,
    /// No HTTP/1.1, or more headers than we read.
    #[error(
        "the answer isn't HTTP/1.1, or has more than 100 headers or 400 KB of them; check what listens on this port"
    )]
    NotHttp,
    /// A body of more bytes than are read.
    #[error("the answer has more than {0} bytes; let it answer with less")]
    TooLarge(usize),
    /// These values make no request.
    #[error("no request can be made of this URL and these headers; check the configuration")]
    NotBuildable,
    /// TLS can't be set up.
    #[error(
        "this deployment has no CA certificates to check hosts by; an operator must add them to the function's image"
    )]
    ClientUnavailable,
    /// The function calls nobody ([`super::nobody`]).
    #[error("this function calls nobody; the operation belongs to another one")]
    CallsNobody,
}

impl SendError {
    /// Stable and machine-readable, for records.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TimedOut(_) => "timed_out",
            Self::EndpointRefused(_) => "endpoint_refused",
            Self::AddressRefused => "address_refused",
            Self::NameNotFound => "name_not_found",
            Self::ConnectionFailed => "connection_failed",
            Self::TlsFailed => "tls_failed",
            Self::ConnectionClosed => "connection_closed",
            Self::NotHttp => "not_http",
            Self::TooLarge(_) => "answer_too_large",
            Self::NotBuildable => "not_buildable",
            Self::ClientUnavailable => "client_unavailable",
            Self::CallsNobody => "calls_nobody",
        }
    }

    /// What an error of the client means, for a request that may take `timeout`.
    pub(super) fn of(error: &reqwest::Error, timeout: Duration) -> Self {
        if error.is_builder() {
            return Self::NotBuildable;
        }
        if let Some(known) = causes(error).find_map(of_cause) {
            return known;
        }
        // Also where connecting took too long.
        if error.is_connect() {
            return Self::ConnectionFailed;
        }
        if error.is_timeout() { Self::TimedOut(timeout) } else { Self::ConnectionClosed }
    }
}

fn of_cause(cause: &(dyn Error + 'static)) -> Option<SendError> {
    if let Some(unresolved) = cause.downcast_ref() {
        return Some(match unresolved {
            Unresolved::NotFound => SendError::NameNotFound,
            Unresolved::Refused => SendError::AddressRefused,
        });
    }
    if cause.is::<rustls::Error>() {
        return Some(SendError::TlsFailed);
    }
    cause.downcast_ref::<hyper::Error>().filter(|e| e.is_parse()).map(|_| SendError::NotHttp)
}

/// The error and what caused it, from the outside in.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |error| cause(*error))
}

fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    // An I/O error that wraps another one skips it in `source`: TLS errors come this way.
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}
