//! The edge of `authorize-api-key`: API Gateway's Lambda authorizer, payload format 2.0 with simple responses.
//!
//! The gateway keeps the answer for a minute by the header, so a key that is revoked ends within that.

use aws_lambda_events::event::apigw::{
    ApiGatewayV2CustomAuthorizerSimpleResponse, ApiGatewayV2CustomAuthorizerV2Request,
};
use lambda_runtime::{Error, LambdaEvent};
use serde_json::{Value, json};

use crate::{hub::Edge, keys};

/// Says whether the `Authorization: Bearer …` header carries a good key, and whose.
///
/// # Errors
/// Where the key can't be looked up; the gateway then answers 500 and keeps nothing.
pub async fn handle(
    edge: &Edge,
    event: LambdaEvent<ApiGatewayV2CustomAuthorizerV2Request>,
) -> Result<ApiGatewayV2CustomAuthorizerSimpleResponse<Value>, Error> {
    let header = event.payload.headers.get("authorization").and_then(|v| v.to_str().ok()).unwrap_or_default();
    let key =
        header.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, key)| key.trim());
    let grant = match key {
        Some(key) => keys::check(&edge.store, key, edge.now()).await?,
        None => None,
    };
    let mut answer = ApiGatewayV2CustomAuthorizerSimpleResponse::default();
    answer.is_authorized = grant.is_some();
    answer.context = if let Some(grant) = grant {
        tracing::debug!(tenant = %grant.tenant, key_id = grant.key_id, "key accepted");
        json!({"tenant_id": grant.tenant.as_str(), "key_id": grant.key_id, "scopes": grant.scopes})
    } else {
        let request_id = event.payload.request_context.request_id;
        tracing::info!(request_id, status = "refused", code = "invalid_api_key", "authorizer");
        json!({})
    };
    Ok(answer)
}
