//! The routes of the API (contract §7): one table, by which calls are told apart, and by which they are described.

use http::{HeaderValue, Method, header};
use percent_encoding::percent_decode_str;

use crate::{
    keys::Scope,
    problem::{Code, Problem},
};

/// What a call is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Op {
    ListIntegrations,
    PutIntegration,
    GetIntegration,
    DeleteIntegration,
    ValidateIntegration,
    RotateIntegrationSecret,
    PreviewMapping,
    ListInboundEvents,
    GetInboundEvent,
    ReplayInboundEvent,
    GetPhoneNumber,
    ListInteractions,
    GetInteraction,
    ListContacts,
    PutContact,
    GetContact,
    DeleteContact,
    ListCompanies,
    PutCompany,
    GetCompany,
    DeleteCompany,
    GetMerchant,
    ListSubscriptions,
    CreateSubscription,
    GetSubscription,
    ChangeSubscription,
    DeleteSubscription,
    TestSubscription,
    RotateSubscriptionSecret,
    ReplaySubscription,
    ListDeliveries,
    GetDelivery,
    RetryDelivery,
    ListEventTypes,
    GetEvent,
    ListFailures,
    RetryFailures,
    GetFailure,
    RetryFailure,
    StartSync,
    GetSyncStates,
    ListApiKeys,
    CreateApiKey,
    RevokeApiKey,
    Describe,
}

/// One route.
pub(super) struct Route {
    pub(super) method: Method,
    /// With its parameters in braces.
    pub(super) path: &'static str,
    /// What the caller's key must be good for.
    pub(super) scope: Scope,
    pub(super) op: Op,
}

const fn get(path: &'static str, op: Op) -> Route {
    Route { method: Method::GET, path, scope: Scope::Read, op }
}

const fn change(method: Method, path: &'static str, op: Op) -> Route {
    Route { method, path, scope: Scope::Write, op }
}

/// All of them. Where the paths of two fit, the first one counts.
pub(super) static ROUTES: [Route; 45] = [
    get("/v1/integrations", Op::ListIntegrations),
    change(Method::PUT, "/v1/integrations/{system_id}", Op::PutIntegration),
    get("/v1/integrations/{system_id}", Op::GetIntegration),
    change(Method::DELETE, "/v1/integrations/{system_id}", Op::DeleteIntegration),
    change(Method::POST, "/v1/integrations/{system_id}/validate", Op::ValidateIntegration),
    change(Method::POST, "/v1/integrations/{system_id}/rotate-secret", Op::RotateIntegrationSecret),
    Route { method: Method::POST, path: "/v1/mappings/preview", scope: Scope::Read, op: Op::PreviewMapping },
    get("/v1/inbound-events", Op::ListInboundEvents),
    get("/v1/inbound-events/{id}", Op::GetInboundEvent),
    change(Method::POST, "/v1/inbound-events/{id}/replay", Op::ReplayInboundEvent),
    get("/v1/phone-numbers/{e164}", Op::GetPhoneNumber),
    get("/v1/phone-numbers/{e164}/interactions", Op::ListInteractions),
    get("/v1/interactions/{id}", Op::GetInteraction),
    get("/v1/contacts", Op::ListContacts),
    change(Method::PUT, "/v1/contacts/{id}", Op::PutContact),
    get("/v1/contacts/{id}", Op::GetContact),
    change(Method::DELETE, "/v1/contacts/{id}", Op::DeleteContact),
    get("/v1/companies", Op::ListCompanies),
    change(Method::PUT, "/v1/companies/{id}", Op::PutCompany),
    get("/v1/companies/{id}", Op::GetCompany),
    change(Method::DELETE, "/v1/companies/{id}", Op::DeleteCompany),
    get("/v1/merchants/{id}", Op::GetMerchant),
    get("/v1/subscriptions", Op::ListSubscriptions),
    change(Method::POST, "/v1/subscriptions", Op::CreateSubscription),
    get("/v1/subscriptions/{id}", Op::GetSubscription),
    change(Method::PATCH, "/v1/subscriptions/{id}", Op::ChangeSubscription),
    change(Method::DELETE, "/v1/subscriptions/{id}", Op::DeleteSubscription),
    change(Method::POST, "/v1/subscriptions/{id}/test", Op::TestSubscription),
    change(Method::POST, "/v1/subscriptions/{id}/rotate-secret", Op::RotateSubscriptionSecret),
    change(Method::POST, "/v1/subscriptions/{id}/replay", Op::ReplaySubscription),
    get("/v1/subscriptions/{id}/deliveries", Op::ListDeliveries),
    get("/v1/deliveries/{id}", Op::GetDelivery),
    change(Method::POST, "/v1/deliveries/{id}/retry", Op::RetryDelivery),
    get("/v1/event-types", Op::ListEventTypes),
    get("/v1/events/{id}", Op::GetEvent),
    get("/v1/failures", Op::ListFailures),
    change(Method::POST, "/v1/failures/retry", Op::RetryFailures),
    get("/v1/failures/{id}", Op::GetFailure),
    change(Method::POST, "/v1/failures/{id}/retry", Op::RetryFailure),
    change(Method::POST, "/v1/sync/{system_id}/{entity_type}", Op::StartSync),
    get("/v1/sync/{system_id}", Op::GetSyncStates),
    get("/v1/api-keys", Op::ListApiKeys),
    change(Method::POST, "/v1/api-keys", Op::CreateApiKey),
    change(Method::DELETE, "/v1/api-keys/{id}", Op::RevokeApiKey),
    // Needs no key.
    get("/v1/openapi.json", Op::Describe),
];

/// No id and no name is longer; DynamoDB takes keys of 1,024 bytes.
const PARAMETER_BYTES_MAX: usize = 512;

impl Route {
    /// The values of the path's parameters in order; `None` where it is another path.
    fn parameters(&self, segments: &[String]) -> Option<Vec<String>> {
        let own: Vec<&str> = segments_of(self.path).collect();
        if own.len() != segments.len() {
            return None;
        }
        let mut parameters = Vec::new();
        for (own, given) in own.into_iter().zip(segments) {
            if own.starts_with('{') && !given.is_empty() {
                parameters.push(given.clone());
            } else if own != given {
                return None;
            }
        }
        Some(parameters)
    }
}

fn segments_of(path: &str) -> impl Iterator<Item = &str> {
    path.split_once("/v1/").map(|(_, tail)| tail).unwrap_or_default().split('/')
}

/// The route of a call, with the path's parameters. A stage's name may stand before `/v1`.
///
/// # Errors
/// 404 where there is no such path, 405 with `Allow` where it doesn't take the method.
pub(super) fn find(method: &Method, path: &str) -> Result<(&'static Route, Vec<String>), Problem> {
    let segments: Vec<String> = segments_of(path).map(decoded).collect();
    let found = ROUTES.iter().find_map(|route| Some((route.path, route.parameters(&segments)?)));
    let Some((path, parameters)) = found else {
        let detail = "there is nothing at this address; see the README for the routes, or /v1/openapi.json";
        return Err(Problem::new(Code::NoSuchRoute, detail));
    };
    if parameters.iter().any(|given| given.len() > PARAMETER_BYTES_MAX) {
        return Err(Problem::new(Code::NotFound, "there is nothing with so long a name"));
    }
    let routes = || ROUTES.iter().filter(|route| route.path == path);
    if let Some(route) = routes().find(|route| route.method == *method) {
        return Ok((route, parameters));
    }
    let allowed = routes().map(|route| route.method.as_str()).collect::<Vec<_>>().join(", ");
    let detail = format!("this address doesn't take {method}; it takes {allowed}");
    let problem = Problem::new(Code::MethodNotAllowed, detail);
    Err(HeaderValue::from_str(&allowed).map_or(problem.clone(), |value| problem.with_header(header::ALLOW, value)))
}

/// Percent-decodes one segment of a path.
fn decoded(segment: &str) -> String {
    percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_apart() {
        for (method, path, expected) in [
            ("GET", "/v1/contacts", Ok((Op::ListContacts, vec![]))),
            ("GET", "/prod/v1/contacts/con_1", Ok((Op::GetContact, vec!["con_1"]))),
            ("GET", "/v1/phone-numbers/+14155550100", Ok((Op::GetPhoneNumber, vec!["+14155550100"]))),
            ("GET", "/v1/phone-numbers/%2B14155550100", Ok((Op::GetPhoneNumber, vec!["+14155550100"]))),
            ("POST", "/v1/failures/retry", Ok((Op::RetryFailures, vec![]))),
            ("POST", "/v1/sync/crm/contact", Ok((Op::StartSync, vec!["crm", "contact"]))),
            ("POST", "/v1/contacts", Err(405)),
            ("HEAD", "/v1/contacts", Err(405)),
            ("GET", "/v1/contacts/%3Da%26b+%2F%FF", Ok((Op::GetContact, vec!["=a&b+/\u{fffd}"]))),
            ("GET", "/v1/contacts/", Err(404)),
            ("GET", "/v1/nothing", Err(404)),
            ("GET", "/v1", Err(404)),
            ("GET", "/v1/contacts/1/2", Err(404)),
        ] {
            let found = find(&method.parse().unwrap(), path).map(|(route, parameters)| (route.op, parameters));
            let found = found.map_err(|problem| problem.status.as_u16());
            let expected = expected.map(|(op, own)| (op, own.into_iter().map(str::to_owned).collect::<Vec<_>>()));
            assert_eq!(found, expected, "{method} {path}");
        }
    }

    #[test]
    fn another_method_is_told_which_would_do() {
        let problem = find(&Method::POST, "/v1/contacts/con_1").err().unwrap();
        assert_eq!(problem.headers, [(header::ALLOW, HeaderValue::from_static("PUT, GET, DELETE"))]);
    }
}
