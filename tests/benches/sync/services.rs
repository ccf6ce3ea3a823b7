//! AWS in a thread of its own, with tenants that have a CRM.

use std::sync::{Arc, mpsc};

use local::{
    aws::{Aws, Tap},
    template::Template,
};
use serde_json::json;
use shared::{
    connector::Entity,
    ids::{SystemId, TenantId},
    sync::state::Scope,
};
use tokio::{net::TcpListener, runtime::Handle};

use super::{function::system_time, tenant::provision};

/// Not a built-in one, which has a mapping of its own.
const SYSTEM: &str = "crm";

/// The services, until the process ends.
pub struct Services {
    aws: Aws,
    runtime: Handle,
}

impl Services {
    /// Serves the template's tables and queues. Nothing runs but what is called here.
    pub fn start() -> Self {
        let (ready, wait) = mpsc::channel();
        let serve = async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let aws = Aws::in_memory(listener.local_addr().unwrap().port()).unwrap();
            aws.provision(&Template::bundled(&aws.endpoint_url()).unwrap()).await.unwrap();
            ready.send((aws.clone(), Handle::current())).unwrap();
            aws.serve(listener, std::future::pending()).await.unwrap();
        };
        std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(serve);
        });
        let (aws, runtime) = wait.recv().unwrap();
        Self { aws, runtime }
    }

    /// Where they are.
    pub fn url(&self) -> String {
        self.aws.endpoint_url()
    }

    /// Where they are for who is listened to by a tap.
    pub fn tapped(&self, tap: &Arc<Tap>) -> String {
        self.runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            tokio::spawn(self.aws.tapped(tap).serve(listener, std::future::pending()));
            url
        })
    }

    /// Makes the tenant of a preset, with a CRM at `url`.
    pub fn make_tenant(&self, preset: &str, url: &str) -> Scope {
        let scope = scope(preset);
        let system = json!({
            "system_id": SYSTEM,
            "direction": "outbound",
            "limits": {"per_minute": 1_000_000, "per_day": 10_000_000},
            "outbound": {"preset": preset, "base_url": url, "auth": {"type": "bearer", "token": "bench"}},
        });
        let tenant = json!({"tenant_id": scope.tenant.as_str(), "name": "Demo", "default_region": "US", "integrations": [system]});
        let surroundings: (local::Clock, shared::hub::Random) =
            (Arc::new(system_time), Arc::new(shared::hub::system_random));
        self.runtime.block_on(async {
            let template = Template::bundled(&self.url()).unwrap();
            provision(&self.aws, &template, tenant, surroundings).await;
        });
        scope
    }
}

/// The contacts of a preset's tenant.
pub fn scope(preset: &str) -> Scope {
    Scope {
        tenant: TenantId::parse(&format!("tenant_{preset}")).unwrap(),
        system: SystemId::parse(SYSTEM).unwrap(),
        entity: Entity::Contact,
    }
}
