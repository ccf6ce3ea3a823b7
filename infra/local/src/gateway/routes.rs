//! Which function answers which request, by the rules of API Gateway's HTTP APIs
//! (<https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html>).

use http::Method;
use percent_encoding::percent_decode_str;

use crate::template::Route;

/// All routes, the most specific first.
pub(super) struct Routes(Vec<Entry>);

struct Entry {
    segments: Vec<Segment>,
    route: Route,
}

/// A part of a route's path, between slashes.
enum Segment {
    Literal(String),
    Parameter(String),
    Greedy(String),
}

/// A route, and what a request's path has in the places of its parameters.
pub(super) struct Matched<'a> {
    pub route: &'a Route,
    pub parameters: Vec<(&'a str, String)>,
}

impl Routes {
    pub(super) fn new(routes: &[Route]) -> Self {
        let entry = |route: &Route| Entry { segments: segments(&route.path), route: route.clone() };
        let mut entries: Vec<_> = routes.iter().map(entry).collect();
        entries.sort_by_cached_key(|Entry { segments, route }| {
            let ranks: Vec<_> = segments.iter().map(Segment::rank).collect();
            (ranks, route.method == "ANY")
        });
        Self(entries)
    }

    /// The route for a request, if any. `path` is percent-encoded; parameters are not.
    pub(super) fn find(&self, method: &Method, path: &str) -> Option<Matched<'_>> {
        self.0.iter().find_map(|Entry { segments, route }| {
            if route.method != "ANY" && route.method != method.as_str() {
                return None;
            }
            Some(Matched { route, parameters: parameters(segments, path)? })
        })
    }
}

impl Segment {
    /// Lower for what is more specific.
    fn rank(&self) -> u8 {
        match self {
            Self::Literal(_) => 0,
            Self::Parameter(_) => 1,
            Self::Greedy(_) => 2,
        }
    }
}

fn segments(path: &str) -> Vec<Segment> {
    if path == "$default" {
        return vec![Segment::Greedy(String::new())];
    }
    let segment = |text: &str| match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
        Some(name) => match name.strip_suffix('+') {
            Some(name) => Segment::Greedy(name.to_owned()),
            None => Segment::Parameter(name.to_owned()),
        },
        None => Segment::Literal(text.to_owned()),
    };
    path.trim_start_matches('/').split('/').map(segment).collect()
}

/// The values of the parameters, if the path has this form. No parameter is empty, but for `$default`'s nameless one.
fn parameters<'a>(segments: &'a [Segment], path: &str) -> Option<Vec<(&'a str, String)>> {
    let mut rest = Some(path.strip_prefix('/')?);
    let mut parameters = Vec::new();
    for segment in segments {
        let remaining = rest?;
        let (first, others) = remaining.split_once('/').map_or((remaining, None), |(first, rest)| (first, Some(rest)));
        match segment {
            Segment::Literal(text) if *text == decoded(first) => {}
            Segment::Parameter(name) if !first.is_empty() => parameters.push((name.as_str(), decoded(first))),
            Segment::Greedy(name) if name.is_empty() => return Some(parameters),
            Segment::Greedy(name) if !remaining.is_empty() => {
                parameters.push((name.as_str(), decoded(remaining)));
                return Some(parameters);
            }
            _ => return None,
        }
        rest = others;
    }
    rest.is_none().then_some(parameters)
}

/// Text without percent-encoding; what isn't UTF-8 becomes U+FFFD.
pub(super) fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes() -> Routes {
        let route = |key: &str| {
            let (method, path) = key.split_once(' ').unwrap_or(("ANY", key));
            Route { method: method.to_owned(), path: path.to_owned(), function: key.to_owned(), authorizer: None }
        };
        let keys = [
            "$default",
            "ANY /v1/{proxy+}",
            "POST /webhooks/{tenant_id}/{system_id}",
            "ANY /webhooks/{tenant_id}/stripe",
            "POST /webhooks/{tenant_id}/stripe",
            "GET /v1/openapi.json",
            "GET /",
        ];
        Routes::new(&keys.map(route))
    }

    #[test]
    fn the_most_specific_route_answers() {
        let table = [
            ("POST", "/webhooks/acme/stripe", "POST /webhooks/{tenant_id}/stripe", "tenant_id=acme"),
            ("PUT", "/webhooks/acme/stripe", "ANY /webhooks/{tenant_id}/stripe", "tenant_id=acme"),
            ("POST", "/webhooks/acme/x", "POST /webhooks/{tenant_id}/{system_id}", "tenant_id=acme system_id=x"),
            ("POST", "/webhooks/a%2Fb/stripe", "POST /webhooks/{tenant_id}/stripe", "tenant_id=a/b"),
            ("POST", "/webhooks/a%00/strip%65", "POST /webhooks/{tenant_id}/stripe", "tenant_id=a\0"),
            ("POST", "/webhooks/%ff/stripe", "POST /webhooks/{tenant_id}/stripe", "tenant_id=\u{fffd}"),
            ("GET", "/webhooks/acme/other", "$default", ""),
            ("POST", "/webhooks//stripe", "$default", ""),
            ("POST", "/webhooks/acme/stripe/", "$default", ""),
            ("POST", "/webhooks/acme/stripe/more", "$default", ""),
            ("POST", "/webhooks/acme", "$default", ""),
            ("POST", "/webhooks", "$default", ""),
            ("GET", "/v1/openapi.json", "GET /v1/openapi.json", ""),
            ("POST", "/v1/openapi.json", "ANY /v1/{proxy+}", "proxy=openapi.json"),
            ("GET", "/v1/a/b%20c/", "ANY /v1/{proxy+}", "proxy=a/b c/"),
            ("GET", "/v1/", "$default", ""),
            ("GET", "/", "GET /", ""),
            ("POST", "/", "$default", ""),
        ];
        let routes = routes();
        for (method, path, key, parameters) in table {
            let matched = routes.find(&method.parse().unwrap(), path).unwrap();
            assert_eq!(matched.route.function, key, "{method} {path}");
            let found: Vec<_> = matched.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
            assert_eq!(found.join(" "), parameters, "{method} {path}");
        }
    }

    #[test]
    fn without_a_default_some_requests_have_no_route() {
        let Routes(mut entries) = routes();
        entries.retain(|entry| entry.route.path != "$default");
        assert!(Routes(entries).find(&Method::POST, "/nowhere").is_none());
    }
}
