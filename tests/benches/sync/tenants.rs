//! Tenants that have a CRM, and what they are told of the services.

use std::sync::Arc;

use local::aws::Tap;
use serde_json::json;
use shared::{
    connector::Entity,
    ids::{SystemId, TenantId},
    sync::state::Scope,
};
use tokio::net::TcpListener;

use super::services::Services;

/// Not a built-in one, which has a mapping of its own.
const SYSTEM: &str = "crm";

/// Makes the tenant of a preset, with a CRM at `url`.
pub fn make_tenant(services: &Services, preset: &str, url: &str) -> Scope {
    let scope = scope(preset);
    let system = json!({
        "system_id": SYSTEM,
        "direction": "outbound",
        "limits": {"per_minute": 1_000_000, "per_day": 10_000_000},
        "outbound": {"preset": preset, "base_url": url, "auth": {"type": "bearer", "token": "bench"}},
    });
    services.make(
        json!({"tenant_id": scope.tenant.as_str(), "name": "Demo", "default_region": "US", "integrations": [system]}),
    );
    scope
}

/// Where the services are for who is listened to by a tap.
pub fn tapped(services: &Services, tap: &Arc<Tap>) -> String {
    services.runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(services.aws.tapped(tap).serve(listener, std::future::pending()));
        url
    })
}

/// The contacts of a preset's tenant.
pub fn scope(preset: &str) -> Scope {
    Scope {
        tenant: TenantId::parse(&format!("tenant_{preset}")).unwrap(),
        system: SystemId::parse(SYSTEM).unwrap(),
        entity: Entity::Contact,
    }
}
